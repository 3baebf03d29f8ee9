import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import t from 'tap'
import type { Json, Position } from '../../../../openapi/schemas/state.ts'
import type { Hint, LogRecord, LogTail } from '../../../../plugins/state/log/contract.ts'
import { openStateLog } from '../../../../plugins/state/log/open.ts'
import { startRedis } from '../../../fixtures/redis-server.ts'
import { deaf, testState, until } from '../../../fixtures/state.ts'
import { openTestStorage } from '../../../fixtures/storages.ts'
import { batchOf } from '../../../suites/state-log.ts'

t.test('a Redis that comes back without the end of the log is another history: no silent fork', async (t) => {
  const redis = await startRedis(t)
  const admin = new Redis(redis.port, {
    lazyConnect: true,
    retryStrategy: () => 10,
    maxRetriesPerRequest: null,
    commandTimeout: 10_000,
  })
  t.teardown(() => admin.disconnect())
  const { state: one } = await testState(t, { url: redis.url, pollInterval: 50 })
  const { state: two } = await testState(t, { url: redis.url, pollInterval: 50 })
  await one.set('k', 1)
  await one.set('k', 2)
  await admin.save()
  await one.set('k', 'lost')
  await until(two, () => two.get('k') === 'lost')
  const lost = { epoch: one.epoch, revision: one.revision }
  const kept = { epoch: one.epoch, revision: 2 }
  const resets: string[] = []
  one.onReset((reason) => resets.push(`one ${reason}`))
  two.onReset((reason) => resets.push(`two ${reason}`))

  await redis.restart()
  await until(one, () => one.get('k') === 2)
  await until(two, () => two.get('k') === 2)
  t.same(resets.sort(), ['one epoch', 'two epoch'])
  t.not(one.epoch, lost.epoch)
  t.equal(one.revision, 2)

  await two.set('k', 'after')
  await one.freshen()
  t.equal(two.revision, lost.revision, 'the revision is used again, in another epoch')
  t.equal(await one.history(lost), undefined, 'who holds the lost revision gets everything anew')
  t.equal((await one.history(kept))?.length, 1, 'who holds only what was kept goes on')
  t.same(one.snapshot(), two.snapshot())
  t.ok(one.stats().epochChanges >= 1, 'and it shows in the statistics')
  t.equal(one.describe().lastEpochCause, 'incarnation')
})

t.test(
  'a server that may have lost the end takes no write that builds on what it kept, in the former epoch',
  async (t) => {
    const redis = await startRedis(t)
    const admin = new Redis(redis.port, { retryStrategy: () => 10, maxRetriesPerRequest: null, commandTimeout: 10_000 })
    t.teardown(() => admin.disconnect())
    const log = openStateLog(await openTestStorage(t, redis.url), 'app', { commits: 10, bytes: 2 ** 25 })
    const start = await log.load()
    await log.commit(start, batchOf(start, 'app', { k: 1 }))
    const kept = { epoch: start.epoch, revision: 1 }
    await admin.save()
    await log.commit(kept, batchOf(kept, 'app', { k: 'lost' }))
    await redis.restart()
    await admin.ping()
    // Nobody has read since: the first to speak to the new process is a writer that does not know of the lost revision.
    const replacement = { cause: 'restore' as const, tx: 'x', entries: new Map() }
    t.equal(await eventually(() => log.replace(kept, replacement)), 'conflict')
    t.equal(await log.commit(kept, batchOf(kept, 'app', { k: 'fork' })), 'conflict')
    t.equal((await log.load()).entries.get('k')?.value, 1)
  },
)

/** Repeated while the connection is being made again. */
async function eventually<Result>(run: () => Promise<Result>): Promise<Result> {
  for (;;) {
    try {
      return await run()
    } catch (error) {
      if ((error as { code?: string }).code !== 'STATEFUL_STORAGE_UNAVAILABLE') throw error
      await delay(5)
    }
  }
}

t.test('who loses a race gets what it missed with the answer', async (t) => {
  const redis = await startRedis(t)
  const log = openStateLog(await openTestStorage(t, redis.url), 'app', { commits: 3, bytes: 2 ** 25 })
  const start = await log.load()
  const batch = batchOf(start, 'app', { a: 1 }, { b: 2 })
  await log.commit(start, batch)
  const missed: (LogTail | undefined)[] = []
  const lose = (base: Position) => log.commit(base, batchOf(base, 'app', { c: 3 }), (tail) => missed.push(tail))
  t.equal(await lose(start), 'conflict')
  t.equal(await lose({ epoch: start.epoch, revision: 1 }), 'conflict')
  t.same(
    missed.map((tail) => tail?.records),
    [batch.records, batch.records.slice(1)],
  )
  t.same(missed[0], await log.since(start), 'it is what reading the log would give')

  await log.commit({ epoch: start.epoch, revision: 2 }, batchOf({ ...start, revision: 2 }, 'app', { d: 4 }, { e: 5 }))
  t.equal(await lose(start), 'conflict')
  t.equal(await lose({ epoch: '1:elsewhere', revision: 3 }), 'conflict')
  t.equal(missed.length, 2, 'a position that is not retained, or of another history, is not continued')
})

