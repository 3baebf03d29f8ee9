/** The races by which caches of two levels are known to serve what was invalidated, each played move by move. */
import t, { type Test } from 'tap'
import type { Cache } from '../../../../plugins/cache/index.ts'
import type { RedisStorage } from '../../../../plugins/storage/index.ts'
import { type Clock, systemClock } from '../../../../plugins/support/clock.ts'
import { eventually } from '../../../fixtures/eventually.ts'
import { startRedis } from '../../../fixtures/redis-server.ts'
import { openTestStorage, storageUrl } from '../../../fixtures/storages.ts'
import { deferred, startCache } from '../fixture.ts'
import { Stage, turn } from '../staged-store.ts'

async function two(t: Test) {
  const stage = new Stage()
  const [a, b] = [await stage.instance(t), await stage.instance(t)]
  return { stage, a: a.cache, b: b.cache, lineA: a.line, lineB: b.line }
}

const gone: [name: string, invalidate: (cache: Cache) => Promise<unknown>][] = [
  ['delete', (cache) => cache.delete('k')],
  ['expire', (cache) => cache.expire('k')],
  ['tag', (cache) => cache.invalidateTags('x')],
  ['pattern', (cache) => cache.deleteMatching('*k')],
  ['clear', (cache) => cache.clear()],
]

t.test('1. an invalidation during a load: its result is stored nowhere, and nobody joins it', async (t) => {
  for (const where of ['here', 'elsewhere']) {
    for (const [name, invalidate] of gone) {
      const { a, b } = await two(t)
      const [started, gate] = [deferred(), deferred()]
      const load = async () => {
        started.resolve()
        await gate.promise
        return 'old'
      }
      const old = a.getOrSet('k', load, { tags: ['x'] })
      await started.promise
      await invalidate(where === 'here' ? a : b)
      const next = a.getOrSet('k', () => 'new', { tags: ['x'] })
      await turn()
      gate.resolve()
      t.equal(await old, 'old', 'who asked before is answered')
      t.equal(await next, 'new', `${name} ${where}`)
      t.strictSame([await a.get('k'), await b.get('k')], ['new', 'new'])
      t.match(a.stats(), { refused: 1 })
    }
  }
})

t.test('1. the same for a batch of loads', async (t) => {
  const { a, b } = await two(t)
  const [started, gate] = [deferred(), deferred()]
  const load = async (key: string) => {
    started.resolve()
    await gate.promise
    return `old ${key}`
  }
  const old = a.getOrSetMany(['k', 'l'], load)
  await started.promise
  await b.delete('k')
  gate.resolve()
  t.strictSame([...(await old).values()], ['old k', 'old l'])
  t.strictSame([await b.get('k'), await b.get('l')], [undefined, 'old l'])
  t.strictSame([await a.get('k'), await a.get('l')], [undefined, 'old l'])
})

t.test('2. an invalidation overtakes a value on its way from the second level to the first', async (t) => {
  for (const [name, invalidate] of gone) {
    const { a, b, lineA } = await two(t)
    await b.set('k', 'old', { tags: ['x'] })
    const answer = lineA.holdAnswer('get')
    const old = a.get('k')
    await answer.held
    await invalidate(b)
    answer.release()
    await old
    t.equal(a.peek('k'), undefined, name)
    t.equal(await a.get('k'), undefined, name)
  }
})

t.test('3. a lost message: the next one shows the gap', async (t) => {
  const { a, b, lineB } = await two(t)
  await a.set('k', 'old')
  await b.get('k')
  t.equal(b.peek('k'), 'old')
  lineB.deaf = true
  await a.set('k', 'new')
  t.equal(b.peek('k'), 'old', 'nothing was heard')
  lineB.deaf = false
  await a.set('other', 1)
  t.equal(b.peek('k'), undefined)
  t.equal(await b.get('k'), 'new')
})

