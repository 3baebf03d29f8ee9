import { createHash, randomUUID } from 'node:crypto'
import type { ClientMessage, HelloRequest, Write } from '../../openapi/messages/client.ts'
import type { CloseCode } from '../../openapi/messages/close-codes.ts'
import type { Commit, Op, Position } from '../../openapi/schemas/state.ts'
import type { Action, Resource } from '../security/authorize.ts'
import { InvalidMessageError, NotSubscribedError, TooManyMessagesError } from '../support/errors.ts'
import { type Frame, frame } from './frame.ts'
import type { SyncHub } from './hub.ts'
import { NotJsonError, parseMessage, typeOf } from './messages.ts'
import type { Subscription } from './subscription.ts'
import { type Outgoing, type TopicFilter, topicId } from './topic.ts'
import type { Transport } from './transport.ts'

export const PROTOCOL = 1
const DEFAULT_SPACE = 'app'

/** Who is at the other end, and what it may do. */
export interface Identity {
  userId?: string
  /** Public handle of the session; the connection ends with it. */
  sessionHandle?: string
  address: string
  /** The client's own id, for writes that survive a reconnect. */
  clientId?: string
  /** Rejects with STATEFUL_UNAUTHENTICATED or STATEFUL_FORBIDDEN. Asked for each subscription and each write. */
  authorize(action: Action, resource: Resource): Promise<void>
}

interface PendingWrite {
  space: string
  /** Absent for a stateChange without a number. */
  seq?: number
  opsText: string
}

/** One node: a peer with its subscriptions and its writes in flight. */
export class Connection {
  readonly id = randomUUID()
  readonly transport: Transport
  readonly identity: Identity
  readonly connectedAt: number
  readonly subscriptions = new Map<string, Subscription>()
  clientId: string
  lastSeen: number
  lastSeenMonotonic: number
  ended = false
  readonly #hub: SyncHub
  readonly #writes = new Map<string, PendingWrite>()
  /** Acks that must not overtake the range which a lagging subscription still has to get. */
  #heldAcks: { space: string; ack: Frame }[] = []
  #unnumbered = 0
  #queue: Promise<void> = Promise.resolve()
  #queued = 0
  #refusals = 0

  constructor(hub: SyncHub, transport: Transport, identity: Identity) {
    const { clock } = hub.settings
    this.#hub = hub
    this.transport = transport
    this.identity = identity
    this.clientId = this.#publicId(identity.clientId)
    this.connectedAt = this.lastSeen = clock.now()
    this.lastSeenMonotonic = clock.monotonic()
  }

