import { MAX_DURATION } from '../../support/numbers.ts'
import { hasWildcard } from '../glob.ts'
import type { CacheNamespace } from '../namespace.ts'
import { storedKey } from './stored-key.ts'

/** Options of {@link unstorageDriver}. */
export interface UnstorageDriverOptions {
  /** Seconds that an item lives for which `setItem` says nothing else. Default: it has no end. */
  ttl?: number
}

/** Of one item, in seconds. */
interface ItemOptions {
  ttl?: number
}

/**
 * A driver for unstorage over a namespace of the cache, and so for what stores with it (Nitro, Nuxt). Keys that the
 * cache does not take (longer than 512 bytes) lie under their hash, behind their base. `getItemRaw` gives back what
 * `setItemRaw` was given: Buffers, typed arrays, plain objects, Maps and everything else that the cache keeps.
 *
 * Reads are misses while Redis is away; what changes the cache rejects with STATEFUL_CACHE_STORE_UNAVAILABLE then.
 * The cache has no events for changes: `watch` hears of those that are made through the same `createStorage`.
 *
 * @example
 * const storage = createStorage({ driver: unstorageDriver(app.cache.namespace('items')) })
 * await storage.setItem('users:1', { name: 'Ada' }, { ttl: 60 })
 */
export function unstorageDriver(cache: CacheNamespace, options: UnstorageDriverOptions = {}) {
  const get = async (key: string): Promise<unknown> => (await cache.get(itemKey(key))) ?? null
  const set = (key: string, value: unknown, item?: ItemOptions) =>
    cache.set(itemKey(key), value, { ttl: lifetimeOf(item?.ttl ?? options.ttl) })

  /** Keys that are there, a batch at a time. */
  async function* keysOf(base: string): AsyncGenerator<string[], void> {
    for await (const keys of cache.keys()) {
      const own = keys.filter((key) => key.startsWith(base))
      // One may be past its time.
      if (own.length > 0) yield [...(await cache.getMany(own)).keys()]
    }
  }

  return {
    name: 'fastify-stateful',
    options,
    getInstance: () => cache,
    async hasItem(key: string): Promise<boolean> {
      return (await cache.get(itemKey(key))) !== undefined
    },
    getItem: get as (key: string) => Promise<string | null>,
    getItemRaw: get,
    async getItems(items: { key: string }[]): Promise<{ key: string; value: string | null }[]> {
      const found = await cache.getMany<string>(items.map(({ key }) => itemKey(key)))
      return items.map(({ key }) => ({ key, value: found.get(itemKey(key)) ?? null }))
    },
    setItem: set as (key: string, value: string, item?: ItemOptions) => Promise<void>,
    setItemRaw: set,
    async removeItem(key: string): Promise<void> {
      await cache.delete(itemKey(key))
    },
    /** `size` in bytes, of texts and bytes. */
    async getMeta(key: string): Promise<{ size?: number } | null> {
      const value = await cache.get(itemKey(key))
      if (value === undefined) return null
      if (typeof value === 'string') return { size: Buffer.byteLength(value) }
      return ArrayBuffer.isView(value) ? { size: value.byteLength } : {}
    },
    async getKeys(base = ''): Promise<string[]> {
      const found = new Set<string>()
      for await (const keys of keysOf(base)) for (const key of keys) found.add(key)
      return [...found]
    },
    async clear(base = ''): Promise<void> {
      if (base === '') return cache.clear()
      if (!hasWildcard(base)) {
        await cache.deleteMatching(`${base}*`)
        return
      }
      // As a pattern it would reach others.
      for await (const keys of keysOf(base)) await cache.delete(keys)
    },
    /** The cache is the application's: nothing to end here. */
    dispose(): void {},
  }
}

/** Too long ones stay under their base, where `getKeys` and `clear` find them. */
function itemKey(key: string): string {
  return storedKey(key, key.slice(0, key.lastIndexOf(':') + 1).slice(0, 128))
}

/** As of unstorage's own drivers, 0 is for ever. */
function lifetimeOf(seconds: number | undefined): number {
  return seconds ? Math.min(seconds * 1_000, MAX_DURATION) : MAX_DURATION
}
