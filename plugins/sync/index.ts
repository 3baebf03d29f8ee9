import type {} from '@fastify/websocket'
import type { FastifyInstance } from 'fastify'
import type { PresenceMember } from '../../openapi/messages/server.ts'
import type { SyncNode, SyncStats, SyncTraced } from '../../openapi/schemas/sync.ts'
import { tokenHandle } from '../security/client.ts'
import { defineService } from '../support/define.ts'
import { invalidOption } from '../support/options.ts'
import { type ClusterNodes, RedisNodes } from './cluster/redis-nodes.ts'
import { RedisPresence } from './cluster/redis-presence.ts'
import { RedisTraces } from './cluster/redis-traces.ts'
import { SyncHub } from './hub.ts'
import { type SyncOptions, settingsOf } from './options.ts'
import type { TraceSubject } from './trace/traces.ts'
import { endUnfinishedHandshakes, refuseByProblem } from './transports/handshakes.ts'
import { COMPRESSION } from './transports/web-socket.ts'

export type { PresenceMember } from '../../openapi/messages/server.ts'
export type { SyncNode, SyncStats, SyncTraced } from '../../openapi/schemas/sync.ts'
export type { SyncOptions } from './options.ts'
export type { TraceSubject } from './trace/traces.ts'

/** Fragments of one message; a peer that sends more is not one of ours. */
const MAX_FRAGMENTS = 128
/** Live connections, unless an option says otherwise. */
const MAX_LIVE = 10_000
const LIVE_SHARE = 0.8

/** What `app.sync` offers. */
export interface Sync {
  /** The live connections of this instance. */
  nodes(): SyncNode[]
  /**
   * The live connections of every instance, and how many instances did not answer within a second.
   * @throws STATEFUL_STORAGE_UNAVAILABLE
   */
  clusterNodes(): Promise<ClusterNodes>
  /**
   * Ends a connection of this instance (close code 1001).
   * @returns whether there was one with this id
   */
  disconnect(id: string, reason: string): boolean
  /**
   * Ends a connection, whichever instance has it (close code 1001).
   * @returns whether there was one with this id
   * @throws STATEFUL_STORAGE_UNAVAILABLE
   */
  clusterDisconnect(id: string, reason: string): Promise<boolean>
  /**
   * Tells which messages a connection or a space exchanges, on whichever instance, without what they carry: at most 20
   * a second from each instance. It costs something while it runs.
   * @returns ends it
   * @throws STATEFUL_TOO_MANY_AT_ONCE
   * @example
   * ```ts
   * const end = app.sync.trace({ space: 'app' }, ({ direction, message }) => app.log.info(message, direction))
   * ```
   */
  trace(subject: TraceSubject, tell: (message: SyncTraced) => void): () => void
  /** Who follows a space: on this instance, and, if it is followed here, on the others. */
  presence(space: string): PresenceMember[]
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
  on(event: 'revoked' | 'expired', listener: (event: { handle: string; reason?: string }) => void): () => void
  onMissed(listener: () => void): () => void
}

/** What it reads of `app.accessTokens`, which need not be there. */
interface TokenEvents {
  onRevoked(listener: (event: { id: string }) => void): () => void
  onMissed(listener: () => void): () => void
}

/**
 * Live synchronisation of state spaces (`app.state`) to WebSockets and event streams. Registers @fastify/websocket
 * unless the host has; the routes that clients connect to are `syncRoutes`.
 *
 * @throws at boot STATEFUL_INVALID_OPTION, STATEFUL_INVALID_DURATION
 */
