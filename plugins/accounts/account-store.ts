import type { User } from '../../openapi/schemas/user.ts'
import { StorageCorruptError } from '../support/errors.ts'

/** An account as a store keeps it. */
export interface StoredAccount extends User {
  /** What `username` is compared by; see `nameKey` in credentials.ts. */
  nameKey: string
  passwordHash: string
}

/** What an update changes; what it does not name stays. */
export type AccountChange = Partial<Omit<StoredAccount, 'id'>>

/**
 * Where accounts live. One suite (test/suites/account-store.ts) says what each implementation must do: of several
 * accounts that want one id or one name key at the same time, exactly one gets it.
 */
export interface AccountStore {
  get(id: string): Promise<StoredAccount | undefined>
  findByName(nameKey: string): Promise<StoredAccount | undefined>
  /** `false` when the id or the name is taken; nothing is written then. */
  create(account: StoredAccount): Promise<boolean>
  /** The account after the change; `undefined` when there is none, `taken` when the new name is. */
  update(id: string, change: AccountChange): Promise<StoredAccount | undefined | 'taken'>
  count(): Promise<number>
}

/**
 * An account as it was written; what has no name, no role or no hash lets nobody in, and says so.
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
    'Put its record back from a backup, or remove it and create the account anew.',
    { cause },
  )
}

function isAccount(value: unknown): value is StoredAccount {
  const { id, username, nameKey, role, passwordHash } = (value ?? {}) as Partial<Record<keyof StoredAccount, unknown>>
  return (
    [id, username, nameKey, passwordHash].every((text) => typeof text === 'string' && text !== '') &&
    (role === 'administrator' || role === 'user')
  )
}
