import { randomUUID } from 'node:crypto'
import type { Role, User } from '../../openapi/schemas/user.ts'
import {
  AccountDisabledError,
  LastAdministratorError,
  NotFoundError,
  StorageCorruptError,
  UsernameTakenError,
} from '../support/errors.ts'
import { randomText } from '../support/random.ts'
import { type AccountChange, type AccountStore, isAdministrator, type StoredAccount } from './account-store.ts'
import { nameKey, newPassword, newUsername, normalPassword, plainKey } from './credentials.ts'
import { Passwords, type PasswordsOptions } from './passwords.ts'

/** What an account is made of. */
export interface NewAccount {
  /** Default: a random one. */
  id?: string
  username: string
  password: string
  role: Role
  displayName?: string
  email?: string
}

export type AccountPatch = Partial<Omit<NewAccount, 'id'>> & {
  /** It cannot be logged in to. End its sessions afterwards: `app.sessions.revokeUser(id)`. */
  disabled?: boolean
}

/** Which accounts to list, and from where on. */
export interface AccountListQuery {
  /** Only users whose name begins so, upper and lower case being the same. Default: all. */
  prefix?: string
  /** What the page before told. Default: from the beginning. */
  cursor?: string
  /** Default 100. */
  limit?: number
}

/** A page of accounts. */
export interface AccountList {
  /** In the order of their names. */
  users: User[]
  /** Names the next page, which may be empty. Absent: this is the last one. */
  cursor?: string
}

export interface AccountsEngineOptions extends PasswordsOptions {
  /** Hears that the storage had lost all accounts, and that the administrator is there again. */
  onRestored?: () => void
}

/** The first administrator, made at the boot when there is none. */
export interface Bootstrap {
  /** Default `'admin'`. */
  username?: string
  /** Default: a random one, told once as `generatedPassword`. */
  password?: string
}

/** A password that was right, and what it opened. */
export interface Authentication {
  user: User
  /**
   * Whether the account still has the password and the role that were looked at, and is not disabled. Ask after
   * whatever rests on them was made: a change that came in between ends the sessions that it finds, and may have found
   * none yet.
   */
  isCurrent(): Promise<boolean>
}

/** 192 random bits: 32 characters. */
const GENERATED_PASSWORD_BYTES = 24

/**
 * Who may log in. Passwords are kept as argon2id hashes and never leave.
 *
 * Every method rejects with STATEFUL_STORAGE_UNAVAILABLE when the store fails, with STATEFUL_STORAGE_CORRUPT when what
 * it holds of the account cannot be read, and with STATEFUL_STORAGE_FULL when it has no room for what was to be
 * written.
 */
export class Accounts {
  readonly #store: AccountStore
  readonly #passwords: Passwords
  readonly #onRestored: AccountsEngineOptions['onRestored']
  /** Whether this instance ensures that there is an administrator. */
  #ensures = false
  /** As last seen here. A storage that loses everything while the server runs gets this one again. */
  #administrator: StoredAccount | undefined
  /** The administrator's password, only in the boot that made it up. */
  generatedPassword?: string

  constructor(store: AccountStore, { onRestored, ...passwords }: AccountsEngineOptions) {
    this.#store = store
    this.#onRestored = onRestored
    this.#passwords = new Passwords(passwords)
  }

  /**
   * Creates the first administrator when there is no account at all. Of instances that boot together on one
   * storage exactly one creates it, because the name is unique. From then on an empty storage is one that has lost its
   * content (FLUSHALL, a failover to an empty server): a request for an account there finds the administrator again,
   * with the id and the password that this instance has seen last.
   *
   * @returns whether it was created now: else the options were not used
   */
  async bootstrap(options: Bootstrap = {}): Promise<{ created: boolean }> {
    const created = await this.#createFirst(options)
    this.#ensures = true
    try {
      await this.findByUsername(options.username ?? 'admin')
    } catch (error) {
      // A login as that one is told.
      if (!(error instanceof StorageCorruptError)) throw error
    }
    return { created }
  }

