import { type Case, type Contender, type Measurement, quantile, type Suite } from '../harness.ts'
import { startRedis } from '../tools/redis-server.ts'
import { type MeasuredServer, startServer } from '../tools/server-process.ts'
import { catchUps } from './sync/catch-ups.ts'
import { type Listener, listen } from './sync/listeners.ts'

const servers = new URL('./sync/server.ts', import.meta.url)
const CLIENTS = 200
/** The load generator decodes what it gets on one core: more would measure how fast it does. */
const CLIENTS_FOR_LATENCY = 50
/** Changes that are under way at once: well below what a socket's buffer takes, so that nobody counts as slow. */
const UNDER_WAY = 40

interface Setting {
  /** Changes made in one tick. */
  size: number
  clients?: number
  nodes?: 1 | 2
  /** What is measured. Default: deliveries for each second of CPU time. */
  latency?: number
}

const packages: { [kind: string]: string[] } = {
  'one prebuilt frame': ['ws'],
  'one prebuilt frame a burst': ['ws'],
  ws: ['ws'],
  'socket.io': ['socket.io'],
  'socket.io with recovery': ['socket.io'],
  hocuspocus: ['@hocuspocus/server'],
  tinybase: ['tinybase'],
}

function contender(kind: string, { size, clients = CLIENTS, nodes = 1, latency }: Setting): Contender {
  const role = kind === 'fastify-stateful' ? 'ours' : kind.startsWith('one prebuilt frame') ? 'limit' : 'peer'
  return {
    name: kind,
    role,
    packages: [
      ...(packages[kind] ?? []),
      ...(nodes === 2 && role === 'peer' ? ['@socket.io/redis-streams-adapter'] : []),
    ],
    async setup(context) {
      const redis = nodes === 2 ? [await startRedis(context)] : []
      const started = await Promise.all(
        Array.from({ length: nodes }, () => startServer(context, servers, [kind, ...redis])),
      )
      const addresses = started.map(({ url }) => url.split('#')[0] as string)
      const [, control] = started[0]?.url.split('#') ?? []
      const listeners = await Promise.all(
        Array.from({ length: clients }, (_, index) => listen(kind, addresses[index % nodes] as string)),
      )
      context.teardown(() => {
        for (const { close } of listeners) close()
      })
      // The full sync, or the namespace of Socket.IO.
      await new Promise((resolve) => setTimeout(resolve, 500))
      const change = (query: string) => fetch(`http://127.0.0.1:${control}/?size=${size}&${query}`)
      const changes = context.quick ? 40 : latency === undefined ? 800 : 100
      return async (): Promise<Measurement> => {
        for (const listener of listeners) Object.assign(listener, { received: 0, delays: [] })
        const before = await cpuOf(started)
        let newest = 0
        const step = latency === undefined ? UNDER_WAY : changes
        for (let made = 0; made < changes; made += step) {
          const pace = latency === undefined ? '' : '&pace=8'
          newest = Number(await (await change(`bursts=${step / size}${pace}`)).text())
          await Promise.all(listeners.map((listener) => listener.reached(made + step)))
        }
        const cpu = (await cpuOf(started)) - before
        const delays = listeners.flatMap(({ delays }) => delays)
        return {
          value: latency === undefined ? (changes * clients) / cpu : quantile(delays, latency),
          faults: faultsOf(listeners, changes, newest),
        }
      }
    },
  }
}

async function cpuOf(servers: MeasuredServer[]): Promise<number> {
  const seconds = await Promise.all(servers.map((server) => server.cpu()))
  return seconds.reduce((sum, one) => sum + one, 0)
}

function faultsOf(listeners: Listener[], changes: number, newest: number): Record<string, number> {
  const differences = listeners.map(({ received }) => received - changes)
  const sum = (numbers: number[]) => numbers.reduce((total, one) => total + one, 0)
  return {
    lost: sum(differences.filter((one) => one < 0).map((one) => -one)),
    duplicated: sum(differences.filter((one) => one > 0)),
    diverged: listeners.filter(({ latest }) => latest !== newest).length,
  }
}

const everybody = [
  'one prebuilt frame',
  'fastify-stateful',
  'ws',
  'socket.io',
  'socket.io with recovery',
  'hocuspocus',
  'tinybase',
]
const all = (setting: Setting) => everybody.map((kind) => contender(kind, setting))
const bursts = everybody.map((kind) =>
  contender(kind === 'one prebuilt frame' ? 'one prebuilt frame a burst' : kind, { size: 20 }),
)
const perCpu = { unit: 'deliveries/CPU s', better: 'higher' } as const
const latency = (share: number): Pick<Case, 'unit' | 'better' | 'rounds' | 'contenders'> => ({
  unit: 'ms',
  better: 'lower',
  rounds: 3,
  contenders: all({ size: 1, clients: CLIENTS_FOR_LATENCY, latency: share }),
})

const suite: Suite = {
  name: 'sync',
  rounds: 3,
  description:
    'Changes of one key with 200 bytes, delivered to 200 clients, for each second of CPU time of the servers. Ours ' +
    'commits each change to a state space first, Hocuspocus and TinyBase to a document or store; the limit writes one ' +
    'frame that was built once, for each change or for each burst, to all sockets. Latency is that from the write to 50 clients of one process, at 100 ' +
    'changes a second. Lost: changes that a client did not hear of; diverged: clients that do not hold the last one.',
  cases: [
    { name: 'single changes', ...perCpu, contenders: all({ size: 1 }) },
    { name: 'bursts of 20 changes', ...perCpu, contenders: bursts },
    {
      name: 'single changes, two nodes on Redis',
      ...perCpu,
      rounds: 3,
      contenders: ['fastify-stateful', 'socket.io'].map((kind) => contender(kind, { size: 1, nodes: 2 })),
    },
    { name: 'latency, median', ...latency(0.5) },
    { name: 'latency, 99th percentile', ...latency(0.99) },
    {
      name: 'catching up on 10 of 1,000 keys',
      unit: 'clients/CPU s',
      better: 'higher',
      contenders: [catchUps('resume', 'ours'), catchUps('full sync', 'peer')],
    },
  ],
}

export default suite
