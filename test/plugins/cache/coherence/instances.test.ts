import t, { type Test } from 'tap'
import type { Cache, CacheOptions } from '../../../../plugins/cache/index.ts'
import { eventually } from '../../../fixtures/eventually.ts'
import { type RedisServer, startRedis } from '../../../fixtures/redis-server.ts'
import { deferred, startCache } from '../fixture.ts'

async function two(t: Test, options: CacheOptions = {}): Promise<{ a: Cache; b: Cache; server: RedisServer }> {
  const server = await startRedis(t)
  return { a: await startCache(t, server.url, options), b: await startCache(t, server.url, options), server }
}

t.test('instances share the second level; a change on one empties the first level of the other', async (t) => {
  const { a, b } = await two(t)
  await a.set('k', 1, { tags: ['x'] })
  t.equal(await b.get('k'), 1)
  // Read before the bus told of the write, it is not proven to contain it, and is read once more.
  await eventually(async () => (await b.get('k')) === 1 && b.peek('k') === 1)
  const changes: [string, () => Promise<unknown>, unknown][] = [
    ['set', () => a.set('k', 2, { tags: ['x'] }), 2],
    ['delete', () => a.delete('k'), undefined],
    ['tag', () => a.invalidateTags('x'), undefined],
    ['pattern', () => a.deleteMatching('*k'), undefined],
    ['expire', () => a.expire('k'), undefined],
    ['clear', () => a.clear(), undefined],
  ]
  for (const [name, change, expected] of changes) {
    await b.set('k', 'before', { tags: ['x'] })
    t.equal(await b.get('k'), 'before')
    await change()
    await eventually(() => b.peek('k') !== 'before')
    t.equal(await b.get('k'), expected, name)
    t.equal(await a.get('k'), expected, name)
  }
  t.equal(a.stats().resyncs, 1, 'only the first beat found everything new')
})

t.test('a thousand misses at once on each of two instances make one load', async (t) => {
  const { a, b } = await two(t)
  let loads = 0
  const gate = deferred()
  const load = async () => {
    loads++
    await gate.promise
    return 'loaded'
  }
  const waiting = Array.from({ length: 1_000 }, () => [a.getOrSet('k', load), b.getOrSet('k', load)]).flat()
  await eventually(() => loads > 0)
  gate.resolve()
  const values = await Promise.all(waiting)
  t.ok(values.every((value) => value === 'loaded'))
  t.equal(loads, 1)
})

t.test('batches on two instances make one load for each key', async (t) => {
  const { a, b } = await two(t)
  const keys = Array.from({ length: 50 }, (_, i) => `k${i}`)
  const loads: string[] = []
  const gate = deferred()
  const load = async (key: string) => {
    loads.push(key)
    await gate.promise
    return key
  }
  await a.set('k0', 'set')
  const both = Promise.all([a.getOrSetMany(keys, load), b.getOrSetMany([...keys].reverse(), load)])
  await eventually(() => loads.length >= keys.length - 1)
  gate.resolve()
  for (const values of await both) {
    t.equal(values.size, keys.length)
    t.equal(values.get('k0'), 'set')
    t.ok([...values].every(([key, value]) => key === value || key === 'k0'))
  }
  t.strictSame(loads.sort(), keys.slice(1).sort())
})

t.test('a load of one instance that the other invalidates is not stored', async (t) => {
  const { a, b } = await two(t)
  const invalidations: [string, () => Promise<unknown>][] = [
    ['delete', () => b.delete('k')],
    ['tag', () => b.invalidateTags('x')],
    ['pattern', () => b.deleteMatching('k*')],
    ['clear', () => b.clear()],
  ]
  for (const [name, invalidate] of invalidations) {
    const gate = deferred()
    const started = deferred()
    const old = a.getOrSet(
      'k',
      async () => {
        started.resolve()
        await gate.promise
        return 'old'
      },
      { tags: ['x'] },
    )
    await started.promise
    await invalidate()
    gate.resolve()
    t.equal(await old, 'old')
    t.equal(await b.get('k'), undefined, name)
    t.equal(await a.getOrSet('k', () => 'new', { tags: ['x'] }), 'new')
    await a.delete('k')
  }
  t.equal(a.stats().refused, invalidations.length)
})

t.test('a restarted Redis costs misses, never an old value', async (t) => {
  const { a, b, server } = await two(t)
  await a.set('k', 1)
  await b.get('k')
  await server.restart()
  await eventually(
    async () =>
      await a.set('k', 2).then(
        () => true,
        () => false,
      ),
  )
  await eventually(() => a.coherent && b.coherent)
  t.equal(await b.get('k'), 2)
})

t.test('without Redis reading is a miss, loading goes on, and an invalidation never pretends', async (t) => {
  const { a, server } = await two(t, { coherence: 200 })
  await a.set('k', 1)
  await server.kill()
  t.equal(await a.get('none'), undefined)
  t.equal(await a.getOrSet('l', () => 'loaded'), 'loaded')
  await t.rejects(a.delete('k'), { code: 'STATEFUL_CACHE_STORE_UNAVAILABLE', statusCode: 503 })
  await t.rejects(a.clear(), { code: 'STATEFUL_CACHE_STORE_UNAVAILABLE' })
  await t.rejects(a.set('k', 2), { code: 'STATEFUL_CACHE_STORE_UNAVAILABLE' })
  t.ok(a.stats().storeFailures >= 4)
})

