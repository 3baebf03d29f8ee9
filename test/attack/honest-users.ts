import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as wait } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { createClient } from '../../client/index.ts'
import { ADMIN_PASSWORD } from '../fixtures/credentials.ts'
import { HttpClient } from '../fixtures/http-client.ts'
import type { Random } from '../fixtures/random.ts'
import { type Findings, shown } from './findings.ts'

/** Within this each request of an honest user is served, or refused while a storage is away. */
const DEADLINE = 8_000
/** And 99 of 100 within this, while no storage is away. */
const P99 = 2_000
/** Milliseconds before a refused request is sent again. */
const RETRY = 200
const LOGINS = 100
const SPACE = 'honest'
const KEYS = 20
const PASSWORD = 'the password of an honest user'

type Reply = Awaited<ReturnType<HttpClient['request']>>

export interface HonestOptions {
  url: string
  random: Random
  findings: Findings
  /** What excuses a refusal now: a storage that is away. */
  excuse(): string | undefined
  /** What the attacker is doing, for the findings. */
  attacks(): string
}

/** A number that grows: what was acknowledged, and what may have been written without our hearing of it. */
interface Counter {
  acknowledged: number
  attempted: number
}

/** Users who do what they may, remember what they were promised, and hold the server to it. */
export class HonestUsers {
  readonly #options: HonestOptions
  readonly #admin: HttpClient
  readonly #writers: HttpClient[] = []
  readonly #guest: HttpClient
  readonly #state = new Map<string, Counter>()
  readonly #preferences = new Map<HttpClient, Counter>()
  readonly #cache = new Map<string, Counter>()
  /** Each increment that was sent counts as attempted. */
  readonly #total: Counter = { acknowledged: 0, attempted: 0 }
  /** Cookies of sessions that are over for good. */
  readonly #ended: string[] = []
  readonly #latencies: number[] = []
  readonly #lag = monitorEventLoopDelay({ resolution: 10 })
  #served = 0
  #excused = 0
  #followed: { close(): void; get(key: string): unknown } | undefined

  constructor(options: HonestOptions) {
    this.#options = options
    this.#admin = new HttpClient(options.url)
    this.#guest = new HttpClient(options.url)
  }

  get served(): number {
    return this.#served
  }

  get excused(): number {
    return this.#excused
  }