t.test('3. a lost message and then silence: the beat finds out within the window', async (t) => {
  const { stage, a, b, lineB } = await two(t)
  await a.set('k', 'old')
  await b.get('k')
  lineB.deaf = true
  await a.delete('k')
  await stage.pass(500)
  t.equal(b.peek('k'), undefined)
  t.equal(await b.get('k'), undefined)
})

t.test('3. an instance that is cut off stops serving its first level within the window', async (t) => {
  const { stage, a, b, lineB } = await two(t)
  await a.set('k', 'old')
  await b.get('k')
  lineB.cut = true
  await a.delete('k')
  await stage.pass(490)
  t.equal(b.peek('k'), 'old', 'so long it is current, as far as anybody here can know')
  await stage.pass(20)
  t.equal(b.peek('k'), undefined)
  t.equal(await b.get('k'), undefined, 'a counted miss')
  lineB.cut = false
  await stage.pass(1_000)
  t.ok(b.coherent)
  t.equal(await b.get('k'), undefined)
})

t.test('3. messages that come again, late, change nothing', async (t) => {
  const { a, b, lineB } = await two(t)
  await a.set('k', 'old', { tags: ['x'] })
  await a.invalidateTags('x')
  await a.delete('k')
  await a.set('k', 'new', { tags: ['x'] })
  t.equal(await b.get('k'), 'new')
  const { resyncs } = b.stats()
  lineB.repeatMessages()
  t.equal(b.peek('k'), 'new')
  t.match(b.stats(), { resyncs })
})

t.test('4. an invalidation that the store does not confirm rejects, and is not half done here', async (t) => {
  const { a, b, lineA } = await two(t)
  for (const [name, invalidate] of gone) {
    await a.set('k', 'old', { tags: ['x'] })
    await b.get('k')
    lineA.cut = true
    await t.rejects(invalidate(a), { code: 'STATEFUL_CACHE_STORE_UNAVAILABLE', statusCode: 503 }, name)
    lineA.cut = false
    t.equal(await b.get('k'), 'old', 'the others still have it, and the caller was told')
    await invalidate(a)
    t.strictSame([await a.get('k'), await b.get('k')], [undefined, undefined])
    await a.delete('k')
  }
})

t.test('5. tags and generations that the store has lost are misses, never resurrections', async (t) => {
  const { stage, a, b } = await two(t)
  await a.set('tagged', 'old', { tags: ['x'] })
  await a.invalidateTags('x')
  stage.loseStamp('t:x')
  const later = await stage.instance(t)
  for (const cache of [a, b, later.cache]) t.equal(await cache.get('tagged'), undefined)
  await a.set('tagged', 'new', { tags: ['x'] })
  for (const cache of [a, b, later.cache]) t.equal(await cache.get('tagged'), 'new')

  await a.set('k', 'old')
  await a.clear()
  stage.loseStamp('')
  const last = await stage.instance(t)
  t.equal(await last.cache.get('k'), undefined)
})

t.test('5. the same on Redis, which evicts tags, generations and whole heads', async (t) => {
  const storage = (await openTestStorage(t, await storageUrl(t, 'redis'))) as RedisStorage
  const lose = async (name: string) => {
    const lost = await storage.client.unlink([`${storage.prefix}cache:{default}:${name}`])
    if (lost !== 1) throw new Error(`no ${name}`)
  }
  const a = await startCache(t, storage, { warming: { keys: 0 } })
  await a.set('tagged', 'old', { tags: ['x'] })
  await a.invalidateTags('x')
  await lose('s:t:x')
  t.equal(await (await startCache(t, storage)).get('tagged'), undefined)
  await a.set('k', 'old')
  await a.clear()
  await lose('h')
  t.equal(await (await startCache(t, storage)).get('k'), undefined)
})

