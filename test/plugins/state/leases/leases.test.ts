import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import t from 'tap'
import { isAtLeast } from '../../../../plugins/state/leases/proof.ts'
import { ManualClock } from '../../../../plugins/support/manual-clock.ts'
import { startRedis } from '../../../fixtures/redis-server.ts'
import { onEveryState, testState, until } from '../../../fixtures/state.ts'
import { onEveryStorage, storageUrl } from '../../../fixtures/storages.ts'
import { untrackedTypeScript } from '../../../fixtures/untracked.ts'

t.setTimeout(60_000)

const TTL = 10_000
const lost = { code: 'STATEFUL_STATE_LEASE_LOST' }
const turn = () => new Promise(setImmediate)

/** What waits for a moment of a clock that stands still, such as a writer that gives way to another, goes on. */
async function moving<Result>(clock: ManualClock, promise: Promise<Result>): Promise<Result> {
  let done = false
  const end = () => {
    done = true
  }
  promise.then(end, end)
  while (!done) {
    clock.advance(10)
    await turn()
  }
  return promise
}

t.test('one holds it, the next waits; each token is newer; writes of before are refused', (t) =>
  onEveryState(t, async (t, state, { url, kind }) => {
    const other = kind === 'redis' ? (await testState(t, { url })).state : state
    const first = await state.lease('job', { ttl: TTL })
    t.ok(first.held)
    await state.set('k', 1, { compareLease: first })
    await state.update('k', async (n) => (n as number) + 1, { compareLease: first })
    await state.commit([{ op: 'increment', key: 'k' }], { compareLease: first })
    await state.transaction((tx) => tx.increment('k'), { compareLease: first })
    await t.rejects(other.lease('job', { wait: 0 }), { code: 'STATEFUL_STATE_LEASE_HELD' })
    let got = false
    const waiting = other.lease('job', { ttl: TTL }).then((lease) => {
      got = true
      return lease
    })
    await turn()
    t.notOk(got)
    await first.release()
    await first.release()
    t.ok(first.signal.aborted)
    const second = await waiting
    t.ok(isAtLeast(second.token, first.token) && !isAtLeast(first.token, second.token))
    await t.rejects(state.set('k', 'late', { compareLease: first }), lost)
    await t.rejects(state.compareAndSet('k', state.entry('k')?.revision ?? 0, 'late', { compareLease: first }), lost)
    await t.rejects(state.delete('k', { compareLease: first }), lost)
    await t.rejects(
      state.update('k', async () => 'late', { compareLease: first }),
      lost,
    )
    const proof = JSON.parse(JSON.stringify({ name: second.name, token: second.token }))
    await other.set('k', 'now', { compareLease: proof })
    t.equal(await state.read('k'), 'now')
    await second.release()
    await state.freshen()
    t.same(state.keys('lease'), [], 'nothing is left behind')
  }),
)

t.test('it is renewed by itself, and given up before anybody else can have it', async (t) => {
  const clock = new ManualClock()
  const { state } = await testState(t, { clock })
  const lease = await state.lease('job', { ttl: TTL })
  for (let n = 0; n < 20; n++) {
    clock.advance(TTL / 4)
    await turn()
    await turn()
  }
  t.ok(lease.held)
  t.ok((state.get('lease-beat:job') as number) >= 10)
  let others = 0
  state.lease('job', { ttl: TTL }).then(
    () => others++,
    () => {},
  )
  for (let n = 0; n < 20; n++) {
    clock.advance(TTL / 4)
    await turn()
    await turn()
  }
  t.equal(others, 0, 'nobody gets it while it is renewed')
})

t.test('a holder that cannot renew gives up in time; the other one gets it after the ttl', async (t) => {
  const [clock, other] = [new ManualClock(), new ManualClock()]
  const redis = await startRedis(t)
  const { state: one } = await testState(t, { url: redis.url, clock, writeTimeout: 60_000 })
  const { state: two } = await testState(t, { url: redis.url, clock: other, writeTimeout: 60_000 })
  const lease = await one.lease('job', { ttl: TTL })
  let ended = 0
  lease.signal.addEventListener('abort', () => ended++)
  let taken = false
  const waiting = two.lease('job', { ttl: TTL }).then((next) => {
    taken = true
    return next
  })
  await until(two, () => two.has('lease-beat:job'))
  await turn()
  // The clock of the holder stands still, as that of a process that was stopped: it says nothing.
  other.advance(TTL - 1)
  await turn()
  t.notOk(taken)
  // Nobody looks at wall clocks.
  other.jump(365 * 86_400_000)
  clock.jump(-365 * 86_400_000)
  await turn()
  t.notOk(taken)
  const next = await moving(other, waiting)
  t.ok(lease.held, 'it cannot know')
  await t.rejects(one.set('k', 1, { compareLease: lease }), lost, 'but the log does')
  await moving(other, two.set('k', 2, { compareLease: next }))
  clock.advance(TTL)
  t.notOk(lease.held)
  t.equal(ended, 1)
  t.match(lease.signal.reason, lost)
})

