import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as wait } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { Cache, CacheOptions, DelayedWrite } from '../../../../plugins/cache/index.ts'
import type { Storage } from '../../../../plugins/storage/index.ts'
import { ManualClock } from '../../../../plugins/support/manual-clock.ts'
import { eventually } from '../../../fixtures/eventually.ts'
import { startRedis } from '../../../fixtures/redis-server.ts'
import { onEveryStorage, openTestStorage, storageUrl } from '../../../fixtures/storages.ts'
import { untrackedTypeScript } from '../../../fixtures/untracked.ts'
import { deferred, startCache } from '../fixture.ts'

/** Milliseconds. */
const LEASE = 200

/** An instance that writes down what its handler gets, and lets it end when told to. */
async function instance(
  t: Test,
  target: string | Storage,
  writeBehind: CacheOptions['writeBehind'],
  options: CacheOptions = {},
) {
  const cache = await startCache(t, target, {
    ...options,
    writeBehind: { delay: 1, takeover: 50, lease: LEASE, ...writeBehind },
  })
  const calls: { writes: DelayedWrite[]; signal: AbortSignal; end: (error?: Error) => void }[] = []
  cache.writeBehind('w', (writes, { signal }) => {
    const { promise, resolve, reject } = deferred()
    calls.push({ writes, signal, end: (error) => (error ? reject(error) : resolve()) })
    return promise
  })
  return { cache, calls, set: (value: unknown) => cache.setWithDelayedPersist('k', value, { writer: 'w' }) }
}

const called = (calls: unknown[], times = 1) => eventually(async () => calls.length >= times)
const emptied = (cache: Cache) =>
  eventually(async () => {
    await cache.writers.flush()
    return cache.stats().writeBehind.pending === 0
  })
const values = (calls: { writes: DelayedWrite[] }[]) => calls.map(({ writes }) => writes.map(({ value }) => value))

t.test('nobody runs beside a handler that takes several leases, and the latest write is the last', async (t) => {
  const url = await storageUrl(t, 'redis')
  const a = await instance(t, url, {})
  await a.set('old')
  await called(a.calls)
  const b = await instance(t, url, {})
  await b.set('new')
  await wait(5 * LEASE)
  t.equal(b.calls.length, 0)
  t.notOk(a.calls[0]?.signal.aborted)
  a.calls[0]?.end()
  await called(b.calls)
  t.same(values(b.calls), [['new']], 'who waits has a turn after one that takes so long')
  for (const { end } of [...a.calls, ...b.calls]) end()
  await emptied(b.cache)
})

t.test('an owner that was stopped in the middle changes nothing after another one has taken over', async (t) => {
  const url = await storageUrl(t, 'redis')
  // Its timers stand still, as those of a process that was sent SIGSTOP.
  const clock = new ManualClock()
  const stopped = await instance(t, url, { attempts: 1 }, { clock })
  await stopped.set('old')
  clock.advance(1)
  await called(stopped.calls)
  const other = await instance(t, url, {})
  await called(other.calls)
  t.same(values(other.calls), [['old']])
  // It comes to life again and says that it has persisted what the other one is at.
  stopped.calls[0]?.end()
  await eventually(async () => stopped.cache.stats().writeBehind.written === 1)
  other.calls[0]?.end(new Error('not now'))
  await called(other.calls, 2)
  t.same(values(other.calls), [['old'], ['old']], 'it still waits')
  other.calls[1]?.end()
  await emptied(other.cache)
  t.equal(stopped.calls.length, 1)
  t.match(await other.cache.writers.deadLetters('w'), [])
})

t.test('an owner that cannot renew its lease stops its handler before another one begins', async (t) => {
  const redis = await startRedis(t)
  const a = await instance(t, redis.url, {})
  await a.set('old')
  await called(a.calls)
  redis.process().kill('SIGSTOP')
  await once(a.calls[0]?.signal as AbortSignal, 'abort')
  redis.process().kill('SIGCONT')
  t.match(a.calls[0]?.signal.reason, { code: 'STATEFUL_WRITE_BEHIND_LOST' })
  await called(a.calls, 2)
  t.same(values(a.calls), [['old'], ['old']], 'it is handed over again')
  for (const { end } of a.calls) end()
})

