import t, { type Test } from 'tap'
import type { Cache, CacheOptions } from '../../../../plugins/cache/index.ts'
import { ManualClock } from '../../../../plugins/support/manual-clock.ts'
import { deferred, startCache } from '../fixture.ts'

async function withClock(t: Test, options: CacheOptions = {}): Promise<{ cache: Cache; clock: ManualClock }> {
  const clock = new ManualClock()
  return { cache: await startCache(t, 'memory:', { clock, ...options }), clock }
}
const turn = () => new Promise((resolve) => setImmediate(resolve))

t.test('a stale value is served while one caller refreshes it', async (t) => {
  const { cache, clock } = await withClock(t)
  const options = { ttl: '1m', stale: '1h', early: 0 }
  await cache.getOrSet('k', () => 'old', options)
  clock.advance(61_000)
  t.equal(await cache.get('k'), undefined, 'only to those who allow it')
  const gate = deferred<string>()
  let loads = 0
  const load = () => {
    loads++
    return gate.promise
  }
  t.equal(await cache.getOrSet('k', load, options), 'old')
  t.equal(await cache.getOrSet('k', load, options), 'old')
  const fresh = cache.getOrSet('k', load, { ttl: '1m' })
  gate.resolve('new')
  t.equal(await fresh, 'new', 'who takes only fresh values waits')
  t.equal(await cache.getOrSet('k', load, options), 'new')
  t.equal(loads, 1)
  t.match(cache.stats(), { stale: 2 })
})

t.test('a soft timeout waits for the refresh, but not long', async (t) => {
  const { cache, clock } = await withClock(t)
  const options = { ttl: '1m', stale: '1h', softTimeout: 100, early: 0 }
  await cache.getOrSet('k', () => 1, options)
  clock.advance(61_000)
  t.equal(await cache.getOrSet('k', () => 2, options), 2, 'a quick loader')
  clock.advance(61_000)
  const gate = deferred<number>()
  const answer = cache.getOrSet('k', () => gate.promise, options)
  await turn()
  clock.advance(100)
  t.equal(await answer, 2, 'a slow one')
  gate.resolve(3)
  await turn()
  t.equal(await cache.get('k'), 3, 'goes on in the background')
})

t.test('a stale value helps when its loader fails, but never one that was invalidated', async (t) => {
  const { cache, clock } = await withClock(t)
  const options = { ttl: '1m', stale: '1h', early: 0, softTimeout: 100 }
  const broken = () => Promise.reject(new Error('source down'))
  await cache.getOrSet('k', () => 1, options)
  clock.advance(61_000)
  t.equal(await cache.getOrSet('k', broken, options), 1)
  await cache.expire('k')
  t.equal(await cache.getOrSet('k', broken, options), 1, 'expired is stale')
  await cache.delete('k')
  await t.rejects(cache.getOrSet('k', broken, options), { message: 'source down' })
  await cache.set('k', 2, { ttl: '1m', stale: '1h' })
  clock.advance(3_700_000)
  await t.rejects(cache.getOrSet('k', broken, options), { message: 'source down' }, 'not for ever')
})

t.test('a loader that hangs is given up, told so, and its lease is free', async (t) => {
  const { cache, clock } = await withClock(t)
  let aborted: unknown
  const answer = cache.getOrSet(
    'k',
    ({ signal }) =>
      new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          aborted = signal.reason
          reject(signal.reason)
        })
      }),
    { timeout: '1s' },
  )
  const late = t.rejects(answer, { code: 'STATEFUL_CACHE_LOAD_TIMEOUT', statusCode: 504 })
  await turn()
  clock.advance(1_000)
  await late
  t.match(aborted, { code: 'STATEFUL_CACHE_LOAD_TIMEOUT' })
  t.equal(await cache.getOrSet('k', () => 'next'), 'next')
})

t.test('a loader sets its time to live and its tags, or caches nothing', async (t) => {
  const { cache, clock } = await withClock(t)
  await cache.getOrSet('k', (context) => {
    t.equal(context.key, 'k')
    context.setTtl('10s')
    context.tags.push('x')
    return 1
  })
  t.equal(cache.peek('k'), 1)
  clock.advance(10_000)
  t.equal(await cache.get('k'), undefined)
  t.equal(
    await cache.getOrSet('k', (context) => {
      context.skip()
      return 2
    }),
    2,
  )
  t.equal(await cache.get('k'), undefined)
})

