import { EventEmitter } from 'node:events'
import type { CacheNamespace } from '../namespace.ts'
import { KeyvStore } from './keyv.ts'

/**
 * A storage adapter for Keyv 6 over a namespace of the cache: `KeyvStore` by the contract of this version, which tells
 * when an entry ends instead of how long it lives, leaves namespaces to the store and wants an answer for each key of
 * `deleteMany`. The entries are those of `KeyvStore`: what Keyv 5 has stored is found.
 *
 * @example
 * const keyv = new Keyv({ store: new KeyvStore6(app.cache.namespace('keyv')), namespace: 'users' })
 * await keyv.set('1', { name: 'Ada' }, 60_000)
 */
export class KeyvStore6 extends EventEmitter {
  /** Asked for by Keyv 6, which takes a store without it for one of Keyv 5. */
  readonly capabilities = { expires: true } as const
  readonly #store: KeyvStore

  constructor(cache: CacheNamespace) {
    super()
    this.#store = new KeyvStore(cache)
  }

  /** Set by Keyv. */
  get namespace(): string | undefined {
    return this.#store.namespace
  }

  set namespace(namespace: string | undefined) {
    this.#store.namespace = namespace
  }

  get<T>(key: string): Promise<T | undefined> {
    return this.#store.get<T>(this.#full(key))
  }

  getMany<T>(keys: string[]): Promise<(T | undefined)[]> {
    return this.#store.getMany<T>(this.#all(keys))
  }

  /**
   * @param expires milliseconds since 1970; default: never. What is over already deletes, as `undefined` does.
   * @throws STATEFUL_INVALID_CACHE_VALUE for functions and symbols
   */
  set(key: string, value: unknown, expires?: number): Promise<boolean> {
    return this.#store.set(this.#full(key), value, ttlUntil(expires))
  }

  /** In one step for each end that occurs. */
  setMany(entries: { key: string; value: unknown; expires?: number | undefined }[]): Promise<boolean[]> {
    return this.#store.setMany(
      entries.map(({ key, value, expires }) => ({ key: this.#full(key), value, ttl: ttlUntil(expires) })),
    )
  }

  /** Whether it was there. */
  delete(key: string): Promise<boolean> {
    return this.#store.delete(this.#full(key))
  }

  /** In one step. For each, whether it was there just before. */
  async deleteMany(keys: string[]): Promise<boolean[]> {
    const full = this.#all(keys)
    const there = await this.#store.hasMany(full)
    await this.#store.deleteMany(full)
    return there
  }

  has(key: string): Promise<boolean> {
    return this.#store.has(this.#full(key))
  }

  hasMany(keys: string[]): Promise<boolean[]> {
    return this.#store.hasMany(this.#all(keys))
  }

  /** Of the namespace, nested ones included; without one all that the cache's namespace has. */
  clear(): Promise<void> {
    return this.#store.clear()
  }

  /** What is there, in no order. Entries that come or go meanwhile may be missing. */
  async *iterator<T>(): AsyncGenerator<[key: string, value: T], void> {
    const start = this.#full('')
    for await (const [key, value] of this.#store.iterator<T>(this.namespace)) yield [key.slice(start.length), value]
  }

  /** The cache is the application's: nothing to end here. */
  async disconnect(): Promise<void> {}

  #full(key: string): string {
    return this.namespace ? `${this.namespace}:${key}` : key
  }

  #all(keys: string[]): string[] {
    return keys.map((key) => this.#full(key))
  }
}

/** The cache counts from now; 0 would be for ever. */
function ttlUntil(expires: number | undefined): number | undefined {
  if (expires === undefined) return undefined
  const ttl = expires - Date.now()
  return ttl > 0 ? ttl : -1
}
