import { randomUUID } from 'node:crypto'
import type { ClientMessage, HelloRequest } from '../../../openapi/messages/client.ts'
import type { CloseCode } from '../../../openapi/messages/close-codes.ts'
import type { Commit, Op, Position } from '../../../openapi/schemas/state.ts'
import { keysOf } from '../../security/authorize.ts'
import type { Timer } from '../../support/clock.ts'
import {
  InvalidMessageError,
  NotSubscribedError,
  PresenceTooLargeError,
  TooManyMessagesError,
} from '../../support/errors.ts'
import type { Channels, Follower } from '../channel/channels.ts'
import { filterOf, subscriptionId, type TopicFilter } from '../channel/filter.ts'
import type { Subscription } from '../channel/topic.ts'
import type { SyncSettings } from '../options.ts'
import type { Attendee, Presence } from '../presence/presence.ts'
import type { SyncCounters } from '../stats.ts'
import type { Traced, Traces } from '../trace/traces.ts'
import { type Frame, frame } from '../transports/frame.ts'
import type { Transport } from '../transports/transport.ts'
import type { Admission } from './admission.ts'
import { type Identity, publicClientId, userDigest } from './identity.ts'
import { type InvalidMessage, NotJsonError, parseMessage } from './messages.ts'
import type { Pages } from './pages.ts'
import type { Refusable, Refusals } from './refusal.ts'
import { TokenBucket } from './token-bucket.ts'
import { Writes } from './writes.ts'

export const PROTOCOL = 1

/** What a connection needs of the instance that it is open to. */
export interface ConnectionContext {
  readonly settings: SyncSettings
  readonly counters: SyncCounters
  readonly admission: Pick<Admission, 'userRate'>
  readonly pages: Pages
  readonly channels: Pick<Channels<Follower>, 'subscribe' | 'unsubscribe' | 'catchUp' | 'drained'>
  readonly presence: Pick<Presence, 'watch' | 'leave' | 'drained'>
  readonly refusals: Refusals
  readonly traces: Traces
  /** Shared by all connections. */
  readonly heartbeat: Frame
  /** Resolves when the commit is durable, applied here, and sent to those who follow it. */
  commit(
    writer: { id: string; identity: Identity },
    space: string,
    ops: Op[],
    author: { clientId: string; seq: number },
  ): Promise<Commit>
  /** Takes it out of everything. */
  forget(connection: Connection, code: CloseCode): void
}

/**
 * One node: a peer with its subscriptions and its writes in flight.
 *
 *     open ── a message ──▶ queued, one after the other ──▶ handled, or refused (too many of those end it)
 *       └── `end`, or the socket is closed ──▶ ended: nothing is sent, handled or counted any more
 *
 * Whether the peer is read: not while it is `throttled` (it sent faster than it may; a timer lets it go on) and not
 * while the socket is full (it does not read its answers; `drained` lets it go on); reading needs that neither holds.
 */
export class Connection implements Follower, Attendee, Traced {
  readonly id = randomUUID()
  readonly transport: Transport
  readonly identity: Identity
  readonly connectedAt: number
  readonly subscriptions = new Map<string, Subscription>()
  readonly writes: Writes
  clientId: string
  lastSeen: number
  lastSeenMonotonic: number
  /** Monotonic time when the session was last known to be good. */
  verifiedAt: number
  /** It has to be looked at again at once. */
  unverified = false
  ended = false
  /** It shows a trace. */
  observes = false
  sentBytes = 0
  receivedBytes = 0
  readonly #context: ConnectionContext
  readonly #rate: TokenBucket
  readonly #mostBuffered: number
  #throttled: Timer | undefined
  #queue: Promise<void> = Promise.resolve()
  #queued = 0
  #refusals = 0

  constructor(context: ConnectionContext, transport: Transport, identity: Identity) {
    const { clock, messageRate, highWaterMark } = context.settings
    this.#context = context
    this.transport = transport
    this.identity = identity
    this.writes = new Writes(context, this)
    this.clientId = identity.clientId === undefined ? this.id : publicClientId(identity.clientId, identity.userId)
    this.connectedAt = this.lastSeen = clock.now()
    this.lastSeenMonotonic = this.verifiedAt = clock.monotonic()
    this.#rate = new TokenBucket(messageRate, messageRate * 2, clock.monotonic())
    this.#mostBuffered = Math.max(highWaterMark, transport.lowestHighWaterMark)
  }

