import {
  type AccountChange,
  type AccountQuery,
  type AccountStore,
  isAdministrator,
  type StoredAccount,
} from '../account-store.ts'

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

  async update(id: string, change: AccountChange): Promise<StoredAccount | undefined | 'taken' | 'last'> {
    const account = this.#accounts.get(id)
    if (!account) return undefined
    const { nameKey = account.nameKey } = change
    if ((this.#ids.get(nameKey) ?? id) !== id) return 'taken'
    const changed = { ...account, ...change }
    if (!isAdministrator(changed) && this.#isLast(account)) return 'last'
    this.#ids.delete(account.nameKey)
    this.#ids.set(nameKey, id)
    this.#accounts.set(id, changed)
    return { ...changed }
  }

  async delete(id: string): Promise<boolean | 'last'> {
    const account = this.#accounts.get(id)
    if (!account) return false
    if (this.#isLast(account)) return 'last'
    this.#ids.delete(account.nameKey)
    return this.#accounts.delete(id)
  }

  async list({ prefix, after, limit }: AccountQuery): Promise<StoredAccount[]> {
    const behind = after === undefined ? undefined : Buffer.from(after)
    return Array.from(this.#ids, ([name, id]) => ({ name, bytes: Buffer.from(name), id }))
      .filter(({ name, bytes }) => name.startsWith(prefix) && (!behind || bytes.compare(behind) > 0))
      .sort((a, b) => a.bytes.compare(b.bytes))
      .slice(0, limit)
      .map(({ id }) => ({ ...(this.#accounts.get(id) as StoredAccount) }))
  }

  #isLast(account: StoredAccount): boolean {
    if (!isAdministrator(account)) return false
    for (const other of this.#accounts.values()) if (other.id !== account.id && isAdministrator(other)) return false
    return true
  }

  async count(): Promise<number> {
    return this.#accounts.size
  }
}
