import type { PresenceMember } from '../../openapi/messages/server.ts'
import type { Commit, Op } from '../../openapi/schemas/state.ts'
import type { SyncNode, SyncStats } from '../../openapi/schemas/sync.ts'
import { accountOf, type Client } from '../support/client-limits.ts'
import { OverloadedError } from '../support/errors.ts'
import { Channels } from './channel/channels.ts'
import type { BorrowedSyncSpace } from './channel/space.ts'
import { Admission } from './connection/admission.ts'
import { Connection, type ConnectionContext } from './connection/connection.ts'
import { type Identity, publicClientId } from './connection/identity.ts'
import { Pages } from './connection/pages.ts'
import { type Refusable, Refusals } from './connection/refusal.ts'
import { Watchdog } from './connection/watchdog.ts'
import type { SyncSettings } from './options.ts'
import { Presence, type PresenceExchange } from './presence/presence.ts'
import { SyncCounters } from './stats.ts'
import { Traces } from './trace/traces.ts'
import { type Frame, frame } from './transports/frame.ts'
import { Goodbyes } from './transports/goodbyes.ts'
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

/**
 * All live connections of this instance. Knows no Fastify, no HTTP and no store.
 *
 *     admit ──▶ upgrade ──▶ connect ──▶ open ── forget (ended by either side) ──▶ leaving ── closed ──▶ gone
 *       └── turnAway: an upgrade only to say why not ──────────────────────────────▶ leaving
 *
 * An open connection is counted, watched over and followed by; one that is leaving is only a socket that has
 * `closeTimeout` to close (`Goodbyes`).
 */
export class SyncHub implements ConnectionContext {
  readonly settings: SyncSettings
  readonly counters = new SyncCounters()
  readonly admission: Admission
  readonly presence: Presence
  readonly channels: Channels<Connection>
  readonly pages = new Pages()
  readonly refusals: Refusals
  readonly traces: Traces
  readonly heartbeat: Frame = frame({ type: 'heartbeat' })
  readonly #options: HubOptions
  readonly #connections = new Map<string, Connection>()
  readonly #watchdog: Watchdog
  readonly #goodbyes: Goodbyes
  #closing = false

  constructor(options: HubOptions) {
    const { settings, onError } = options
    const { counters, heartbeat } = this
    this.#options = options
    this.settings = settings
    this.admission = new Admission(settings)
    this.refusals = new Refusals(onError)
    this.traces = new Traces(options.instance, settings.clock)
    const presence = new Presence(settings, options.presence, onError)
    this.presence = presence
    this.channels = new Channels({
      settings,
      counters,
      space: options.space,
      onFollow: (connection, space) => presence.enter(connection, space),
      onLeave: (connection, space) => presence.unfollow(connection, space),
      onError,
    })
    this.#goodbyes = new Goodbyes(settings.clock, settings.closeTimeout)
    this.#watchdog = new Watchdog({ settings, counters, heartbeat, onError }, this.#connections)
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
    this.#goodbyes.left(connection.transport)
  }

  forget(connection: Connection, code: number): void {
    if (connection.ended) return
    connection.ended = true
    this.#connections.delete(connection.id)
    this.admission.leave(connection.identity)
    this.counters.closed(code)
    for (const subscription of [...connection.subscriptions.values()]) {
      this.channels.unsubscribe(connection, subscription)
    }
    this.presence.leaveAll(connection)
    this.pages.leave(connection)
    this.#goodbyes.said(connection.transport)
  }

  /**
   * Ends a socket that was opened for nothing but to say why it is refused: a browser tells its page nothing of an
   * upgrade that fails.
   * @returns to be called when it is closed
   */
  turnAway(transport: Transport, error: unknown, request: Refusable): () => void {
    const { answer, closeCode } = this.refusals.answer(error, request)
    this.counters.count('refused')
    this.counters.closed(closeCode)
    transport.send(frame(answer))
    transport.close(closeCode, 'refused')
    this.#goodbyes.said(transport)
    return () => this.#goodbyes.left(transport)
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
      if (connection.identity.sessionHandle === sessionHandle) connection.endSession(reason)
    }
  }

  /** News of revoked sessions may have been lost: looks at all of them now. */
  verifyAll(): void {
    this.#watchdog.verifyAll()
  }

  // --- writes --------------------------------------------------------------------------------

  async commit(
    { id, identity }: Pick<Connection, 'id' | 'identity'>,
    space: string,
    ops: Op[],
    author: { clientId: string; seq: number },
  ): Promise<Commit> {
    const commit = await this.#write(space, ops, author, identity, { node: id, userId: identity.userId })
    await this.channels.flushed(space)
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
      return await space.commit(ops, { ...author, forClient: accountOf(client), context: { source: 'sync', ...by } })
    } finally {
      release()
    }
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
        lag: Math.max(0, ...subscriptions.map((one) => this.channels.lagOf(one))),
        buffered: connection.transport.buffered,
        sentBytes: connection.sentBytes,
        receivedBytes: connection.receivedBytes,
      }
    })
  }

  members(space: string): PresenceMember[] {
    return this.presence.members(space)
  }

  stats(): SyncStats {
    const subscriptions = [...this.#connections.values()].flatMap((one) => [...one.subscriptions.values()])
    return {
      connections: this.#connections.size,
      spaces: this.channels.spaces,
      topics: this.channels.topics,
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
    await this.#goodbyes.allLeft()
    this.channels.close()
    await this.presence.close()
  }
}
