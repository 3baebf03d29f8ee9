import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import t from 'tap'
import { Cache, cacheParts } from '../../../../plugins/cache/index.ts'
import { MemoryJournal } from '../../../../plugins/cache/write-behind/memory.ts'
import { ManualClock } from '../../../../plugins/support/manual-clock.ts'
import { eventually } from '../../../fixtures/eventually.ts'
import { onEveryStorage, openTestStorage, storageUrl } from '../../../fixtures/storages.ts'
import { deferred, freshCache, startCache } from '../fixture.ts'

t.test('an acknowledged write survives kill -9 and is handed over, in order, by the next process', (t) =>
  onEveryStorage(t, async (t, kind) => {
    // The journal in memory lives and dies with the process, as documented.
    if (kind === 'memory') return
    const url = await storageUrl(t, kind)
    const child = spawn(process.execPath, [...process.execArgv, new URL('./child.ts', import.meta.url).pathname, url], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let acknowledged = 0
    for await (const line of createInterface(child.stdout)) {
      acknowledged = Number(line)
      if (acknowledged >= 200) break
    }
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited

    const cache = await startCache(t, url, { writeBehind: { batch: 7 } })
    const source = new Map<string, number>()
    let disorder = 0
    cache.writeBehind('default', (writes) => {
      for (const { key, value } of writes) {
        if ((value as number) < (source.get(key) ?? 0)) disorder++
        source.set(key, value as number)
      }
    })
    await eventually(async () => {
      await cache.writers.flush()
      return cache.stats().writeBehind.pending === 0 && source.size > 0
    })
    t.ok(Math.max(...source.values()) >= acknowledged, 'nothing acknowledged is lost')
    t.equal(source.size, 10)
    t.equal(disorder, 0)
  }),
)

t.test('closing hands over what waits', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const cache = await startCache(t, await storageUrl(t, kind), { writeBehind: { delay: 60_000 } })
    const written: unknown[] = []
    cache.writeBehind('w', (writes) => written.push(...writes.map(({ value }) => value)))
    await cache.setWithDelayedPersist('k', 'v', { writer: 'w' })
    t.strictSame(written, [])
    await cache.close()
    t.strictSame(written, ['v'])
  }),
)

t.test('a full journal refuses, and a name is taken once', async (t) => {
  const cache = await startCache(t, 'memory:', { writeBehind: { delay: 60_000, maxPending: 2 } })
  cache.writeBehind('w', () => {})
  t.throws(() => cache.writeBehind('w', () => {}), { code: 'STATEFUL_INVALID_OPTION' })
  await cache.setWithDelayedPersist('a', 1, { writer: 'w' })
  await cache.setWithDelayedPersist('b', 1, { writer: 'w' })
  await t.rejects(cache.setWithDelayedPersist('c', 1, { writer: 'w' }), { code: 'STATEFUL_WRITE_BEHIND_FULL' })
  t.equal(await cache.get('c'), undefined, 'nothing is cached that will not be persisted')
})

t.test('a handler that fails is tried again after pauses that double, with what came meanwhile', async (t) => {
  const clock = new ManualClock()
  const cache = await startCache(t, 'memory:', {
    clock,
    writeBehind: { delay: 50, backoff: 200, attempts: 10, batch: 2 },
  })
  const tries: [at: number, values: unknown[]][] = []
  let broken = true
  cache.writeBehind('w', (writes) => {
    tries.push([clock.monotonic(), writes.map(({ key, value }) => [key, value])])
    if (broken) throw new Error('not now')
  })
  const pass = async (ms: number) => {
    for (let passed = 0; passed < ms; passed += 50) {
      clock.advance(50)
      for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
    }
  }
  await cache.setWithDelayedPersist('a', 1, { writer: 'w' })
  await pass(50 + 200 + 400 + 800)
  t.strictSame(
    tries.map(([at]) => at),
    [50, 250, 650, 1_450],
  )
  await cache.setWithDelayedPersist('a', 2, { writer: 'w' })
  await cache.setWithDelayedPersist('b', 1, { writer: 'w' })
  await cache.setWithDelayedPersist('c', 1, { writer: 'w' })
  broken = false
  tries.length = 0
  await pass(1_600)
  t.strictSame(
    tries.map(([, values]) => values),
    [
      [
        ['a', 2],
        ['b', 1],
      ],
      [['c', 1]],
    ],
    'no sooner for the new writes; the latest of a key, at most so many writes at once, in order',
  )
  t.match(cache.stats().writeBehind, { pending: 0, retried: 4, written: 3 })
})

