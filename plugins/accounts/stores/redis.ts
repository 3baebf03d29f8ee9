import { notWhenFull, RedisScript } from '../../storage/redis/script.ts'
import type { RedisStorage } from '../../storage/storage.ts'
import { type AccountChange, type AccountStore, checkedAccount, type StoredAccount } from '../account-store.ts'

const createScript = RedisScript.fromFile(new URL('./create.lua', import.meta.url), notWhenFull)
const updateScript = RedisScript.fromFile(new URL('./update.lua', import.meta.url), notWhenFull)

/**
 * Accounts on Redis, shared by instances: a hash for each account and one of ids by name. All lie in one slot,
 * because the uniqueness of names spans them.
 */
export class RedisAccountStore implements AccountStore {
  readonly #client: RedisStorage['client']
  readonly #prefix: string

  constructor(storage: Pick<RedisStorage, 'client' | 'prefix'>) {
    this.#client = storage.client
    this.#prefix = `${storage.prefix}{accounts}:`
  }

  async get(id: string): Promise<StoredAccount | undefined> {
    return toAccount(id, await this.#client.hgetall(this.#account(id)))
  }

  async findByName(nameKey: string): Promise<StoredAccount | undefined> {
    const id = await this.#client.hget(this.#names(), nameKey)
    return id === null ? undefined : this.get(id)
  }

  async create(account: StoredAccount): Promise<boolean> {
    const keys = [this.#account(account.id), this.#names()]
    return (await createScript.run(this.#client, keys, [account.id, account.nameKey, ...pairs(account)])) === 1
  }

  async update(id: string, change: AccountChange): Promise<StoredAccount | undefined | 'taken'> {
    const keys = [this.#account(id), this.#names()]
    const result = await updateScript.run(this.#client, keys, [id, change.nameKey ?? '', ...pairs(change)])
    if (result === 'taken') return 'taken'
    if (result === 'missing') return undefined
    const flat = result as string[]
    return toAccount(
      id,
      Object.fromEntries(flat.flatMap((name, index) => (index % 2 === 0 ? [[name, flat[index + 1] ?? '']] : []))),
    )
  }

  count(): Promise<number> {
    return this.#client.hlen(this.#names())
  }

  #account(id: string): string {
    return `${this.#prefix}account:${id}`
  }

  #names(): string {
    return `${this.#prefix}names`
  }
}

function toAccount(id: string, record: Record<string, string>): StoredAccount | undefined {
  return Object.keys(record).length === 0 ? undefined : checkedAccount(id, () => ({ ...record }))
}

function pairs(fields: AccountChange): string[] {
  return Object.entries(fields).flatMap(([name, value]) => (value === undefined ? [] : [name, value]))
}
