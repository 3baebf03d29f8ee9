import { createCache } from 'async-cache-dedupe'
import { BentoCache, bentostore } from 'bentocache'
import { memoryDriver } from 'bentocache/drivers/memory'
import { createCache as createCacheManager } from 'cache-manager'
import { Cacheable } from 'cacheable'
import { Loader } from 'layered-loader'
import { LRUCache } from 'lru-cache'
import { Cache, type CacheOptions, cacheParts } from '../../../plugins/cache/index.ts'
import { openStorage, type RedisStorage } from '../../../plugins/storage/index.ts'
import type { Contender, Context } from '../../harness.ts'
import { startRedisOverTcp } from '../../tools/redis-server.ts'

export type Load = () => object | Promise<object>

/** What all of them can do. */
export interface Subject {
  getOrSet(key: string, load: Load): Promise<unknown>
  delete(key: string): unknown
}

export interface Opener extends Pick<Contender, 'name' | 'role' | 'packages'> {
  open(context: Context): Subject | Promise<Subject>
}

export async function openRedis(context: Context): Promise<RedisStorage> {
  const storage = await openStorage(await startRedisOverTcp(context))
  context.teardown(() => storage.close())
  return storage as RedisStorage
}

export async function openOurs(context: Context, redis?: RedisStorage, options: CacheOptions = {}): Promise<Cache> {
  const cache = new Cache(await cacheParts(redis ?? (await openStorage('memory:')), options), options)
  await cache.start()
  context.teardown(() => cache.close())
  return cache
}

const MAX = 10_000
const TTL = 300_000

/** Loaders that are fixed when the cache is made run the one of the latest call. */
function late(): { load: Load; run: () => Promise<object> } {
  const current = { load: (): object | Promise<object> => ({}), run: async () => current.load() }
  return current
}

/** In memory alone, each as its documentation shows it. */
export const inMemory: Opener[] = [
  {
    name: 'lru-cache fetch',
    role: 'limit',
    packages: ['lru-cache'],
    open() {
      const cache = new LRUCache<string, object, Load>({
        max: MAX,
        ttl: TTL,
        fetchMethod: (_key, _old, { context }) => context(),
      })
      return { getOrSet: (key, context) => cache.fetch(key, { context }), delete: (key) => cache.delete(key) }
    },
  },
  { name: 'fastify-stateful', role: 'ours', open: (context) => openOurs(context) },
  {
    name: 'bentocache',
    role: 'peer',
    packages: ['bentocache'],
    open(context) {
      const driver = memoryDriver({ maxItems: MAX, serialize: false })
      const cache = new BentoCache({ default: 'm', stores: { m: bentostore().useL1Layer(driver) } })
      context.teardown(() => cache.disconnectAll())
      return {
        getOrSet: (key, factory) => cache.getOrSet({ key, ttl: TTL, factory }),
        delete: (key) => cache.delete({ key }),
      }
    },
  },
  {
    name: 'cacheable',
    role: 'peer',
    packages: ['cacheable'],
    open(context) {
      const cache = new Cacheable({ ttl: TTL })
      context.teardown(() => cache.disconnect())
      return { getOrSet: (key, load) => cache.getOrSet(key, async () => load()), delete: (key) => cache.delete(key) }
    },
  },
  {
    name: 'cache-manager',
    role: 'peer',
    packages: ['cache-manager'],
    open() {
      const cache = createCacheManager({ ttl: TTL })
      return { getOrSet: (key, load) => cache.wrap(key, async () => load()), delete: (key) => cache.del(key) }
    },
  },
  {
    name: 'async-cache-dedupe',
    role: 'peer',
    packages: ['async-cache-dedupe'],
    open() {
      const current = late()
      const cache = createCache({ ttl: TTL / 1_000, storage: { type: 'memory', options: { size: MAX } } }).define(
        'user',
        (_key: string) => current.run(),
      )
      return {
        getOrSet(key, load) {
          current.load = load
          return cache.user(key)
        },
        delete: (key) => cache.clear('user', key),
      }
    },
  },
  {
    name: 'layered-loader',
    role: 'peer',
    packages: ['layered-loader'],
    open() {
      const current = late()
      const cache = new Loader<object>({
        inMemoryCache: { cacheType: 'lru-map', ttlInMsecs: TTL, maxItems: MAX },
        dataSources: [{ name: 'source', get: current.run, getMany: async () => [] }],
      })
      return {
        // As its documentation says for what is usually there.
        async getOrSet(key, load) {
          const held = cache.getInMemoryOnly(key)
          if (held !== undefined) return held
          current.load = load
          return cache.get(key)
        },
        delete: (key) => cache.invalidateCacheFor(key),
      }
    },
  },
]