  // --- sending -------------------------------------------------------------------------------

  /** More is buffered than may be: changes are held back until it drains. */
  get isFull(): boolean {
    return this.transport.buffered > this.#mostBuffered
  }

  send(message: Frame): void {
    if (this.ended) return
    const { counters, traces } = this.#context
    counters.sent(message.bytes)
    this.sentBytes += message.bytes
    if (traces.active) traces.sent(this, message)
    this.transport.send(message)
  }

  /** The transport has room again. */
  drained(): void {
    if (this.ended || this.isFull) return
    if (!this.#throttled) this.transport.resume()
    for (const subscription of this.subscriptions.values()) this.#context.channels.drained(subscription)
    this.#context.presence.drained(this)
  }

  // --- receiving -----------------------------------------------------------------------------

  /** Anything at all was heard from the peer. */
  seen(): void {
    const { clock } = this.#context.settings
    this.lastSeen = clock.now()
    this.lastSeenMonotonic = clock.monotonic()
  }

  receive(text: string): void {
    if (this.ended) return
    this.seen()
    const { counters, traces } = this.#context
    const bytes = Buffer.byteLength(text)
    counters.count('messages')
    counters.count('receivedBytes', bytes)
    this.receivedBytes += bytes
    this.#slowDown()
    let message: ClientMessage
    try {
      message = parseMessage(text)
      if (traces.active) traces.received(this, bytes, message)
    } catch (error) {
      counters.count('invalidMessages')
      if (traces.active) traces.received(this, bytes)
      if (error instanceof NotJsonError) this.end(1007, 'not JSON')
      else this.#refuseInvalid(error as InvalidMessage)
      return
    }
    if (message.type === 'heartbeat') {
      this.send(this.#context.heartbeat)
      return
    }
    // A heartbeat says that the page is open, not that somebody uses it.
    this.identity.used?.()
    if (this.#queued + this.writes.size >= this.#context.settings.maxQueuedMessages) {
      // A write has its own answer. The others count against the peer, which was told how many may wait.
      if (message.type === 'write') this.writes.reject(message, new TooManyMessagesError())
      else this.#refuse(new TooManyMessagesError(), message)
      return
    }
    this.#enqueue(message, () => this.#handle(message))
  }

  /** The answer to a bad write names it, too: its sender waits for that. */
  #refuseInvalid({ about, cause }: InvalidMessage): void {
    if (about.type === 'write' && about.seq !== undefined) {
      this.writes.reject(about, cause)
      this.#countRefusal()
    } else this.#refuse(cause, about)
  }

  /**
   * Stops reading from a peer that sends faster than it may, or that does not read its answers: then they pile up
   * there, by TCP's own back-pressure, and cost nothing here.
   */
  #slowDown(): void {
    const { clock } = this.#context.settings
    const now = clock.monotonic()
    const wait = Math.max(...this.#rates().map((rate) => rate.take(now)))
    if (wait === 0 && !this.isFull) return
    this.transport.pause()
    if (wait === 0 || this.#throttled) return
    this.#context.counters.count('throttled')
    this.#throttle(wait)
  }

  #throttle(ms: number): void {
    const { clock } = this.#context.settings
    this.#throttled = clock.after(ms, () => {
      this.#throttled = undefined
      if (this.ended) return
      // A few more messages had arrived with those that were counted.
      const wait = Math.max(...this.#rates().map((rate) => rate.wait(clock.monotonic())))
      if (wait > 0) this.#throttle(wait)
      else if (!this.isFull) this.transport.resume()
    })
  }

  #rates(): TokenBucket[] {
    const { userId } = this.identity
    return userId === undefined ? [this.#rate] : [this.#rate, this.#context.admission.userRate(userId)]
  }

