/** Metadata of tags, prefixes and namespaces: what its loss costs, and how long it stays. */
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import type { Cache } from '../../../../plugins/cache/index.ts'
import { STAMP_LIFE } from '../../../../plugins/cache/tier/contract.ts'
import { LmdbShelf } from '../../../../plugins/cache/tier/lmdb.ts'
import { LocalTier, type Shelf } from '../../../../plugins/cache/tier/local.ts'
import { MemoryShelf } from '../../../../plugins/cache/tier/memory.ts'
import { encode } from '../../../../plugins/cache/tier/record.ts'
import { openStorage } from '../../../../plugins/storage/index.ts'
import { ManualClock } from '../../../../plugins/support/manual-clock.ts'
import { openFolder } from '../../../fixtures/data-folder.ts'
import { eventually } from '../../../fixtures/eventually.ts'
import { startRedis } from '../../../fixtures/redis-server.ts'
import { storageUrl, temporaryFolder } from '../../../fixtures/storages.ts'
import { deferred, startCache } from '../fixture.ts'
import { Stage } from '../staged-store.ts'

const lost: [what: string, name: string, redisKey: string, key: (n: number) => string, tags: string[]][] = [
  ['a tag', 't:x', 's:t:x', (n) => `k${n}`, ['x']],
  ['a declared prefix', 'p:user:', 's:p:user:', (n) => `user:${n}`, []],
  ['the namespace', '', 'h', (n) => `k${n}`, []],
]

/** Calls ask for a key many times; answers how often its loader ran. */
async function loadsOf(cache: Cache, key: string, tags: string[]): Promise<number> {
  let loads = 0
  for (let call = 0; call < 50; call++) await cache.getOrSet(key, () => ++loads, { tags, ttl: '1h' })
  return loads
}

/** What the loss costs: on the instance that knew the stamp, on another that knew it, on one that did not. */
async function costs(
  t: Test,
  what: string,
  instances: Cache[],
  lose: () => unknown,
  key: (n: number) => string,
  tags: string[],
) {
  const [a, b, late] = instances as [Cache, Cache, Cache]
  for (const cache of [a, b]) t.ok((await loadsOf(cache, key(1), tags)) <= 1, `${what}: before`)
  await lose()
  t.equal(await loadsOf(a, key(20), tags), 1, `${what}: stored under a new stamp`)
  t.equal(await loadsOf(b, key(20), tags), 0, `${what}: found by who knew the old one`)
  for (const [n, cache] of [a, b, late].entries()) {
    t.equal(await loadsOf(cache, key(10 + n), tags), 1, `${what}: a new key`)
    t.ok((await loadsOf(cache, key(1), tags)) <= 1, `${what}: one that was cached`)
  }
  // What one of them has stored, all of them find.
  for (const cache of [a, b, late]) {
    for (const n of [10, 11, 12]) t.equal(await loadsOf(cache, key(n), tags), 0, `${what}: healed`)
  }
}

t.test('metadata that the store has lost costs one load a key, on every instance', async (t) => {
  for (const [what, name, , key, tags] of lost) {
    const stage = new Stage()
    const options = { prefixes: ['user:'] }
    const instances = await Promise.all([1, 2, 3].map(async () => (await stage.instance(t, options)).cache))
    await costs(t, what, instances, () => stage.loseStamp(name), key, tags)
  }
})

t.test('the same on Redis, when it is evicted', async (t) => {
  const server = await startRedis(t)
  const redis = new Redis(server.port, '127.0.0.1')
  t.teardown(() => redis.disconnect())
  for (const [i, [what, , redisKey, key, tags]] of lost.entries()) {
    const options = { prefixes: ['user:'], warming: { keys: 0 } }
    const open = async () => {
      const storage = await openStorage({ url: server.url, prefix: `case${i}:` })
      const cache = await startCache(t, storage, options)
      t.teardown(() => storage.close())
      return cache
    }
    const instances = await Promise.all([open(), open(), open()])
    const lose = async () => t.equal(await redis.del(`case${i}:cache:{default}:${redisKey}`), 1)
    await costs(t, what, instances, lose, key, tags)
  }
})