export const sync = defineService<SyncOptions>(
  'sync',
  async (fastify, options) => {
    const log = fastify.log.child({ plugin: 'sync' })
    const settings = settingsOf({ maxConnections: liveConnections(fastify), ...options })
    const { storage } = fastify
    const hub = new SyncHub({
      settings,
      instance: storage.instanceId,
      space: (name, client) => fastify.state.borrow(name, client),
      ...(storage.kind === 'redis' ? { presence: new RedisPresence(storage, settings.presenceInterval * 3) } : {}),
      onError: (err, what) => log.error({ err }, what),
    })
    const others = storage.kind === 'redis' ? new RedisNodes(storage, hub, settings.clock) : undefined
    const traces = storage.kind === 'redis' ? new RedisTraces(storage, hub.traces, settings.clock) : undefined

    if (fastify.hasDecorator('websocketServer')) {
      if (settings.compression) {
        throw invalidOption(
          'sync.compression',
          'is for sockets that sync opens: leave it out, or let sync register @fastify/websocket.',
        )
      }
      fastify.addHook('preClose', () => hub.close())
    } else {
      const limits = {
        maxPayload: settings.maxPayload,
        maxFragments: MAX_FRAGMENTS,
        perMessageDeflate: settings.compression && COMPRESSION,
      }
      let endHandshakes = () => {}
      await fastify.register(import('@fastify/websocket'), {
        options: limits,
        errorHandler: (err, socket, request) => {
          // Also protocol errors such as an oversized frame, which `ws` has answered with their code by now.
          request.log.debug({ err, plugin: 'sync' }, 'WebSocket error')
          if (socket.readyState === socket.OPEN) socket.close(1011, 'internal error')
        },
        async preClose() {
          endHandshakes()
          await hub.close()
          for (const client of fastify.websocketServer.clients) client.terminate()
          fastify.websocketServer.close()
        },
      })
      refuseByProblem(fastify, fastify.websocketServer)
      endHandshakes = endUnfinishedHandshakes(fastify, settings.clock)
    }

    fastify.decorate<Sync>('sync', {
      hub,
      nodes: () => hub.nodes(),
      async clusterNodes() {
        const { nodes = [], unanswered = 0 } = (await others?.nodes()) ?? {}
        return { nodes: [...hub.nodes(), ...nodes], unanswered }
      },
      disconnect: (id, reason) => hub.disconnect(id, reason),
      clusterDisconnect: async (id, reason) =>
        hub.disconnect(id, reason) || ((await others?.disconnect(id, reason)) ?? false),
      trace(subject, tell) {
        const endHere = hub.traces.watch(subject, tell)
        const endThere = traces?.watch(subject, tell)
        return () => {
          endHere()
          endThere?.()
        }
      },
      presence: (space) => hub.members(space),
      stats: () => hub.stats(),
    })

    const ending: (() => void)[] = []
    fastify.addHook('onReady', async () => {
      await hub.start()
      await others?.listen()
      await traces?.listen()
      if (fastify.hasDecorator('accessTokens')) {
        const tokens = fastify.getDecorator<TokenEvents>('accessTokens')
        ending.push(
          tokens.onRevoked(({ id }) => hub.revoke(tokenHandle(id), 'the access token was revoked')),
          tokens.onMissed(() => hub.verifyAll()),
        )
      }
      if (!fastify.hasDecorator('sessions')) return
      const sessions = fastify.getDecorator<SessionEvents>('sessions')
      const end = ({ handle, reason = 'the session ended' }: { handle: string; reason?: string }) =>
        hub.revoke(handle, reason)
      ending.push(
        sessions.on('revoked', end),
        sessions.on('expired', end),
        sessions.onMissed(() => hub.verifyAll()),
      )
    })
    fastify.addHook('onClose', async () => {
      for (const end of ending) end()
      await others?.close()
      await traces?.close()
    })
  },
  { decorators: { fastify: ['storage', 'state'] } },
)

/** Ten thousand, but never all connections of the server: a request for a page must find room. */
function liveConnections(fastify: FastifyInstance): number {
  if (!fastify.hasDecorator('connectionLimit')) return MAX_LIVE
  const { maxConnections } = fastify.getDecorator<{ maxConnections: number }>('connectionLimit')
  return Math.min(MAX_LIVE, Math.max(1, Math.floor(maxConnections * LIVE_SHARE)))
}
