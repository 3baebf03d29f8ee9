import type { ErrorMessage, PresenceMember } from '../../openapi/messages/server.ts'
import type { Commit, Op, Position } from '../../openapi/schemas/state.ts'
import type { SyncNode, SyncStats } from '../../openapi/schemas/sync.ts'
import { ByteBudget, type Client, ClientLimits } from '../support/client-limits.ts'
import { codeOfStatus } from '../support/error-code.ts'
import { OverloadedError, TooManyAtOnceError, TooManySubscriptionsError } from '../support/errors.ts'
import { StatefulError } from '../support/stateful-error.ts'
import { startTimer } from '../support/timer.ts'
import { Channel } from './channel/channel.ts'
import type { BorrowedSyncSpace, SyncSpace } from './channel/space.ts'
import { Subscription } from './channel/subscription.ts'
import { subscriptionId, type TopicFilter } from './channel/topic.ts'
import { Admission } from './connection/admission.ts'
import { Connection } from './connection/connection.ts'
import { type Identity, publicClientId } from './connection/identity.ts'
import { Pages } from './connection/pages.ts'
import { closeCodeOf, errorMessage, type Refusable } from './connection/refusal.ts'
import { Watchdog } from './connection/watchdog.ts'
import type { SyncSettings } from './options.ts'
import { Presence, type PresenceExchange } from './presence/presence.ts'
import { SyncCounters } from './stats.ts'
import { type Frame, frame } from './transports/frame.ts'
import type { Transport } from './transports/transport.ts'

export interface HubOptions {
  settings: SyncSettings
  /** Names this instance to others. */
  instance: string
  /** Opens a space by name. @throws what it thinks of the name, and when the client has opened too many */
  space(name: string, client: Client): BorrowedSyncSpace
  /** Carries presence between instances. Default: there is only this one. */
  presence?: PresenceExchange
  /** Told of failures that no client is to see the details of. */
  onError(error: unknown, what: string): void
}

/** What a subscription is to follow, and from where. */
export interface SubscriptionRequest {
  space: string
  filter: TopicFilter
  since?: Position | undefined
  /** Every revision, never conflated. */
  log?: boolean
}

/** All live connections of this instance. Knows no Fastify, no HTTP and no store. */
export class SyncHub {
  readonly settings: SyncSettings
  readonly counters = new SyncCounters()
  readonly admission: Admission
  readonly presence: Presence
  readonly pages = new Pages()
  /** Shared by all connections. */
  readonly heartbeat: Frame = frame({ type: 'heartbeat' })
  readonly #options: HubOptions
  readonly #connections = new Map<string, Connection>()
  readonly #channels = new Map<string, Channel>()
  readonly #fullSyncBytes: ByteBudget
  readonly #subscriptions: ClientLimits
  readonly #presences: ClientLimits
  readonly #watchdog: Watchdog
  /** Said goodbye to, but their sockets are not closed yet. */
  readonly #leaving = new Set<Transport>()
  #closing = false
  #emptied: (() => void) | undefined

