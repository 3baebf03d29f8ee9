import type { Op, Position } from '../../openapi/schemas/state.ts'
import type { SyncNode, SyncStats } from '../../openapi/schemas/sync.ts'
import type { Timer } from '../support/clock.ts'
import { OverloadedError, TooManyConnectionsError, TooManySubscriptionsError } from '../support/errors.ts'
import { Channel } from './channel.ts'
import { Connection, type Identity, subscriptionId } from './connection.ts'
import { type Frame, frame } from './frame.ts'
import type { SyncSettings } from './settings.ts'
import type { SyncSpace } from './space.ts'
import { Subscription } from './subscription.ts'
import { SyncCounters } from './sync-stats.ts'
import type { TopicFilter } from './topic.ts'
import type { Transport } from './transport.ts'

/** Someone who follows a space. */
export interface Presence {
  node: string
  clientId: string
  userId?: string
  connectedAt: number
}

export interface HubOptions {
  settings: SyncSettings
  /** Opens a space by name. @throws what it thinks of the name */
  space(name: string): SyncSpace
  /** Told of failures that no client is to see the details of. */
  onError(error: unknown, what: string): void
}

/** All live connections of this instance. Knows no Fastify, no HTTP and no store. */
export class SyncHub {
  readonly settings: SyncSettings
  readonly counters = new SyncCounters()
  /** Shared by all connections. */
  readonly heartbeat: Frame = frame({ type: 'heartbeat' })
  readonly #options: HubOptions
  readonly #connections = new Map<string, Connection>()
  readonly #channels = new Map<string, Channel>()
  /** Said goodbye to, but their sockets are not closed yet. */
  readonly #leaving = new Set<Transport>()
  #sweeper: Timer | undefined
  #lastSweep = 0
  #sweeps = 0
  #closing = false
  #emptied: (() => void) | undefined

  constructor(options: HubOptions) {
    this.#options = options
    this.settings = options.settings
  }

  /** Begins to watch over heartbeats. */
  start(): void {
    const { clock, heartbeatInterval } = this.settings
    this.#lastSweep = clock.monotonic()
    this.#sweeper = clock.every(Math.max(heartbeatInterval / 2, 1), () => this.#sweep())
  }

  // --- connections ---------------------------------------------------------------------------