t.test('a signal aborts before the ttl ends, also when the timers of the process are late', async (t) => {
  const clock = new ManualClock()
  const { state } = await testState(t, { clock })
  const lease = await state.lease('job', { ttl: TTL })
  await state.close()
  t.ok(lease.signal.aborted, 'a space that is closed holds nothing')
})

t.test('a holder that was stopped (SIGSTOP) loses it, and what it writes afterwards is refused', async (t) => {
  const redis = await startRedis(t)
  const program = fileURLToPath(new URL('../../../fixtures/lease-holder.ts', import.meta.url))
  const child = spawn(...untrackedTypeScript(program, redis.url, '500'), {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const next = async () => JSON.parse((await lines.next()).value as string)
  const { token } = await next()
  child.stdin.write('before\n')
  t.same(await next(), { aborted: false, code: 'written' })
  child.kill('SIGSTOP')
  const { state } = await testState(t, { url: redis.url, pollInterval: 50 })
  const lease = await state.lease('job', { ttl: 60_000 })
  t.ok(isAtLeast(lease.token, token))
  await state.set('written', 'by the next', { compareLease: lease })
  child.stdin.write('after\n')
  child.kill('SIGCONT')
  t.same(await next(), { aborted: true, code: 'STATEFUL_STATE_LEASE_LOST' })
  t.equal(await state.read('written'), 'by the next')
  const exited = once(child, 'exit')
  child.stdin.end()
  await exited
})

t.test('a Redis that lost the lease gives out a newer token, and the lost one is refused', async (t) => {
  const redis = await startRedis(t)
  const admin = new Redis(redis.port, {
    lazyConnect: true,
    retryStrategy: () => 10,
    maxRetriesPerRequest: null,
    commandTimeout: 10_000,
  })
  t.teardown(() => admin.disconnect())
  const { state } = await testState(t, { url: redis.url, pollInterval: 50 })
  await state.set('k', 1)
  await admin.save()
  const before = await state.lease('job', { ttl: 60_000 })
  await redis.restart()
  await until(state, () => !state.has('lease:job'))
  const after = await state.lease('job', { ttl: 60_000 })
  t.ok(after.token.revision <= before.token.revision, 'the revisions begin again')
  t.ok(isAtLeast(after.token, before.token) && !isAtLeast(before.token, after.token))
  await t.rejects(state.set('k', 2, { compareLease: before }), lost)
  await state.set('k', 2, { compareLease: after })
})

t.test('a Redis that lost the whole space gives out a newer token, whoever comes first', async (t) => {
  const redis = await startRedis(t)
  const { state } = await testState(t, { url: redis.url })
  const { state: other } = await testState(t, { url: redis.url })
  const client = new Redis(redis.port)
  t.teardown(() => client.disconnect())
  const tokens = [(await state.lease('job', { ttl: TTL })).token]
  await other.freshen()
  for (const next of [other, state, other]) {
    await client.flushall()
    const { token } = await next.lease('job', { ttl: TTL })
    for (const before of tokens) t.ok(isAtLeast(token, before) && !isAtLeast(before, token))
    tokens.push(token)
    await Promise.all([state.freshen(), other.freshen()])
  }
  t.equal(other.epoch, state.epoch)
})

t.test('who held it in a process that is gone keeps nobody waiting on a log of one process', async (t) =>
  onEveryState(t, async (t, state, { url, kind, close }) => {
    if (kind !== 'lmdb') return
    await state.commit([
      { op: 'set', key: 'lease:job', value: { holder: 'gone', ttl: 60_000, process: 'gone' } },
      { op: 'set', key: 'lease-beat:job', value: 7 },
    ])
    await close()
    const { state: again } = await testState(t, { url })
    t.ok((await again.lease('job', { wait: 0 })).held)
  }),
)

t.test('something is run once, by whoever comes first, and again only if it failed', (t) =>
  onEveryState(t, async (t, state, { url, kind }) => {
    const other = kind === 'redis' ? (await testState(t, { url })).state : state
    let runs = 0
    await t.rejects(
      state.runOnce('move', () => Promise.reject(new Error('not yet'))),
      { message: 'not yet' },
    )
    const results = await Promise.all(
      [state, other, state].map((one) => one.runOnce('move', ({ token }) => `${++runs} ${token.revision > 0}`)),
    )
    t.same(
      results.filter((result) => result !== undefined),
      ['1 true'],
    )
    t.equal(await other.runOnce('move', () => 'again'), undefined)
    t.equal(runs, 1)
  }),
)

t.test('a schedule runs once in each period, on one of the instances', async (t) => {
  const clock = new ManualClock()
  const redis = await startRedis(t)
  const instances = [
    (await testState(t, { url: redis.url, clock, writeTimeout: 600_000 })).state,
    (await testState(t, { url: redis.url, clock, writeTimeout: 600_000 })).state,
  ]
  const ran: number[] = []
  const admin = new Redis(redis.url)
  t.teardown(() => admin.disconnect())
  // No faster than Redis answers: what a lease waits for comes before the lease ends.
  const pass = async () => {
    clock.advance(10)
    await admin.ping()
    await turn()
  }
  const until = async (count: number) => {
    while (ran.length < count) await pass()
  }
  const stops = await Promise.all(
    instances.map((state) => state.runOnce('report', { every: '1h' }, () => void ran.push(clock.now()))),
  )
  await until(1)
  for (let n = 2; n <= 3; n++) {
    // Both have seen the last one as done before the next begins.
    while (instances.some((state) => state.keys('lease').length > 0)) await pass()
    clock.advance(3_600_000)
    await until(n)
  }
  for (const stop of stops) stop()
  clock.advance(3_600_000)
  await Promise.all(instances.map((state) => moving(clock, state.freshen())))
  t.equal(new Set(ran.map((at) => Math.floor(at / 3_600_000))).size, 3)
  t.equal(ran.length, 3)
})

t.test('a schedule whose holder died at the begin of a period is run by another one within it', async (t) => {
  const EVERY = 3_600_000
  const clock = new ManualClock()
  const redis = await startRedis(t)
  const { state } = await testState(t, { url: redis.url, clock, writeTimeout: 600_000 })
  // As a process leaves it that is killed while it holds the lease.
  await state.set('lease:once:report', { holder: 'nobody', ttl: TTL, process: 'gone' })
  const ran: number[] = []
  const began = clock.now()
  const stop = await state.runOnce('report', { every: EVERY }, () => void ran.push(clock.now()))
  const admin = new Redis(redis.url)
  t.teardown(() => admin.disconnect())
  while (ran.length === 0 && clock.now() < began + 2 * TTL) {
    clock.advance(10)
    await admin.ping()
    await turn()
  }
  t.equal(ran.length, 1)
  t.ok((ran[0] as number) - began >= TTL, 'not while it could still be there')
  stop()
})

t.test('a lease that was given up for lack of time leaves nothing that others wait for, once it is released', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const clock = new ManualClock()
    const { state } = await testState(t, { url: await storageUrl(t, kind), clock, writeTimeout: 600_000 })
    const lease = await state.lease('late', { ttl: TTL })
    clock.advance(TTL)
    t.notOk(lease.held)
    await moving(clock, lease.release())
    t.same(state.keys('lease'), [])
  }),
)

t.test('waits end: by time, by a signal, by the close', async (t) => {
  const clock = new ManualClock()
  const { state, close } = await testState(t, { clock })
  await state.lease('job', { ttl: TTL })
  const inTime = state.lease('job', { wait: 100 })
  const stop = new AbortController()
  const stopped = state.lease('job', { signal: stop.signal })
  const closed = state.lease('job')
  for (const promise of [inTime, stopped, closed]) promise.catch(() => {})
  await turn()
  clock.advance(100)
  await t.rejects(inTime, { code: 'STATEFUL_STATE_LEASE_HELD' })
  stop.abort(new Error('enough'))
  await t.rejects(stopped, { message: 'enough' })
  await close()
  await t.rejects(closed, { code: 'STATEFUL_STATE_CLOSED' })
})
