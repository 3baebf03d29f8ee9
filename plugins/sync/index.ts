import fastifyWebsocket from '@fastify/websocket'
import type { SyncNode, SyncStats } from '../../openapi/schemas/sync.ts'
import { type Clock, systemClock } from '../support/clock.ts'
import { defineService } from '../support/define.ts'
import { type Duration, milliseconds } from '../support/durations.ts'
import { InvalidOptionError } from '../support/errors.ts'
import { type Presence, SyncHub } from './hub.ts'
import type { SyncSettings } from './settings.ts'
import type { SyncSpace } from './space.ts'

export type { SyncNode, SyncStats } from '../../openapi/schemas/sync.ts'
export type { Presence } from './hub.ts'

export interface SyncOptions {
  /** Nodes that are silent for two of these are dropped, and the server says that it lives. Default `'25s'`. */
  heartbeatInterval?: Duration
  /** Bytes buffered for a connection above which changes are held back and conflated. Default 64 KiB. */
  highWaterMark?: number
  /** How long a connection may stay above the mark before it is ended with 1013. Default `'30s'`. */
  slowDeadline?: Duration
  /** How long a socket may take to close before it is ended by force. Default `'3s'`. */
  closeTimeout?: Duration
  /** Bytes of the largest message accepted; larger ones end the connection with 1009. Default 1 MiB. */
  maxPayload?: number
  /** Live connections of this instance. Default 10,000. */
  maxConnections?: number
  /** Subscriptions of one connection. Default 100. */
  maxSubscriptions?: number
  /** Messages of one connection that wait for their answers; more are refused. Default 256. */
  maxQueuedMessages?: number
  /** Refused messages of one connection before it is ended with 1008. Default 32. */
  maxRefusals?: number
  /** Latest commits kept in memory for each followed space, for resumes without storage access. Default 1,024. */
  recentCommits?: number
  /** Default `systemClock`. */
  clock?: Clock
}

/** What `app.sync` offers. */
export interface Sync {
  /** The live connections of this instance. */
  nodes(): SyncNode[]
  /**
   * Ends a connection of this instance (close code 1001).
   * @returns whether there was one with this id
   */
  disconnect(id: string, reason: string): boolean
  /** Who follows a space on this instance. */
  presence(space: string): Presence[]
  stats(): SyncStats
  /** The engine, for routes and transports. */
  readonly hub: SyncHub
}

declare module 'fastify' {
  interface FastifyInstance {
    /** Ships state to live connections. */
    sync: Sync
  }
}

/** What it reads of `app.sessions`, which need not be there. */
interface SessionEvents {
  on(event: 'revoked' | 'expired', listener: (event: { handle: string; reason?: string }) => void): unknown
  off?(event: 'revoked' | 'expired', listener: (event: { handle: string; reason?: string }) => void): unknown
}

function settingsOf(options: SyncOptions): SyncSettings {
  const count = (value: number | undefined, name: string, byDefault: number) => {
    if (value === undefined) return byDefault
    if (!Number.isSafeInteger(value) || value < 1)
      throw new InvalidOptionError(`sync.${name}`, 'must be a whole number above 0')
    return value
  }
  return {
    heartbeatInterval: milliseconds(options.heartbeatInterval ?? '25s', 'sync.heartbeatInterval'),
    slowDeadline: milliseconds(options.slowDeadline ?? '30s', 'sync.slowDeadline'),
    closeTimeout: milliseconds(options.closeTimeout ?? '3s', 'sync.closeTimeout'),
    highWaterMark: count(options.highWaterMark, 'highWaterMark', 64 * 1024),
    maxPayload: count(options.maxPayload, 'maxPayload', 1024 * 1024),
    maxConnections: count(options.maxConnections, 'maxConnections', 10_000),
    maxSubscriptions: count(options.maxSubscriptions, 'maxSubscriptions', 100),
    maxQueuedMessages: count(options.maxQueuedMessages, 'maxQueuedMessages', 256),
    maxRefusals: count(options.maxRefusals, 'maxRefusals', 32),
    recentCommits: count(options.recentCommits, 'recentCommits', 1024),
    recentCharacters: 4 * 1024 * 1024,
    clock: options.clock ?? systemClock,
  }
}

/**
 * Live synchronisation of state spaces (`app.state`) to WebSockets and event streams. Registers @fastify/websocket
 * unless the host has; the routes that clients connect to are `syncRoutes`.
 */
export const sync = defineService<SyncOptions>(
  'sync',
  async (fastify, options) => {
    const log = fastify.log.child({ plugin: 'sync' })
    const settings = settingsOf(options)
    const hub = new SyncHub({
      settings,
      space: (name): SyncSpace => fastify.state.space(name),
      onError: (err, what) => log.error({ err }, what),
    })

    if (!fastify.hasDecorator('websocketServer')) {
      await fastify.register(fastifyWebsocket, {
        // Frames are built once and shared by all recipients, which per-message compression would forbid
        // (and it costs more CPU and memory a connection than it saves on frames this small).
        options: { maxPayload: settings.maxPayload, perMessageDeflate: false },
        errorHandler: (err, socket, request) => {
          // Also protocol errors such as an oversized frame, which `ws` has answered with their code by now.
          request.log.debug({ err, plugin: 'sync' }, 'WebSocket error')
          if (socket.readyState === socket.OPEN) socket.close(1011, 'internal error')
        },
        async preClose() {
          await hub.close()
          for (const client of fastify.websocketServer.clients) client.terminate()
          fastify.websocketServer.close()
        },
      })
    } else fastify.addHook('preClose', () => hub.close())

    fastify.decorate<Sync>('sync', {
      hub,
      nodes: () => hub.nodes(),
      disconnect: (id, reason) => hub.disconnect(id, reason),
      presence: (space) => hub.presence(space),
      stats: () => hub.stats(),
    })

    fastify.addHook('onReady', async () => {
      hub.start()
      if (!fastify.hasDecorator('sessions')) return
      const sessions = fastify.getDecorator<SessionEvents>('sessions')
      const end = (event: { handle: string; reason?: string }) =>
        hub.revoke(event.handle, event.reason ?? 'session ended')
      sessions.on('revoked', end)
      sessions.on('expired', end)
      fastify.addHook('onClose', async () => {
        sessions.off?.('revoked', end)
        sessions.off?.('expired', end)
      })
    })
  },
  { decorators: { fastify: ['state'] } },
)

export default sync
