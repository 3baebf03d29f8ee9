import type { Ack, ServerMessage } from '../openapi/messages/server.ts'
import { startTimer } from '../plugins/support/timer.ts'
import { Presence } from './presence.ts'
import { Queue, type QueueStorage } from './queue.ts'
import { Replica, type ReplicaLink, type ReplicaStatus, replicaId, type Topic } from './replica.ts'

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

export type WebSocketConstructor = new (url: string) => WebSocketLike

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

export interface LinkOptions {
  url: string
  WebSocket: WebSocketConstructor
  timing: Timing
  clientId?: string | undefined
  storage?: QueueStorage | undefined
}

/** One WebSocket for all replicas of a client: reconnects, resumes, and sends again what was not confirmed. */
export class Link implements ReplicaLink {
  readonly #url: string
  readonly #WebSocket: WebSocketConstructor
  readonly #timing: Timing
  readonly #queue: Queue
  readonly #replicas = new Map<string, Replica>()
  readonly #presences = new Map<string, Presence>()
  #socket: WebSocketLike | undefined
  #attempts = 0
  #retryAfter: number | undefined
  #cancelReconnect: (() => void) | undefined
  #cancelHeartbeat: (() => void) | undefined
  #heartbeat = HEARTBEAT_BEFORE_HELLO
  /** Whether anything was heard since the last heartbeat was sent. */
  #heard = false
  publicId: string | undefined

  constructor({ url, WebSocket, timing, clientId, storage }: LinkOptions) {
    this.#url = url
    this.#WebSocket = WebSocket
    this.#timing = timing
    this.#queue = new Queue(url, clientId, storage)
  }

  nextSeq(): number {
    return this.#queue.nextSeq()
  }

  queued(): void {
    this.#queue.save(this.#replicas.values())
  }

  later(attempt: number, run: () => void): void {
    this.#timing.after(this.#jitter(attempt), run)
  }

