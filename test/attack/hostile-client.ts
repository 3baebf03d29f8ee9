/** The hostile client, in a process of its own: what it costs itself must not be taken for the server's slowness. */
import { seededRandom } from '../fixtures/random.ts'
import { Contract } from './contract.ts'
import { contractRequests } from './contract-requests.ts'
import { exchange, type Target } from './exchange.ts'
import type { Finding } from './findings.ts'
import {
  dribbles,
  idleSockets,
  logins,
  longPolls,
  messageFlood,
  newNames,
  stalledFollowers,
  unreadSnapshots,
} from './floods.ts'
import type { Attack, Hostile, Sent } from './hostile.ts'
import { rawHttp } from './raw-http.ts'
import { frames, handshakes, messages } from './socket-frames.ts'

export interface HostileOrder {
  target: Target
  seed: number
  credentials: { username: string; password: string }
  /** `<attack>:<seed>` to run once; default: all of them until told to stop. */
  only?: string
  /** Nothing but requests and frames, until so many were sent. */
  until?: Sent
}

export type HostileMessage =
  | { type: 'finding'; finding: Finding }
  | { type: 'began' | 'ended'; case: string }
  | { type: 'ready' }
  | { type: 'done'; cases: Record<string, number>; sent: Sent }

const ATTACKS: readonly Attack[] = [
  ...[contractRequests, rawHttp, messages, frames, handshakes],
  ...[idleSockets, dribbles, logins, messageFlood, longPolls, unreadSnapshots, stalledFollowers, newNames],
]
/** After a login that failed: the throttle must not become what the attack is about. */
const LOGIN_PAUSE = 2_000

const order = JSON.parse(process.argv[2] ?? '') as HostileOrder
/** Cases at the same time. Fuzzing waits for answers most of its time; beside floods a few are enough. */
const LANES = order.until ? 16 : 4
const tell = (message: HostileMessage) => void process.send?.(message)
const contract = new Contract()
const over = new AbortController()
const cases: Record<string, number> = {}
const sent: Sent = { requests: 0, frames: 0 }
let cookie = ''
let mayLogIn = 0
let heavy = 0

async function logIn(): Promise<void> {
  if (cookie !== '' || performance.now() < mayLogIn) return
  mayLogIn = performance.now() + LOGIN_PAUSE
  const body = JSON.stringify(order.credentials)
  const { answers } = await exchange(order.target, [
    `POST /login HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  ])
  cookie = answers[0]?.headers['set-cookie']?.split(';')[0] ?? ''
}

async function runCase(attack: Attack, seed: number): Promise<void> {
  const name = `${attack.name}:${seed}`
  const hostile: Hostile = {
    target: order.target,
    contract,
    random: seededRandom(seed),
    over: over.signal,
    cookie: () => cookie,
    loggedOut() {
      cookie = ''
    },
    sent(what, count) {
      sent[what] += count
    },
    report: (finding) => tell({ type: 'finding', finding: { ...finding, case: name } }),
  }
  await logIn()
  tell({ type: 'began', case: name })
  cases[attack.name] = (cases[attack.name] ?? 0) + 1
  await attack.run(hostile)
  tell({ type: 'ended', case: name })
}

/** Those that are left to do. */
function wanted(): readonly Attack[] {
  const { until } = order
  return until ? ATTACKS.filter(({ sends }) => sends !== undefined && sent[sends] < until[sends]) : ATTACKS
}

async function runLane(seed: number): Promise<void> {
  const random = seededRandom(seed)
  while (!over.signal.aborted) {
    const attacks = wanted()
    if (attacks.length === 0) return
    let point = random.next() * attacks.reduce((sum, { weight }) => sum + weight, 0)
    const attack = attacks.find(({ weight }) => {
      point -= weight
      return point < 0
    }) as Attack
    const seed = random.integer(0, 2 ** 31)
    if (attack.heavy && heavy > 0) continue
    if (attack.heavy) heavy++
    await runCase(attack, seed)
    if (attack.heavy) heavy--
  }
}

/** Without this process's parent nobody would end it. */
process.once('disconnect', () => process.exit())
process.once('message', () => over.abort())
tell({ type: 'ready' })

if (order.only === undefined) {
  const random = seededRandom(order.seed)
  await Promise.all(Array.from({ length: LANES }, () => runLane(random.integer(0, 2 ** 31))))
} else {
  const split = order.only.lastIndexOf(':')
  const attack = ATTACKS.find(({ name }) => name === order.only?.slice(0, split))
  if (!attack) throw new Error(`there is no attack '${order.only}'; they are ${ATTACKS.map(({ name }) => name).join()}`)
  await runCase(attack, Number(order.only.slice(split + 1)))
}
process.send?.({ type: 'done', cases, sent } satisfies HostileMessage, () => process.exit())
