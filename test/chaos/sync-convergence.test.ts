import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { createClient, type Replica, type StatefulClient, type WriteError } from '../../client/index.ts'
import type { Json } from '../../openapi/schemas/state.ts'
import { type FaultProxy, startFaultProxy } from '../fixtures/fault-proxy.ts'
import { type Random, seededRandom } from '../fixtures/random.ts'
import { freePort, type RedisServer, startRedis } from '../fixtures/redis-server.ts'
import { untrackedFork } from '../fixtures/untracked.ts'
import { watchedWebSocket } from './chain-validator.ts'

const SEED = Number(process.env['CHAOS_SEED'] ?? 1)
const SCHEDULES = Number(process.env['CHAOS_ROUNDS'] ?? 3)
const CLIENTS = 20
const DISTURBANCE = 1_500
/** Half-open sockets are noticed after two heartbeats, instances poll each second, clients back off for a while. */
const CONVERGENCE = 20_000

interface Instance {
  proxy: FaultProxy
  start(): Promise<void>
  process(): ChildProcess
}

async function startInstance(t: Test, redis: RedisServer): Promise<Instance> {
  const port = await freePort()
  const proxy = await startFaultProxy(t, { target: { port } })
  let child: ChildProcess | undefined
  t.teardown(() => child?.kill('SIGKILL'))
  const start = async () => {
    child = fork(fileURLToPath(new URL('./sync-server.ts', import.meta.url)), [`${port}`, redis.url], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      ...untrackedFork(),
    })
    await Promise.race([once(child, 'message'), once(child, 'exit')])
  }
  await start()
  return { proxy, start, process: () => child as ChildProcess }
}

/** One random fault, which ends by itself or at the healing. */
async function disturb(random: Random, instances: Instance[], redis: RedisServer): Promise<string> {
  const instance = random.pick(instances)
  const { proxy } = instance
  const faults: { [name: string]: () => unknown } = {
    cut: () => proxy.cut(),
    'half-open': () => proxy.halfOpen(),
    delay: () => proxy.delay(random.integer(1, 80)),
    split: () => proxy.splitBytes(),
    'lost reply': () => proxy.dropReplies(),
    heal: () => proxy.heal(),
    'pause of an instance': async () => {
      instance.process().kill('SIGSTOP')
      await wait(random.integer(50, 900))
      instance.process().kill('SIGCONT')
    },
    'death of an instance': async () => {
      const exited = once(instance.process(), 'exit')
      instance.process().kill('SIGKILL')
      await exited
      await instance.start()
    },
    'pause of Redis': async () => {
      redis.process().kill('SIGSTOP')
      await wait(random.integer(50, 1_500))
      redis.process().kill('SIGCONT')
    },
    'death of Redis': async () => {
      await redis.kill()
      await wait(random.integer(0, 300))
      await redis.restart()
    },
  }
  const name = random.pick(Object.keys(faults))
  await faults[name]?.()
  return name
}

interface Writer {
  client: StatefulClient
  replica: Replica
  acknowledged: string[]
  unknown: string[]
}

async function write(random: Random, { replica, acknowledged, unknown }: Writer, name: string, until: number) {
  const outcomes: Promise<unknown>[] = []
  for (let index = 0; Date.now() < until; index++) {
    const item = `${name}.${index}`
    outcomes.push(
      replica.append('list', item).then(
        () => acknowledged.push(item),
        (error: WriteError) => error.outcome === 'unknown' && unknown.push(item),
      ),
    )
    await wait(random.integer(20, 200))
  }
  return outcomes
}

const canonical = (state: { readonly [key: string]: Json }) =>
  JSON.stringify(Object.entries(state).sort(([a], [b]) => (a < b ? -1 : 1)))