  /** Full jitter: after a restart of the server its clients come back spread over the whole span. */
  #jitter(attempt: number): number {
    return this.#timing.random() * Math.min(FIRST_BACKOFF * 2 ** attempt, LONGEST_BACKOFF)
  }

  /** The replica of this topic: one for all who ask, until it is closed. */
  replica(space: string, topic: Topic): Replica {
    const id = replicaId(space, topic)
    const known = this.#replicas.get(id)
    if (known) return known
    const replica = new Replica(this, space, topic)
    this.#replicas.set(id, replica)
    const left = this.#queue.takeLeft(id)
    if (this.#socket) this.send(replica.subscription())
    else if (!this.#cancelReconnect) this.#connect()
    replica.adopt(left)
    return replica
  }

  /** Who follows a space: one for all who ask, until it is closed. */
  presence(space: string): Presence {
    const known = this.#presences.get(space)
    if (known) return known
    const presence = new Presence(
      space,
      (message) => this.send(message),
      () => this.#release(space),
    )
    this.#presences.set(space, presence)
    if (!this.#socket && !this.#cancelReconnect) this.#connect()
    return presence
  }

  #release(space: string): void {
    this.#presences.delete(space)
    if (this.#isIdle) this.#disconnect()
  }

  get #isIdle(): boolean {
    return this.#replicas.size === 0 && this.#presences.size === 0
  }

  release(replica: Replica): void {
    this.#replicas.delete(replica.id)
    this.send({ type: 'unsubscribe', space: replica.space, ...replica.topic })
    if (this.#isIdle) this.#disconnect()
  }

  /** Sent when there is a connection; otherwise the resumption says it when there is one again. */
  send(message: object): void {
    if (this.#socket?.readyState === OPEN) this.#socket.send(JSON.stringify(message))
  }

  /** Tries again at once: after a login, or when the browser says that it is online. */
  reconnect(): void {
    if (this.#isIdle) return
    this.#cancelReconnect?.()
    this.#attempts = 0
    if (!this.#socket) this.#connect()
  }

  close(): void {
    for (const replica of [...this.#replicas.values()]) replica.close()
    for (const presence of [...this.#presences.values()]) presence.close()
    this.#disconnect()
  }

  #connect(): void {
    this.#cancelReconnect = undefined
    const socket = new this.#WebSocket(this.#url)
    this.#socket = socket
    this.#heard = true
    this.#scheduleHeartbeat()
    socket.onopen = () => {
      this.send({ type: 'hello', protocols: [PROTOCOL], clientId: this.#queue.clientId })
      for (const replica of this.#replicas.values()) {
        for (const message of replica.resumption()) this.send(message)
      }
      for (const presence of this.#presences.values()) presence.announce()
    }
    socket.onmessage = ({ data }: { data: unknown }) => {
      this.#heard = true
      if (this.#socket === socket) this.#receive(JSON.parse(String(data)) as ServerMessage)
    }
    // What went wrong is in the close event that follows; without a listener `ws` would throw.
    socket.onerror = () => {}
    socket.onclose = ({ code }: { code: number }) => {
      if (this.#socket === socket) this.#lost(code)
    }
  }

  #receive(message: ServerMessage): void {
    switch (message.type) {
      case 'hello':
        this.publicId = message.clientId
        this.#heartbeat = message.heartbeat
        return
      case 'fullSync':
      case 'stateChange': {
        this.#attempts = 0
        const { key, prefix } = message
        const topic = { ...(key === undefined ? {} : { key }), ...(prefix === undefined ? {} : { prefix }) }
        const replica = this.#replicas.get(replicaId(message.space, topic))
        if (message.type === 'fullSync') replica?.fullSync(message)
        else replica?.stateChange(message)
        replica?.changeStatus('live')
        return
      }
      case 'ack':
        this.#acknowledge(message)
        return
      case 'reject':
        for (const replica of this.#replicas.values()) replica.reject(message)
        return
      case 'revoked':
        for (const replica of this.#replicas.values()) replica.forget()
        return
      case 'presence':
        this.#presences.get(message.space)?.receive(message)
        return
      case 'closing':
        this.#retryAfter = message.retryAfter
        return
      case 'error':
        // Without its subscription a replica would wait for ever: begins anew after the back-off.
        if (message.retry && message.request !== 'write') this.#abandon()
        return
      case 'heartbeat':
        return
    }
  }

  /** Whichever replica a write was made through: all that follow its whole space get it by its ack. */
  #acknowledge(ack: Ack): void {
    const replicas = [...this.#replicas.values()].filter(({ space }) => space === ack.space)
    const ops = ack.ops ?? replicas.map((replica) => replica.operationsOf(ack.seq)).find(Boolean)
    for (const replica of replicas) replica.ack(ops ? { ...ack, ops } : ack)
  }

  #lost(code: number): void {
    this.#socket = undefined
    this.#cancelHeartbeat?.()
    const final = code === 4401 || code === 4406
    this.#changeStatus(final ? 'unauthenticated' : 'offline')
    for (const presence of this.#presences.values()) presence.receive({ members: [] })
    if (final || this.#isIdle) return
    // A server that closed has given each client a time of its own.
    const wait = this.#retryAfter ?? this.#jitter(this.#attempts++)
    this.#retryAfter = undefined
    this.#cancelReconnect = this.#timing.after(wait, () => this.#connect())
  }

  #scheduleHeartbeat(): void {
    this.#cancelHeartbeat?.()
    this.#cancelHeartbeat = this.#timing.after(this.#heartbeat, () => {
      // Half-open: the server beats once an interval, so silence of a whole one and its answer means that it is gone.
      if (!this.#heard) return this.#abandon()
      this.#heard = false
      this.send({ type: 'heartbeat' })
      this.#scheduleHeartbeat()
    })
  }

  /** A dead connection may take minutes to close; nobody waits for that. */
  #abandon(): void {
    const socket = this.#socket
    if (!socket) return
    this.#lost(1006)
    socket.close()
  }

  #disconnect(): void {
    this.#cancelReconnect?.()
    this.#cancelReconnect = undefined
    this.#cancelHeartbeat?.()
    const socket = this.#socket
    this.#socket = undefined
    socket?.close(1000)
  }

  #changeStatus(status: ReplicaStatus): void {
    for (const replica of this.#replicas.values()) replica.changeStatus(status)
  }
}
