import { createCache } from 'async-cache-dedupe'
import { BentoCache, bentostore } from 'bentocache'
import { memoryDriver } from 'bentocache/drivers/memory'
import { createCache as createCacheManager } from 'cache-manager'
import { Cacheable } from 'cacheable'
import { LRUCache } from 'lru-cache'
import { Cache, cacheParts } from '../../plugins/cache/index.ts'
import { openStorage, type RedisStorage } from '../../plugins/storage/index.ts'
import type { Contender, Context, Suite } from '../harness.ts'
import { startRedis } from '../tools/redis-server.ts'
import { callsPerSecond } from '../tools/timing.ts'

const KEYS = Array.from({ length: 1_000 }, (_, i) => `user:${i}`)
const keyAt = (index: number): string => KEYS[index % KEYS.length] as string
const userOf = (key: string) => ({ id: key, name: `The name of ${key}`, roles: ['reader', 'writer'], visits: 7 })
const ms = ({ quick }: Context): number => (quick ? 50 : 400)

/** Calls per second, one after the other; the clock is read once a thousand. Each result is checked to be ours. */
async function inTurn(
  call: (key: string) => unknown,
  time: number,
): Promise<{ value: number; faults: { wrong: number } }> {
  let calls = 0
  let wrong = 0
  const started = performance.now()
  while (performance.now() - started < time) {
    for (const key of KEYS) {
      const value = (await call(key)) as { id: string } | undefined
      if (value?.id !== key) wrong++
    }
    calls += KEYS.length
  }
  return { value: (calls * 1_000) / (performance.now() - started), faults: { wrong } }
}

/** The same with a hundred in flight. */
async function atOnce(
  call: (key: string) => Promise<unknown>,
  time: number,
): Promise<{ value: number; faults: { wrong: number } }> {
  let calls = 0
  let wrong = 0
  const started = performance.now()
  while (performance.now() - started < time) {
    for (let round = 0; round < 10; round++) {
      const keys = KEYS.slice(round * 100, round * 100 + 100)
      const values = (await Promise.all(keys.map(call))) as ({ id: string } | undefined)[]
      values.forEach((value, i) => {
        if (value?.id !== keys[i]) wrong++
      })
      calls += keys.length
    }
  }
  return { value: (calls * 1_000) / (performance.now() - started), faults: { wrong } }
}

async function openRedis(context: Context): Promise<RedisStorage> {
  const path = await startRedis(context)
  return (await openStorage({ url: 'redis://localhost', redis: { path } })) as RedisStorage
}

async function ours(context: Context, options: { redis?: boolean; tags?: boolean; l1?: boolean } = {}): Promise<Cache> {
  const { redis = false, tags = false, l1 = true } = options
  const storage = redis ? await openRedis(context) : await openStorage('memory:')
  const settings = l1 ? {} : { l1: { ttl: 0.000_001 } }
  const cache = new Cache(cacheParts(storage, settings), settings)
  await cache.start()
  for (const key of KEYS) await cache.set(key, userOf(key), tags ? { tags: ['users', key] } : {})
  context.teardown(async () => {
    await cache.close()
    await storage.close()
  })
  return cache
}

const getOrSet: Contender[] = [
  {
    name: 'lru-cache fetch',
    role: 'limit',
    packages: ['lru-cache'],
    async setup(context) {
      const lru = new LRUCache<string, object>({ max: 10_000, ttl: 300_000, fetchMethod: (key) => userOf(key) })
      return () => inTurn((key) => lru.fetch(key), ms(context))
    },
  },
  {
    name: 'fastify-stateful',
    role: 'ours',
    async setup(context) {
      const cache = await ours(context)
      return () => inTurn((key) => cache.getOrSet(key, () => userOf(key)), ms(context))
    },
  },
  {
    name: 'fastify-stateful, tagged',
    role: 'ours',
    async setup(context) {
      const cache = await ours(context, { tags: true })
      return () => inTurn((key) => cache.getOrSet(key, () => userOf(key)), ms(context))
    },
  },
  {
    name: 'bentocache',
    role: 'peer',
    packages: ['bentocache'],
    async setup(context) {
      const driver = memoryDriver({ maxItems: 10_000, serialize: false })
      const cache = new BentoCache({ default: 'm', stores: { m: bentostore().useL1Layer(driver) } })
      context.teardown(() => cache.disconnectAll())
      return () => inTurn((key) => cache.getOrSet({ key, ttl: '5m', factory: () => userOf(key) }), ms(context))
    },
  },
  {
    name: 'cacheable',
    role: 'peer',
    packages: ['cacheable'],
    async setup(context) {
      const cache = new Cacheable({ ttl: '5m' })
      context.teardown(() => cache.disconnect())
      return () => inTurn((key) => cache.getOrSet(key, async () => userOf(key)), ms(context))
    },
  },
  {
    name: 'cache-manager',
    role: 'peer',
    packages: ['cache-manager'],
    async setup(context) {
      const cache = createCacheManager({ ttl: 300_000 })
      return () => inTurn((key) => cache.wrap(key, async () => userOf(key)), ms(context))
    },
  },
  {
    name: 'async-cache-dedupe',
    role: 'peer',
    packages: ['async-cache-dedupe'],
    async setup(context) {
      const cache = createCache({ ttl: 300, storage: { type: 'memory', options: { size: 10_000 } } }).define(
        'user',
        async (key: string) => userOf(key),
      )
      return () => inTurn((key) => cache.user(key), ms(context))
    },
  },
]