  constructor(options: HubOptions) {
    this.#options = options
    this.settings = options.settings
    this.admission = new Admission(options.settings)
    this.presence = new Presence(options.settings, options.presence, options.onError)
    const { settings } = options
    this.#fullSyncBytes = new ByteBudget(settings.fullSyncBytes)
    const total = Number.POSITIVE_INFINITY
    this.#subscriptions = new ClientLimits('subscriptions', {
      total,
      perUser: settings.maxSubscriptionsPerUser,
      perSession: settings.maxSubscriptionsPerSession,
    })
    this.#presences = new ClientLimits('presences', {
      total,
      perUser: settings.maxPresencesPerUser,
      perSession: settings.maxPresencesPerSession,
    })
    this.#watchdog = new Watchdog(this, this.#connections)
  }

  /** Begins to watch over heartbeats and sessions, and to exchange presence. */
  async start(): Promise<void> {
    this.#watchdog.start()
    await this.presence.start()
  }

  // --- connections ---------------------------------------------------------------------------

  /** @throws STATEFUL_OVERLOADED, STATEFUL_TOO_MANY_CONNECTIONS: ask before a socket is upgraded */
  admit(client: Client): void {
    try {
      if (this.#closing) throw new OverloadedError()
      this.admission.check(client)
    } catch (error) {
      this.counters.count('refused')
      throw error
    }
  }

  /** Counts an upgrade that was refused before it came here. */
  refuse(): void {
    this.counters.count('refused')
  }

  connect(transport: Transport, identity: Identity): Connection {
    const connection = new Connection(this, transport, identity)
    this.#connections.set(connection.id, connection)
    this.admission.enter(identity)
    this.counters.count('accepted')
    if (this.#closing) connection.end(1001, 'closing')
    return connection
  }

  /** The socket of a connection is closed, by whomever. */
  closed(connection: Connection, code: number): void {
    this.forget(connection, code)
    this.#left(connection.transport)
  }

  /** Takes a connection out of everything; its socket has `closeTimeout` to close. */
  forget(connection: Connection, code: number): void {
    if (connection.ended) return
    connection.ended = true
    this.#connections.delete(connection.id)
    this.admission.leave(connection.identity)
    this.counters.closed(code)
    for (const subscription of [...connection.subscriptions.values()]) this.unsubscribe(subscription)
    this.presence.leaveAll(connection)
    for (const release of connection.presences.values()) release()
    connection.presences.clear()
    this.pages.leave(connection)
    this.#expectClose(connection.transport)
  }

  #expectClose(transport: Transport): void {
    this.#leaving.add(transport)
    this.settings.clock.after(this.settings.closeTimeout, () => {
      if (this.#leaving.has(transport)) transport.terminate()
    })
  }

  /**
   * Ends a socket that was opened for nothing but to say why it is refused: a browser tells its page nothing of an
   * upgrade that fails.
   * @returns to be called when it is closed
   */
  turnAway(transport: Transport, error: unknown, request: Refusable): () => void {
    this.counters.count('refused')
    const code = closeCodeOf(this.describe(error).status) ?? 1011
    this.counters.closed(code)
    transport.send(frame(this.refusal(error, request)))
    transport.close(code, 'refused')
    this.#expectClose(transport)
    return () => this.#left(transport)
  }

  #left(transport: Transport): void {
    this.#leaving.delete(transport)
    if (this.#leaving.size === 0) this.#emptied?.()
  }

  /** @returns whether there was such a node here */
  disconnect(id: string, reason: string): boolean {
    const connection = this.#connections.get(id)
    connection?.end(1001, reason)
    return connection !== undefined
  }

  /** Ends the connections of a session, after telling them to forget what they hold. */
  revoke(sessionHandle: string, reason: string): void {
    for (const connection of this.#connections.values()) {
      if (connection.identity.sessionHandle === sessionHandle) this.endSession(connection, reason)
    }
  }

  endSession(connection: Connection, reason: string): void {
    connection.send(frame({ type: 'revoked', reason }))
    connection.end(4401, reason)
  }

  /** News of revoked sessions may have been lost: looks at all of them now. */
  verifyAll(): void {
    this.#watchdog.verifyAll()
  }

  // --- subscriptions -------------------------------------------------------------------------

  /** @throws STATEFUL_TOO_MANY_SUBSCRIPTIONS, and whatever opening the space throws */
  async subscribe(connection: Connection, request: SubscriptionRequest): Promise<void> {
    const { maxSubscriptions } = this.settings
    const known = connection.subscriptions.get(subscriptionId(request.space, request.filter))
    if (!known && connection.subscriptions.size >= maxSubscriptions) {
      throw new TooManySubscriptionsError(maxSubscriptions)
    }
    // One that takes the place of another is counted before that is given back.
    const same = known !== undefined && known.log === (request.log ?? false)
    const uncount = same ? () => {} : this.#subscriptions.take(connection.identity)
    let release = uncount
    try {
      const { space, release: giveBack } = this.#options.space(request.space, connection.identity)
      release = () => {
        giveBack()
        uncount()
      }
      const channel = await this.#channel(space)
      if (connection.ended || !this.#follow(connection, channel, request, release)) release()
      this.#closeIfUnused(channel)
    } catch (error) {
      release()
      throw error
    }
  }

  /** @returns whether there is a new subscription, which holds its space */
  #follow(
    connection: Connection,
    channel: Channel,
    { space, filter, since, log = false }: SubscriptionRequest,
    release: () => void,
  ): boolean {
    const id = subscriptionId(space, filter)
    const known = connection.subscriptions.get(id)
    if (known && known.log === log) {
      channel.catchUp(known, since)
      return false
    }
    const subscription = new Subscription(connection, channel.topic(filter), log, release)
    subscription.topic.subscriptions.add(subscription)
    if (known) {
      channel.remove(known)
      known.release()
    }
    connection.subscriptions.set(id, subscription)
    this.presence.enter(connection, space)
    channel.catchUp(subscription, since)
    return true
  }

  unsubscribe(subscription: Subscription): void {
    const { connection, topic } = subscription
    connection.subscriptions.delete(subscriptionId(topic.space, topic.filter))
    if (topic.whole) connection.writes.release(topic.space)
    const follows = [...connection.subscriptions.values()].some((other) => other.topic.space === topic.space)
    // Who asked to be present is that until it says otherwise.
    if (!follows && !connection.presences.has(topic.space)) this.presence.leave(connection, topic.space)
    const channel = this.#channels.get(topic.space)
    channel?.remove(subscription)
    if (channel) this.#closeIfUnused(channel)
    subscription.release()
  }

  /**
   * A connection wants to know who is in a space, and to be seen there with its data.
   * @throws STATEFUL_TOO_MANY_AT_ONCE
   */
  enterPresence(connection: Connection, space: string, data: unknown): void {
    const { presences, identity } = connection
    if (!presences.has(space)) {
      const { maxPresences } = this.settings
      if (presences.size >= maxPresences) throw new TooManyAtOnceError(maxPresences, 'presences')
      presences.set(space, this.#presences.take(identity))
    }
    this.presence.watch(connection, space, data)
  }

  /** A connection does not want to be seen in a space any more, although it may go on following it. */
  leavePresence(connection: Connection, space: string): void {
    this.presence.leave(connection, space)
    connection.presences.get(space)?.()
    connection.presences.delete(space)
  }

  catchUp(subscription: Subscription, since: Position | undefined): void {
    this.#channels.get(subscription.topic.space)?.catchUp(subscription, since)
  }

  drained(subscription: Subscription): void {
    this.#channels.get(subscription.topic.space)?.drained(subscription)
  }

  /** @param space borrowed by the caller, so that it is the one that is open */
  async #channel(space: SyncSpace): Promise<Channel> {
    const { name } = space
    let channel = this.#channels.get(name)
    if (!channel) {
      channel = new Channel(space, {
        settings: this.settings,
        counters: this.counters,
        fullSyncBytes: this.#fullSyncBytes,
        onFailure: ({ connection }, error) => {
          const { statusCode } = error as { statusCode?: number }
          if (statusCode === 429 || statusCode === 503) return connection.end(1013, 'too many full syncs under way')
          this.report(error, 'a subscription could not be brought up to date')
          connection.end(1011, 'internal error')
        },
      })
      this.#channels.set(name, channel)
    }
    try {
      await channel.ready
    } catch (error) {
      if (this.#channels.get(name) === channel) this.#channels.delete(name)
      throw error
    }
    // It may have been closed as unused while this waited.
    return this.#channels.get(name) === channel ? channel : this.#channel(space)
  }

  #closeIfUnused(channel: Channel): void {
    if (channel.topics.size > 0) return
    channel.close()
    if (this.#channels.get(channel.space.name) === channel) this.#channels.delete(channel.space.name)
  }

  // --- writes --------------------------------------------------------------------------------

  /** Resolves when the commit is durable, applied here, and sent to those who follow it. */
  async commit(connection: Connection, name: string, ops: Op[], author: { clientId: string; seq: number }) {
    const { identity, id } = connection
    const commit = await this.#write(name, ops, author, identity, { node: id, userId: identity.userId })
    const channel = this.#channels.get(name)
    if (channel) await new Promise<void>((resolve) => channel.afterFlush(resolve))
    return commit
  }

  /** A write without a connection, as those of event streams are: the same numbers, the same effect once. */
  write(name: string, ops: Op[], author: { clientId: string; seq: number }, client: Client): Promise<Commit> {
    this.counters.count('writes')
    const { userId } = client
    const clientId = publicClientId(author.clientId, userId)
    return this.#write(name, ops, { clientId, seq: author.seq }, client, { userId })
  }

  async #write(
    name: string,
    ops: Op[],
    author: { clientId: string; seq: number },
    client: Client,
    by: { node?: string; userId: string | undefined },
  ): Promise<Commit> {
    const { space, release } = this.#options.space(name, client)
    try {
      await space.ready
      return await space.commit(ops, { ...author, context: { source: 'sync', ...by } })
    } finally {
      release()
    }
  }

  report(error: unknown, what: string): void {
    this.#options.onError(error, what)
  }

  /** What a client may know of an error, as over HTTP (plugins/problems): the messages of server errors stay here. */
  describe(error: unknown): { code: string; message: string; status: number } {
    const { statusCode = 500, message = '' } = (error ?? {}) as Partial<Error> & { statusCode?: number }
    if (statusCode >= 500) this.report(error, 'a message failed')
    if (!(error instanceof StatefulError)) {
      // A middleware's way to refuse a write. Told as failed, it would be sent again and again.
      if (statusCode >= 400 && statusCode < 500) return { code: codeOfStatus(statusCode), message, status: statusCode }
      return { code: 'STATEFUL_INTERNAL', message: 'Something failed here.', status: 500 }
    }
    return {
      code: error.code,
      message: statusCode >= 500 ? 'The server could not do it now.' : message,
      status: statusCode,
    }
  }

  /** The answer to a message, or to a connection, that is refused. */
  refusal(error: unknown, request: Refusable): ErrorMessage {
    return errorMessage(this.describe(error), request)
  }

  // --- what is going on ----------------------------------------------------------------------

  nodes(): SyncNode[] {
    return Array.from(this.#connections.values(), (connection) => {
      const subscriptions = [...connection.subscriptions.values()]
      const { userId, address } = connection.identity
      return {
        id: connection.id,
        instance: this.#options.instance,
        clientId: connection.clientId,
        transport: connection.transport.kind,
        connectedAt: new Date(connection.connectedAt).toISOString(),
        lastSeen: new Date(connection.lastSeen).toISOString(),
        spaces: [...new Set(subscriptions.map(({ topic }) => topic.space))],
        subscriptions: subscriptions.length,
        ...(userId === undefined ? {} : { userId }),
        address,
        lag: Math.max(0, ...subscriptions.map((one) => this.#channels.get(one.topic.space)?.lagOf(one) ?? 0)),
        buffered: connection.transport.buffered,
      }
    })
  }

  members(space: string): PresenceMember[] {
    return this.presence.members(space)
  }

  stats(): SyncStats {
    const channels = [...this.#channels.values()]
    const subscriptions = [...this.#connections.values()].flatMap((one) => [...one.subscriptions.values()])
    return {
      connections: this.#connections.size,
      spaces: channels.length,
      topics: channels.reduce((sum, { topics }) => sum + topics.size, 0),
      subscriptions: subscriptions.length,
      lagging: subscriptions.filter(({ mode }) => mode === 'lagging').length,
      ...this.counters.values,
      closes: this.counters.closes,
    }
  }

  // --- the end -------------------------------------------------------------------------------

  /** Says goodbye to everybody and resolves when all sockets are closed, at the latest after `closeTimeout`. */
  async close(): Promise<void> {
    this.#closing = true
    this.#watchdog.stop()
    const { connectionRate, random } = this.settings
    const span = (this.#connections.size / connectionRate) * 1_000
    for (const connection of [...this.#connections.values()]) {
      connection.send(frame({ type: 'closing', retryAfter: Math.round(random() * span) }))
      connection.end(1001, 'closing')
    }
    if (this.#leaving.size > 0) {
      const emptied = new Promise<void>((resolve) => {
        this.#emptied = resolve
      })
      // A real timer, whatever the clock, and one that the process waits for: a frozen client must not keep it from
      // ending, and what comes after must run.
      const cancel = startTimer(this.settings.closeTimeout, () => {
        for (const transport of this.#leaving) transport.terminate()
        this.#emptied?.()
      })
      await emptied
      cancel()
    }
    for (const channel of this.#channels.values()) channel.close()
    this.#channels.clear()
    await this.presence.close()
  }
}
