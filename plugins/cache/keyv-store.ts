import { EventEmitter } from 'node:events'
import type { CacheNamespace } from './namespace.ts'

/** For ever, as Keyv means it: no entry outlives its stamp anyway. */
const FOR_EVER = 30 * 24 * 3_600_000

/**
 * A storage adapter for Keyv 5 over a namespace of the cache, and so for whatever takes Keyv stores. Keyv's own
 * namespaces are part of its keys; `clear` of one of them removes its keys, `clear` without one the whole namespace.
 */
export class KeyvStore extends EventEmitter {
  /** Set by Keyv. */
  namespace: string | undefined
  readonly opts: Record<string, unknown> = {}
  readonly #cache: CacheNamespace

  constructor(cache: CacheNamespace) {
    super()
    this.#cache = cache
  }

  get<T>(key: string): Promise<T | undefined> {
    return this.#cache.get<T>(key)
  }

  async getMany<T>(keys: string[]): Promise<(T | undefined)[]> {
    const found = await this.#cache.getMany<T>(keys)
    return keys.map((key) => found.get(key))
  }

  /** `undefined` cannot be told from a miss: setting it deletes. */
  async set(key: string, value: unknown, ttl?: number): Promise<boolean> {
    if (value === undefined) {
      await this.#cache.delete(key)
      return true
    }
    if (ttl !== undefined && ttl < 0) return false
    await this.#cache.set(key, value, { ttl: ttl === undefined || ttl === 0 ? FOR_EVER : ttl })
    return true
  }

  async setMany(entries: { key: string; value: unknown; ttl?: number }[]): Promise<boolean[]> {
    return Promise.all(entries.map(({ key, value, ttl }) => this.set(key, value, ttl)))
  }

  async delete(key: string): Promise<boolean> {
    return (await this.#cache.delete(key)) > 0
  }

  async deleteMany(keys: string[]): Promise<boolean> {
    return (await this.#cache.delete(keys)) > 0
  }

  async has(key: string): Promise<boolean> {
    return (await this.#cache.get(key)) !== undefined
  }

  async hasMany(keys: string[]): Promise<boolean[]> {
    return (await this.getMany(keys)).map((value) => value !== undefined)
  }

  async clear(): Promise<void> {
    // What a pattern takes for a wildcard stands for itself at least.
    if (this.namespace === undefined) await this.#cache.clear()
    else await this.#cache.deleteMatching(`${this.namespace}:*`)
  }

  /** The cache is the application's: nothing to end here. */
  async disconnect(): Promise<void> {}
}