t.test('a commit is told with exactly the records that the log has, if they are small', async (t) => {
  const redis = await startRedis(t)
  const log = openStateLog(await openTestStorage(t, redis.url), 'app', { commits: 10, bytes: 2 ** 25 })
  const start = await log.load()
  const told: Hint[] = []
  let heard = () => {}
  const end = await log.watch((hint) => {
    told.push(hint)
    heard()
  })
  t.teardown(end)
  const commit = async (base: Position, ...commits: Record<string, Json>[]) => {
    const next = new Promise<void>((resolve) => {
      heard = resolve
    })
    const batch = batchOf(base, 'app', ...commits)
    await log.commit(base, batch)
    await next
    return { epoch: base.epoch, revision: base.revision + batch.records.length }
  }
  const small = await commit(start, { a: 'é \u2028 "\n' }, { b: 2 })
  t.match(told[0], { epoch: start.epoch, prev: 0, revision: 2 })
  t.same(told[0]?.records(), (await log.since(start))?.records)

  await commit(small, { c: 'x'.repeat(33_000) })
  t.match(told[1], { epoch: start.epoch, prev: 2, revision: 3 })
  t.equal(told[1]?.records(), undefined, 'large ones are only announced')
  t.equal((await log.since(small))?.records.length, 1)
})

t.test('history begins amid the commits of one entry, and an entry goes with the last of them', async (t) => {
  const redis = await startRedis(t)
  const log = openStateLog(await openTestStorage(t, redis.url), 'app', { commits: 3, bytes: 2 ** 25 })
  const start = await log.load()
  const { epoch } = start
  await log.commit(start, batchOf(start, 'app', { a: 1 }, { b: 2 }, { c: 3 }))
  const second = { epoch, revision: 3 }
  await log.commit(second, batchOf(second, 'app', { d: 4 }, { e: 5 }))
  const revisions = (records: LogRecord[] | undefined) => records?.map(({ commit }) => commit.revision)
  const loaded = await log.load()
  t.equal(loaded.floor, 3)
  t.same(revisions(loaded.records), [3, 4, 5], 'no more than is retained')
  t.same(revisions((await log.since({ epoch, revision: 2 }))?.records), [3, 4, 5])
  t.same(revisions((await log.since({ epoch, revision: 4 }))?.records), [5])
  t.equal(await log.since({ epoch, revision: 1 }), undefined)
})

t.test('who follows and has missed nothing does not read the log', async (t) => {
  const redis = await startRedis(t)
  const { state: one } = await testState(t, { url: redis.url, pollInterval: 60_000 })
  const { state: two } = await testState(t, { url: redis.url, pollInterval: 60_000 })
  await two.freshen()
  const { catchUps } = two.describe()
  for (let n = 1; n <= 20; n++) await one.increment('n')
  await until(two, () => two.get('n') === 20)
  t.same(two.snapshot(), one.snapshot())
  t.equal(two.describe().catchUps, catchUps)
})

t.test('a restore of 100,000 keys is one script', async (t) => {
  const redis = await startRedis(t)
  // On a busy machine it takes longer than the deadlines, which are not what this is about.
  const patient = { url: { url: redis.url, redis: { commandTimeout: 60_000 } }, writeTimeout: 60_000 }
  const { state } = await testState(t, { ...patient, limits: { keys: 100_000 } })
  await state.restore({ state: Object.fromEntries(Array.from({ length: 100_000 }, (_, n) => [`k${n}`, n])) })
  t.equal(state.size, 100_000)
})

t.test('an empty Redis in the place of a full one is noticed as well', async (t) => {
  const redis = await startRedis(t)
  const { state } = await testState(t, { url: redis.url, pollInterval: 50 })
  await state.set('k', 1)
  const before = { epoch: state.epoch, revision: state.revision }
  await redis.restart()
  await until(state, () => !state.has('k'))
  t.not(state.epoch, before.epoch)
  t.equal(state.stats().epochChanges, 1)
  await state.set('k', 2)
  t.equal(state.revision, before.revision)
  t.equal(await state.history(before), undefined)
})

