import type { RootDatabase } from 'lmdb'
import { CheckedDatabase } from '../../storage/lmdb/checked-records.ts'
import type { Commits } from '../../storage/lmdb/commits.ts'
import type { LmdbStorage } from '../../storage/storage.ts'
import {
  type AccountChange,
  type AccountQuery,
  type AccountStore,
  checkedAccount,
  isAdministrator,
  type StoredAccount,
} from '../account-store.ts'

/** Accounts in the embedded database. A change is on disk before it is answered. */
export class LmdbAccountStore implements AccountStore {
  readonly #root: RootDatabase
  readonly #commits: Commits
  readonly #accounts: CheckedDatabase<StoredAccount, string>
  readonly #ids: CheckedDatabase<string, string>

  constructor(storage: LmdbStorage) {
    this.#root = storage.root
    this.#commits = storage.commits
    // An account of yesterday is better than none: its owner can log in, and the name stays taken.
    this.#accounts = new CheckedDatabase(storage, { name: 'accounts', restorable: true })
    this.#ids = new CheckedDatabase(storage, { name: 'account-names', restorable: true })
    if (this.#accounts.salvaged || this.#ids.salvaged) this.#rebuildNames()
  }

  async get(id: string): Promise<StoredAccount | undefined> {
    return this.#read(id)
  }

  async findByName(nameKey: string): Promise<StoredAccount | undefined> {
    const id = this.#ids.get(nameKey)
    return id === undefined ? undefined : this.#read(id)
  }

  create(account: StoredAccount): Promise<boolean> {
    return this.#durably(() => {
      if (this.#accounts.has(account.id) || this.#ids.has(account.nameKey)) return false
      this.#accounts.put(account.id, account)
      this.#ids.put(account.nameKey, account.id)
      return true
    })
  }

  update(id: string, change: AccountChange): Promise<StoredAccount | undefined | 'taken' | 'last'> {
    return this.#durably<StoredAccount | undefined | 'taken' | 'last'>(() => {
      const account = this.#read(id)
      if (!account) return undefined
      const { nameKey = account.nameKey } = change
      if ((this.#ids.get(nameKey) ?? id) !== id) return 'taken'
      const changed = { ...account, ...change }
      if (!isAdministrator(changed) && this.#isLast(account)) return 'last'
      this.#ids.remove(account.nameKey)
      this.#ids.put(nameKey, id)
      this.#accounts.put(id, changed)
      return changed
    })
  }

  delete(id: string): Promise<boolean | 'last'> {
    return this.#durably<boolean | 'last'>(() => {
      const account = this.#read(id)
      if (!account) return false
      if (this.#isLast(account)) return 'last'
      this.#ids.remove(account.nameKey)
      this.#accounts.remove(id)
      return true
    })
  }

  async list({ prefix, after, limit }: AccountQuery): Promise<StoredAccount[]> {
    const found: StoredAccount[] = []
    const start = after !== undefined && Buffer.compare(Buffer.from(after), Buffer.from(prefix)) > 0 ? after : prefix
    for (const name of this.#ids.getKeys({ start })) {
      if (found.length === limit || !name.startsWith(prefix)) break
      if (name === after) continue
      const account = this.#soundAccount(name)
      if (account) found.push(account)
    }
    return found
  }

  #soundAccount(name: string): StoredAccount | undefined {
    const id = this.#ids.find(name)
    try {
      return id === undefined ? undefined : this.#read(id)
    } catch {
      // A caller that asks for that one by its name is told.
      return undefined
    }
  }

  /** Reads accounts until it finds another one: only when one who is an administrator is to be none any more. */
  #isLast(account: StoredAccount): boolean {
    if (!isAdministrator(account)) return false
    for (const { value } of this.#accounts.findRange()) {
      if (value.id !== account.id && isAdministrator(value)) return false
    }
    return true
  }

  async count(): Promise<number> {
    return this.#accounts.raw.getCount()
  }

  /**
   * After a salvage: names of accounts that are lost are free again, and those of accounts that are there are taken.
   */
  #rebuildNames(): void {
    this.#commits.demandRoom()
    this.#root.transactionSync(() => {
      for (const name of [...this.#ids.getKeys()]) this.#ids.remove(name)
      for (const { key, value } of this.#accounts.findRange()) this.#ids.put(value.nameKey, key)
      this.#accounts.markRepaired()
      this.#ids.markRepaired()
    })
  }

  #read(id: string): StoredAccount | undefined {
    return this.#accounts.has(id) ? checkedAccount(id, () => this.#accounts.get(id)) : undefined
  }

  async #durably<T>(change: () => T): Promise<T> {
    return this.#commits.write(async () => {
      const result = await this.#root.transaction(change)
      await this.#root.flushed
      return result
    })
  }
}
