/** Who waits for a load, and for how long; what a failing source is spared; loads inside loads. */
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { onEveryStorage } from '../../../fixtures/storages.ts'
import { deferred, freshCache } from '../fixture.ts'
import { Stage, turn } from '../staged-store.ts'

t.test('a caller leaves by its signal, the load goes on for the others', async (t) => {
  const cache = await freshCache(t, 'memory')
  const [started, gate] = [deferred<AbortSignal>(), deferred<string>()]
  const load = ({ signal }: { signal: AbortSignal }) => {
    started.resolve(signal)
    return gate.promise
  }
  const [leaving, staying] = [new AbortController(), new AbortController()]
  const first = cache.getOrSet('k', load, { signal: leaving.signal })
  const second = cache.getOrSet('k', load, { signal: staying.signal })
  const third = cache.getOrSet('k', load)
  const signal = await started.promise
  const gone = t.rejects(first, { message: 'the request is over' })
  leaving.abort(new Error('the request is over'))
  await gone
  staying.abort()
  await t.rejects(second, { name: 'AbortError' })
  t.notOk(signal.aborted, 'somebody waits who cannot leave')
  gate.resolve('loaded')
  t.equal(await third, 'loaded')
  t.equal(await cache.get('k'), 'loaded')
  await t.rejects(cache.getOrSet('l', load, { signal: AbortSignal.abort() }), { name: 'AbortError' })
  t.equal(await cache.getOrSet('k', load, { signal: AbortSignal.abort() }), 'loaded', 'nobody waits for a hit')
  await t.rejects(cache.getOrSet('l', load, { signal: {} as AbortSignal }), { code: 'STATEFUL_INVALID_OPTION' })
})

t.test('when nobody waits any more the load is aborted, and whoever comes then begins anew', async (t) => {
  const stage = new Stage()
  const { cache } = await stage.instance(t)
  const other = (await stage.instance(t)).cache
  const started = deferred<AbortSignal>()
  const never = ({ signal }: { signal: AbortSignal }) => {
    started.resolve(signal)
    return new Promise<string>(() => {})
  }
  const callers = [new AbortController(), new AbortController()]
  const calls = callers.map(({ signal }) => t.rejects(cache.getOrSet('k', never, { signal }), { name: 'AbortError' }))
  const signal = await started.promise
  for (const caller of callers) caller.abort()
  await Promise.all(calls)
  t.ok(signal.aborted)
  t.equal(await cache.getOrSet('k', () => 'new'), 'new')
  t.equal(await other.getOrSet('k', () => 'other'), 'new', 'its lease was given back')
  t.match(cache.stats(), { loads: 2, loadFailures: 1 })
})

t.test('one that is abandoned before its loader runs never runs it', async (t) => {
  const stage = new Stage()
  const { cache, line } = await stage.instance(t)
  const answer = line.holdAnswer('lease')
  const caller = new AbortController()
  let loads = 0
  const call = t.rejects(
    cache.getOrSet('k', () => ++loads, { signal: caller.signal }),
    { name: 'AbortError' },
  )
  await answer.held
  caller.abort()
  await call
  answer.release()
  await turn()
  t.equal(loads, 0)
  t.equal(await cache.getOrSet('k', () => ++loads), 1)
})

t.test('a refresh that fails is not tried again at each read, but after a pause that grows', async (t) => {
  const stage = new Stage()
  const { cache } = await stage.instance(t)
  let attempts = 0
  const failing = () => {
    attempts++
    throw new Error('source down')
  }
  const options = { ttl: 1_000, stale: '1h', early: 0 } as const
  await cache.getOrSet('k', () => 'old', options)
  await stage.pass(1_100)
  const ask = async () => {
    for (let call = 0; call < 20; call++) {
      t.equal(await cache.getOrSet('k', failing, options), 'old')
      await turn()
    }
  }
  await ask()
  t.equal(attempts, 1)
  await stage.pass(1_050)
  await ask()
  t.equal(attempts, 2)
  await stage.pass(1_050)
  await ask()
  t.equal(attempts, 2, 'twice as long')
  await stage.pass(1_000)
  await ask()
  t.equal(attempts, 3)
  await t.rejects(
    cache.getOrSet('k', failing, { ttl: 1_000 }),
    { message: 'source down' },
    'who takes nothing old tries',
  )
  await cache.invalidateTags('x')
  await cache.getOrSet('k', () => 'new', options)
  await turn()
  t.equal(await cache.get('k'), 'new', 'an invalidation means: ask the source')
})