  /** What must not be in a log. */
  get tokens(): string[] {
    const cookies = [...this.#ended, ...this.#writers.map(({ cookie }) => cookie)]
    return cookies.map((cookie) => cookie.split('=')[1] ?? cookie)
  }

  /** Promises that can be looked up: values, sessions that are over. */
  get promises(): number {
    const kept = [...this.#state.values(), ...this.#preferences.values()].filter((one) => one.acknowledged > 0)
    return kept.length + this.#ended.length
  }

  /** Milliseconds, of what was served without a fault. */
  get p99(): number {
    const sorted = [...this.#latencies].sort((a, b) => a - b)
    return sorted[Math.floor(sorted.length * 0.99)] ?? 0
  }

  /** Makes the accounts and logs everybody in. */
  async begin(hostile: { username: string; password: string }): Promise<void> {
    await this.#admin.login('admin', ADMIN_PASSWORD)
    const create = async (username: string, password: string, role = 'administrator') => {
      const { status } = await this.#admin.put(`/users/${username}`, { username, password, role })
      if (status !== 201) throw new Error(`the account ${username} was not made: ${status}`)
    }
    await create(hostile.username, hostile.password)
    await create('honest-guest', PASSWORD)
    await create('honest-reader', PASSWORD)
    for (const username of ['honest-1', 'honest-2', 'honest-3']) {
      await create(username, PASSWORD)
      const writer = new HttpClient(this.#options.url)
      await writer.login(username, PASSWORD)
      this.#writers.push(writer)
      this.#preferences.set(writer, { acknowledged: 0, attempted: 0 })
    }
    const reader = new HttpClient(this.#options.url)
    await reader.login('honest-reader', PASSWORD)
    class WithCookie extends WebSocket {
      constructor(url: string) {
        super(url, { headers: { cookie: reader.cookie } })
        this.on('error', () => {})
      }
    }
    const client = createClient({ baseUrl: this.#options.url, WebSocket: WithCookie })
    const replica = client.replica(SPACE)
    this.#followed = { close: () => client.close(), get: (key) => replica.get(key) }
    this.#lag.enable()
  }

  end(): void {
    this.#lag.disable()
    this.#followed?.close()
  }

  /** Works until told to stop. */
  async work(until: AbortSignal): Promise<void> {
    const loops = this.#writers.map((writer, index) => this.#write(writer, `honest-${index + 1}`, until))
    await Promise.all([...loops, this.#comeAndGo(until)])
  }

  async #write(client: HttpClient, name: string, until: AbortSignal): Promise<void> {
    const random = this.#options.random.fork()
    const steps = [
      () => this.#writeState(client, `${name}-${random.integer(1, KEYS)}`),
      () => this.#writeState(client, `${name}-${random.integer(1, KEYS)}`),
      () => this.#readState(client, `${name}-${random.integer(1, KEYS)}`),
      () => this.#increment(client),
      () => this.#prefer(client),
      () => this.#writeCache(client, `${name}-${random.integer(1, KEYS)}`),
      () => this.#profile(client, name),
    ]
    while (!until.aborted) {
      await random.pick(steps)()
      if (random.chance(0.02)) await this.#logInAgain(client, name)
      await wait(30)
    }
  }

  async #writeState(client: HttpClient, key: string): Promise<void> {
    const counter = counterOf(this.#state, key)
    const value = ++counter.attempted
    const reply = await this.#ask('PUT state', () => client.put(`/state/keys/${key}?space=${SPACE}`, { value }))
    if (reply?.status === 200) counter.acknowledged = value
    else this.#unexpected('PUT state', reply)
  }

  async #readState(client: HttpClient, key: string): Promise<void> {
    const counter = counterOf(this.#state, key)
    const reply = await this.#ask('GET state', () => client.get(`/state/keys/${key}?space=${SPACE}`))
    if (!reply || (reply.status === 404 && counter.acknowledged === 0)) return
    if (reply.status !== 200) this.#unexpected('GET state', reply)
    else this.#compare('state', key, counter, reply.body.value)
  }

  async #increment(client: HttpClient): Promise<void> {
    const reply = await this.#ask('increment', () => {
      this.#total.attempted++
      return client.post(`/state/keys/total/increment?space=${SPACE}`, {})
    })
    if (reply?.status === 200) this.#total.acknowledged++
    else this.#unexpected('increment', reply)
  }

  async #prefer(client: HttpClient): Promise<void> {
    const counter = this.#preferences.get(client) as Counter
    const n = ++counter.attempted
    const reply = await this.#ask('POST preferences', () => client.post('/preferences', { n }))
    if (reply?.status === 200) counter.acknowledged = n
    else this.#unexpected('POST preferences', reply)
  }

  async #profile(client: HttpClient, name: string): Promise<void> {
    const reply = await this.#ask('GET profile', () => client.get('/profile'))
    if (reply?.status !== 200) {
      this.#unexpected('GET profile', reply)
      return
    }
    if (reply.body.user.id !== name) this.#found('the profile of somebody else', 'GET profile', reply.body.user.id)
    this.#compare('preference', name, this.#preferences.get(client) as Counter, reply.body.preferences.n ?? 0)
  }

  async #writeCache(client: HttpClient, key: string): Promise<void> {
    const counter = counterOf(this.#cache, key)
    const value = ++counter.attempted
    const path = `/cache/entries/${key}?namespace=${SPACE}`
    const written = await this.#ask('PUT cache', () => client.put(path, { value }))
    if (written?.status === 200) counter.acknowledged = value
    else this.#unexpected('PUT cache', written)
    const read = await this.#ask('GET cache', () => client.get(path))
    if (read?.status === 200) this.#compare('cache entry', key, counter, read.body.value)
    else if (read?.status !== 404) this.#unexpected('GET cache', read)
  }

  async #logInAgain(client: HttpClient, name: string): Promise<void> {
    const { cookie } = client
    const out = await this.#ask('logout', () => client.post('/logout'))
    if (out?.status !== 204) this.#unexpected('logout', out)
    if (out?.status === 204) this.#ended.push(cookie)
    // The new session need not know what the old one preferred.
    const preferences = this.#preferences.get(client) as Counter
    preferences.acknowledged = 0
    for (let attempt = 0; attempt < LOGINS; attempt++) {
      const reply = await this.#ask('login', () => client.login(name, PASSWORD))
      if (reply?.status === 200) return
      this.#unexpected('login', reply)
      await wait(RETRY)
    }
    this.#found('an honest user cannot log in', name, `refused ${LOGINS} times`)
  }

  /** A guest logs in, and is shown the door by the administrator. */
  async #comeAndGo(until: AbortSignal): Promise<void> {
    for (; !until.aborted; await wait(1_000)) {
      const came = await this.#ask('login', () => this.#guest.login('honest-guest', PASSWORD))
      if (came?.status !== 200) {
        this.#unexpected('login', came)
        continue
      }
      const { cookie } = this.#guest
      const revoked = await this.#ask('revoke', () => this.#admin.delete('/sessions?userId=honest-guest'))
      if (revoked?.status !== 200) {
        this.#unexpected('revoke', revoked)
        continue
      }
      this.#ended.push(cookie)
      await this.#isOver(cookie)
    }
  }

  async #isOver(cookie: string): Promise<void> {
    const stranger = new HttpClient(this.#options.url)
    const reply = await this.#ask('GET profile', () => stranger.get('/profile', { cookie }))
    if (reply && reply.status !== 401) this.#found('a session lives on after its end', 'GET profile', `${reply.status}`)
  }

  /** After everything: whatever was promised must be there. */
  async verify(when: string): Promise<void> {
    const [client] = this.#writers as [HttpClient]
    const reply = await this.#ask('GET snapshot', () => client.get(`/state/snapshot?space=${SPACE}`))
    if (reply?.status !== 200) {
      this.#unexpected('GET snapshot', reply)
      return
    }
    const state = reply.body.state as Record<string, number>
    for (const [key, counter] of this.#state) this.#compare(`state ${when}`, key, counter, state[key] ?? 0)
    this.#compare(`increments ${when}`, 'total', this.#total, state['total'] ?? 0)
    for (const [index, writer] of this.#writers.entries()) await this.#profile(writer, `honest-${index + 1}`)
    for (const cookie of this.#ended) await this.#isOver(cookie)
    await this.#followerHas(state)
    const allowed = P99 + this.#lag.percentile(99) / 1e6
    if (this.p99 > allowed) this.#found('served slowly', 'p99', `${Math.round(this.p99)} ms without a fault`)
  }

  async #followerHas(state: Record<string, number>): Promise<void> {
    const behind = () => Object.keys(state).filter((key) => this.#followed?.get(key) !== state[key])
    for (const began = performance.now(); behind().length > 0; await wait(50)) {
      if (performance.now() - began < DEADLINE) continue
      this.#found('a follower is not brought up to date', 'WS /sync', behind().slice(0, 5).join())
      return
    }
  }

  /**
   * Sends, and sends again what is refused for the moment, as clients do.
   * @returns `undefined` when it was not served, which was reported unless it is excused
   */
  async #ask(what: string, send: () => Promise<Reply>): Promise<Reply | undefined> {
    const { excuse } = this.#options
    for (const began = performance.now(); ; await wait(RETRY)) {
      const before = excuse()
      const sent = performance.now()
      const reply = await within(DEADLINE, send())
      const took = performance.now() - sent
      const excused = before ?? excuse()
      const refused = typeof reply !== 'string' && [429, 503, 507].includes(reply.status)
      if (typeof reply !== 'string' && !refused) {
        this.#served++
        if (excused === undefined) this.#latencies.push(took)
        return reply
      }
      const came = typeof reply === 'string' ? reply : `${reply.status} ${shown(JSON.stringify(reply.body), 200)}`
      if (took >= DEADLINE + this.#lag.max / 1e6) {
        this.#found('an honest user waits', what, `${Math.round(took)} ms: ${came} (fault: ${excused ?? 'none'})`)
        return undefined
      }
      if (excused !== undefined) {
        this.#excused++
        return undefined
      }
      if (performance.now() - began > DEADLINE) {
        this.#found('an honest user is not served', what, came)
        return undefined
      }
    }
  }

  #compare(what: string, key: string, { acknowledged, attempted }: Counter, value: unknown): void {
    if (typeof value === 'number' && value >= acknowledged && value <= attempted) return
    this.#found(`acknowledged and not there: ${what}`, what, `${key}: ${value}, not ${acknowledged} to ${attempted}`)
  }

  #unexpected(what: string, reply: Reply | undefined): void {
    if (reply) this.#found(`an honest user gets ${reply.status}`, what, shown(JSON.stringify(reply.body), 300))
  }

  #found(kind: string, where: string, example: string): void {
    const { excuse, attacks, findings } = this.#options
    findings.add({ kind, where, example: `${example}\n    → while: ${excuse() ?? 'no fault'}; ${attacks()}` })
  }
}

function counterOf(counters: Map<string, Counter>, key: string): Counter {
  const counter = counters.get(key) ?? { acknowledged: 0, attempted: 0 }
  counters.set(key, counter)
  return counter
}

/** The reply, or what came instead. */
async function within(ms: number, reply: Promise<Reply>): Promise<Reply | string> {
  const late = new AbortController()
  try {
    return await Promise.race([reply, wait(ms, 'no answer', { signal: late.signal })])
  } catch (error) {
    const { message, cause } = error as Error
    return `${message} ${(cause as Error | undefined)?.message ?? ''}`
  } finally {
    late.abort()
    reply.catch(() => {})
  }
}