t.test('an outage costs no request its timeout again and again, and is over by itself', async (t) => {
  const server = await startRedis(t)
  const a = await startCache(t, server.url, {
    coherence: 100,
    l2: { timeout: 100 },
    outage: { failures: 3, retry: 50 },
  })
  await a.getOrSet('hot', () => 'hot')
  await eventually(() => a.peek('hot') === 'hot')
  server.process().kill('SIGSTOP')
  t.teardown(() => server.process().kill('SIGCONT'))
  await eventually(() => !a.coherent)
  for (let i = 0; i < 4; i++) await a.get(`none${i}`)
  const started = performance.now()
  for (let i = 0; i < 100; i++) t.equal(await a.getOrSet(`k${i}`, () => i), i)
  t.ok(performance.now() - started < 3_000, 'where a hundred deadlines are ten seconds')
  t.equal(await a.get('hot'), 'hot', 'the first level is served')
  await t.rejects(a.delete('hot'), { code: 'STATEFUL_CACHE_STORE_UNAVAILABLE' })
  server.process().kill('SIGCONT')
  await eventually(() => a.coherent)
  t.equal(await a.delete('hot'), 1)
})

t.test('while Redis is gone the first level and stale values are served, and forgotten when it is back', async (t) => {
  const server = await startRedis(t)
  const a = await startCache(t, server.url, {
    coherence: 100,
    outage: { failures: 2, retry: 50 },
    warming: { keys: 0 },
  })
  const options = { ttl: 60, stale: '1m', early: 0, tags: ['x'] }
  const failing = () => Promise.reject(new Error('source down'))
  await a.set('fresh', 'fresh', { tags: ['x'] })
  await a.getOrSet('k', () => 'stale', options)
  await a.getOrSet('none', () => 'too old', { ttl: 60 })
  await eventually(() => a.coherent && a.peek('fresh') === 'fresh')
  await server.kill()
  await eventually(async () => (await a.get('other')) === undefined && a.peek('fresh') === 'fresh')
  t.equal(await a.get('fresh'), 'fresh')
  await eventually(() => a.peek('fresh') === 'fresh' && a.peek('k') === undefined && a.peek('none') === undefined)
  t.equal(await a.getOrSet('k', failing, options), 'stale')
  await t.rejects(a.getOrSet('k', failing, { ttl: 60 }), { message: 'source down' }, 'only to those who take it')
  await t.rejects(a.getOrSet('none', failing, options), { message: 'source down' }, 'only what may be served so long')
  t.equal(await a.getOrSet('k', () => 'new', { ...options, softTimeout: 1_000 }), 'stale', 'its source is left alone')
  t.equal(await a.getOrSet('k', () => 'new', { ttl: 60 }), 'new')
  t.equal(await a.getOrSet('k', failing, options), 'new')
  await server.restart()
  await eventually(() => a.coherent)
  t.strictSame([a.peek('fresh'), await a.get('fresh')], [undefined, undefined], 'the new server knows nothing of it')
})

t.test('what was loaded while Redis is gone is kept on the terms of the first level', async (t) => {
  for (const [serveL1, loads] of [
    ['1m', 1],
    [0, 3],
  ] as const) {
    const server = await startRedis(t)
    const a = await startCache(t, server.url, {
      coherence: 100,
      outage: { failures: 2, retry: 50, serveL1 },
      warming: { keys: 0 },
    })
    await eventually(() => a.coherent)
    await server.kill()
    await eventually(async () => (await a.get('other')) === undefined && !a.coherent && a.stats().storeFailures > 3)
    let loaded = 0
    for (let call = 0; call < 3; call++) await a.getOrSet('k', () => ++loaded)
    t.equal(loaded, loads, `${loads} loads of three calls with serveL1: ${serveL1}`)
  }
})

t.test('journalled invalidations are carried out before anything is read again', async (t) => {
  const server = await startRedis(t)
  const options: CacheOptions = {
    coherence: 100,
    l2: { timeout: 100 },
    outage: { retry: 50, invalidations: 'journal' },
  }
  const a = await startCache(t, server.url, options)
  const b = await startCache(t, server.url, options)
  await a.set('user:1', 'old', { tags: ['x'] })
  await a.set('user:2', 'old')
  await a.set('post:1', 'old')
  server.process().kill('SIGSTOP')
  t.teardown(() => server.process().kill('SIGCONT'))
  await a.delete('post:1')
  await a.invalidateTags('x')
  await a.deleteMatching('user:*')
  t.equal(await a.get('post:1'), undefined)
  await eventually(() => !a.coherent && !b.coherent)
  server.process().kill('SIGCONT')
  await eventually(() => a.coherent && b.coherent)
  for (const key of ['user:1', 'user:2', 'post:1']) {
    t.equal(await a.get(key), undefined)
    t.equal(await b.get(key), undefined)
  }
})
