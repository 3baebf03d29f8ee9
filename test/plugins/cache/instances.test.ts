import t, { type Test } from 'tap'
import type { Cache, CacheOptions } from '../../../plugins/cache/index.ts'
import { type RedisServer, startRedis } from '../../fixtures/redis-server.ts'
import { deferred, eventually, startCache } from './fixture.ts'

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

t.test('one load for all instances; the others wait for it', async (t) => {
  const { a, b } = await two(t)
  let loads = 0
  const gate = deferred()
  const load = async () => {
    loads++
    await gate.promise
    return 'loaded'
  }
  const waiting = Array.from({ length: 500 }, () => [a.getOrSet('k', load), b.getOrSet('k', load)]).flat()
  await eventually(() => loads > 0)
  gate.resolve()
  const values = await Promise.all(waiting)
  t.ok(values.every((value) => value === 'loaded'))
  t.equal(loads, 1)
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
