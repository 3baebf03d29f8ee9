import t from 'tap'
import { Cache as CacheOf, type CacheOptions, cacheParts } from '../../../plugins/cache/index.ts'
import { openStorage } from '../../../plugins/storage/index.ts'
import { ManualClock } from '../../../plugins/support/manual-clock.ts'
import { eventually } from '../../fixtures/eventually.ts'
import { onEveryStorage } from '../../fixtures/storages.ts'
import { freshCache, startCache } from './fixture.ts'

interface Value {
  list: { n: number }[]
  at?: Date
}
const original = (): Value => ({ list: [{ n: 1 }], at: new Date(0) })

t.test("values: 'share' hands out the very object", async (t) => {
  const cache = await freshCache(t, 'memory')
  const value = original()
  await cache.set('k', value)
  t.equal(await cache.get('k'), value)
  t.equal(cache.peek('k'), value)
  t.equal(await cache.getOrSet('k', original), value)
  t.equal((await cache.getMany(['k'])).get('k'), value)
})

t.test("values: 'clone' gives every reader and writer an object of their own, from either level", (t) =>
  onEveryStorage(t, async (t, kind) => {
    const cache = await freshCache(t, kind, { values: 'clone' })
    const spoil = (value: Value | undefined) => {
      if (!value) throw new Error('no value')
      t.same(value, original(), 'nobody has changed it')
      value.list.push({ n: 2 })
      ;(value.list[0] as { n: number }).n = 3
    }
    const given = original()
    await cache.set('set', given)
    spoil(given)
    for (const key of ['set', 'loaded']) {
      spoil(await cache.getOrSet<Value>(key, original))
      await eventually(() => cache.peek(key) !== undefined || cache.get(key).then(() => false))
      for (let time = 0; time < 2; time++) {
        spoil(cache.peek<Value>(key))
        spoil(await cache.get<Value>(key))
        spoil(await cache.getOrSet<Value>(key, original))
        spoil((await cache.getMany<Value>([key])).get(key))
        spoil((await cache.getOrSetMany<Value>([key], original)).get(key))
      }
    }
    const [first, second] = await Promise.all([cache.getOrSet('new', original), cache.getOrSet('new', original)])
    t.not(first, second, 'nor do those who shared a load')
    spoil(first)
    spoil(second)
  }),
)

t.test("values: 'clone' holds also for what comes from the second level", async (t) => {
  const clock = new ManualClock()
  const cache = await startCache(t, 'memory:', { clock, values: 'clone', l1: { ttl: '1s' } })
  await cache.set('k', original())
  const reads: (() => Promise<Value | undefined>)[] = [
    () => cache.get<Value>('k'),
    () => cache.getOrSet<Value>('k', original),
    async () => (await cache.getMany<Value>(['k'])).get('k'),
    async () => (await cache.getOrSetMany<Value>(['k'], original)).get('k'),
  ]
  for (const read of reads) {
    clock.advance(1_000)
    const { l2Hits } = cache.stats()
    ;(await read())?.list.push({ n: 2 })
    t.equal(cache.stats().l2Hits, l2Hits + 1)
    t.strictSame(await cache.get('k'), original())
  }
})

t.test("values: 'freeze' freezes in depth what is plain, and shares it", async (t) => {
  const cache = await freshCache(t, 'memory', { values: 'freeze' })
  const loaded = await cache.getOrSet('k', original)
  t.throws(() => loaded.list.push({ n: 2 }), TypeError)
  t.throws(() => {
    ;(loaded.list[0] as { n: number }).n = 2
  }, TypeError)
  loaded.at?.setTime(1)
  t.equal(await cache.get('k'), loaded)
  await cache.set('null', null)
  await cache.set('text', 'x')
  t.strictSame([await cache.get('null'), await cache.get('text')], [null, 'x'])
})

