import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import t from 'tap'
import type { Json } from '../../../../openapi/schemas/state.ts'
import type { StateManager } from '../../../../plugins/state/index.ts'
import type { EpochLog, Seen } from '../../../checkers/watch-validator.ts'
import { validateWatch } from '../../../checkers/watch-validator.ts'
import { startFaultProxy } from '../../../fixtures/fault-proxy.ts'
import { type Random, seededRandom } from '../../../fixtures/random.ts'
import { startRedis } from '../../../fixtures/redis-server.ts'
import { testState } from '../../../fixtures/state.ts'

const SEED = Number(process.env['CHAOS_SEED'] ?? 1)
const SCHEDULES = Number(process.env['SCHEDULES'] ?? 60)
t.setTimeout(120_000 + SCHEDULES * 1_000)

/** Byte for byte: the order of keys is the order of writing, which replicas need not share. */
const canonical = (state: StateManager) => {
  const { epoch, revision, state: content } = state.snapshot()
  return JSON.stringify([epoch, revision, Object.entries(content).sort(([a], [b]) => (a < b ? -1 : 1))])
}

async function write(random: Random, state: StateManager): Promise<void> {
  const key = `k${random.integer(0, 9)}`
  const value: Json = { n: random.integer(0, 99) }
  const kind = random.integer(0, 9)
  if (kind < 5) await state.set(key, value)
  else if (kind < 7) await state.update(key, (before) => ({ before: JSON.stringify(before ?? null).length }))
  else if (kind < 8) await state.delete(key)
  else if (kind < 9)
    await state.commit([
      { op: 'set', key, value },
      { op: 'increment', key: 'counter' },
    ])
  else if (random.chance(0.1)) await state.restore({ state: { restored: random.integer(0, 9) } })
  else await state.increment('counter')
}

t.test(`three instances agree byte for byte after ${SCHEDULES} schedules of faults`, async (t) => {
  const redis = await startRedis(t)
  const admin = new Redis(redis.port, { retryStrategy: () => 10, maxRetriesPerRequest: null, commandTimeout: 10_000 })
  admin.on('error', () => {})
  t.teardown(() => admin.disconnect())
  const proxies = []
  const instances: StateManager[] = []
  for (let n = 0; n < 3; n++) {
    const proxy = await startFaultProxy(t, { target: { port: redis.port } })
    proxies.push(proxy)
    const url = {
      url: `redis://127.0.0.1:${proxy.port}`,
      redis: { commandTimeout: 200, connectTimeout: 500, retryStrategy: () => 10 },
    }
    const { state } = await testState(t, { url, pollInterval: 50, writeTimeout: 400 })
    instances.push(state)
  }
  let diverged = 0
  let epochs = 0
  for (let n = 0; n < SCHEDULES && diverged === 0; n++) {
    const random = seededRandom(SEED * 1_000_000 + n)
    const before = instances[0]?.epoch
    const load = instances.map(async (state) => {
      const own = random.fork()
      for (let i = 0; i < 6; i++) await write(own, state).catch(() => {})
    })
    for (let faults = random.integer(1, 3); faults > 0; faults--) {
      const proxy = random.pick(proxies)
      const fault = random.integer(0, 11)
      if (fault < 3) proxy.cut()
      else if (fault < 6) proxy.dropReplies()
      else if (fault < 7) proxy.splitBytes()
      else if (fault < 8) proxy.delay(random.integer(1, 4))
      else if (fault < 9) await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub').catch(() => {})
      else if (fault < 10) await admin.script('FLUSH').catch(() => {})
      else if (fault < 11) await admin.save().catch(() => {})
      // Without an append-only file this goes back to the last save, or to nothing: the end of the log is lost.
      else await redis.restart()
      await delay(random.integer(0, 5))
    }
    for (const proxy of proxies) proxy.heal()
    await Promise.all(load)
    await agree(instances)
    if (new Set(instances.map(canonical)).size > 1) {
      diverged++
      t.fail(`seed ${SEED}, schedule ${n}: ${instances.map(canonical).join('\n')}`)
    }
    if (instances[0]?.epoch !== before) epochs++
  }
  t.equal(diverged, 0)
  t.ok(epochs > 0, `${epochs} of the schedules ended in a new epoch`)
})

/** Two looks in a row that bring nothing new: everybody is at the head. */
async function agree(instances: readonly StateManager[]): Promise<void> {
  const deadline = performance.now() + 5_000
  for (let quiet = 0; quiet < 2 && performance.now() < deadline; ) {
    const looks = await Promise.allSettled(instances.map((state) => state.freshen()))
    const same = new Set(instances.map(({ epoch, revision }) => `${epoch} ${revision}`)).size === 1
    quiet = same && looks.every(({ status }) => status === 'fulfilled') ? quiet + 1 : 0
    if (quiet === 0) await delay(10)
  }
}

t.test('what a watcher of another instance sees keeps the six guarantees', async (t) => {
  const redis = await startRedis(t, ['--appendonly', 'yes', '--appendfsync', 'always'])
  const proxy = await startFaultProxy(t, { target: { port: redis.port } })
  const { state: writer } = await testState(t, { url: redis.url })
  const url = { url: `redis://127.0.0.1:${proxy.port}`, redis: { commandTimeout: 200, retryStrategy: () => 10 } }
  const { state: reader } = await testState(t, { url, pollInterval: 50 })
  const epochs = new Map<string, EpochLog>([
    [writer.epoch, { epoch: writer.epoch, base: { revision: 0, state: {} }, commits: [] }],
  ])
  writer.onCommit((commit) => {
    const log = epochs.get(commit.epoch) as { commits: EpochLog['commits'] } & EpochLog
    log.commits = [...log.commits, commit]
  })
  const covers = (key: string) => key.startsWith('k')
  const start = reader.snapshot()
  const seen: Seen[] = [{ type: 'fullSync', ...start }]
  let since = { epoch: start.epoch, revision: start.revision }
  const random = seededRandom(SEED)
  for (let round = 0; round < 30; round++) {
    const stop = new AbortController()
    const target = writer.revision + 10
    const resumed = since
    const watching = (async () => {
      if (round > 0) seen.push({ type: 'resume', since: resumed })
      for await (const event of reader.watch('k', { since: resumed, signal: stop.signal, progress: 3 })) {
        const { epoch, revision } = event.position
        if (event.type === 'commit') seen.push({ type: 'change', epoch, prev: event.prev, revision, ops: event.ops })
        else if (event.type === 'progress') seen.push({ type: 'bookmark', epoch, revision })
        else t.fail('no history was lost')
        since = event.position
        if (since.revision >= target) stop.abort()
      }
    })()
    for (let i = 0; i < 10; i++) {
      // The last commits of a round are always of another key: only progress tells that they are past.
      const key = i < 8 ? `k${random.integer(0, 4)}` : 'other'
      await writer.commit([
        { op: 'set', key, value: i },
        { op: 'increment', key: 'n' },
        { op: 'increment', key: i < 8 ? 'k' : 'n' },
      ])
      if (random.chance(0.2)) random.pick([() => proxy.cut(), () => proxy.dropReplies(), () => proxy.splitBytes()])()
    }
    proxy.heal()
    await watching
  }
  t.same(validateWatch([...epochs.values()], seen, { conflation: false, covers }), [])
  t.equal(seen.filter(({ type }) => type === 'change').length, 240)
  t.ok(seen.filter(({ type }) => type === 'bookmark').length >= 30)
})