t.test('6. clocks an hour apart: nothing lives longer, and an invalidation by the slow one counts', async (t) => {
  const { url } = await startRedis(t)
  const skewed = (ms: number): Clock => ({ ...systemClock, now: () => Date.now() + ms })
  const fast = await startCache(t, url, { clock: skewed(3_600_000) })
  const slow = await startCache(t, url, { clock: skewed(-3_600_000) })
  await fast.set('k', 'fast', { ttl: '10s', tags: ['x'] })
  await slow.set('l', 'slow', { ttl: '10s', tags: ['x'] })
  t.strictSame([await slow.get('k'), await fast.get('l')], ['fast', 'slow'], 'nothing ends early')
  await slow.invalidateTags('x')
  await eventually(() => fast.peek('l') === undefined)
  t.strictSame([await fast.get('k'), await fast.get('l')], [undefined, undefined])
  await slow.set('short', 1, { ttl: 30 })
  await new Promise((resolve) => setTimeout(resolve, 60))
  t.strictSame([await fast.get('short'), await slow.get('short')], [undefined, undefined], 'nor late')
})

t.test('7. two set at once: both end with what the store has', async (t) => {
  for (const late of ['a', 'b']) {
    const { a, b, lineA, lineB } = await two(t)
    const answer = (late === 'a' ? lineA : lineB).holdAnswer('put')
    const first = (late === 'a' ? a : b).set('k', 'first')
    await answer.held
    await (late === 'a' ? b : a).set('k', 'second')
    answer.release()
    await first
    t.strictSame([await a.get('k'), await b.get('k')], ['second', 'second'])
    t.strictSame([a.peek('k'), b.peek('k')], ['second', 'second'])
  }
})

t.test('8. those who wait for a loader that fails share its failure; those who come then make one load', async (t) => {
  const { a } = await two(t)
  let loads = 0
  const gate = deferred()
  const failing = async () => {
    loads++
    await gate.promise
    throw new Error('source down')
  }
  const waiting = Array.from({ length: 50 }, () => a.getOrSet('k', failing))
  await turn()
  gate.resolve()
  const failed = await Promise.allSettled(waiting)
  t.ok(failed.every((outcome) => outcome.status === 'rejected' && outcome.reason.message === 'source down'))
  t.equal(loads, 1)
  const values = await Promise.all(Array.from({ length: 50 }, () => a.getOrSet('k', async () => ++loads)))
  t.ok(values.every((value) => value === 2))
})

t.test('8. near its end one of all instances refreshes an entry, and the others find what it has loaded', async (t) => {
  const stage = new Stage()
  // Eager to refresh: 100 ms of load × 13.8 before the end.
  const eager = { random: () => 0.999_999 }
  const [{ cache: a }, { cache: b }] = [await stage.instance(t, eager), await stage.instance(t, eager)]
  const options = { ttl: '60s', stale: '60s' }
  let loads = 0
  const load = async () => {
    stage.clock.advance(100)
    return ++loads
  }
  t.equal(await a.getOrSet('k', load, options), 1)
  t.equal(await b.getOrSet('k', load, options), 1)
  await stage.pass(59_000)
  t.equal((await Promise.all([a.getOrSet('k', load, options), b.getOrSet('k', load, options)]))[0], 1)
  await turn()
  t.equal(loads, 2, 'the one who refreshes does not wait for it, and the other does not begin')
  t.strictSame(await Promise.all([a.getOrSet('k', load, options), b.getOrSet('k', load, options)]), [2, 2])
  t.equal(loads, 2)
})

t.test('9. a hit of the first level costs no way to the store, tags or not, and no copy', async (t) => {
  const { a, lineA } = await two(t)
  const value = { deep: { n: 1 } }
  await a.getOrSet('k', () => value, { tags: ['x', 'y', 'z'] })
  await a.get('k')
  const before = { ...lineA.calls }
  for (let i = 0; i < 1_000; i++) {
    if ((await a.get('k')) !== value || a.peek('k') !== value) t.fail('another object')
    await a.getOrSet('k', () => 'never', { tags: ['x'] })
    await a.getMany(['k'])
  }
  t.strictSame(lineA.calls, before)
})