async function schedule(t: Test, seed: number, instances: Instance[], redis: RedisServer): Promise<void> {
  const random = seededRandom(seed)
  const space = `schedule-${seed}`
  const violations: string[] = []
  const writers: Writer[] = Array.from({ length: CLIENTS }, (_, index) => {
    const { host, port } = (instances[index % instances.length] as Instance).proxy
    const client = createClient({ baseUrl: `http://${host}:${port}`, WebSocket: watchedWebSocket(violations) })
    // Every fifth follows a part; the appends of all of them meet in one list.
    const replica = client.replica(space, index % 5 === 4 ? { prefix: 'li' } : {})
    return { client, replica, acknowledged: [], unknown: [] }
  })
  try {
    await Promise.all(writers.map(({ replica }) => replica.ready()))
    const until = Date.now() + DISTURBANCE
    const writing = writers.map((writer, index) => write(random.fork(), writer, `${index}`, until))
    const faults: string[] = []
    while (Date.now() < until) {
      await wait(random.integer(50, 300))
      faults.push(await disturb(random, instances, redis))
    }
    for (const { proxy } of instances) proxy.heal()
    const outcomes = (await Promise.all(writing)).flat()
    const slow = wait(CONVERGENCE, 'slow' as const, { ref: false })
    const settled = await Promise.race([Promise.all(outcomes), slow])
    if (settled === 'slow') t.fail(`seed ${seed}: writes without an outcome; faults: ${faults.join(', ')}`)
    await converged(t, writers, instances, space, `seed ${seed}; faults: ${faults.join(', ')}`)
    t.strictSame(violations, [], `seed ${seed}: each socket saw one chain`)
  } finally {
    for (const { client } of writers) client.close()
  }
}

async function converged(t: Test, writers: Writer[], instances: Instance[], space: string, what: string) {
  const deadline = Date.now() + CONVERGENCE
  for (;;) {
    const stored = await Promise.all(instances.map((instance) => snapshotOf(instance, space)))
    const expected = canonical(stored[0]?.state ?? {})
    const behind = writers.filter(({ replica }) => canonical(replica.snapshot()) !== expected)
    const agree = stored.every((one) => one && canonical(one.state) === expected)
    if (agree && behind.length === 0) {
      const list = (stored[0]?.state['list'] ?? []) as string[]
      const counts = new Map<string, number>()
      for (const item of list) counts.set(item, (counts.get(item) ?? 0) + 1)
      const twice = [...counts].filter(([, count]) => count > 1)
      const lost = writers.flatMap(({ acknowledged }) => acknowledged).filter((item) => !counts.has(item))
      t.strictSame({ twice, lost }, { twice: [], lost: [] }, `${what}: ${list.length} writes, each once`)
      return
    }
    if (Date.now() > deadline) {
      const states = behind.map(({ replica: { status, position, pending } }) => ({ status, position, pending }))
      t.fail(`${what}: ${behind.length} of ${writers.length} clients did not converge: ${JSON.stringify(states)}`)
      return
    }
    await wait(100)
  }
}

async function snapshotOf({ proxy }: Instance, space: string) {
  try {
    const response = await fetch(`http://${proxy.host}:${proxy.port}/snapshot/${space}`)
    return response.ok ? ((await response.json()) as { state: { [key: string]: Json } }) : undefined
  } catch {
    return undefined
  }
}

t.test(`every client converges on the store, whatever dies, stops or misbehaves (seed ${SEED})`, async (t) => {
  t.setTimeout((SCHEDULES + 2) * 60_000)
  // Each acknowledged write is on disk: what is acknowledged must survive the death of Redis.
  const redis = await startRedis(t, ['--appendonly', 'yes', '--appendfsync', 'always'])
  const instances = await Promise.all([startInstance(t, redis), startInstance(t, redis)])
  for (let round = 0; round < SCHEDULES && t.passing(); round++) {
    await schedule(t, SEED + round, instances, redis)
    if (!t.passing()) t.comment(`replay: npm run chaos -- --seed ${SEED + round} --rounds 1`)
  }
})
