import type { Database, RootDatabase } from 'lmdb'
import { type AccountChange, type AccountStore, checkedAccount, type StoredAccount } from '../account-store.ts'

/** Accounts in the embedded database. A change is on disk before it is answered. */
export class LmdbAccountStore implements AccountStore {
  readonly #root: RootDatabase
  readonly #accounts: Database<StoredAccount, string>
  readonly #ids: Database<string, string>

  constructor(root: RootDatabase) {
    this.#root = root
    this.#accounts = root.openDB({ name: 'accounts' })
    this.#ids = root.openDB({ name: 'account-names' })
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
      if (this.#accounts.doesExist(account.id) || this.#ids.doesExist(account.nameKey)) return false
      this.#accounts.put(account.id, account)
      this.#ids.put(account.nameKey, account.id)
      return true
    })
  }

  update(id: string, change: AccountChange): Promise<StoredAccount | undefined | 'taken'> {
    return this.#durably(() => {
      const account = this.#read(id)
      if (!account) return undefined
      const { nameKey = account.nameKey } = change
      if ((this.#ids.get(nameKey) ?? id) !== id) return 'taken'
      this.#ids.remove(account.nameKey)
      this.#ids.put(nameKey, id)
      const changed = { ...account, ...change }
      this.#accounts.put(id, changed)
      return changed
    })
  }

  async count(): Promise<number> {
    return this.#accounts.getCount()
  }

  #read(id: string): StoredAccount | undefined {
    return this.#accounts.doesExist(id) ? checkedAccount(id, () => this.#accounts.get(id)) : undefined
  }

  async #durably<T>(change: () => T): Promise<T> {
    const result = await this.#root.transaction(change)
    await this.#root.flushed
    return result
  }
}
