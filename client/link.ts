import type { Ack, ErrorMessage, Hello, ServerMessage } from '../openapi/messages/server.ts'
import type { Op, StateSnapshot } from '../openapi/schemas/state.ts'
import { stateKeyFault } from '../plugins/state/values/frozen-copy.ts'
import { SPACE_NAME } from '../plugins/support/keys.ts'
import { startTimer } from '../plugins/support/timer.ts'
import type { Credentials } from './credentials.ts'
import { type Refusal, refusedBy, WriteError } from './errors.ts'
import { Held } from './held.ts'
import type { Keeper, Kept, KeptReplica } from './keeper.ts'
import { Outbox, type Write } from './outbox.ts'
import { Presence } from './presence.ts'
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
  after: startTimer,
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
/** The longest wait for an answer of a connection that may have died while nobody looked. */
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
  keeper: Keeper
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
export class Link implements ReplicaLink {
  readonly #options: LinkOptions
  readonly #timing: Timing
  readonly #outbox: Outbox
  readonly #keeper: Keeper
  /** Names this run of the client. */
  readonly #page = randomName()
  readonly #replicas: Held<AnyReplica>
  readonly #presences: Held<Presence>
  /** The replicas that the server was asked for on this connection. */
  readonly #asked = new Set<string>()
  #keptReplicas = new Map<string, KeptReplica>()
  #loading: Promise<unknown> | undefined
  #socket: WebSocketLike | undefined
  /** Rises with each attempt to connect, so that a slower, earlier one notices. */
  #attempt = 0
  /** Failures in a row. */
  #failures = 0
  #retryAfter: number | undefined
  #refusal: Refusal | undefined
  #cancelReconnect: (() => void) | undefined
  #cancelHeartbeat: (() => void) | undefined
  #cancelStable: (() => void) | undefined
  #heartbeat = HEARTBEAT_BEFORE_HELLO
  #limit = 100
  /** Whether anything was heard since the last heartbeat was sent. */
  #heard = false
  publicId: string | undefined