t.test('a remembered failure is told to those who have nothing, the old value to those who take it', async (t) => {
  const stage = new Stage()
  const { cache } = await stage.instance(t)
  let attempts = 0
  const failing = () => {
    attempts++
    throw new Error('source down')
  }
  await cache.getOrSet('k', () => 'old', { ttl: 1_000, stale: '1h', early: 0 })
  await stage.pass(1_100)
  const options = { ttl: 1_000, stale: '1h', early: 0, negative: '10s' } as const
  for (let call = 0; call < 10; call++) t.equal(await cache.getOrSet('k', failing, options), 'old')
  await turn()
  t.equal(attempts, 1)
  await t.rejects(cache.getOrSet('k', failing, { negative: '10s' }), { message: 'source down' })
  for (let call = 0; call < 10; call++) {
    await t.rejects(cache.getOrSet('none', failing, options), { message: 'source down' })
  }
  t.equal(attempts, 2)
  await stage.pass(10_100)
  await t.rejects(cache.getOrSet('none', failing, options), { message: 'source down' })
  t.equal(attempts, 3)
})

t.test('a loader may say that its value is not kept, or is kept for ever', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const cache = await freshCache(t, kind)
    let loads = 0
    for (const none of [0, '0s']) {
      const ask = () =>
        cache.getOrSet('none', (context) => {
          context.setTtl(none)
          return ++loads
        })
      t.strictSame([await ask(), await ask()], [loads - 1, loads])
    }
    t.equal(await cache.get('none'), undefined)
    await t.rejects(
      cache.getOrSet('none', (context) => context.setTtl(-1)),
      { code: 'STATEFUL_INVALID_DURATION' },
    )
    const ever = Number.POSITIVE_INFINITY
    await cache.set('set', 1, { ttl: ever, stale: ever, tags: ['x'] })
    await cache.getOrSet('loaded', () => 1, { ttl: ever, stale: ever })
    await cache.getOrSet('said', (context) => {
      context.setTtl(ever)
      return 1
    })
    for (const key of ['set', 'loaded', 'said']) t.equal(await cache.get(key), 1, key)
  }),
)

t.test('a load inside the load of its own key is an error at once, however it gets there', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const cache = await freshCache(t, kind)
    const own = { code: 'STATEFUL_CACHE_NESTED_LOAD', statusCode: 500 }
    const started = performance.now()
    await t.rejects(
      cache.getOrSet('k', () => cache.getOrSet('k', () => 1)),
      own,
    )
    await t.rejects(
      cache.getOrSet('k', async () => {
        await delay(1)
        await new Promise((resolve) => setImmediate(resolve))
        return cache.getOrSet('k', () => 1, { stale: '1m' })
      }),
      own,
    )
    await t.rejects(
      cache.getOrSet('k', () => cache.getOrSetMany(['j', 'k'], (key) => key)),
      own,
    )
    const a = (): Promise<unknown> => cache.getOrSet('a', b)
    const b = (): Promise<unknown> => cache.getOrSet('b', c)
    const c = (): Promise<unknown> => cache.getOrSet('c', a)
    await t.rejects(a(), own)
    t.ok(performance.now() - started < 5_000)
    // What is no circle goes on: other keys, other namespaces, and what the loader does not wait for.
    const nested = () => cache.getOrSet('inner', () => cache.namespace('other').getOrSet('k', () => 1))
    t.equal(await cache.getOrSet('k', nested), 1)
    let later: Promise<unknown> | undefined
    const gate = deferred()
    await cache.getOrSet('detached', () => {
      later = gate.promise.then(() => cache.getOrSet('detached', () => 2))
      return 1
    })
    gate.resolve()
    t.equal(await later, 1)
  }),
)

t.test('two loads that wait for each other are told so as well', async (t) => {
  const cache = await freshCache(t, 'memory')
  const [aStarted, bStarted] = [deferred(), deferred()]
  const a = cache.getOrSet('a', async () => {
    aStarted.resolve()
    await bStarted.promise
    return cache.getOrSet('b', () => 'own b')
  })
  const b = cache.getOrSet('b', async () => {
    bStarted.resolve()
    await aStarted.promise
    return cache.getOrSet('a', () => 'own a')
  })
  const outcomes = await Promise.allSettled([a, b])
  t.ok(outcomes.some(({ status }) => status === 'rejected'))
  for (const outcome of outcomes) {
    if (outcome.status === 'rejected') t.match(outcome.reason, { code: 'STATEFUL_CACHE_NESTED_LOAD' })
  }
})

t.test('a batch of 5,000 is loaded and stored', (t) =>
  onEveryStorage(t, async (t, kind) => {
    // What a busy machine makes of the deadline of a single step is told by the suite of trouble.
    const cache = await freshCache(t, kind, { l1: { maxEntries: 20_000 }, l2: { timeout: '10s' } })
    const keys = Array.from({ length: 5_000 }, (_, i) => `k${i}`)
    const loaded = await cache.getOrSetMany(keys, (key) => `${key}!`, { tags: ['x'] })
    t.strictSame([...loaded.keys()], keys)
    t.equal(cache.stats().storeFailures, 0)
    const again = await cache.getOrSetMany(keys, () => 'again', { tags: ['x'] })
    t.ok(keys.every((key) => again.get(key) === `${key}!`))
    t.equal(cache.stats().loads, 5_000)
  }),
)