t.test('a wrong option stops the boot and is named', async (t) => {
  const storage = await openStorage('memory:')
  t.teardown(() => storage.close())
  const wrong: [options: CacheOptions, option: string][] = [
    [{ l1: { maxEntries: 0 } }, 'cache.l1.maxEntries'],
    [{ l1: { maxEntries: 1.5 } }, 'cache.l1.maxEntries'],
    [{ l1: { maxBytes: -1 } }, 'cache.l1.maxBytes'],
    [{ l1: { ttl: 0 } }, 'cache.l1.ttl'],
    [{ l1: { ttl: 'soon' } }, 'cache.l1.ttl'],
    [{ l2: { ttl: 0 } }, 'cache.l2.ttl'],
    [{ l2: { maxEntries: Number.NaN } }, 'cache.l2.maxEntries'],
    [{ l2: { maxBytes: 0 } }, 'cache.l2.maxBytes'],
    [{ l2: { timeout: 0 } }, 'cache.l2.timeout'],
    [{ outage: { failures: 0 } }, 'cache.outage.failures'],
    [{ outage: { retry: 0 } }, 'cache.outage.retry'],
    [{ outage: { serveL1: -1 } }, 'cache.outage.serveL1'],
    [{ outage: { invalidations: 'forget' as never } }, 'cache.outage.invalidations'],
    [{ coherence: 0 }, 'cache.coherence'],
    [{ loadTimeout: 0 }, 'cache.loadTimeout'],
    [{ jitter: 1 }, 'cache.jitter'],
    [{ jitter: -0.1 }, 'cache.jitter'],
    [{ jitter: Number.NaN }, 'cache.jitter'],
    [{ values: 'copy' as never }, 'cache.values'],
    [{ prefixes: ['user:*'] }, 'cache.prefixes'],
    [{ prefixes: [''] }, 'cache.prefixes'],
    [{ maxNamespaces: 0 }, 'cache.maxNamespaces'],
    [{ writeBehind: { delay: -1 } }, 'cache.writeBehind.delay'],
    [{ writeBehind: { batch: 0 } }, 'cache.writeBehind.batch'],
    [{ writeBehind: { attempts: 0 } }, 'cache.writeBehind.attempts'],
    [{ writeBehind: { backoff: 'x' } }, 'cache.writeBehind.backoff'],
    [{ writeBehind: { maxPending: 0 } }, 'cache.writeBehind.maxPending'],
    [{ warming: { keys: -1 } }, 'cache.warming.keys'],
    [{ warming: { interval: 0 } }, 'cache.warming.interval'],
  ]
  for (const [options, option] of wrong) {
    const parts = await cacheParts(storage)
    t.throws(() => new CacheOf(parts, options), { message: new RegExp(option) }, option)
  }
})

t.test('a wrong option of a call is refused, and nothing happens', async (t) => {
  const cache = await freshCache(t, 'memory')
  const refused = { code: /STATEFUL_INVALID_(OPTION|DURATION)/ }
  for (const ttl of [0, -1, Number.NaN, Number.NEGATIVE_INFINITY, 'soon', '']) {
    await t.rejects(cache.set('k', 1, { ttl }), refused, `${ttl}`)
    await t.rejects(
      cache.getOrSet('k', () => t.fail('loaded'), { ttl }),
      refused,
    )
  }
  for (const name of ['stale', 'timeout', 'negative'] as const) {
    await t.rejects(
      cache.getOrSet('k', () => t.fail('loaded'), { [name]: 0 }),
      refused,
      name,
    )
  }
  t.equal(await cache.get('k'), undefined)
  await t.rejects(
    cache.getOrSet('k', (context) => context.setTtl('never')),
    refused,
  )
})

t.test('the first level keeps its bounds, and asks the second again after its own time', async (t) => {
  const clock = new ManualClock()
  const cache = await startCache(t, 'memory:', { clock, l1: { maxEntries: 10, ttl: '1s' } })
  for (let i = 0; i < 50; i++) await cache.set(`k${i}`, i)
  t.equal(cache.stats().entries, 10)
  t.ok(cache.stats().evictions >= 40)
  await cache.set('k', 1)
  await cache.get('k')
  const { l2Hits } = cache.stats()
  clock.advance(1_000)
  t.equal(cache.peek('k'), undefined)
  t.equal(await cache.get('k'), 1)
  t.equal(cache.stats().l2Hits, l2Hits + 1)

  const small = await freshCache(t, 'memory', { l1: { maxBytes: 1_000 } })
  for (let i = 0; i < 50; i++) await small.set(`k${i}`, 'x'.repeat(100))
  t.ok(small.stats().bytes <= 1_000)
  await small.set('large', 'x'.repeat(2_000))
  t.equal(small.peek('large'), undefined, 'what is larger than the level is not in it')
  t.equal((await small.get<string>('large'))?.length, 2_000)
})

t.test('what nobody says has a default', async (t) => {
  const clock = new ManualClock()
  const cache = await startCache(t, 'memory:', { clock, l2: { ttl: '10s' }, maxNamespaces: 2 })
  await cache.set('k', 1)
  clock.advance(9_999)
  t.equal(await cache.get('k'), 1)
  clock.advance(1)
  t.equal(await cache.get('k'), undefined)
  cache.namespace('one')
  t.throws(() => cache.namespace('two'), { code: 'STATEFUL_TOO_MANY_NAMESPACES' })
  t.equal(cache.namespace('one'), cache.namespace('one'))
})
