import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Owner } from '../fixtures/cleanup.ts'
import { ADMIN_PASSWORD, SECRET } from '../fixtures/credentials.ts'
import { HonestUsers } from '../fixtures/honest-users.ts'
import { type Random, seededRandom } from '../fixtures/random.ts'
import { startRedis } from '../fixtures/redis-server.ts'
import { type ServerProcess, startServer } from '../fixtures/server-process.ts'
import { mountSmallDisk } from '../fixtures/small-disk.ts'
import { type StorageKind, temporaryFolder } from '../fixtures/storages.ts'
import { untrackedFork } from '../fixtures/untracked.ts'
import { diskFaults, type Fault, FaultSchedule, RECOVERY, REDIS_ARGUMENTS, redisFaults } from './faults.ts'
import { type FindingClass, Findings } from './findings.ts'
import type { Sent } from './hostile.ts'
import type { HostileMessage, HostileOrder } from './hostile-client.ts'
import { inspect, measure, readLog, ready } from './verdict.ts'

export interface AttackOptions {
  seed: number
  /** The longest that it takes. */
  seconds: number
  /** Fuzzing: requests and frames alone, until so many were sent, and no faults. */
  until?: Sent
  /** `<attack>:<seed>`: this one, once, and nothing else. */
  only?: string
  log?(line: string): void
}

/** What an attack on one storage came to. */
export interface Outcome {
  kind: StorageKind
  findings: FindingClass[]
  /** How often each attack was run. */
  attacks: Record<string, number>
  /** By the hostile client. */
  sent: Sent
  faults: Record<string, number>
  /** Faults that cannot be made here. */
  leftOut: string[]
  /** Requests of honest users that were served, and that were refused while a storage was away. */
  served: number
  excused: number
  /** Milliseconds, of honest requests while no storage was away. */
  p99: number
  /** Acknowledged values and ended sessions that were looked up at the end. */
  promises: number
  megabytes: number
}

const HOSTILE = { username: 'intruder', password: 'the password of the intruder' }
/** Megabytes; what a run writes is far less, so that only the fault fills it. */
const DISK = 512
/** The usual limit of a service. */
const OPEN_FILES = 1_024
/** Milliseconds that the hostile client may take to put down its work. */
const SURRENDER = 45_000
/** Loopback has many addresses here: the attacker's failures must not be counted as the honest users'. */
const ATTACKER = process.platform === 'linux' ? { from: '127.0.0.2' } : {}

interface Attacked {
  url: string
  faults: Fault[]
  leftOut: string[]
}

async function prepare(owner: Owner, kind: StorageKind): Promise<Attacked> {
  if (kind === 'memory') return { url: 'memory:', faults: [], leftOut: [] }
  if (kind === 'redis') {
    const redis = await startRedis(owner, REDIS_ARGUMENTS)
    return { url: redis.url, faults: redisFaults(owner, redis), leftOut: [] }
  }
  const disk = mountSmallDisk(owner, DISK)
  if (disk) return { url: `lmdb:${disk.folder}/data`, faults: diskFaults(disk), leftOut: [] }
  return {
    url: `lmdb:${await temporaryFolder(owner)}`,
    faults: [],
    leftOut: ['disk full (mounting a small disk takes root on Linux)'],
  }
}

/**
 * A hostile client and honest users at a real server on one storage, whose faults come meanwhile. Same seed, same
 * choices; their order in time is as far the same as real time allows.
 */