  async #createFirst({ username = 'admin', password }: Bootstrap): Promise<boolean> {
    if ((await this.count()) > 0) return false
    const initial = password ?? randomText(GENERATED_PASSWORD_BYTES)
    try {
      await this.create({ username, password: initial, role: 'administrator' })
      if (password === undefined) this.generatedPassword = initial
      return true
    } catch (error) {
      if (!(error instanceof UsernameTakenError)) throw error
      return false
    }
  }

  /**
   * Username and password are kept in their normal form.
   * @throws STATEFUL_USERNAME_TAKEN when the username, one that looks like it, or the id is taken;
   * STATEFUL_INVALID_USERNAME, STATEFUL_INVALID_PASSWORD
   */
  async create({ password, ...account }: NewAccount): Promise<User> {
    const username = newUsername(account.username)
    const normal = newPassword(password)
    await this.#checkLookalike(username)
    const stored: StoredAccount = {
      ...defined(account),
      id: account.id ?? randomUUID(),
      username,
      role: account.role,
      nameKey: nameKey(username),
      passwordHash: await this.#passwords.hash(normal),
    }
    // With another account in it the storage would no longer look as if it had lost its own.
    await this.#restore()
    if (!(await this.#store.create(stored))) throw new UsernameTakenError()
    return toUser(stored)
  }

  async get(id: string): Promise<User | undefined> {
    const account = await this.#find((store) => store.get(id))
    return account && toUser(account)
  }

  /** Upper and lower case are the same. */
  async findByUsername(username: string): Promise<User | undefined> {
    const key = nameKey(username)
    const account = await this.#find((store) => store.findByName(key))
    return account && toUser(account)
  }

  /**
   * Some of the accounts, in the order of their names.
   * @example
   * ```ts
   * let cursor: string | undefined
   * do {
   *   const page = await app.accounts.list({ limit: 500, ...(cursor === undefined ? {} : { cursor }) })
   *   cursor = page.cursor
   * } while (cursor !== undefined)
   * ```
   * @throws STATEFUL_INVALID_USERNAME when the prefix is too long for a name
   */
  async list({ prefix = '', cursor, limit = 100 }: AccountListQuery = {}): Promise<AccountList> {
    const query = { prefix: nameKey(prefix), limit, ...(cursor === undefined ? {} : { after: cursor }) }
    const accounts = await this.#store.list(query)
    const last = accounts.length < limit ? undefined : accounts.at(-1)?.nameKey
    return { users: accounts.map(toUser), ...(last === undefined ? {} : { cursor: last }) }
  }

  /**
   * The account, and the name with it, are free again. Its sessions are not ended: `app.sessions.revokeUser(id)`.
   * @throws STATEFUL_NOT_FOUND, STATEFUL_LAST_ADMINISTRATOR
   */
  async delete(id: string): Promise<void> {
    const deleted = await this.#store.delete(id)
    if (deleted === 'last') throw new LastAdministratorError()
    if (!deleted) throw new NotFoundError('account of that id')
    if (this.#administrator?.id === id) this.#administrator = undefined
  }

  /**
   * @throws STATEFUL_NOT_FOUND, STATEFUL_USERNAME_TAKEN, STATEFUL_INVALID_USERNAME, STATEFUL_INVALID_PASSWORD,
   * STATEFUL_LAST_ADMINISTRATOR when nobody would be left who can administer
   */
  async update(id: string, { password, ...patch }: AccountPatch): Promise<User> {
    const change: AccountChange = defined(patch)
    const normal = password === undefined ? undefined : newPassword(password)
    if (patch.username !== undefined) {
      change.username = newUsername(patch.username)
      change.nameKey = nameKey(change.username)
      await this.#checkLookalike(change.username, id)
    }
    if (normal !== undefined) change.passwordHash = await this.#passwords.hash(normal)
    const account = await this.#store.update(id, change)
    if (account === 'taken') throw new UsernameTakenError()
    if (account === 'last') throw new LastAdministratorError()
    if (!account) throw new NotFoundError('account of that id')
    this.#see(account)
    return toUser(account)
  }

  /**
   * The user whose password this is. Takes as long when there is no such user.
   * @throws STATEFUL_INVALID_USERNAME, STATEFUL_INVALID_PASSWORD when one is too long in its normal form
   */
  async verify(username: string, password: string): Promise<User | undefined> {
    return (await this.authenticate(username, password))?.user
  }

  /**
   * As `verify`, for a login. Takes as long when there is no such user.
   *
   * @example
   * ```ts
   * const found = await accounts.authenticate(username, password)
   * const session = await sessions.create(found.user.id, { user: found.user })
   * if (!(await found.isCurrent())) await sessions.revoke(session.handle)
   * ```
   * @throws STATEFUL_ACCOUNT_DISABLED to who knows the password
   */
  async authenticate(username: string, password: string): Promise<Authentication | undefined> {
    const key = nameKey(username)
    const normal = normalPassword(password)
    const account = await this.#find((store) => store.findByName(key))
    const matches = await this.#passwords.verify(account?.passwordHash, normal)
    if (!account || !matches) return undefined
    if (account.disabled) throw new AccountDisabledError()
    return {
      user: toUser(account),
      isCurrent: async () => {
        const now = await this.#store.get(account.id)
        // Salted: the same password set again has another hash.
        return now?.passwordHash === account.passwordHash && now.role === account.role && !now.disabled
      },
    }
  }

  async count(): Promise<number> {
    const count = await this.#store.count()
    return count === 0 && (await this.#restore()) ? this.#store.count() : count
  }

  /** @param own the id of the account that may have that name */
  async #checkLookalike(username: string, own?: string): Promise<void> {
    const key = nameKey(username)
    const plain = plainKey(key)
    if (plain === key) return
    const other = await this.#store.findByName(plain)
    if (other && other.id !== own) throw new UsernameTakenError()
  }

  async #find(
    question: (store: AccountStore) => Promise<StoredAccount | undefined>,
  ): Promise<StoredAccount | undefined> {
    let account = await question(this.#store)
    if (!account && (await this.#restore())) account = await question(this.#store)
    if (account) this.#see(account)
    return account
  }

  /** The administrator who was seen last is remembered; one who is none any more is forgotten. */
  #see(account: StoredAccount): void {
    if (!this.#ensures) return
    if (isAdministrator(account)) this.#administrator = account
    else if (this.#administrator?.id === account.id) this.#administrator = undefined
  }

  /** @returns whether there was no account, and now there is the administrator */
  async #restore(): Promise<boolean> {
    const administrator = this.#administrator
    if (!administrator || (await this.#store.count()) > 0) return false
    // Of several instances one is the first; what they restore is the same account.
    if (await this.#store.create(administrator)) this.#onRestored?.()
    return true
  }
}

function toUser({ id, username, role, displayName, email, disabled }: StoredAccount): User {
  return { id, username, role, ...defined({ displayName, email }), ...(disabled ? { disabled } : {}) }
}

type Defined<T> = { [K in keyof T]: Exclude<T[K], undefined> }

function defined<T extends object>(fields: T): Defined<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Defined<T>
}