  /**
   * What others see, and what deduplication goes by: a digest that includes the user. Changes show it to every
   * follower, and nobody must be able to use up somebody else's numbers by writing under their client id.
   */
  #publicId(clientId: string | undefined): string {
    if (clientId === undefined) return this.id
    const { userId = '' } = this.identity
    return createHash('sha256')
      .update(JSON.stringify([userId, clientId]))
      .digest('base64url')
      .slice(0, 22)
  }

  // --- sending -------------------------------------------------------------------------------

  /** More is buffered than may be: changes are held back until it drains. */
  get isFull(): boolean {
    const { highWaterMark } = this.#hub.settings
    return this.transport.buffered > Math.max(highWaterMark, this.transport.lowestHighWaterMark)
  }

  send(message: Frame): void {
    if (this.ended) return
    this.#hub.counters.count('frames')
    this.#hub.counters.count('bytes', message.text.length)
    this.transport.send(message)
  }

  /** The transport has room again. */
  drained(): void {
    if (this.ended || this.isFull) return
    this.transport.resume()
    for (const subscription of this.subscriptions.values()) {
      if (subscription.mode === 'lagging') this.#hub.catchUp(subscription, subscription.position, true)
    }
  }

  // --- receiving -----------------------------------------------------------------------------

  /** Anything at all was heard from the peer. */
  seen(): void {
    const { clock } = this.#hub.settings
    this.lastSeen = clock.now()
    this.lastSeenMonotonic = clock.monotonic()
  }

  receive(text: string): void {
    if (this.ended) return
    this.seen()
    if (this.isFull) this.transport.pause()
    this.#hub.counters.count('messages')
    let message: ClientMessage
    try {
      message = parseMessage(text)
    } catch (error) {
      this.#hub.counters.count('invalidMessages')
      if (error instanceof NotJsonError) this.end(1007, 'not JSON')
      else this.#refuse(error, typeOf(text))
      return
    }
    if (message.type === 'heartbeat') {
      this.send(this.#hub.heartbeat)
      return
    }
    if (this.#queued + this.#writes.size >= this.#hub.settings.maxQueuedMessages) {
      if (message.type === 'write') this.#reject(message.seq, new TooManyMessagesError())
      this.#refuse(new TooManyMessagesError(), message.type)
      return
    }
    this.#enqueue(message.type, () => this.#handle(message))
  }

  /** The subscription that was asked for by the URL; its failure ends the connection, which is of no use without. */
  open(space: string, filter: TopicFilter, since?: Position): void {
    this.#enqueue('subscribe', () =>
      this.subscribe(space, filter, since).catch((error: unknown) => {
        this.#refuse(error, 'subscribe')
        this.end(this.#hub.describe(error).status >= 500 ? 1011 : 1008, 'the subscription failed')
      }),
    )
  }

  /** One after the other, because deciding takes time (authorize) and a client's messages have an order. */
  #enqueue(request: string, run: () => Promise<void>): void {
    this.#queued++
    this.#queue = this.#queue
      .then(() => (this.ended ? undefined : run()))
      .catch((error: unknown) => this.#refuse(error, request))
      .finally(() => {
        this.#queued--
      })
  }

  #refuse(error: unknown, request: string | undefined): void {
    if (this.ended) return
    const { code, message } = this.#hub.describe(error)
    this.send(frame({ type: 'error', code, message, ...(request === undefined ? {} : { request }) }))
    if (++this.#refusals > this.#hub.settings.maxRefusals) this.end(1008, 'too many refused messages')
  }

  async #handle(message: ClientMessage): Promise<void> {
    switch (message.type) {
      case 'hello':
        return this.#hello(message)
      case 'subscribe':
        return this.subscribe(message.space, filterOf(message), message.since)
      case 'unsubscribe':
        return this.#unsubscribe(message.space, filterOf(message))
      case 'syncRequest': {
        const subscription = this.subscriptions.get(subscriptionId(message.space, filterOf(message)))
        if (!subscription) throw new NotSubscribedError()
        return this.#hub.catchUp(subscription, message.since)
      }
      case 'write':
        return this.#write(message)
      case 'stateChange':
        return this.#write(message)
      case 'heartbeat':
        return
    }
  }

  #hello({ protocols, clientId }: HelloRequest): void {
    if (!protocols.includes(PROTOCOL)) {
      this.end(4406, `this server speaks protocol ${PROTOCOL}`)
      return
    }
    if (clientId !== undefined) {
      // Writes in flight are found by the id that they were sent under.
      if (this.#writes.size > 0) throw new InvalidMessageError('hello comes before the first write')
      this.clientId = this.#publicId(clientId)
    }
    const { heartbeatInterval, maxPayload } = this.#hub.settings
    this.send(
      frame({
        type: 'hello',
        protocol: PROTOCOL,
        node: this.id,
        clientId: this.clientId,
        heartbeat: heartbeatInterval,
        maxPayload,
      }),
    )
  }

  // --- subscriptions -------------------------------------------------------------------------

  /** @throws STATEFUL_FORBIDDEN, STATEFUL_TOO_MANY_SUBSCRIPTIONS, and whatever opening the space throws */
  async subscribe(space: string, filter: TopicFilter, since?: Position): Promise<void> {
    const key = filter.key ?? filter.prefix
    await this.identity.authorize('sync:read', { space, ...(key === undefined ? {} : { key }) })
    await this.#hub.subscribe(this, space, filter, since)
  }

  #unsubscribe(space: string, filter: TopicFilter): void {
    const subscription = this.subscriptions.get(subscriptionId(space, filter))
    if (!subscription) throw new NotSubscribedError()
    this.#hub.unsubscribe(subscription)
  }

  // --- writes --------------------------------------------------------------------------------

  async #write(message: Write | { ops: Op[]; space?: string; seq?: undefined }): Promise<void> {
    const { ops, seq } = message
    this.#hub.counters.count('writes')
    const space = message.space ?? this.subscriptions.values().next().value?.topic.space ?? DEFAULT_SPACE
    try {
      for (const key of new Set(ops.map((op) => op.key))) {
        await this.identity.authorize('sync:write', { space, key })
      }
      // An id of their own for writes without a number, or their numbers could be those of numbered ones.
      const author =
        seq === undefined ? { clientId: `${this.id}-`, seq: ++this.#unnumbered } : { clientId: this.clientId, seq }
      const name = writeId(author.clientId, author.seq)
      // Sent again while the first is under way: its answer serves both.
      if (this.#writes.has(name)) return
      this.#writes.set(name, { space, opsText: JSON.stringify(ops), ...(seq === undefined ? {} : { seq }) })
      // Not awaited, so that writes are pipelined: the space keeps their order.
      this.#commit(space, ops, author).catch((error: unknown) => {
        this.#writes.delete(name)
        this.#reject(seq, error)
      })
    } catch (error) {
      this.#reject(seq, error)
    }
  }

  async #commit(space: string, ops: Op[], author: { clientId: string; seq: number }): Promise<void> {
    const commit = await this.#hub.commit(this, space, ops, author)
    const write = this.takeWrite(author.clientId, author.seq)
    // A connection that follows the whole space got its ack with the change; the others, and repetitions, get it now.
    if (write) this.acknowledge(write, commit, JSON.stringify(commit.ops))
  }

  /** Whether any of these changes is a write of this connection that waits for its ack. */
  wrote(changes: Outgoing[]): boolean {
    if (this.#writes.size === 0) return false
    return changes.some(({ clientId, seq }) => clientId !== undefined && this.#writes.has(writeId(clientId, seq)))
  }

  takeWrite(clientId: string | undefined, seq: number | undefined): PendingWrite | undefined {
    if (clientId === undefined) return undefined
    const name = writeId(clientId, seq)
    const write = this.#writes.get(name)
    this.#writes.delete(name)
    return write
  }

  acknowledge(
    { space, seq, opsText }: PendingWrite,
    { epoch, prev, revision }: Pick<Commit, 'epoch' | 'prev' | 'revision'>,
    committedText: string,
  ): void {
    const known = seq !== undefined && committedText === opsText
    const ack = frame({
      type: 'ack',
      ...(seq === undefined ? {} : { seq }),
      space,
      epoch,
      prev,
      revision,
      ...(known ? {} : { ops: JSON.parse(committedText) as Op[] }),
    })
    this.#hub.counters.count('acks')
    const mode = this.subscriptions.get(subscriptionId(space, {}))?.mode
    if (mode === undefined || mode === 'live') this.send(ack)
    else this.#heldAcks.push({ space, ack })
  }

  /** The subscription of a whole space is live again. */
  caughtUp(space: string): void {
    if (this.#heldAcks.length === 0) return
    const held = this.#heldAcks
    this.#heldAcks = held.filter((entry) => entry.space !== space)
    for (const entry of held) if (entry.space === space) this.send(entry.ack)
  }

  #reject(seq: number | undefined, error: unknown): void {
    const { code, message, status } = this.#hub.describe(error)
    this.#hub.counters.count('rejects')
    const outcome = status >= 500 ? 'unknown' : 'refused'
    this.send(frame({ type: 'reject', ...(seq === undefined ? {} : { seq }), code, message, outcome }))
  }

  // --- the end -------------------------------------------------------------------------------

  /** Says goodbye and forgets the peer; the socket is ended by force if it does not close by itself. */
  end(code: CloseCode, reason: string): void {
    if (this.ended) return
    this.#hub.forget(this, code)
    this.transport.close(code, reason)
  }
}

export function subscriptionId(space: string, filter: TopicFilter): string {
  return `${space} ${topicId(filter)}`
}

function filterOf({ key, prefix }: TopicFilter): TopicFilter {
  return { ...(key === undefined ? {} : { key }), ...(prefix === undefined ? {} : { prefix }) }
}

const writeId = (clientId: string, seq: number | undefined) => `${clientId}/${seq}`