export async function attack(owner: Owner, kind: StorageKind, options: AttackOptions): Promise<Outcome> {
  const { seed, seconds, only, until, log = () => {} } = options
  const random = seededRandom(seed)
  const findings = new Findings()
  const { url, faults, leftOut } = await prepare(owner, kind)
  const environment = { STORAGE: url, SESSION_SECRET: SECRET, LOG_LEVEL: 'error' }
  let server = await startServer(owner, environment, { openFiles: OPEN_FILES })
  const schedule = new FaultSchedule(only === undefined && !until ? faults : [], random.fork())
  const running = new Set<string>()
  const gone = () => server.process.exitCode !== null || server.process.signalCode !== null
  const excuse = () => (gone() ? 'the end of the process' : schedule.excuse())
  const honest = new HonestUsers({
    url: server.url,
    random: random.fork(),
    excuse,
    broken(kind, where, seen) {
      const during = `${excuse() ?? 'no fault'}; ${[...running].join(', ')}`
      findings.add({ kind, where, example: `${seen}\n    → during: ${during}` })
    },
  })
  owner.teardown(() => honest.end())
  await honest.begin([HOSTILE])
  const before = measure(server)

  const stop = new AbortController()
  const died = once(server.process, 'exit').then(([code, signal]) => {
    if (stopping) return
    const example = `${code ?? signal} while: ${[...running].join(', ')}\n${server.output().slice(-2_000)}`
    findings.add({ kind: 'THE PROCESS ENDED', where: `${code ?? signal}`, example })
    stop.abort()
  })
  let stopping = false
  const hostile = await startHostile(owner, server, random, { only, until }, findings, running)
  log(`${kind}: attacking ${server.url} for ${seconds} s`)
  const over = new AbortController()
  const late = wait(seconds * 1_000, undefined, { signal: over.signal }).catch(() => {})
  const done = once(hostile.process, 'exit')
  const finished = only === undefined && !until ? late : until ? Promise.race([done, late]) : done
  const work = [honest.work(stop.signal), schedule.run(RECOVERY + 1_000, stop.signal)]
  await Promise.race([finished, died])
  over.abort()
  const { cases: attacks, sent } = await hostile.end()
  stop.abort()
  await Promise.all(work)

  if (!gone()) {
    if (await ready(server, findings)) {
      await wait(faults.length > 0 ? RECOVERY : 0)
      await honest.verify('at the end')
      honest.verifyLatency()
    }
  }
  const secrets = [SECRET, ADMIN_PASSWORD, HOSTILE.password, ...honest.tokens]
  let { megabytes } = before
  if (!gone()) {
    megabytes = (await inspect(server, before, findings, secrets)).megabytes
    stopping = true
    const { code, took } = await server.stop()
    if (code !== 0) findings.add({ kind: 'a close that fails', where: 'SIGTERM', example: `exit code ${code}` })
    if (took > 10_000) findings.add({ kind: 'a close that takes long', where: 'SIGTERM', example: `${took} ms` })
    if (kind !== 'memory') {
      const { port } = new URL(server.url)
      server = await startServer(owner, { ...environment, PORT: port }, { openFiles: OPEN_FILES })
      if (await ready(server, findings)) await honest.verify('after a restart')
      await server.stop()
    }
  } else readLog(server.output(), findings, secrets)
  honest.end()
  const { served, excused, p99, promises } = honest
  return {
    ...{ kind, findings: findings.list(), attacks, sent, faults: schedule.counts, leftOut },
    ...{ served, excused, p99, promises, megabytes },
  }
}

/** The hostile client's process, as soon as it attacks. */
async function startHostile(
  owner: Owner,
  server: ServerProcess,
  random: Random,
  { only, until }: { only: string | undefined; until: Sent | undefined },
  findings: Findings,
  running: Set<string>,
): Promise<{ process: ChildProcess; end(): Promise<{ cases: Record<string, number>; sent: Sent }> }> {
  const { hostname, port } = new URL(server.url)
  const order: HostileOrder = {
    target: { host: hostname, port: Number(port), ...ATTACKER },
    seed: random.integer(0, 2 ** 31),
    credentials: HOSTILE,
    ...(only === undefined ? {} : { only }),
    ...(until ? { until } : {}),
  }
  const child = fork(fileURLToPath(new URL('./hostile-client.ts', import.meta.url)), [JSON.stringify(order)], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    ...untrackedFork(),
  })
  owner.teardown(() => child.kill('SIGKILL'))
  let done: { cases: Record<string, number>; sent: Sent } = { cases: {}, sent: { requests: 0, frames: 0 } }
  child.on('message', (message: HostileMessage) => {
    if (message.type === 'finding') findings.add(message.finding)
    if (message.type === 'began') running.add(message.case)
    if (message.type === 'ended') running.delete(message.case)
    if (message.type === 'done') done = message
  })
  const exited = once(child, 'exit')
  await Promise.race([once(child, 'message'), exited])
  return {
    process: child,
    async end() {
      const late = setTimeout(() => child.kill('SIGKILL'), SURRENDER)
      if (child.connected) child.send('stop')
      await exited
      clearTimeout(late)
      running.clear()
      return done
    },
  }
}