  constructor(options: LinkOptions) {
    const { timing, keeper, clientId } = options
    this.#options = options
    this.#timing = timing
    this.#keeper = keeper
    this.#outbox = new Outbox({
      clientId,
      keeper,
      send: (message) => this.send(message),
      later: (attempt, run) => this.#later(attempt, run),
      refused: (write) => {
        for (const replica of this.#following(write.space)) replica.remove(write)
      },
    })
    const soon = (run: () => void) => void timing.after(0, run)
    this.#replicas = new Held(soon, (replica) => this.#gone(replica))
    this.#presences = new Held(soon, ({ space }) => {
      this.send({ type: 'presence', space, leave: true })
      this.#rest()
    })
    const kept = keeper.load()
    if (kept instanceof Promise) {
      this.#loading = kept.then((found) => {
        this.#loading = undefined
        this.#adopt(found)
      })
    } else this.#adopt(kept)
  }

  get clientId(): string {
    return this.#outbox.clientId
  }

  /** Takes over what earlier pages left, unless it is of several users: then nobody knows whose this page is. */
  #adopt({ queues, replicas }: Kept = { queues: [], replicas: new Map() }): void {
    const users = new Set(
      [...queues, ...replicas.values()].map(({ user }) => user).filter((user) => user !== undefined),
    )
    if (users.size > 1) {
      this.#keeper.clear()
      return
    }
    const mine = queues.find(({ clientId }) => clientId === this.clientId)
    const writes = this.#outbox.adopt(
      queues.flatMap((queue) => queue.writes),
      mine?.seq,
    )
    const [user] = users
    if (user !== undefined && this.#outbox.user === undefined) this.#outbox.user = user
    this.#keptReplicas = new Map(replicas)
    for (const replica of this.#replicas.all()) {
      const known = this.#keptReplicas.get(replica.id)
      if (known) replica.restore(known)
      for (const write of writes) if (write.space === replica.space) replica.add(write)
    }
    if (writes.length > 0 && this.#options.eager) this.wanted()
  }

  // --- what pages hold -------------------------------------------------------------------------

  /** The replica of this topic: one for all who ask, until the last of them closes it. */
  replica(space: string, topic: Topic): AnyReplica {
    const id = replicaId(space, topic)
    const replica = this.#replicas.hold(id, (leaving) => {
      const known = leaving?.keep() ?? this.#keptReplicas.get(id) ?? this.#initialOf(space)
      this.#keptReplicas.delete(id)
      const made: AnyReplica = new Replica(this, space, topic, this.#outbox.of(space), known)
      // The server was not told that nobody wanted it for a moment.
      if (leaving && known && this.#asked.has(id)) made.changeStatus('live')
      return made
    })
    const fault = SPACE_NAME.test(space) ? stateKeyFault(topic.key ?? topic.prefix ?? 'any') : 'has no such space'
    if (fault !== undefined) {
      replica.refuse({ code: 'STATEFUL_STATE_INVALID_SPACE', message: `It ${fault}.`, status: 'invalid' })
    } else if (this.#refusal) replica.refuse(this.#refusal)
    else this.#subscribe(replica)
    if (this.#options.eager) this.wanted()
    return replica
  }

  initial(space: string): StateSnapshot | undefined {
    return this.#options.initial[space]
  }

  #initialOf(space: string): KeptReplica | undefined {
    const known = this.initial(space)
    return known && { epoch: known.epoch, revision: known.revision, entries: Object.entries(known.state) }
  }

  /** Who follows a space: one for all who ask, until the last of them closes it. */
  presence(space: string): Presence {
    const link = {
      wanted: () => this.wanted(),
      send: (message: object) => this.#served && this.send(message),
      release: (presence: Presence) => {
        if (this.#presences.release(space, presence)) presence.end()
      },
    }
    const presence = this.#presences.hold(space, (leaving) => new Presence(link, space, leaving))
    if (this.#options.eager) this.wanted()
    return presence
  }

  release(replica: AnyReplica): boolean {
    return this.#replicas.release(replica.id, replica)
  }

  #gone(replica: AnyReplica): void {
    if (this.#asked.delete(replica.id)) this.send({ type: 'unsubscribe', space: replica.space, ...replica.topic })
    // There is room for one that had none.
    const next = this.#replicas.all().find(({ status, id }) => status === 'limited' && !this.#asked.has(id))
    if (next) this.#subscribe(next)
    this.#rest()
  }

  get #isIdle(): boolean {
    return this.#replicas.size === 0 && this.#presences.size === 0 && this.#outbox.size === 0
  }

  /** Nobody wants anything any more. */
  #rest(): void {
    if (this.#isIdle) this.#disconnect()
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

  #acknowledge(ack: Ack): void {
    const write = this.#outbox.ack(ack)
    const ops = ack.ops ?? write?.ops
    let waits = false
    for (const replica of this.#following(ack.space)) {
      if (this.#asked.has(replica.id)) {
        waits ||= write?.origin === replica
        replica.ack(ack, ops)
      } else if (write) replica.remove(write)
    }
    // Where it was made nobody waits for its confirmation.
    if (write && !waits) write.resolve({ revision: ack.revision })
    this.#rest()
  }

  changed(replica: AnyReplica): void {
    this.#keeper.saveReplica(replica.id, () => {
      return { ...(replica.keep() ?? { epoch: '', revision: 0, entries: [] }), user: this.#outbox.user }
    })
  }

  // --- connecting ------------------------------------------------------------------------------

  /** Sent when there is a connection; otherwise the resumption says it when there is one again. */
  send(message: object): void {
    if (this.#socket?.readyState === OPEN) this.#socket.send(JSON.stringify(message))
  }

  wanted(): void {
    if (!this.#socket && !this.#cancelReconnect && !this.#refusal) this.#connect()
  }

  /** Begins a new connection at once, whatever became of the one before: after a login, for example. */
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
    if (this.#socket?.readyState !== OPEN) {
      this.reconnect()
      return
    }
    this.#heard = false
    this.send({ type: 'heartbeat' })
    this.#expectHeartbeat(Math.min(PROBE, this.#heartbeat))
  }

  close(): void {
    for (const replica of this.#replicas.clear()) replica.end()
    for (const presence of this.#presences.clear()) presence.end()
    this.#outbox.drop(
      new WriteError('STATEFUL_CLOSED', 'The client was closed before the write was confirmed.', 'unknown'),
      true,
    )
    this.#disconnect()
  }

  #connect(): void {
    this.#cancelReconnect = undefined
    const attempt = ++this.#attempt
    const { credentials } = this.#options
    if (!credentials && !this.#loading) {
      this.#open({})
      return
    }
    // In the place of a timer, so that nothing else connects meanwhile.
    this.#cancelReconnect = () => {}
    Promise.all([credentials?.(), this.#loading]).then(
      ([given]) => {
        if (attempt === this.#attempt && this.#cancelReconnect) this.#open(given ?? {})
      },
      (error: unknown) => {
        reportFault(error)
        if (attempt === this.#attempt && this.#cancelReconnect) this.#lost(1006)
      },
    )
  }

  #open({ protocols = [], headers, query }: Credentials): void {
    this.#cancelReconnect = undefined
    const url = new URL(this.#options.url)
    for (const [name, value] of Object.entries(query ?? {})) url.searchParams.set(name, value)
    const socket = this.#options.open(url.href, protocols, headers ? { headers } : {})
    this.#socket = socket
    this.#heard = true
    this.#expectHeartbeat()
    socket.onopen = () => {
      this.send({ type: 'hello', protocols: [PROTOCOL], clientId: this.clientId, page: this.#page })
    }
    socket.onmessage = ({ data }: { data: unknown }) => {
      if (this.#socket !== socket) return
      this.#heard = true
      this.#receive(JSON.parse(String(data)) as ServerMessage)
    }
    // What went wrong is in the close event that follows; without a listener `ws` would throw.
    socket.onerror = () => {}
    socket.onclose = ({ code }: { code: number }) => {
      if (this.#socket === socket) this.#lost(code)
    }
  }

  /** Whether the server has answered the hello. */
  get #served(): boolean {
    return this.#socket !== undefined && this.publicId !== undefined
  }

  #receive(message: ServerMessage): void {
    switch (message.type) {
      case 'hello':
        this.#begin(message)
        return
      case 'fullSync':
      case 'stateChange': {
        this.#cancelStable ??= this.#timing.after(STABLE, () => {
          this.#failures = 0
        })
        const replica = this.#replicas.get(replicaId(message.space, message))
        if (message.type === 'fullSync') replica?.fullSync(message)
        else replica?.stateChange(message)
        replica?.changeStatus('live')
        return
      }
      case 'ack':
        this.#acknowledge(message)
        return
      case 'reject':
        this.#outbox.reject(message)
        this.#rest()
        return
      case 'revoked':
        this.#forget()
        return
      case 'presence':
        this.#presences.get(message.space)?.receive(message)
        return
      case 'closing':
        this.#retryAfter = message.retryAfter
        return
      case 'error':
        this.#refused(message)
        return
      case 'heartbeat':
        return
    }
  }

  #begin(hello: Hello): void {
    const { clientId, heartbeat, limits, user = '' } = hello
    const before = this.#outbox.user
    // Whoever logs in goes on with what was done before; another user must not.
    if (before && before !== user) this.#forget()
    if (before !== user) this.#outbox.user = user
    this.publicId = clientId
    this.#heartbeat = heartbeat
    this.#expectHeartbeat()
    this.#limit = limits?.subscriptions ?? this.#limit
    for (const replica of this.#replicas.all()) this.#subscribe(replica)
    for (const presence of this.#presences.all()) presence.announce()
    this.#outbox.open(hello)
  }

  #subscribe(replica: AnyReplica): void {
    if (!this.#served || this.#asked.has(replica.id) || replica.status === 'invalid') return
    if (this.#asked.size >= this.#limit) {
      const message = `A connection has at most ${this.#limit} subscriptions: follow a prefix, or close some.`
      replica.refuse({ code: 'STATEFUL_TOO_MANY_SUBSCRIPTIONS', message, status: 'limited' })
      return
    }
    this.#asked.add(replica.id)
    this.send(replica.subscription())
  }

  /** One message was refused, or the connection as a whole, which ends then. */
  #refused({ code, message, request, retry, space, ...about }: ErrorMessage): void {
    const status = refusedBy(code, retry)
    if (request === 'connect') {
      if (status) this.#refusal = { code, message, status }
      return
    }
    if (request === 'presence') {
      const presence = retry && this.#presences.get(space ?? '')
      if (presence) this.#later(this.#failures++, () => presence.announce())
      return
    }
    if (request !== 'subscribe' && request !== 'syncRequest') return
    const replica = this.#replicas.get(replicaId(space ?? '', about))
    if (!replica) {
      // Nobody knows which one waits for ever now: begins anew, after the back-off.
      if (retry) this.#lost(1006)
      return
    }
    this.#asked.delete(replica.id)
    if (status) replica.refuse({ code, message, status })
    else replica.changeStatus('offline')
    if (retry)
      this.#later(this.#failures++, () => this.#replicas.get(replica.id) === replica && this.#subscribe(replica))
  }

  /** The session ended: nothing of it may stay on this device. */
  #forget(): void {
    this.#keeper.clear()
    this.#keptReplicas.clear()
    this.#outbox.user = undefined
    this.#outbox.drop(
      new WriteError('STATEFUL_UNAUTHENTICATED', 'The session ended before the write was confirmed.', 'unknown'),
    )
    for (const replica of this.#replicas.all()) replica.forget()
  }

  #lost(code: number): void {
    this.#drop(code)
    this.#refusal ??= code === 4401 ? ENDED : code === 4406 ? INCOMPATIBLE : undefined
    const refusal = this.#refusal
    if (refusal?.status === 'unauthenticated') this.#forget()
    for (const replica of this.#replicas.all()) {
      if (replica.status === 'invalid') continue
      if (refusal) replica.refuse(refusal)
      else replica.changeStatus('offline')
    }
    for (const presence of this.#presences.all()) presence.receive({ members: [] })
    if (refusal?.status === 'limited') this.#refusal = undefined
    else if (refusal) return
    if (this.#isIdle) return
    // A server that closed has given each client a time of its own.
    const wait = this.#retryAfter ?? this.#jitter(this.#failures++)
    this.#retryAfter = undefined
    this.#cancelReconnect = this.#timing.after(wait, () => this.#connect())
  }

  /** Full jitter: after a restart of the server its clients come back spread over the whole span. */
  #jitter(attempt: number): number {
    return this.#timing.random() * Math.min(FIRST_BACKOFF * 2 ** attempt, LONGEST_BACKOFF)
  }

  /** On this connection only. */
  #later(attempt: number, run: () => void): void {
    const socket = this.#socket
    this.#timing.after(this.#jitter(attempt), () => this.#socket === socket && run())
  }

  #expectHeartbeat(within = this.#heartbeat): void {
    this.#cancelHeartbeat?.()
    this.#cancelHeartbeat = this.#timing.after(within, () => {
      // Half-open: the server beats once an interval, so silence of a whole one and its answer means that it is gone.
      if (!this.#heard) return this.#lost(1006)
      this.#heard = false
      this.send({ type: 'heartbeat' })
      this.#expectHeartbeat()
    })
  }

  #disconnect(): void {
    this.#drop()
  }

  /** Lets go of the connection. A dead one may take minutes to close; nobody waits for that. */
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

const ENDED: Refusal = {
  code: 'STATEFUL_UNAUTHENTICATED',
  message: 'There is no session: log in, then reconnect.',
  status: 'unauthenticated',
}
const INCOMPATIBLE: Refusal = {
  code: 'STATEFUL_PROTOCOL',
  message: 'This client and the server speak no common version.',
  status: 'invalid',
}

/** Random, also where `crypto.randomUUID` is missing: on a page that is not secure, as in a LAN. */
export function randomName(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('')
}