  /** @throws STATEFUL_OVERLOADED, STATEFUL_TOO_MANY_CONNECTIONS: ask before a socket is upgraded */
  admit(): void {
    if (this.#closing) throw this.#refused(new OverloadedError())
    if (this.#connections.size >= this.settings.maxConnections) throw this.#refused(new TooManyConnectionsError())
  }

  #refused(error: Error): Error {
    this.counters.count('refused')
    return error
  }

  /** Counts an upgrade that was refused before it came here. */
  refuse(): void {
    this.counters.count('refused')
  }

  connect(transport: Transport, identity: Identity): Connection {
    const connection = new Connection(this, transport, identity)
    this.#connections.set(connection.id, connection)
    this.counters.count('accepted')
    if (this.#closing) connection.end(1001, 'closing')
    return connection
  }

  /** The socket of a connection is closed, by whomever. */
  closed(connection: Connection, code: number): void {
    this.forget(connection, code)
    this.#leaving.delete(connection.transport)
    if (this.#leaving.size === 0) this.#emptied?.()
  }

  /** Takes a connection out of everything; its socket has `closeTimeout` to close. */
  forget(connection: Connection, code: number): void {
    if (connection.ended) return
    connection.ended = true
    this.#connections.delete(connection.id)
    this.counters.closed(code)
    for (const subscription of [...connection.subscriptions.values()]) this.unsubscribe(subscription)
    const { transport } = connection
    this.#leaving.add(transport)
    this.settings.clock.after(this.settings.closeTimeout, () => {
      if (this.#leaving.has(transport)) transport.terminate()
    })
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
      if (connection.identity.sessionHandle !== sessionHandle) continue
      connection.send(frame({ type: 'revoked', reason }))
      connection.end(4401, reason)
    }
  }

  // --- subscriptions -------------------------------------------------------------------------

  async subscribe(connection: Connection, space: string, filter: TopicFilter, since?: Position): Promise<void> {
    const channel = await this.#channel(space)
    if (connection.ended) return this.#closeIfUnused(channel)
    const id = subscriptionId(space, filter)
    let subscription = connection.subscriptions.get(id)
    if (!subscription) {
      const { maxSubscriptions } = this.settings
      if (connection.subscriptions.size >= maxSubscriptions) {
        this.#closeIfUnused(channel)
        throw new TooManySubscriptionsError(maxSubscriptions)
      }
      subscription = new Subscription(connection, channel.topic(filter))
      subscription.topic.subscriptions.add(subscription)
      connection.subscriptions.set(id, subscription)
    }
    await channel.catchUp(subscription, since)
  }

  unsubscribe(subscription: Subscription): void {
    const { connection, topic } = subscription
    connection.subscriptions.delete(subscriptionId(topic.space, topic.filter))
    const channel = this.#channels.get(topic.space)
    if (!channel) return
    channel.remove(subscription)
    this.#closeIfUnused(channel)
  }

  /** Never rejects: what fails is told and leaves the subscription to the next sweep. */
  async catchUp(subscription: Subscription, since: Position | undefined, conflated = false): Promise<void> {
    try {
      await this.#channels.get(subscription.topic.space)?.catchUp(subscription, since, conflated)
    } catch (error) {
      this.#options.onError(error, 'a subscription could not be brought up to date')
      subscription.connection.end(1011, 'internal error')
    }
  }

  async #channel(name: string): Promise<Channel> {
    let channel = this.#channels.get(name)
    if (!channel) {
      channel = new Channel(this.#options.space(name), this.settings, this.counters)
      this.#channels.set(name, channel)
    }
    try {
      await channel.ready
    } catch (error) {
      if (this.#channels.get(name) === channel) this.#channels.delete(name)
      throw error
    }
    // It may have been closed as unused while this waited.
    return this.#channels.get(name) === channel ? channel : this.#channel(name)
  }

  #closeIfUnused(channel: Channel): void {
    if (channel.topics.size > 0) return
    channel.close()
    if (this.#channels.get(channel.space.name) === channel) this.#channels.delete(channel.space.name)
  }

  // --- writes --------------------------------------------------------------------------------

  /** Resolves when the commit is durable, applied here, and sent to those who follow it. */
  async commit(connection: Connection, name: string, ops: Op[], author: { clientId: string; seq: number }) {
    const space = this.#options.space(name)
    await space.ready
    const { userId } = connection.identity
    const context = { source: 'sync', node: connection.id, ...(userId === undefined ? {} : { userId }) }
    const commit = await space.commit(ops, { ...author, context })
    const channel = this.#channels.get(name)
    if (channel) await new Promise<void>((resolve) => channel.afterFlush(resolve))
    return commit
  }

  /** What a client may know of an error: the messages of server errors stay here. */
  describe(error: unknown): { code: string; message: string; status: number } {
    const {
      code,
      statusCode = 500,
      message = '',
    } = (error ?? {}) as Partial<Error> & {
      code?: unknown
      statusCode?: number
    }
    const known = typeof code === 'string' && code.startsWith('STATEFUL_')
    if (statusCode >= 500) this.#options.onError(error, 'a message failed')
    if (!known) return { code: 'STATEFUL_INTERNAL', message: 'Something failed here.', status: 500 }
    return { code, message: statusCode >= 500 ? 'The server could not do it now.' : message, status: statusCode }
  }

  // --- heartbeats ----------------------------------------------------------------------------

  #sweep(): void {
    const { clock, heartbeatInterval, slowDeadline } = this.settings
    const now = clock.monotonic()
    // After a suspension of this process everybody looks silent, because nobody was listened to.
    const late = now - this.#lastSweep > heartbeatInterval
    this.#lastSweep = now
    const beat = ++this.#sweeps % 2 === 0
    for (const connection of this.#connections.values()) {
      if (!late && now - connection.lastSeenMonotonic >= 2 * heartbeatInterval) {
        this.#drop(connection, 4408, 'silent')
      } else if ([...connection.subscriptions.values()].some((one) => isStuck(one, now - slowDeadline))) {
        this.#drop(connection, 1013, 'too slow')
      } else {
        connection.drained()
        if (beat && !connection.isFull) {
          connection.transport.ping()
          connection.send(this.heartbeat)
        }
      }
    }
  }

  #drop(connection: Connection, code: 1013 | 4408, reason: string): void {
    this.counters.count('dropped')
    connection.end(code, reason)
  }

  // --- what is going on ----------------------------------------------------------------------

  nodes(): SyncNode[] {
    return Array.from(this.#connections.values(), (connection) => {
      const subscriptions = [...connection.subscriptions.values()]
      const { userId, address } = connection.identity
      return {
        id: connection.id,
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

  presence(space: string): Presence[] {
    return [...this.#connections.values()]
      .filter(({ subscriptions }) => [...subscriptions.values()].some(({ topic }) => topic.space === space))
      .map(({ id, clientId, connectedAt, identity: { userId } }) => ({
        node: id,
        clientId,
        ...(userId === undefined ? {} : { userId }),
        connectedAt,
      }))
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
    this.#sweeper?.cancel()
    for (const connection of [...this.#connections.values()]) connection.end(1001, 'closing')
    if (this.#leaving.size > 0) {
      const emptied = new Promise<void>((resolve) => {
        this.#emptied = resolve
      })
      // A real timer, whatever the clock: a frozen client must not keep the process from ending.
      const deadline = setTimeout(() => {
        for (const transport of this.#leaving) transport.terminate()
        this.#emptied?.()
      }, this.settings.closeTimeout)
      await emptied
      clearTimeout(deadline)
    }
    for (const channel of this.#channels.values()) channel.close()
    this.#channels.clear()
  }
}

function isStuck({ mode, laggingSince }: Subscription, since: number): boolean {
  return mode === 'lagging' && laggingSince <= since
}
