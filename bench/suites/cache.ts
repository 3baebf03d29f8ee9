import { setImmediate as turn } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { LRUCache } from 'lru-cache'
import type { Cache } from '../../plugins/cache/index.ts'
import type { RedisStorage } from '../../plugins/storage/index.ts'
import type { Contender, Context, Suite } from '../harness.ts'
import { startRedisOverTcp } from '../tools/redis-server.ts'
import { callsPerSecond } from '../tools/timing.ts'
import { inMemory, openOurs, openRedis } from './cache/contenders.ts'
import { memory } from './cache/memory.ts'
import { deletedWhileLoading } from './cache/races.ts'

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
    // As a server would now and then: promises alone would keep everybody else from being heard.
    await turn()
  }
  return { value: (calls * 1_000) / (performance.now() - started), faults: { wrong } }
}

/** Answers per second, a hundred at a time. */
async function inHundreds(
  ask: (keys: string[]) => Promise<unknown[]>,
  time: number,
): Promise<{ value: number; faults: { wrong: number } }> {
  let calls = 0
  let wrong = 0
  const started = performance.now()
  while (performance.now() - started < time) {
    for (let start = 0; start < KEYS.length; start += 100) {
      const keys = KEYS.slice(start, start + 100)
      const values = (await ask(keys)) as ({ id: string } | undefined)[]
      keys.forEach((key, i) => {
        if (values[i]?.id !== key) wrong++
      })
      calls += keys.length
    }
  }
  return { value: (calls * 1_000) / (performance.now() - started), faults: { wrong } }
}

const atOnce = (call: (key: string) => Promise<unknown>, time: number) =>
  inHundreds((keys) => Promise.all(keys.map(call)), time)

async function inBatches(ask: (keys: string[]) => Promise<unknown[]>, time: number) {
  const { value, faults } = await inHundreds(ask, time)
  return { value: value / 100, faults }
}

/** Ours with all keys in it. */
async function filled(context: Context, redis?: RedisStorage, tagged = false): Promise<Cache> {
  const cache = await openOurs(context, redis)
  for (const key of KEYS) await cache.set(key, userOf(key), tagged ? { tags: ['users', key] } : {})
  return cache
}

const getOrSet: Contender[] = [
  ...inMemory.map(
    ({ name, role, packages = [], open }): Contender => ({
      name,
      role,
      packages,
      async setup(context) {
        const subject = await open(context)
        return () => inTurn((key) => subject.getOrSet(key, () => userOf(key)), ms(context))
      },
    }),
  ),
  {
    name: 'fastify-stateful, tagged, before Redis',
    role: 'peer',
    async setup(context) {
      const redis = await openRedis(context)
      const cache = await filled(context, redis, true)
      return async () => {
        const before = await readsOf(redis)
        const { value, faults } = await inTurn((key) => cache.getOrSet(key, () => userOf(key)), ms(context))
        return { value, faults: { ...faults, 'round trips': (await readsOf(redis)) - before } }
      }
    },
  },
]

/** Commands that read entries or stamps, as the server has counted them; the beat of coherence reads neither. */
async function readsOf({ client }: RedisStorage): Promise<number> {
  const stats = await client.info('commandstats')
  const calls = [...stats.matchAll(/cmdstat_m?get:calls=(\d+)/g)]
  return calls.reduce((sum, [, count]) => sum + Number(count), 0)
}

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
      const cache = await filled(context)
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

/** The plain driver with its own settings. */
async function rawRedis(context: Context) {
  const client = new Redis(await startRedisOverTcp(context))
  context.teardown(() => client.disconnect())
  for (const key of KEYS) await client.set(key, JSON.stringify(userOf(key)))
  return client
}

const parse = (text: string | null): unknown => (text === null ? undefined : JSON.parse(text))

/** Each read of ours goes to Redis and into the first level, which keeps it for too short a time to answer the next. */
async function fromRedis(context: Context): Promise<Cache> {
  const options = { l1: { ttl: 0.000_001 } }
  const cache = await openOurs(context, await openRedis(context), options)
  for (const key of KEYS) await cache.set(key, userOf(key))
  return cache
}

/** What was answered by the first level after all was not measured. */
async function withoutL1(cache: Cache, measure: () => ReturnType<typeof inTurn>) {
  const before = cache.stats().l1Hits
  const { value, faults } = await measure()
  return { value, faults: { ...faults, 'from memory': cache.stats().l1Hits - before } }
}

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
    name: 'fastify-stateful get',
    role: 'ours',
    async setup(context) {
      const cache = await fromRedis(context)
      return () => withoutL1(cache, () => atOnce((key) => cache.get(key), ms(context)))
    },
  },
  {
    name: 'fastify-stateful getOrSet',
    role: 'peer',
    async setup(context) {
      const cache = await fromRedis(context)
      const load = () => ({ id: 'loaded' })
      return () => withoutL1(cache, () => atOnce((key) => cache.getOrSet(key, load), ms(context)))
    },
  },
]

const many: Contender[] = [
  {
    name: 'ioredis MGET + JSON.parse',
    role: 'limit',
    async setup(context) {
      const client = await rawRedis(context)
      return () => inBatches(async (keys) => (await client.mget(keys)).map(parse), ms(context))
    },
  },
  {
    name: 'fastify-stateful getMany',
    role: 'ours',
    async setup(context) {
      const cache = await fromRedis(context)
      return () =>
        withoutL1(cache, () => inBatches(async (keys) => [...(await cache.getMany(keys)).values()], ms(context)))
    },
  },
]

const suite: Suite = {
  name: 'cache',
  description:
    'Reading what is cached: 1,000 small objects. `getOrSet` and `peek` are answered in memory, one call after the ' +
    'other; the reads of the second level go to a Redis over TCP, and their limit is its client with its defaults and ' +
    'without a cache. `round trips` are reads that reached Redis although the value was in memory. The races show who still ' +
    'serves what was deleted (`stale`).',
  cases: [
    { name: 'getOrSet, in memory', unit: 'calls/s', better: 'higher', contenders: getOrSet },
    { name: 'peek, in memory', unit: 'calls/s', better: 'higher', contenders: peek },
    { name: 'from Redis, 100 at once', unit: 'reads/s', better: 'higher', contenders: l2 },
    { name: 'getMany(100) from Redis', unit: 'batches/s', better: 'higher', contenders: many },
    deletedWhileLoading,
    memory,
  ],
}

export default suite
