import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { SECRET } from '../fixtures/credentials.ts'
import { type Counter, HonestUsers } from '../fixtures/honest-users.ts'
import { seededRandom } from '../fixtures/random.ts'
import { freePort, type RedisServer, startRedis } from '../fixtures/redis-server.ts'
import { type ServerProcess, startServer } from '../fixtures/server-process.ts'
import { temporaryFolder } from '../fixtures/storages.ts'

const SEED = Number(process.env['CHAOS_SEED'] ?? 1)
/** The real thing: `npm run chaos -- --kill --storage lmdb --rounds 40`. */
const ROUNDS = Number(process.env['CHAOS_ROUNDS'] ?? 2)
const STORAGE = process.env['CHAOS_STORAGE']
const DELAYED_WRITES = new URL('./delayed-writes.js', import.meta.url).href
/** Milliseconds of CPU, of the process and those that it starts. */
const MAX_BOOT = 2_000
/**
 * The same work counts for more CPU on a machine whose cores are shared. The first boot, which finds nothing, shows how
 * much more: one after a kill may cost so many times as much, where that is above MAX_BOOT.
 */
const MAX_RATIO = 2
/** Until another owner takes a journal over, and a little more. */
const JOURNAL_DEADLINE = 30_000
/** Requests that are served before the blow falls. */
const SERVED = [30, 120] as const

t.setTimeout(120_000 + ROUNDS * 30_000)

/** The number that the server printed when it listened. */
const cpuOfBoot = (server: ServerProcess) => Number(/boot took (\d+) ms/.exec(server.output())?.[1])

/** What the write-behind handler was given last, by key. */
async function handedOver(sink: string): Promise<Map<string, number>> {
  const lines = (await readFile(sink, 'utf8').catch(() => '')).split('\n').slice(0, -1)
  return new Map(
    lines.map((line) => JSON.parse(line) as { key: string; value: number }).map(({ key, value }) => [key, value]),
  )
}

/** Resolves to the keys whose acknowledged write has not reached the handler in time. */
async function notHandedOver(sink: string, delayed: ReadonlyMap<string, Counter>): Promise<string[]> {
  for (const began = performance.now(); ; await wait(100)) {
    const values = await handedOver(sink)
    const missing = [...delayed].filter(([key, { acknowledged }]) => (values.get(key) ?? 0) < acknowledged)
    if (missing.length === 0 || performance.now() - began > JOURNAL_DEADLINE) return missing.map(([key]) => key)
  }
}

async function killRounds(t: Test, url: string, redis?: RedisServer): Promise<void> {
  const random = seededRandom(SEED)
  const sink = join(await temporaryFolder(t), 'delayed-writes')
  const environment = {
    STORAGE: url,
    SESSION_SECRET: SECRET,
    LOG_LEVEL: 'fatal',
    PORT: `${await freePort()}`,
    DELAYED_WRITES: sink,
  }
  let server = await startServer(t, environment, { before: DELAYED_WRITES })
  const firstBoot = cpuOfBoot(server)
  const broken: string[] = []
  let killing = false
  const honest = new HonestUsers({
    url: server.url,
    random: random.fork(),
    delayedWrites: true,
    excuse: () => (killing ? 'kill -9' : undefined),
    broken: (kind, where, seen) => void broken.push(`${kind} [${where}]: ${seen}`),
  })
  t.teardown(() => honest.end())
  await honest.begin()

  const boots: number[] = []
  let redisKills = 0
  for (let round = 0; round < ROUNDS && broken.length === 0; round++) {
    const stop = new AbortController()
    const work = honest.work(stop.signal)
    const blow = honest.served + random.integer(...SERVED)
    while (honest.served < blow) await wait(1)
    killing = true
    // With Redis gone first, whatever the server still acknowledges is a lie.
    const both = redis !== undefined && random.chance(0.4)
    if (both) {
      redisKills++
      await redis.kill()
    }
    await server.stop('SIGKILL')
    stop.abort()
    await work
    if (both) await redis.restart()
    server = await startServer(t, environment, { before: DELAYED_WRITES })
    killing = false
    boots.push(cpuOfBoot(server))
    await honest.verify(`after round ${round}`)
  }
  t.same(
    broken,
    [],
    `${honest.promises} promises, ${honest.served} requests served, ${redisKills} times Redis was killed, too`,
  )
  t.same(await notHandedOver(sink, honest.delayed), [], `${honest.delayed.size} keys written behind were handed over`)
  const most = Math.max(...boots)
  const middle = boots.sort((a, b) => a - b)[Math.floor(boots.length / 2)]
  t.ok(
    most <= Math.max(MAX_BOOT, MAX_RATIO * firstBoot),
    `boots took ${middle} ms of CPU, at most ${most} ms; the first, which found nothing, ${firstBoot} ms`,
  )
  honest.end()
  t.equal((await server.stop()).code, 0)
}

const title = `${ROUNDS} rounds of kill -9 of the whole server: what it acknowledged is there (seed ${SEED})`

if (STORAGE !== 'redis') {
  t.test(`${title}, on LMDB`, async (t) => killRounds(t, `lmdb:${await temporaryFolder(t)}`))
}

if (STORAGE !== 'lmdb') {
  t.test(`${title}, on Redis with AOF, which is killed as well`, async (t) => {
    const redis = await startRedis(t, ['--appendonly', 'yes', '--appendfsync', 'always'])
    await killRounds(t, redis.url, redis)
  })
}