const peek: Contender[] = [
  {
    name: 'Map.get',
    role: 'limit',
    setup(context) {
      const map = new Map(KEYS.map((key) => [key, userOf(key)]))
      return () => ({ value: callsPerSecond((i) => map.get(keyAt(i)), ms(context)), faults: { wrong: 0 } })
    },
  },
  {
    name: 'fastify-stateful peek',
    role: 'ours',
    async setup(context) {
      const cache = await ours(context)
      return () => ({ value: callsPerSecond((i) => cache.peek(keyAt(i)), ms(context)), faults: { wrong: 0 } })
    },
  },
  {
    name: 'lru-cache get',
    role: 'peer',
    packages: ['lru-cache'],
    setup(context) {
      const lru = new LRUCache<string, object>({ max: 10_000, ttl: 300_000 })
      for (const key of KEYS) lru.set(key, userOf(key))
      return () => ({ value: callsPerSecond((i) => lru.get(keyAt(i)), ms(context)), faults: { wrong: 0 } })
    },
  },
]

/** The client that our storage opens: the difference that is measured is ours, not that of two versions of ioredis. */
async function rawRedis(context: Context) {
  const storage = await openRedis(context)
  for (const key of KEYS) await storage.client.set(key, JSON.stringify(userOf(key)))
  context.teardown(() => storage.close())
  return storage.client
}

const parse = (text: string | null): unknown => (text === null ? undefined : JSON.parse(text))

const l2: Contender[] = [
  {
    name: 'ioredis GET + JSON.parse',
    role: 'limit',
    async setup(context) {
      const client = await rawRedis(context)
      return () => atOnce(async (key) => parse(await client.get(key)), ms(context))
    },
  },
  {
    name: 'fastify-stateful',
    role: 'ours',
    async setup(context) {
      const cache = await ours(context, { redis: true, l1: false })
      return () => atOnce((key) => cache.get(key), ms(context))
    },
  },
]

const many: Contender[] = [
  {
    name: 'ioredis MGET + JSON.parse',
    role: 'limit',
    async setup(context) {
      const client = await rawRedis(context)
      const keys = KEYS.slice(0, 100)
      return () =>
        inTurn(async (key) => ({ id: (await client.mget(keys)).map(parse).length === 100 ? key : '' }), ms(context))
    },
  },
  {
    name: 'fastify-stateful getMany',
    role: 'ours',
    async setup(context) {
      const cache = await ours(context, { redis: true, l1: false })
      const keys = KEYS.slice(0, 100)
      return () => inTurn(async (key) => ({ id: (await cache.getMany(keys)).size === 100 ? key : '' }), ms(context))
    },
  },
]

const suite: Suite = {
  name: 'cache',
  description:
    'Reading what is cached: 1,000 small objects. `getOrSet` and `peek` are answered by the first level, one call after ' +
    'the other; the second level is a Redis on a Unix socket, with the first level switched off.',
  cases: [
    { name: 'getOrSet, in memory', unit: 'calls/s', better: 'higher', contenders: getOrSet },
    { name: 'peek, in memory', unit: 'calls/s', better: 'higher', contenders: peek },
    { name: 'get from Redis, 100 at once', unit: 'reads/s', better: 'higher', contenders: l2 },
    { name: 'getMany(100) from Redis', unit: 'batches/s', better: 'higher', contenders: many },
  ],
}

export default suite
