import type { AccountChange, AccountStore, StoredAccount } from '../account-store.ts'

/** Accounts of this process. Synchronous inside, so that every method is one atomic step. */
export class MemoryAccountStore implements AccountStore {
  readonly #accounts = new Map<string, StoredAccount>()
  readonly #ids = new Map<string, string>()

  async get(id: string): Promise<StoredAccount | undefined> {
    const account = this.#accounts.get(id)
    return account && { ...account }
  }

  async findByName(nameKey: string): Promise<StoredAccount | undefined> {
    const id = this.#ids.get(nameKey)
    return id === undefined ? undefined : this.get(id)
  }

  async create(account: StoredAccount): Promise<boolean> {
    if (this.#accounts.has(account.id) || this.#ids.has(account.nameKey)) return false
    this.#accounts.set(account.id, { ...account })
    this.#ids.set(account.nameKey, account.id)
    return true
  }

  async update(id: string, change: AccountChange): Promise<StoredAccount | undefined | 'taken'> {
    const account = this.#accounts.get(id)
    if (!account) return undefined
    const { nameKey = account.nameKey } = change
    if ((this.#ids.get(nameKey) ?? id) !== id) return 'taken'
    this.#ids.delete(account.nameKey)
    this.#ids.set(nameKey, id)
    const changed = { ...account, ...change }
    this.#accounts.set(id, changed)
    return { ...changed }
  }

  async count(): Promise<number> {
    return this.#accounts.size
  }
}
