import { ROLES } from '../../openapi/schemas/roles.ts'
import type { User } from '../../openapi/schemas/user.ts'
import { StorageCorruptError } from '../support/errors.ts'

/** An account as a store keeps it. */
export interface StoredAccount extends User {
  /** What `username` is compared by; see `nameKey` in credentials.ts. */
  nameKey: string
  passwordHash: string
}

/** Which accounts a list holds: in the order of their name keys, by the bytes of UTF-8. */
export interface AccountQuery {
  /** Only those whose name key begins with this. `''`: all. */
  prefix: string
  /** Only those behind this name key. */
  after?: string
  limit: number
}

/** What an update changes; what it does not name stays. */
export type AccountChange = Partial<Omit<StoredAccount, 'id'>>

/**
 * Where accounts live. One suite (test/suites/account-store.ts) says what each implementation must do: of several
 * accounts that want one id or one name key at the same time, exactly one gets it; and of several changes at the same
 * time none takes the last administrator away who can log in.
 */
export interface AccountStore {
  get(id: string): Promise<StoredAccount | undefined>
  findByName(nameKey: string): Promise<StoredAccount | undefined>
  /** `false` when the id or the name is taken; nothing is written then. */
  create(account: StoredAccount): Promise<boolean>
  /**
   * The account after the change; `undefined` when there is none, `taken` when the new name is, `last` when no
   * administrator who can log in would be left. Nothing is written then.
   */
  update(id: string, change: AccountChange): Promise<StoredAccount | undefined | 'taken' | 'last'>
  /** @returns whether there was one; `last` as for an update: nothing is deleted then */
  delete(id: string): Promise<boolean | 'last'>
  /** One that cannot be read is left out. */
  list(query: AccountQuery): Promise<StoredAccount[]>
  count(): Promise<number>
}

/** Whether it is one of those of whom one always has to be left. */
export function isAdministrator({ role, disabled }: Pick<StoredAccount, 'role' | 'disabled'>): boolean {
  return role === 'administrator' && disabled !== true
}

/**
 * An account as it was written; one without a name, a role or a hash is refused with an error.
 * @throws STATEFUL_STORAGE_CORRUPT
 */
export function checkedAccount(id: string, read: () => unknown): StoredAccount {
  let cause: unknown
  try {
    const account = read()
    if (isAccount(account)) return account
  } catch (error) {
    cause = error
  }
  throw new StorageCorruptError(
    `the account '${id}' cannot be read`,
    'Put its record back from a backup, or remove it and create the account again.',
    { cause },
  )
}

function isAccount(value: unknown): value is StoredAccount {
  const account = (value ?? {}) as Partial<Record<keyof StoredAccount, unknown>>
  const { id, username, nameKey, role, passwordHash, disabled } = account
  return (
    [id, username, nameKey, passwordHash].every((text) => typeof text === 'string' && text !== '') &&
    ROLES.some((known) => known === role) &&
    (disabled === undefined || typeof disabled === 'boolean')
  )
}