t.test('FLUSHALL on a living server begins another history too', async (t) => {
  const redis = await startRedis(t)
  const admin = new Redis(redis.port)
  t.teardown(() => admin.disconnect())
  const { state } = await testState(t, { url: redis.url, pollInterval: 50 })
  await state.set('k', 1)
  const before = { epoch: state.epoch, revision: state.revision }
  await admin.flushall()
  await state.set('k', 2)
  t.not(state.epoch, before.epoch)
  t.equal(await state.history(before), undefined)
})

t.test('a message that never came is made up for within the poll interval', async (t) => {
  const redis = await startRedis(t)
  const admin = new Redis(redis.port)
  t.teardown(() => admin.disconnect())
  const { state: one } = await testState(t, { url: redis.url })
  const { state: two } = await testState(t, { url: redis.url, pollInterval: 50 })
  await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
  await one.set('k', 1)
  await until(two, () => two.get('k') === 1)
  t.equal(two.get('k'), 1)
})

t.test('a write that comes to nothing by what the replica holds has looked at the log first', async (t) => {
  const redis = await startRedis(t)
  const { state: one } = await testState(t, { url: redis.url })
  const { state: two } = await testState(t, { url: redis.url, pollInterval: 60_000, wrap: deaf })
  await two.freshen()
  await one.set('k', 1)
  t.equal(two.has('k'), false, 'it has not heard of it')
  t.equal(await two.delete('k'), true)
  const { revision } = await one.set('k', 2)
  t.equal(await two.compareAndSet('k', revision, 3), true)
  await one.freshen()
  t.equal(one.get('k'), 3)
})

t.test('SCRIPT FLUSH is no trouble', async (t) => {
  const redis = await startRedis(t)
  const admin = new Redis(redis.port)
  t.teardown(() => admin.disconnect())
  const { state } = await testState(t, { url: redis.url })
  await state.set('k', 1)
  await admin.script('FLUSH')
  await state.set('k', 2)
  t.equal(await state.read('k'), 2)
})

t.test('a full Redis refuses writes with 507 and still deletes', async (t) => {
  const redis = await startRedis(t)
  const admin = new Redis(redis.port)
  t.teardown(() => admin.disconnect())
  const { state } = await testState(t, { url: redis.url })
  await state.set('big', 'x'.repeat(100_000))
  await admin.config('SET', 'maxmemory', '1mb')
  await t.rejects(state.set('more', 'x'), { code: 'STATEFUL_STORAGE_FULL', statusCode: 507 })
  t.equal(state.has('more'), false)
  t.equal(state.get('big') !== undefined, true, 'reading goes on')
  t.equal(await state.delete('big'), true)
  await admin.config('SET', 'maxmemory', '0')
  await state.set('more', 'x')
  t.equal(state.get('more'), 'x')
})

t.test('a Redis that evicts keys is refused at boot', async (t) => {
  const redis = await startRedis(t, ['--maxmemory', '100mb', '--maxmemory-policy', 'allkeys-lru'])
  await t.rejects(testState(t, { url: redis.url }), { code: 'STATEFUL_STATE_EVICTING_STORE', message: /allkeys-lru/ })
})

t.test('an ack level that the server cannot keep is refused at boot', async (t) => {
  const redis = await startRedis(t)
  const admin = new Redis(redis.port)
  t.teardown(() => admin.disconnect())
  const [known] = (await admin.call('COMMAND', 'INFO', 'WAITAOF')) as unknown[]
  const opening = testState(t, { url: redis.url, ack: 'fsync' })
  if (known) t.equal((await opening).state.describe().durability, 'fsync')
  else await t.rejects(opening, { code: 'STATEFUL_INVALID_OPTION', message: /7\.2/ })
})

t.test('a Redis that is gone holds up no close, also with a write whose outcome nobody knows', async (t) => {
  const redis = await startRedis(t)
  const { state, close } = await testState(t, { url: redis.url, writeTimeout: 60_000 })
  await state.set('k', 1)
  redis.process().kill('SIGSTOP')
  const sent = t.rejects(state.set('k', 2), { code: 'STATEFUL_STATE_OUTCOME_UNKNOWN' })
  await delay(1_100)
  const waiting = t.rejects(state.set('other', 3), { code: 'STATEFUL_STATE_CLOSED' })
  await redis.kill()
  const started = performance.now()
  await close()
  t.ok(performance.now() - started < 4_000, 'though the deadline of its writes is a minute away')
  await Promise.all([sent, waiting])
})
