import { EventEmitter } from 'node:events'
import { MAX_DURATION } from '../../support/numbers.ts'
import { hasWildcard } from '../glob.ts'
import type { CacheNamespace } from '../namespace.ts'
import { storedKey } from './stored-key.ts'

/**
 * A storage adapter for Keyv 5 over a namespace of the cache, and so for everything that takes Keyv stores
 * (cache-manager 7, cacheable). Keyv's own namespaces are part of its keys; `clear` of one of them removes its keys,
 * `clear` without one the whole namespace. For Keyv 6 there is `KeyvStore6`.
 *
 * Keys may be any text: those that the cache does not take (empty, longer than 512 bytes, not well-formed) lie under
 * their hash, which is also what the iterator tells of them. Reads never fail because of the store; what changes
 * it rejects with STATEFUL_CACHE_STORE_UNAVAILABLE unless the store has confirmed.
 *
 * @example
 * const keyv = new Keyv({ store: new KeyvStore(app.cache.namespace('keyv')), namespace: 'users' })
 * await keyv.set('1', { name: 'Ada' }, 60_000)
 */
export class KeyvStore extends EventEmitter {
  /**
   * Set by Keyv 5, whose keys begin with it. Until then it is not there at all: by that Keyv 6, whose keys do not, sees
   * that it has to put it before them itself.
   */
  declare namespace: string | undefined
  /** Keyv iterates over stores of a few dialects only, which it knows by name. */
  readonly opts: Record<string, unknown> = { dialect: 'redis', url: '' }
  readonly #cache: CacheNamespace

  constructor(cache: CacheNamespace) {
    super()
    this.#cache = cache
  }

  get<T>(key: string): Promise<T | undefined> {
    return this.#cache.get<T>(this.#name(key))
  }

  async getMany<T>(keys: string[]): Promise<(T | undefined)[]> {
    const names = keys.map((key) => this.#name(key))
    const found = await this.#cache.getMany<T>(names)
    return names.map((name) => found.get(name))
  }

  /**
   * `undefined` cannot be told from a miss, and a negative `ttl` is over already: both delete. Without a `ttl`, or with
   * 0, the entry has no end.
   * @param ttl milliseconds
   * @throws STATEFUL_INVALID_CACHE_VALUE for functions and symbols
   */
  async set(key: string, value: unknown, ttl?: number): Promise<boolean> {
    await this.setMany([{ key, value, ttl }])
    return true
  }

  /** In one step for each `ttl` that occurs. */
  async setMany(entries: { key: string; value: unknown; ttl?: number | undefined }[]): Promise<boolean[]> {
    // Of entries with the same key the last one counts.
    const last = new Map(entries.map(({ key, value, ttl }) => [this.#name(key), { value, ttl }]))
    const gone: string[] = []
    const byTtl = new Map<number, [key: string, value: unknown][]>()
    for (const [name, { value, ttl = 0 }] of last) {
      if (value === undefined || ttl < 0) {
        gone.push(name)
        continue
      }
      // Keyv has entries without an end, the cache has not: this is the longest that it takes.
      const lasting = ttl === 0 ? MAX_DURATION : Math.min(ttl, MAX_DURATION)
      const group = byTtl.get(lasting) ?? []
      group.push([name, value])
      byTtl.set(lasting, group)
    }
    await Promise.all([
      gone.length > 0 && this.#cache.delete(gone),
      ...[...byTtl].map(([ttl, values]) => this.#cache.setMany(values, { ttl })),
    ])
    return entries.map(() => true)
  }

  /** Whether it was there. */
  async delete(key: string): Promise<boolean> {
    return (await this.#cache.delete(this.#name(key))) > 0
  }

  /** Whether one of them was there; of none, `true`. */
  async deleteMany(keys: string[]): Promise<boolean> {
    if (keys.length === 0) return true
    return (await this.#cache.delete(keys.map((key) => this.#name(key)))) > 0
  }

  async has(key: string): Promise<boolean> {
    return (await this.get(key)) !== undefined
  }

  async hasMany(keys: string[]): Promise<boolean[]> {
    return (await this.getMany(keys)).map((value) => value !== undefined)
  }

  async clear(): Promise<void> {
    const { namespace } = this
    if (!namespace) return this.#cache.clear()
    if (!hasWildcard(namespace)) {
      await this.#cache.deleteMatching(`${namespace}:*`)
      return
    }
    // As a pattern its name would reach others.
    for await (const keys of this.#cache.keys()) {
      const own = keys.filter((key) => key.startsWith(`${namespace}:`))
      if (own.length > 0) await this.#cache.delete(own)
    }
  }

  /**
   * What is there, in no order. Entries that come or go meanwhile may be missing.
   * @param namespace default: all
   */
  async *iterator<T>(namespace?: string): AsyncGenerator<[key: string, value: T], void> {
    const start = namespace ? `${namespace}:` : ''
    const seen = new Set<string>()
    for await (const keys of this.#cache.keys()) {
      const fresh = keys.filter((key) => key.startsWith(start) && !seen.has(key))
      for (const key of fresh) seen.add(key)
      yield* await this.#cache.getMany<T>(fresh)
    }
  }

  /** The cache is the application's: nothing to end here. */
  async disconnect(): Promise<void> {}

  #name(key: string): string {
    const { namespace } = this
    // Where `clear` and the iterator find it.
    return storedKey(key, namespace && key.startsWith(`${namespace}:`) ? `${namespace}:` : '')
  }
}