t.test('what an owner leaves that is killed goes on within two seconds', async (t) => {
  const url = await storageUrl(t, 'redis')
  const other = await startCache(t, url)
  const handed: number[] = []
  other.writeBehind('w', () => handed.push(performance.now()))
  for (const when of ['before it has begun', 'while its handler runs']) {
    await t.test(when, async (t) => {
      const program = new URL('./owner-child.ts', import.meta.url).pathname
      const child = spawn(...untrackedTypeScript(program, url, when), { stdio: ['ignore', 'pipe', 'inherit'] })
      t.teardown(() => child.kill('SIGKILL'))
      await once(createInterface(child.stdout), 'line')
      const exited = once(child, 'exit')
      child.kill('SIGKILL')
      await exited
      const killed = performance.now()
      await called(handed)
      const took = (handed.shift() as number) - killed
      t.ok(took < 2_000, `${Math.round(took)} ms`)
    })
  }
})

t.test('a handler that hangs has its time, and close does not wait for it', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const url = await storageUrl(t, kind)
    const a = await instance(t, url, { timeout: 50, closing: 50, backoff: 1 })
    await a.set('kept')
    await called(a.calls, 2)
    t.match(a.calls[0]?.signal.reason, { code: 'STATEFUL_WRITE_BEHIND_TIMEOUT' })
    const b = await instance(t, kind === 'memory' ? url : await storageUrl(t, kind), { closing: 50 })
    await b.set('kept')
    await called(b.calls)
    const began = performance.now()
    await b.cache.close()
    t.ok(performance.now() - began < 2_000)
    t.match(b.calls[0]?.signal.reason, { code: 'STATEFUL_WRITE_BEHIND_LOST' })
    for (const { end } of a.calls) end()
  }),
)

t.test('what a close has cut off is in the journal', (t) =>
  onEveryStorage(t, async (t, kind) => {
    if (kind === 'memory') return
    const storage = await openTestStorage(t, await storageUrl(t, kind))
    const a = await instance(t, storage, { closing: 50 })
    await a.set('kept')
    await called(a.calls)
    await a.cache.close()
    const b = await instance(t, storage, {})
    await called(b.calls)
    t.same(values(b.calls), [['kept']])
    b.calls[0]?.end()
  }),
)

t.test('a Redis that is away: no rejection goes unhandled, writes are refused by a code, and it goes on', async (t) => {
  const redis = await startRedis(t, ['--appendonly', 'yes', '--appendfsync', 'always'])
  const unhandled: unknown[] = []
  const note = (reason: unknown) => unhandled.push(reason)
  process.on('unhandledRejection', note)
  t.teardown(() => process.off('unhandledRejection', note))
  const cache = await startCache(t, redis.url, { writeBehind: { delay: 1, takeover: 50, lease: LEASE } })
  const handed: unknown[] = []
  cache.writeBehind('early', (writes) => handed.push(...writes.map(({ value }) => value)))
  await redis.kill()
  cache.writeBehind('late', (writes) => handed.push(...writes.map(({ value }) => value)))
  for (const writer of ['early', 'late']) {
    await t.rejects(cache.setWithDelayedPersist('k', 0, { writer }), { code: 'STATEFUL_CACHE_STORE_UNAVAILABLE' })
  }
  await t.rejects(cache.writers.deadLetters('late'), { code: 'STATEFUL_STORAGE_UNAVAILABLE' })
  await redis.restart()
  for (const writer of ['early', 'late']) {
    await eventually(() =>
      cache.setWithDelayedPersist('k', writer, { writer }).then(
        () => true,
        () => false,
      ),
    )
  }
  await eventually(async () => handed.includes('early') && handed.includes('late'))
  t.same(unhandled, [])
})
