import type { Ack, ErrorMessage, FullSync, Hello, ServerMessage, StateChange } from '../openapi/messages/server.ts'
import type { Op, StateSnapshot } from '../openapi/schemas/state.ts'
import { stateKeyFault } from '../plugins/state/values/frozen-copy.ts'
import { SPACE_NAME } from '../plugins/support/keys.ts'
import type { Credentials } from './credentials.ts'
import { type Refusal, refusalOf } from './errors.ts'
import { Held } from './held.ts'
import type { KeeperSoon, Kept, KeptReplica } from './keeper.ts'
import { Outbox, type OutboxLink, type Write } from './outbox.ts'
import { Presence, type PresenceLink } from './presence.ts'
import { type AnyReplica, Replica, type ReplicaLink, replicaId, type Topic } from './replica.ts'
import { reportFault } from './report-fault.ts'

/** The part of a WebSocket that is used: that of browsers, of `ws`, and of Node ≥ 22. */
export interface WebSocketLike {
  readonly readyState: number
  onopen: ((event: never) => void) | null
  onmessage: ((event: never) => void) | null
  onclose: ((event: never) => void) | null
  onerror: ((event: never) => void) | null
  send(text: string): void
  close(code?: number, reason?: string): void
}

export type WebSocketConstructor = new (
  url: string,
  protocols?: string[],
  /** Read by `ws`; browsers have nothing of the kind. */
  options?: { headers?: { [name: string]: string } },
) => WebSocketLike

/** Time and chance, so that tests decide about both. */
export interface Timing {
  /** From 0 to 1. */
  random(): number
  /** Calls `run` once; the returned function prevents it. */
  after(ms: number, run: () => void): () => void
}

export const systemTiming: Timing = {
  random: Math.random,
  after(ms, run) {
    // One that is longer (24.8 days) fires at once; a client that beats too early does no harm.
    const timer = setTimeout(run, Math.min(ms, 2 ** 31 - 1))
    return () => clearTimeout(timer)
  },
}

const PROTOCOL = 1
const OPEN = 1
/** The longest wait before the first attempt to reconnect, doubled with each further one. */
const FIRST_BACKOFF = 250
/** However long the server was away, everybody has tried again so soon after it is back. */
export const LONGEST_BACKOFF = 10_000
const HEARTBEAT_BEFORE_HELLO = 25_000
/** How long a connection must have served before the next failure counts as the first. */
const STABLE = 5_000
/** The longest wait for an answer of a connection that may have died unnoticed. */
const PROBE = 3_000

export interface LinkOptions {
  url: string
  /** @throws TypeError when the platform has none */
  open(url: string, protocols: string[], options: object): WebSocketLike
  /** `undefined` when there is nothing to ask for. */
  credentials: (() => Promise<Credentials>) | undefined
  timing: Timing
  /** Whether to connect before somebody wants to know: not while a page is rendered on a server. */
  eager: boolean
  clientId: string
  keeper: KeeperSoon
  initial: { readonly [space: string]: StateSnapshot }
}

/**
 * One WebSocket for everything of a client: connects, reconnects, resumes, and sends again what was not confirmed.
 *
 *     idle ──somebody wants something──▶ connecting ──hello──▶ served ──nobody wants anything──▶ idle
 *                                          ▲   │ ▲              │
 *                             back-off ends│   │ └──reconnect()─┤
 *                                         waiting ◀─────lost────┘──refused for good──▶ refused ──reconnect()──▶ connecting
 */
export class Link implements ReplicaLink, PresenceLink, OutboxLink {
  readonly #options: LinkOptions
  readonly #outbox: Outbox
  /** Names this run of the client. */
  readonly #page = randomName()
  readonly #replicas: Held<AnyReplica>
  readonly #presences: Held<Presence>
  /** The replicas that the server was asked for on this connection. */
  readonly #asked = new Set<string>()
  #keptReplicas = new Map<string, KeptReplica>()
  #loading: Promise<void> | undefined
  #socket: WebSocketLike | undefined
  /** Failures in a row. */
  #failures = 0
  #retryAfter: number | undefined
  #refusal: Refusal | undefined
  /** Ends what the next connection waits for. */
  #cancelReconnect: (() => void) | undefined
  #cancelHeartbeat: (() => void) | undefined
  #cancelStable: (() => void) | undefined
  #heartbeat = HEARTBEAT_BEFORE_HELLO
  #limit = 100
  /** Whether anything was heard since the last heartbeat was sent. */
  #heard = false
  /** Known as soon as the server has answered the hello. */
  publicId: string | undefined

