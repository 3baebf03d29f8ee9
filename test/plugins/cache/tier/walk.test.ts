/** On Redis a pattern goes through the keys of its namespace, by an index of them, and not through those of the server. */
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import type { CacheOptions } from '../../../../plugins/cache/index.ts'
import { eventually } from '../../../fixtures/eventually.ts'
import { startRedis } from '../../../fixtures/redis-server.ts'
import { deferred, startCache } from '../fixture.ts'

const INDEX = 'fs:cache:{default}:i'
const HEAD = 'fs:cache:{default}:h'

async function open(t: Test, options: CacheOptions = {}) {
  const server = await startRedis(t)
  const redis = new Redis(server.port, '127.0.0.1')
  t.teardown(() => redis.disconnect())
  const start = () => startCache(t, server.url, { warming: { keys: 0 }, ...options })
  return { redis, start, cache: await start() }
}

const keysOf = async (cache: { keys(): AsyncIterable<string[]> }) => {
  const keys = new Set<string>()
  for await (const some of cache.keys()) for (const key of some) keys.add(key)
  return [...keys].sort()
}

t.test('foreign keys, however many, are not looked at', async (t) => {
  const { redis, cache } = await open(t)
  for (let i = 0; i < 50_000; i += 5_000) {
    await redis.mset(Array.from({ length: 5_000 }, (_, n) => [`foreign:${i + n}`, 'x']).flat())
  }
  await cache.setMany(Array.from({ length: 2_000 }, (_, i): [string, number] => [`user:${i}`, i]))
  await cache.setMany(Array.from({ length: 10 }, (_, i): [string, number] => [`post:${i}`, i]))
  await redis.config('RESETSTAT')
  t.equal(await cache.deleteMatching('user:*1'), 200)
  t.equal(await cache.deleteMatching('post:?'), 10)
  t.equal((await keysOf(cache)).length, 1_800)
  const stats = await redis.info('commandstats')
  t.notMatch(stats, /cmdstat_(scan|keys):/)
  const walks = Number(/cmdstat_zscan:calls=(\d+)/.exec(stats)?.[1])
  t.ok(walks > 0 && walks < 50, `${walks} steps`)
  t.equal(await redis.exists('foreign:49999'), 1)
})

t.test('when the index is evicted, a pattern takes everything rather than leave what it matches', async (t) => {
  for (const begunAgain of [false, true]) {
    const { redis, cache, start } = await open(t)
    const other = await start()
    await cache.setMany(['user:1', 'user:2', 'post:1'].map((key) => [key, 'old']))
    t.equal(await other.get('user:1'), 'old')
    t.equal(await redis.del(INDEX), 1)
    if (begunAgain) await cache.set('user:3', 'old')
    await cache.deleteMatching('user:?')
    for (const key of ['user:1', 'user:2', 'user:3', 'post:1']) t.equal(await cache.get(key), undefined, key)
    await eventually(async () => (await other.get('user:1')) === undefined)
    await cache.setMany(['user:1', 'post:1'].map((key) => [key, 'new']))
    t.equal(await cache.deleteMatching('user:?'), 1)
    t.equal(await cache.get('post:1'), 'new', 'it is whole again')
    await redis.del(INDEX)
    t.strictSame(await keysOf(cache), [])
    await eventually(async () => (await cache.get('post:1')) === undefined)
  }
})

t.test('one that ends with its entries takes nothing with it', async (t) => {
  const { redis, cache } = await open(t)
  await cache.set('short', 1, { ttl: 50 })
  t.ok((await redis.pttl(INDEX)) > 0)
  await eventually(async () => (await redis.exists(INDEX)) === 0)
  // It lasts a little longer than its entries, and is said to.
  const generation = await redis.hget(HEAD, 'generation')
  t.ok(generation)
  t.equal(await cache.deleteMatching('user:?'), 0)
  t.equal(await redis.hget(HEAD, 'generation'), generation, 'a pattern is no reason to begin anew')
  await cache.set('post:1', 'kept')
  t.equal(await cache.deleteMatching('user:?'), 0)
  t.equal(await cache.get('post:1'), 'kept')
  await cache.clear()
  t.equal(await redis.exists(INDEX), 0)
  await cache.set('post:2', 'kept')
  t.strictSame(await keysOf(cache), ['post:2'])
})

t.test('what is over leaves it as others come', async (t) => {
  const { redis, cache } = await open(t)
  await cache.set('long', 1, { ttl: '1h' })
  await cache.setMany(
    Array.from({ length: 500 }, (_, i) => [`short${i}`, i]),
    { ttl: 1 },
  )
  t.ok((await redis.zcard(INDEX)) > 500)
  await eventually(async () => (await redis.exists('fs:cache:{default}:v:short499')) === 0)
  for (let i = 0; i < 60; i++) await cache.set('long', 1, { ttl: '1h' })
  t.equal(await redis.zcard(INDEX), 2, 'the entry, and what tells that it is whole')
})

t.test('a load that runs has its place in it, and none afterwards', async (t) => {
  const { redis, cache, start } = await open(t)
  const other = await start()
  const [started, gate] = [deferred(), deferred()]
  const loading = cache.getOrSet('user:1', async () => {
    started.resolve()
    await gate.promise
    return 'old'
  })
  await started.promise
  t.strictSame((await redis.zrange(INDEX, '0', '-1')).sort(), ['', 'l:user:1'])
  await other.deleteMatching('user:?')
  gate.resolve()
  t.equal(await loading, 'old')
  t.equal(await cache.get('user:1'), undefined)
  await t.rejects(cache.getOrSet('k', () => Promise.reject(new Error('source down'))))
  await cache.getOrSet('k', () => 1)
  t.strictSame((await redis.zrange(INDEX, '0', '-1')).sort(), ['', 'v:k'])
  await cache.delete('k')
  t.strictSame(await redis.zrange(INDEX, '0', '-1'), [''])
})