t.test('a failure is remembered for as long as was asked, and an invalidation forgets it', async (t) => {
  const { cache, clock } = await withClock(t)
  let loads = 0
  const broken = () => {
    loads++
    throw new Error('no')
  }
  const options = { negative: '5s' }
  await t.rejects(cache.getOrSet('k', broken, options), { message: 'no' })
  await t.rejects(cache.getOrSet('k', broken, options), { message: 'no' })
  t.equal(loads, 1)
  clock.advance(5_000)
  await t.rejects(cache.getOrSet('k', broken, options), { message: 'no' })
  t.equal(loads, 2)
  await cache.delete('k')
  t.equal(await cache.getOrSet('k', () => 'back', options), 'back')
})

t.test('near its end an entry is refreshed early, by one, while all are served', async (t) => {
  const { cache, clock } = await withClock(t, { random: () => 0.9 })
  const options = { ttl: '60s', stale: '60s' }
  const slow = deferred<number>()
  const first = cache.getOrSet('k', () => slow.promise, options)
  await turn()
  clock.advance(10_000)
  slow.resolve(1)
  t.equal(await first, 1)
  clock.advance(30_000)
  t.equal(await cache.getOrSet('k', () => 2, options), 1, 'not yet: 10 s of load × ln 10 = 23 s before the end')
  clock.advance(10_000)
  t.equal(await cache.getOrSet('k', () => 2, options), 1, 'the one who refreshes does not wait either')
  await turn()
  t.equal(await cache.getOrSet('k', () => 3, options), 2)
  t.equal(cache.stats().stale, 0)
})

t.test('jitter spreads the ends of what was loaded together', async (t) => {
  let random = 0
  const { cache, clock } = await withClock(t, { jitter: 0.5, random: () => random })
  await cache.getOrSet('long', () => 1, { ttl: 1_000 })
  random = 0.8
  await cache.getOrSet('short', () => 1, { ttl: 1_000 })
  clock.advance(700)
  t.strictSame([await cache.get('long'), await cache.get('short')], [1, undefined])
})

t.test('many keys are read at once and loaded one by one', async (t) => {
  const { cache } = await withClock(t)
  await cache.set('a', 1)
  const loaded: string[] = []
  const values = await cache.getOrSetMany(['a', 'b', 'c', 'b'], (key) => {
    loaded.push(key)
    return key === 'c' ? null : 2
  })
  t.strictSame(
    [...values],
    [
      ['a', 1],
      ['b', 2],
      ['c', null],
    ],
  )
  t.strictSame(loaded, ['b', 'c'])
  await t.rejects(
    cache.getOrSetMany(['d'], () => {
      throw new Error('x')
    }),
    { message: 'x' },
  )
})

t.test('how long loaders take is told as a histogram for each namespace, whether they succeed or not', async (t) => {
  const { cache, clock } = await withClock(t)
  const take = (ms: number) => () => clock.advance(ms)
  const users = cache.namespace('users')
  for (const [i, ms] of [0, 1, 40, 40, 60_000].entries()) {
    await users.getOrSet(`k${i}`, take(ms), { timeout: '2m' })
  }
  const failing = () => {
    clock.advance(300)
    throw new Error('x')
  }
  await t.rejects(cache.getOrSet('k', failing))
  const { namespaces, loadDuration } = cache.stats()
  const told = namespaces['users']?.loadDuration
  t.match(told, { sum: 60_081, counts: [2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1], bounds: { 5: 50, 13: 30_000 } })
  t.ok((told?.p50 ?? 0) > 25 && (told?.p50 ?? 0) <= 50)
  t.match(loadDuration, { sum: 60_381, counts: { 8: 1, 14: 1 } })
  t.equal(
    loadDuration.counts.reduce((sum, count) => sum + count, 0),
    cache.stats().loads,
  )
  cache.resetStats()
  t.match(cache.stats().loadDuration, { sum: 0, p99: 0, counts: { 0: 0, 14: 0 } })
})
