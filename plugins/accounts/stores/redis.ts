import { evenWhenFull, notWhenFull, RedisScript } from '../../storage/redis/script.ts'
import type { RedisStorage } from '../../storage/storage.ts'
import { StorageCorruptError } from '../../support/errors.ts'
import {
  type AccountChange,
  type AccountQuery,
  type AccountStore,
  checkedAccount,
  isAdministrator,
  type StoredAccount,
} from '../account-store.ts'

const createScript = RedisScript.fromFile(new URL('./create.lua', import.meta.url), notWhenFull)
const updateScript = RedisScript.fromFile(new URL('./update.lua', import.meta.url), notWhenFull)
const deleteScript = RedisScript.fromFile(new URL('./delete.lua', import.meta.url), evenWhenFull)
const listScript = RedisScript.fromFile(new URL('./list.lua', import.meta.url), evenWhenFull)
const indexScript = RedisScript.fromFile(new URL('./index.lua', import.meta.url), notWhenFull)

/** Accounts that one run of the script puts into the indexes. */
const INDEXED_AT_ONCE = 200
/** Another instance may be at the same. */
const ATTEMPTS = 5

/**
 * Accounts on Redis, shared by instances: a hash for each account, one of ids by name, one of the administrators who
 * can log in, and the names in order. All lie in one slot, because the uniqueness of names, and that an administrator
 * is left, span them.
 */
export class RedisAccountStore implements AccountStore {
  readonly #client: RedisStorage['client']
  readonly #prefix: string
  readonly #names: string
  readonly #administrators: string
  readonly #ordered: string

  constructor(storage: Pick<RedisStorage, 'client' | 'prefix'>) {
    this.#client = storage.client
    this.#prefix = `${storage.prefix}{accounts}:`
    this.#names = `${this.#prefix}names`
    this.#administrators = `${this.#prefix}administrators`
    this.#ordered = `${this.#prefix}ordered`
  }

  async get(id: string): Promise<StoredAccount | undefined> {
    return toAccount(id, await this.#client.hgetall(this.#account(id)))
  }

  async findByName(nameKey: string): Promise<StoredAccount | undefined> {
    const id = await this.#client.hget(this.#names, nameKey)
    return id === null ? undefined : this.get(id)
  }

  async create(account: StoredAccount): Promise<boolean> {
    const args = [account.id, account.nameKey, isAdministrator(account) ? 1 : 0, ...pairs(account)]
    return (await createScript.run(this.#client, this.#keys(account.id), args)) === 1
  }

  async update(id: string, change: AccountChange): Promise<StoredAccount | undefined | 'taken' | 'last'> {
    const args = [id, change.nameKey ?? '', ...pairs(change)]
    const result = await this.#indexed(() => updateScript.run(this.#client, this.#keys(id), args))
    if (result === 'taken' || result === 'last') return result
    if (result === 'missing') return undefined
    const flat = result as string[]
    return toAccount(
      id,
      Object.fromEntries(flat.flatMap((name, index) => (index % 2 === 0 ? [[name, flat[index + 1] ?? '']] : []))),
    )
  }

  async delete(id: string): Promise<boolean | 'last'> {
    const result = await this.#indexed(() => deleteScript.run(this.#client, this.#keys(id), [id]))
    return result === 'last' ? 'last' : result === 'deleted'
  }

  async list({ prefix, after, limit }: AccountQuery): Promise<StoredAccount[]> {
    const found: StoredAccount[] = []
    for (let last = after; ; ) {
      const wanted = limit - found.length
      const names = await this.#page(prefix, last, wanted)
      const ids = names.splice(names.length / 2)
      const accounts = await Promise.all(ids.map((id) => this.#sound(id)))
      found.push(...accounts.filter((account) => account !== undefined))
      last = names.at(-1)
      if (names.length < wanted || found.length === limit) return found
    }
  }

  /** @returns names, then as many ids */
  async #page(prefix: string, after: string | undefined, limit: number): Promise<string[]> {
    const behind = after !== undefined && Buffer.compare(Buffer.from(after), Buffer.from(prefix)) >= 0
    const first = behind ? `(${after}` : prefix === '' ? '-' : `[${prefix}`
    // 0xff is in no UTF-8: above everything that begins with the prefix.
    const last = prefix === '' ? '+' : Buffer.concat([Buffer.from(`(${prefix}`), Buffer.of(0xff)])
    const keys = [this.#names, this.#ordered]
    return (await this.#indexed(() => listScript.run(this.#client, keys, [first, last, limit]))) as string[]
  }

  async #sound(id: string): Promise<StoredAccount | undefined> {
    try {
      return await this.get(id)
    } catch (error) {
      // A caller that asks for that one by its name is told.
      if (error instanceof StorageCorruptError) return undefined
      throw error
    }
  }

  count(): Promise<number> {
    return this.#client.hlen(this.#names)
  }

  /** Runs a script that needs the indexes, and makes them first where an earlier version has kept none. */
  async #indexed(run: () => Promise<unknown>): Promise<unknown> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const result = await run()
      if (result !== 'unindexed') return result
      await this.#index()
    }
    throw new StorageCorruptError('the index of accounts does not fit them', 'Remove the key that ends in `ordered`.')
  }

  async #index(): Promise<void> {
    const [names, ordered] = await Promise.all([
      this.#client.hgetall(this.#names),
      this.#client.call('zrange', [this.#ordered, 0, -1]) as Promise<string[]>,
    ])
    const entries = Object.entries(names)
    for (const name of ordered) if (!Object.hasOwn(names, name)) entries.push([name, ''])
    for (let start = 0; start < entries.length; start += INDEXED_AT_ONCE) {
      const part = entries.slice(start, start + INDEXED_AT_ONCE)
      const accounts = part.map(([, id]) => this.#account(id))
      await indexScript.run(this.#client, [this.#names, this.#administrators, this.#ordered, ...accounts], part.flat())
    }
  }

  #keys(id: string): string[] {
    return [this.#account(id), this.#names, this.#administrators, this.#ordered]
  }

  #account(id: string): string {
    return `${this.#prefix}account:${id}`
  }
}

function toAccount(id: string, record: Record<string, string>): StoredAccount | undefined {
  if (Object.keys(record).length === 0) return undefined
  const { disabled, ...account } = record
  return checkedAccount(id, () => (disabled === undefined ? account : { ...account, disabled: flagOf(disabled) }))
}

/** What is neither is told as it is, and refused. */
function flagOf(text: string): boolean | string {
  return text === 'true' ? true : text === 'false' ? false : text
}

function pairs(fields: AccountChange): string[] {
  return Object.entries(fields).flatMap(([name, value]) => (value === undefined ? [] : [name, `${value}`]))
}