t.test('a write that comes while its handler is at work does not wait for a flush', (t) =>
  onEveryStorage(t, async (t, kind) => {
    for (const fails of [0, 1]) {
      const clock = new ManualClock()
      const cache = await freshCache(t, kind, { clock, writeBehind: { delay: 50, backoff: 50 } })
      const handed: unknown[] = []
      const began = deferred()
      const answer = deferred()
      let failures = fails
      cache.writeBehind('default', async (writes) => {
        began.resolve()
        await answer.promise
        if (failures-- > 0) throw new Error('not now')
        handed.push(...writes.map(({ key }) => key))
      })
      await cache.setWithDelayedPersist('a', 1)
      clock.advance(50)
      await began.promise
      await cache.setWithDelayedPersist('b', 1)
      clock.advance(100)
      answer.resolve()
      await eventually(async () => {
        clock.advance(10)
        return handed.includes('a') && handed.includes('b')
      })
      t.pass(`${fails} failures`)
    }
  }),
)

t.test('nor does one that comes when its handler has just ended', async (t) => {
  const clock = new ManualClock()
  const counted = [deferred(), deferred()]
  const asked = [deferred(), deferred()]
  class SlowlyCounted extends MemoryJournal {
    #times = 0
    override async size(writer: string) {
      const size = await super.size(writer)
      const time = this.#times++
      asked[time]?.resolve()
      await counted[time]?.promise
      return size
    }
  }
  const { tier } = await cacheParts(await openTestStorage(t, 'memory:'))
  const cache = new Cache({ tier, journal: new SlowlyCounted(tier, clock) }, { clock, writeBehind: { delay: 50 } })
  t.teardown(() => cache.close())
  const handed: unknown[] = []
  cache.writeBehind('default', (writes) => handed.push(...writes.map(({ key }) => key)))
  counted[0]?.resolve()
  await cache.start()
  await cache.setWithDelayedPersist('a', 1)
  clock.advance(50)
  await asked[1]?.promise
  await cache.setWithDelayedPersist('b', 1)
  clock.advance(50)
  counted[1]?.resolve()
  await eventually(async () => {
    clock.advance(10)
    return handed.length === 2
  })
  t.same(handed, ['a', 'b'])
})

t.test('writes of one key by several instances at once: source and cache end with the same', async (t) => {
  const KEYS = 200
  const url = await storageUrl(t, 'redis')
  const source = new Map<string, unknown>()
  const ids = new Map<string, string>()
  let disorder = 0
  const instances = await Promise.all(
    ['A', 'B', 'C'].map(async (name) => {
      const cache = await startCache(t, url, {
        l2: { timeout: '5s' },
        writeBehind: { delay: 5, takeover: 50, batch: 7 },
      })
      cache.writeBehind('default', (writes) => {
        for (const { key, value, id } of writes) {
          if (id <= (ids.get(key) ?? '')) disorder++
          ids.set(key, id)
          source.set(key, value)
        }
      })
      return { name, cache }
    }),
  )
  const keys = Array.from({ length: KEYS }, (_, n) => `k${n}`)
  await Promise.all(
    keys.flatMap((key) => instances.map(({ name, cache }) => cache.setWithDelayedPersist(key, `${name} ${key}`))),
  )
  await eventually(async () => {
    for (const { cache } of instances) await cache.writers.flush()
    return instances.every(({ cache }) => cache.stats().writeBehind.pending === 0)
  })
  t.equal(disorder, 0)
  const fresh = await startCache(t, url)
  for (const cache of [fresh, ...instances.map(({ cache }) => cache)]) {
    t.same(await cache.getMany(keys), new Map(keys.map((key) => [key, source.get(key)])))
  }
})

t.test('what waits is seen, with how often it was tried, and looking takes nothing away', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const writeBehind = { delay: 1, attempts: 3, backoff: 1 }
    const cache = await startCache(t, await storageUrl(t, kind), { writeBehind })
    const calls: string[][] = []
    const failed = deferred<void>()
    cache.writeBehind('orders', async (writes) => {
      calls.push(writes.map(({ id }) => id))
      if (calls.length === 3) await failed.promise
      if (calls.length < 4) throw new Error('the database is away')
    })
    const begun = Date.now()
    await cache.namespace('shop').setWithDelayedPersist('order:1', { price: 1 }, { writer: 'orders' })
    await eventually(() => calls.length === 3)
    await cache.setWithDelayedPersist('order:2', 2, { writer: 'orders' })
    const [first, second] = await cache.writers.waiting('orders')
    t.match(first, { id: calls[0]?.[0], namespace: 'shop', key: 'order:1', attempts: 2 })
    t.match(second, { namespace: 'default', key: 'order:2', attempts: 0 })
    // The store has a clock of its own.
    t.ok(first && Math.abs(first.since - begun) < 60_000 && second && second.since >= first.since)
    t.equal((await cache.writers.waiting('orders', 1)).length, 1)
    await t.rejects(cache.writers.waiting('none'), { code: 'STATEFUL_UNKNOWN_WRITER' })
    failed.resolve()
    await eventually(() => cache.stats().writeBehind.written === 2)
    t.same(await cache.writers.waiting('orders'), [])
  }),
)
