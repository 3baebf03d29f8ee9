/** A refusal, a busy event loop, a huge value and a Redis that is away are four things; only the last is an outage. */
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { Cache, type CacheOptions, cacheParts } from '../../../../plugins/cache/index.ts'
import { openStorage } from '../../../../plugins/storage/index.ts'
import { eventually } from '../../../fixtures/eventually.ts'
import { startRedis } from '../../../fixtures/redis-server.ts'

/** A cache on a Redis of its own, and every change of its circuit. */
async function open(
  t: Test,
  { args = [], user = '', ...options }: CacheOptions & { args?: string[]; user?: string } = {},
) {
  const server = await startRedis(t, args)
  const redis = new Redis(server.port, '127.0.0.1')
  t.teardown(() => redis.disconnect())
  const changes: boolean[] = []
  const connect = async (url = server.url) => {
    const storage = await openStorage(url)
    const cache = new Cache(await cacheParts(storage, options, (away) => changes.push(away)), options)
    await cache.start()
    t.teardown(async () => {
      await cache.close()
      await storage.close()
    })
    return cache
  }
  if (user !== '') await redis.call('acl', 'setuser', ...user.split(' '))
  return { server, redis, changes, connect }
}

const block = (ms: number) => {
  for (const end = performance.now() + ms; performance.now() < end; );
}

t.test('while Redis is away the source sees a load a key and second, and nothing that was invalidated', async (t) => {
  const { server, connect } = await open(t, { outage: { failures: 3 } })
  const cache = await connect()
  await cache.set('other', 1)
  await server.kill()
  let loads = 0
  const started = performance.now()
  const ask = () => cache.getOrSet('k', () => ++loads)
  for (let call = 0; call < 100; call++) await ask()
  await Promise.all(Array.from({ length: 100 }, ask))
  const bound = 1 + Math.ceil((performance.now() - started) / 1_000)
  t.ok(loads <= bound, `${loads} loads`)
  t.equal(await cache.get('k'), loads, 'as for get')
  t.strictSame(await cache.getMany(['k', 'l']), new Map([['k', loads]]))
  await t.rejects(cache.delete('k'), { code: 'STATEFUL_CACHE_STORE_UNAVAILABLE' })
  const before = loads
  t.equal(await ask(), before + 1, 'an invalidation ends it, whether confirmed or not')
  await t.rejects(cache.invalidateTags('x'), { code: 'STATEFUL_CACHE_STORE_UNAVAILABLE' })
  t.equal(await ask(), before + 2)
  await server.restart()
  await eventually(() => cache.coherent)
  t.equal(await ask(), before + 3, 'the new server knows nothing of it')
  t.equal(await ask(), before + 3)
})

t.test('on a full Redis invalidations work, reads hit, and loads are not repeated at each call', async (t) => {
  const { connect, changes, redis } = await open(t, {
    args: ['--maxmemory', '6mb', '--maxmemory-policy', 'noeviction'],
    l1: { maxEntries: 50 },
    prefixes: ['user:'],
  })
  const cache = await connect()
  for (const key of ['hot', 'victim', 'user:1', 'post:1']) await cache.set(key, 'old', { tags: [key] })
  for (let i = 0; (await redis.info('memory')).includes('used_memory') && i < 10_000; i++) {
    const stored = await cache.set(`fill${i}`, 'x'.repeat(4_000)).then(
      () => true,
      (error: { code: string }) => {
        t.equal(error.code, 'STATEFUL_STORAGE_FULL')
        return false
      },
    )
    if (!stored) break
  }
  const fresh = await connect()
  t.equal(await fresh.get('hot'), 'old')
  for (let i = 0; i < 100; i++) t.equal(await fresh.get(`fill${i}`), 'x'.repeat(4_000))
  let loads = 0
  for (let call = 0; call < 200; call++) await fresh.getOrSet(`new${call % 5}`, () => ++loads, { tags: ['new'] })
  t.ok(loads <= 15, `${loads} loads of 5 keys`)
  t.equal(await fresh.delete('victim'), 1)
  await fresh.invalidateTags('hot')
  t.equal(await fresh.deleteMatching('post:*'), 1)
  await fresh.deleteMatching('user:*')
  for (const key of ['hot', 'victim', 'user:1', 'post:1']) t.equal(await fresh.get(key), undefined, key)
  await fresh.clear()
  t.equal(await fresh.get('fill1'), undefined)
  t.strictSame(changes, [])
})

t.test('a right that is missing is told as such, and no outage', async (t) => {
  const { server, connect, changes } = await open(t, {
    user: 'reader on >secret ~* &* -@all +@read +@connection +@scripting +@pubsub +publish +info +time +hset +hincrby +del',
  })
  const writer = await connect()
  await writer.set('k', 'value')
  const cache = await connect(server.url.replace('redis://', 'redis://reader:secret@'))
  for (let call = 0; call < 20; call++) {
    await t.rejects(cache.set('k', 1), { code: 'STATEFUL_CACHE_STORE_REFUSED', statusCode: 500 })
  }
  t.equal(await cache.get('k'), 'value')
  let loads = 0
  for (let call = 0; call < 50; call++) t.ok(await cache.getOrSet('new', () => ++loads))
  t.ok(loads <= 3, `${loads} loads`)
  t.strictSame(changes, [])
})

t.test('an event loop that was busy reads what has arrived meanwhile before anything counts as late', async (t) => {
  const { connect, changes } = await open(t, { outage: { failures: 3 } })
  const cache = await connect()
  const other = await connect()
  const keys = Array.from({ length: 100 }, (_, i) => `k${i}`)
  await other.setMany(keys.map((key) => [key, key]))
  const failures = cache.stats().storeFailures
  for (const [round, ms] of [300, 600].entries()) {
    const [sent, asked] = [keys.slice(round * 50, round * 50 + 10), keys.slice(round * 50 + 10, round * 50 + 20)]
    const reads = sent.map((key) => cache.getMany([key]))
    await new Promise((resolve) => setImmediate(resolve))
    const more = asked.map((key) => cache.get(key))
    block(ms)
    t.ok((await Promise.all(reads)).every(({ size }) => size === 1))
    t.strictSame(await Promise.all(more), asked)
  }
  t.equal(cache.stats().storeFailures, failures)
  t.strictSame(changes, [])
})

t.test('one huge value holds the others up, and is no outage', async (t) => {
  const { connect, changes } = await open(t, { outage: { failures: 3 } })
  const cache = await connect()
  await cache.setMany(Array.from({ length: 50 }, (_, i) => [`k${i}`, i]))
  const other = await connect()
  const writing = cache.set('huge', Buffer.alloc(6 * 2 ** 20, 1))
  const reads = Array.from({ length: 50 }, (_, i) => other.get(`k${i}`))
  await writing
  t.strictSame(
    await Promise.all(reads),
    Array.from({ length: 50 }, (_, i) => i),
  )
  t.equal(((await other.get('huge')) as Buffer | undefined)?.length, 6 * 2 ** 20)
  t.strictSame(changes, [])
  await t.rejects(cache.set('huge', Buffer.alloc(65 * 2 ** 20)), { code: 'STATEFUL_INVALID_CACHE_VALUE' })
})