  /** The subscription that was asked for by the URL; its failure ends the connection, which is of no use without. */
  open(space: string, filter: TopicFilter, since?: Position): void {
    const request = { type: 'subscribe', space, ...filter }
    this.#enqueue(request, () =>
      this.#subscribe(space, filter, since, false).catch((error: unknown) => {
        const { answer, closeCode } = this.#context.refusals.answer(error, request)
        this.send(frame(answer))
        this.end(closeCode, 'the subscription failed')
      }),
    )
  }

  /** One after the other, because deciding takes time (authorize) and a client's messages have an order. */
  #enqueue(request: Refusable, run: () => Promise<void>): void {
    this.#queued++
    this.#queue = this.#queue
      .then(() => (this.ended ? undefined : run()))
      .catch((error: unknown) => this.#refuse(error, request))
      .finally(() => {
        this.#queued--
      })
  }

  #refuse(error: unknown, request: Refusable): void {
    if (this.ended) return
    this.send(frame(this.#context.refusals.answer(error, request).answer))
    this.#countRefusal()
  }

  #countRefusal(): void {
    if (++this.#refusals > this.#context.settings.maxRefusals) this.end(1008, 'too many refused messages')
  }

  async #handle(message: ClientMessage): Promise<void> {
    switch (message.type) {
      case 'hello':
        return this.#hello(message)
      case 'subscribe':
        return this.#subscribe(message.space, filterOf(message), message.since, message.mode === 'log')
      case 'unsubscribe':
        return this.#context.channels.unsubscribe(this, this.#subscription(message))
      case 'syncRequest':
        return this.#context.channels.catchUp(this.#subscription(message), message.since)
      case 'write':
      case 'stateChange':
        return this.writes.begin(message)
      case 'presence':
        return message.leave ? this.#context.presence.leave(this, message.space) : this.#enterPresence(message)
      case 'heartbeat':
        return
    }
  }

  #hello({ protocols, clientId, page }: HelloRequest): void {
    if (!protocols.includes(PROTOCOL)) {
      this.end(4406, `this server speaks protocol ${PROTOCOL}`)
      return
    }
    let assigned: string | undefined
    if (clientId !== undefined) {
      // Writes in flight, and presence, are found by the id that they began under.
      if (this.writes.size > 0 || this.subscriptions.size > 0) {
        throw new InvalidMessageError('hello comes before everything else')
      }
      const { userId } = this.identity
      this.#context.pages.leave(this)
      this.clientId = publicClientId(clientId, userId)
      if (page !== undefined && !this.#context.pages.enter(this, page)) {
        assigned = randomUUID()
        this.clientId = publicClientId(assigned, userId)
        this.#context.pages.enter(this, page)
      }
    }
    const { heartbeatInterval, maxPayload, maxQueuedMessages, messageRate, maxSubscriptions } = this.#context.settings
    const { userId } = this.identity
    this.send(
      frame({
        type: 'hello',
        protocol: PROTOCOL,
        node: this.id,
        clientId: this.clientId,
        heartbeat: heartbeatInterval,
        ...(assigned === undefined ? {} : { assigned }),
        ...(userId === undefined ? {} : { user: userDigest(userId) }),
        limits: {
          payload: maxPayload,
          queue: maxQueuedMessages,
          rate: messageRate,
          subscriptions: maxSubscriptions,
        },
      }),
    )
  }

  #subscription({ space, key, prefix }: { space: string; key?: string; prefix?: string }): Subscription {
    const subscription = this.subscriptions.get(subscriptionId(space, filterOf({ key, prefix })))
    if (!subscription) throw new NotSubscribedError()
    return subscription
  }

  async #subscribe(space: string, filter: TopicFilter, since: Position | undefined, log: boolean): Promise<void> {
    await this.identity.authorize('sync:read', keysOf(space, filter))
    await this.#context.channels.subscribe(this, { space, filter, since, log })
  }

  async #enterPresence({ space, data }: { space: string; data?: unknown }): Promise<void> {
    const { presenceDataLimit } = this.#context.settings
    if (data !== undefined && JSON.stringify(data).length > presenceDataLimit) {
      throw new PresenceTooLargeError(presenceDataLimit)
    }
    await this.identity.authorize('presence:read', { space })
    if (data !== undefined) await this.identity.authorize('presence:write', { space })
    if (!this.ended) this.#context.presence.watch(this, space, data)
  }

  // --- the end -------------------------------------------------------------------------------

  /** Tells the peer to forget what it holds, because its session ended. */
  endSession(reason: string): void {
    this.send(frame({ type: 'revoked', reason }))
    this.end(4401, reason)
  }

  /** Says goodbye and forgets the peer; the socket is ended by force if it does not close by itself. */
  end(code: CloseCode, reason: string): void {
    if (this.ended) return
    this.#context.forget(this, code)
    this.#throttled?.cancel()
    // Its answer to the goodbye has to be read.
    this.transport.resume()
    this.transport.close(code, reason)
  }
}