t.test('a stamp that is lost while a load runs does not keep its value out, one that is renewed does', async (t) => {
  for (const renewed of [false, true]) {
    const stage = new Stage()
    const { cache } = await stage.instance(t)
    const [started, gate] = [deferred(), deferred()]
    const loading = cache.getOrSet(
      'k',
      async () => {
        started.resolve()
        await gate.promise
        return 'old'
      },
      { tags: ['x'] },
    )
    await started.promise
    if (renewed) await cache.invalidateTags('x')
    stage.loseStamp('t:x')
    gate.resolve()
    t.equal(await loading, 'old')
    t.equal(await cache.get('k'), renewed ? undefined : 'old')
  }
})

t.test('what is only read keeps its stamp as long as it lives', async (t) => {
  const server = await startRedis(t)
  const cache = await startCache(t, server.url, { l1: { ttl: 1 } })
  await cache.set('k', 1, { tags: ['x'], ttl: '1h' })
  const redis = new Redis(server.port, '127.0.0.1')
  t.teardown(() => redis.disconnect())
  const [entry, stamp] = ['v:k', 's:t:x'].map((name) => `fs:cache:{default}:${name}`)
  t.ok((await redis.pttl(stamp as string)) >= (await redis.pttl(entry as string)) - 5)
  await cache.set('short', 1, { tags: ['x'], ttl: 10 })
  await cache.invalidateTags('x')
  t.ok((await redis.pttl(stamp as string)) > 3_000_000, 'it is not shortened')
})

t.test('5,000 short entries with tags of their own leave nothing behind in Redis', async (t) => {
  const server = await startRedis(t)
  const cache = await startCache(t, server.url, { l2: { timeout: '5s' } })
  const redis = new Redis(server.port, '127.0.0.1')
  t.teardown(() => redis.disconnect())
  for (let i = 0; i < 5_000; i += 250) {
    const some = Array.from({ length: 250 }, (_, n) => `k${i + n}`)
    await Promise.all(some.map((key) => cache.set(key, 1, { ttl: 200, tags: [key] })))
  }
  await eventually(async () => (await redis.keys('*:cache:{default}:s:*')).length === 0)
  t.strictSame(await redis.keys('*:cache:{default}:v:*'), [])
})

const shelves: [name: string, open: (t: Test, clock: ManualClock) => Promise<Shelf>][] = [
  ['memory', async (_t, clock) => new MemoryShelf({ maxEntries: 10_000, maxBytes: 2 ** 26 }, clock)],
  [
    'lmdb',
    async (t, clock) => {
      const storage = await openFolder(await temporaryFolder(t))
      t.teardown(() => storage.close())
      return new LmdbShelf(storage, clock, 10_000)
    },
  ],
]
for (const [name, open] of shelves) {
  t.test(`nor on ${name}`, async (t) => {
    const clock = new ManualClock()
    const shelf = await open(t, clock)
    const tier = new LocalTier(name as 'memory', shelf, clock)
    t.teardown(() => tier.close())
    const { generation } = await tier.head('a')
    const keys = Array.from({ length: 5_000 }, (_, i) => `k${i}`)
    const data = encode({ freshUntil: 0, deadAt: 0, cost: 0, stamps: [], value: 1 })
    for (const key of keys) {
      const { values } = await tier.stamps('a', [`t:${key}`])
      void tier.put('a', [{ key, data, ttl: 5_000 }], [[`t:${key}`, values[0] as string]])
    }
    await shelf.settled()
    clock.advance(STAMP_LIFE + 1_000)
    t.ok(shelf.stamp('a', 't:k0'), 'there as long as its entry')
    for (let step = 0; step < 10; step++) {
      clock.advance(60_000)
      await new Promise((resolve) => setImmediate(resolve))
    }
    t.strictSame([...shelf.keys('a')], [])
    t.strictSame(
      keys.filter((key) => shelf.stamp('a', `t:${key}`)),
      [],
    )
    t.equal((await tier.head('a')).generation, generation)
  })
}

t.test('a restart on LMDB keeps tags and what they reach', async (t) => {
  const url = await storageUrl(t, 'lmdb')
  await t.test('before', async (t) => {
    const cache = await startCache(t, url)
    await cache.set('k', 1, { tags: ['x'] })
  })
  const cache = await startCache(t, url)
  t.equal(await cache.get('k'), 1)
  await cache.invalidateTags('x')
  t.equal(await cache.get('k'), undefined)
})