  constructor(options: LinkOptions) {
    const { timing, keeper, clientId } = options
    this.#options = options
    this.#outbox = new Outbox(this, keeper, clientId)
    this.#replicas = new Held(timing, (replica) => this.#gone(replica))
    this.#presences = new Held(timing, ({ space }) => {
      this.send({ type: 'presence', space, leave: true })
      this.#rest()
    })
    this.#loading = keeper
      ?.then((kept) => kept?.load())
      .then((kept) => {
        this.#loading = undefined
        if (kept) this.#adopt(kept)
      })
  }

  get clientId(): string {
    return this.#outbox.clientId
  }

  /** Takes over what earlier pages left. */
  #adopt(kept: Kept): void {
    const writes = this.#outbox.adopt(kept)
    this.#keptReplicas = new Map(kept.replicas)
    for (const replica of this.#replicas.all()) {
      const known = this.#keptReplicas.get(replica.id)
      if (known) replica.restore(known)
      for (const write of writes) if (write.space === replica.space) replica.add(write)
    }
    if (writes.length > 0) this.#attend()
  }

  // --- what pages hold -------------------------------------------------------------------------

  /** The replica of this topic: one for all who ask, until the last of them closes it. */
  replica(space: string, topic: Topic): AnyReplica {
    const id = replicaId(space, topic)
    const replica = this.#replicas.hold(id, (leaving) => {
      const initial = this.initial(space)
      const known =
        leaving?.keep() ??
        this.#keptReplicas.get(id) ??
        (initial && { ...initial, entries: Object.entries(initial.state) })
      this.#keptReplicas.delete(id)
      const made: AnyReplica = new Replica(this, space, topic, this.#outbox.of(space), known)
      // The server was not told that it was unwanted for a moment.
      if (leaving && known && this.#asked.has(id)) made.changeStatus('live')
      return made
    })
    const fault = SPACE_NAME.test(space) ? stateKeyFault(topic.key ?? topic.prefix ?? 'any') : 'has no such space'
    if (fault) replica.refuse(refusalOf('STATEFUL_STATE_INVALID_SPACE', `It ${fault}.`))
    else if (this.#refusal) replica.refuse(this.#refusal)
    else this.#subscribe(replica)
    this.#attend()
    return replica
  }

  initial(space: string): StateSnapshot | undefined {
    return this.#options.initial[space]
  }

  /** Who follows a space: one for all who ask, until the last of them closes it. */
  presence(space: string): Presence {
    const presence = this.#presences.hold(space, (leaving) => new Presence(this, space, leaving))
    this.#attend()
    return presence
  }

  release(held: AnyReplica | Presence): boolean {
    if (held instanceof Presence) return this.#presences.release(held.space, held)
    return this.#replicas.release(held.id, held)
  }

  #gone(replica: AnyReplica): void {
    if (this.#asked.delete(replica.id)) this.send(replica.request('unsubscribe'))
    // There is room for one that had none.
    const next = this.#replicas.all().find(({ status, id }) => status === 'limited' && !this.#asked.has(id))
    if (next) this.#subscribe(next)
    this.#rest()
  }

  get #isIdle(): boolean {
    return this.#replicas.size + this.#presences.size + this.#outbox.size === 0
  }

  /** Nothing is wanted any more. */
  #rest(): void {
    if (this.#isIdle) this.#drop()
  }

  #following(space: string): AnyReplica[] {
    return this.#replicas.all().filter((replica) => replica.space === space)
  }

  // --- writing ---------------------------------------------------------------------------------

  write(origin: AnyReplica, ops: readonly Op[], outcome: Pick<Write, 'resolve' | 'reject'>): void {
    const write = this.#outbox.add(origin.space, ops, { origin, ...outcome })
    this.wanted()
    this.#outbox.pump()
    for (const replica of this.#following(write.space)) replica.add(write)
  }

  refused(write: Write): void {
    for (const replica of this.#following(write.space)) replica.remove(write)
  }

  #acknowledge(ack: Ack): void {
    const write = this.#outbox.ack(ack)
    let waits = false
    for (const replica of this.#following(ack.space)) {
      if (this.#asked.has(replica.id)) {
        waits ||= write?.origin === replica
        replica.ack(ack, ack.ops ?? write?.ops)
      } else if (write) replica.remove(write)
    }
    // The page that made it does not wait for its confirmation any more.
    if (!waits) write?.resolve({ revision: ack.revision })
    this.#rest()
  }

  changed(replica: AnyReplica): void {
    const keep = () => {
      const kept = replica.keep()
      return kept && { ...kept, user: this.#outbox.user }
    }
    this.#options.keeper?.then((keeper) => keeper?.saveReplica(replica.id, keep))
  }

  // --- connecting ------------------------------------------------------------------------------

  /** Sent when the server listens; otherwise the resumption says it when it does again. */
  send(message: object): void {
    if (this.publicId !== undefined) this.#socket?.send(JSON.stringify(message))
  }

  wanted(): void {
    if (!this.#socket && !this.#cancelReconnect && !this.#refusal) this.#connect()
  }

  #attend(): void {
    if (this.#options.eager) this.wanted()
  }

  /** Begins a new connection at once, whether the former one works or not: after a login, for example. */
  reconnect(): void {
    this.#failures = 0
    this.#refusal = undefined
    if (this.#isIdle) return
    this.#drop()
    this.#connect()
  }

  /** The page was away, or the network was: a connection that does not answer now is replaced. */
  wake(): void {
    if (this.#isIdle || this.#refusal) return
    if (this.#socket?.readyState === OPEN) this.#beat(Math.min(PROBE, this.#heartbeat))
    else this.reconnect()
  }

  close(): void {
    this.#presences.clear()
    for (const replica of this.#replicas.clear()) replica.end()
    this.#outbox.drop('STATEFUL_CLOSED', 'The client was closed', true)
    this.#drop()
  }

  #connect(): void {
    // In the place of a timer, so that nothing else connects meanwhile; who finds another one there is too late.
    const waiting = () => {}
    this.#cancelReconnect = waiting
    const go = (on: () => void) => {
      if (this.#cancelReconnect !== waiting) return
      this.#cancelReconnect = undefined
      on()
    }
    const { credentials } = this.#options
    if (credentials || this.#loading) {
      Promise.all([credentials?.(), this.#loading]).then(
        ([given]) => go(() => this.#open(given)),
        (error: unknown) => {
          reportFault(error)
          go(() => this.#lost(1006))
        },
      )
    } else go(() => this.#open())
  }

  #open({ url, protocols = [], headers }: Credentials = this.#options): void {
    const socket = this.#options.open(url, protocols, { headers })
    this.#socket = socket
    this.#heard = true
    this.#expectHeartbeat()
    socket.onopen = () => {
      socket.send(JSON.stringify({ type: 'hello', protocols: [PROTOCOL], clientId: this.clientId, page: this.#page }))
    }
    socket.onmessage = ({ data }: { data: string }) => {
      if (this.#socket !== socket) return
      this.#heard = true
      const message: ServerMessage = JSON.parse(data)
      this.#receivers[message.type]?.(message as never)
    }
    // What went wrong is in the close event that follows; without a listener `ws` would throw.
    socket.onerror = () => {}
    socket.onclose = ({ code }: { code: number }) => {
      if (this.#socket === socket) this.#lost(code)
    }
  }

  readonly #receivers: { [Type in ServerMessage['type']]: (message: Extract<ServerMessage, { type: Type }>) => void } =
    {
      hello: (message) => this.#begin(message),
      fullSync: (message) => this.#follow(message),
      stateChange: (message) => this.#follow(message),
      ack: (message) => this.#acknowledge(message),
      reject: (message) => {
        this.#outbox.reject(message)
        this.#rest()
      },
      revoked: () => this.#forget(),
      presence: (message) => this.#presences.get(message.space)?.receive(message),
      closing: ({ retryAfter }) => {
        this.#retryAfter = retryAfter
      },
      error: (message) => this.#refused(message),
      heartbeat() {},
    }

  #follow(message: FullSync | StateChange): void {
    this.#cancelStable ??= this.#options.timing.after(STABLE, () => {
      this.#failures = 0
    })
    this.#replicas.get(replicaId(message.space, message))?.receive(message)
  }

  #begin(hello: Hello): void {
    const { clientId, heartbeat, limits, user = '' } = hello
    const before = this.#outbox.user
    // A login goes on with what was done before it; another user must not.
    if (before && before !== user) this.#forget()
    this.#outbox.user = user
    this.publicId = clientId
    this.#heartbeat = heartbeat
    this.#expectHeartbeat()
    this.#limit = limits?.subscriptions ?? this.#limit
    for (const replica of this.#replicas.all()) this.#subscribe(replica)
    for (const presence of this.#presences.all()) presence.announce()
    this.#outbox.open(hello)
  }

  #subscribe(replica: AnyReplica): void {
    if (this.publicId === undefined || this.#asked.has(replica.id) || replica.status === 'invalid') return
    if (this.#asked.size >= this.#limit) {
      const message = `A connection has at most ${this.#limit} subscriptions: follow a prefix, or close some.`
      replica.refuse(refusalOf('STATEFUL_TOO_MANY_SUBSCRIPTIONS', message))
    } else {
      this.#asked.add(replica.id)
      this.send(replica.request('subscribe'))
    }
  }

  /** One message was refused, or the connection as a whole, which ends then. */
  #refused({ code, message, request, retry, space = '', ...about }: ErrorMessage): void {
    const refusal = refusalOf(code, message, retry)
    const id = replicaId(space, about)
    const replica = this.#replicas.get(id)
    if (request === 'connect') this.#refusal = refusal
    else if (request === 'presence') {
      if (retry) this.later(this.#failures++, () => this.#presences.get(space)?.announce())
    } else if (request === 'subscribe' || request === 'syncRequest') {
      this.#asked.delete(id)
      replica?.refuse(refusal)
      if (retry && replica) {
        this.later(this.#failures++, () => this.#replicas.get(id) === replica && this.#subscribe(replica))
      }
      // Which one now waits for ever is unknown: starts again, after the back-off.
      else if (retry) this.#lost(1006)
    }
  }

  /** The session ended: nothing of it may stay on this device. */
  #forget(): void {
    this.#options.keeper?.then((keeper) => keeper?.clear())
    this.#keptReplicas.clear()
    this.#outbox.user = undefined
    this.#outbox.drop('STATEFUL_UNAUTHENTICATED', 'The session ended')
    for (const replica of this.#replicas.all()) replica.forget()
  }

  #lost(code: number): void {
    this.#drop(code)
    this.#refusal ??= code === 4401 ? ENDED : code === 4406 ? INCOMPATIBLE : undefined
    const refusal = this.#refusal
    if (refusal?.status === 'unauthenticated') this.#forget()
    for (const replica of this.#replicas.all()) if (replica.status !== 'invalid') replica.refuse(refusal)
    for (const presence of this.#presences.all()) presence.receive({ members: [] })
    if (refusal?.status === 'limited') this.#refusal = undefined
    if (this.#refusal || this.#isIdle) return
    // A server that closed has given each client a time of its own.
    const wait = this.#retryAfter ?? this.#jitter(this.#failures++)
    this.#retryAfter = undefined
    this.#cancelReconnect = this.#options.timing.after(wait, () => this.#connect())
  }

  /** Full jitter: after a restart of the server its clients come back spread over the whole span. */
  #jitter(attempt: number): number {
    return this.#options.timing.random() * Math.min(FIRST_BACKOFF * 2 ** attempt, LONGEST_BACKOFF)
  }

  later(attempt: number, run: () => void): void {
    const socket = this.#socket
    this.#options.timing.after(this.#jitter(attempt), () => this.#socket === socket && run())
  }

  #expectHeartbeat(within = this.#heartbeat): void {
    this.#cancelHeartbeat?.()
    // Half-open: the server beats once an interval, so silence of a whole one and its answer means that it is gone.
    this.#cancelHeartbeat = this.#options.timing.after(within, () => (this.#heard ? this.#beat() : this.#lost(1006)))
  }

  /** @param within which anything must be heard */
  #beat(within?: number): void {
    this.#heard = false
    this.send({ type: 'heartbeat' })
    this.#expectHeartbeat(within)
  }

  /** Lets go of the connection. A dead one may take minutes to close, which is not waited for. */
  #drop(code = 1000): void {
    this.#cancelReconnect?.()
    this.#cancelHeartbeat?.()
    this.#cancelStable?.()
    this.#cancelReconnect = this.#cancelStable = undefined
    const socket = this.#socket
    this.#socket = undefined
    this.publicId = undefined
    this.#asked.clear()
    this.#outbox.lost(code === 1009)
    socket?.close(1000)
  }
}

const ENDED = refusalOf('STATEFUL_UNAUTHENTICATED', 'There is no session: log in, then reconnect.')
const INCOMPATIBLE = refusalOf('STATEFUL_PROTOCOL', 'This client and the server speak no common version.')

/** Random, also where `crypto.randomUUID` is missing: on a page that is not secure, as in a LAN. */
export const randomName = (): string => crypto.getRandomValues(new Uint32Array(4)).join('-')
