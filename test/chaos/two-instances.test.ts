import t, { type Test } from 'tap'
import type { Json } from '../../openapi/schemas/state.ts'
import { applyOp } from '../../plugins/state/values/apply-op.ts'
import { ADMIN_PASSWORD, SECRET } from '../fixtures/credentials.ts'
import { type FaultProxy, randomFaults, startFaultProxy } from '../fixtures/fault-proxy.ts'
import { type Frame, openSync } from '../fixtures/frames.ts'
import { HttpClient } from '../fixtures/http-client.ts'
import { type Random, seededRandom } from '../fixtures/random.ts'
import { startRedis } from '../fixtures/redis-server.ts'
import { startServer } from '../fixtures/server-process.ts'

const SEED = Number(process.env['CHAOS_SEED'] ?? 1)
const ROUNDS = Number(process.env['CHAOS_ROUNDS'] ?? 1)
const WRITES = 16
/** Head poll (1 s) plus a resync: within it every replica must be equal again once the network is well. */
const CONVERGENCE = 5_000

/** What one client heard, applied as a client would apply it; a gap or a repetition is an error. */
class Watcher {
  epoch = ''
  revision = -1
  state: Record<string, Json> = {}
  readonly violations: string[] = []

  hear(frame: Frame): void {
    if (frame.type === 'fullSync') {
      this.epoch = frame['epoch'] as string
      this.revision = frame['revision'] as number
      this.state = structuredClone(frame['state']) as Record<string, Json>
    }
    if (frame.type !== 'stateChange') return
    for (const change of frame['changes'] as {
      prev: number
      revision: number
      ops: Parameters<typeof applyOp>[1][]
    }[]) {
      if (frame['epoch'] !== this.epoch || change.prev !== this.revision) {
        this.violations.push(
          `${change.prev}→${change.revision} in ${frame['epoch']}, being at ${this.revision} in ${this.epoch}`,
        )
      }
      for (const op of change.ops) {
        const value = applyOp(this.state[op.key], op)
        if (value === undefined) delete this.state[op.key]
        else this.state[op.key] = value
      }
      this.revision = change.revision
    }
  }
}

/** Writes through both instances while the network misbehaves; a request without an answer may have happened. */
async function writeUnderFaults(random: Random, clients: HttpClient[], proxies: FaultProxy[], round: number) {
  const faults = Promise.all(proxies.map((proxy) => randomFaults(proxy, random.fork(), 12)))
  const acknowledged = new Map<string, number>()
  let [certain, possible] = [0, 0]
  for (let write = 0; write < WRITES; write++) {
    const client = random.pick(clients)
    if (random.chance(0.5)) {
      const key = `r${round}-w${write}`
      const { status } = await client.put(`/state/keys/${key}`, { value: write })
      if (status === 200) acknowledged.set(key, write)
    } else {
      const { status } = await client.post('/state/keys/counter/increment', {})
      if (status === 200) certain++
      else possible++
    }
  }
  return { acknowledged, certain, possible, schedule: await faults }
}

async function converged(t: Test, clients: HttpClient[], watchers: Watcher[]) {
  const deadline = Date.now() + CONVERGENCE
  for (;;) {
    const snapshots = await Promise.all(clients.map(async (client) => (await client.get('/state/snapshot')).body))
    const views = [...snapshots, ...watchers.map(({ epoch, revision, state }) => ({ epoch, revision, state }))]
    const [first, ...others] = views.map((view) => JSON.stringify(canonical(view)))
    if (others.every((other) => other === first)) return snapshots[0]
    if (Date.now() > deadline) {
      t.same(views.slice(1), views.slice(1).fill(views[0]), 'every replica is equal')
      return snapshots[0]
    }
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

function canonical(value: unknown): unknown {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return value
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, inner]) => [key, canonical(inner)]),
  )
}

// A request that meets a dead network waits for its deadline, and there are many.
t.setTimeout(120_000 + ROUNDS * 60_000)

t.test(`whatever the network does, no acknowledged write is lost and all replicas agree (seed ${SEED})`, async (t) => {
  const random = seededRandom(SEED)
  const redis = await startRedis(t)
  const proxies = await Promise.all(
    [0, 1].map(() => startFaultProxy(t, { target: { host: '127.0.0.1', port: redis.port } })),
  )
  const servers = await Promise.all(
    proxies.map(({ port }) =>
      startServer(t, {
        STORAGE: `redis://127.0.0.1:${port}`,
        SESSION_SECRET: SECRET,
        LOG_LEVEL: 'error',
      }),
    ),
  )
  const clients = servers.map(({ url }) => new HttpClient(url))
  const watchers: Watcher[] = []
  for (const client of clients) {
    await client.login('admin', ADMIN_PASSWORD)
    const watcher = new Watcher()
    watchers.push(watcher)
    const reader = await openSync(t, client.url, client.cookie, '?space=app')
    reader.socket.on('message', (data) => watcher.hear(JSON.parse(String(data))))
    reader.send({ type: 'syncRequest', space: 'app' })
  }

  let [certain, possible] = [0, 0]
  for (let round = 0; round < ROUNDS; round++) {
    const result = await writeUnderFaults(random, clients, proxies, round)
    certain += result.certain
    possible += result.possible
    const truth = await converged(t, clients, watchers)
    const lost = [...result.acknowledged].filter(([key, value]) => truth.state[key] !== value)
    t.same(lost, [], `round ${round}: ${result.acknowledged.size} acknowledged sets are all there`)
    const counter = truth.state.counter ?? 0
    t.ok(
      counter >= certain && counter <= certain + possible,
      `round ${round}: ${certain} ≤ ${counter} ≤ ${certain + possible}`,
    )
    for (const watcher of watchers) t.same(watcher.violations, [], `round ${round}: no gap, no repetition`)
    if (!t.passing()) {
      t.comment(
        `replay: npm run chaos -- --seed ${SEED} --rounds ${round + 1}; faults: ${result.schedule.flat().join(', ')}`,
      )
      break
    }
  }
})
