import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import { Server as TlsServer } from 'node:tls'
import type { Clock } from '../support/clock.ts'
import { defineService } from '../support/define.ts'
import { clock, type Rules, readOptions, wholeNumber } from '../support/options.ts'
import { openFilesLimit } from './open-files.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** How many connections the server accepts at a time; `Infinity` without a limit. */
    connectionLimit: { maxConnections: number; openFiles: number; dropped(): number }
  }
}

/** Options of the plugin {@link connectionLimit}. */
export interface ConnectionLimitOptions {
  /**
   * Connections of this server at a time, of all kinds: HTTP, WebSocket, server-sent events. More are closed at once.
   * Default: what the limit of open files (`ulimit -n`) leaves beside a tenth of it, and 64 at least, which the
   * storage, the log and files that are served need. Where files have no limit, neither have connections.
   */
  maxConnections?: number
  /** Default: that of the process. */
  openFiles?: number
  clock?: Clock
}

/** What each option must be, and what holds without it. @internal */
export const CONNECTION_LIMIT_RULES = {
  maxConnections: wholeNumber(undefined),
  openFiles,
  clock,
} satisfies Rules<ConnectionLimitOptions>

function openFiles(given: unknown, option: string): number | undefined {
  return given === Number.POSITIVE_INFINITY ? given : wholeNumber(undefined)(given, option)
}

/** Descriptors that are kept for what is no connection. */
const MIN_RESERVED = 64
const RESERVED_SHARE = 0.1
/** Below this limit of open files the boot warns. */
const LOW_LIMIT = 4_096
/** Dropped connections are told once in so many milliseconds, and room is made for others. */
const TELL_INTERVAL = 10_000
const ROOM_INTERVAL = 1_000
/** A connection that has not sent the head of a request for so long, in milliseconds, gives way to another one. */
const SILENCE = 2_000

/**
 * Keeps a flood of connections from using up the files that the process may open: without a free one, no storage can be
 * reached, no file be read and nothing be accepted. Above the limit, new connections are refused, and those that wait
 * for their next request, or have not managed to send one, are closed to make room, as nginx does.
 *
 * The limit is that of one listening socket: a server that listens on `localhost` has two (IPv4 and IPv6).
 *
 * @throws at boot STATEFUL_INVALID_OPTION
 * @example await app.register(connectionLimit, { maxConnections: 5_000 })
 */
export const connectionLimit = defineService<ConnectionLimitOptions>('connection-limit', async (fastify, options) => {
  const log = fastify.log.child({ plugin: 'connection-limit' })
  const { clock, ...read } = readOptions(CONNECTION_LIMIT_RULES, options, 'connectionLimit')
  const openFiles = read.openFiles ?? openFilesLimit()
  const reserved = Math.max(MIN_RESERVED, Math.ceil(openFiles * RESERVED_SHARE))
  const free = Number.isFinite(openFiles) ? Math.max(1, openFiles - reserved) : openFiles
  const maxConnections = read.maxConnections ?? free

  const { server } = fastify
  if (Number.isFinite(maxConnections)) server.maxConnections = maxConnections

  let dropped = 0
  let told = Number.NEGATIVE_INFINITY
  let roomMade = Number.NEGATIVE_INFINITY
  const silent = trackSilent(server, clock)
  server.on('drop', () => {
    dropped += 1
    const now = clock.monotonic()
    if (now - roomMade >= ROOM_INTERVAL) {
      roomMade = now
      server.closeIdleConnections()
      for (const [socket, opened] of silent) if (now - opened >= SILENCE) socket.destroy()
    }
    if (now - told < TELL_INTERVAL) return
    told = now
    log.warn({ maxConnections, dropped }, 'more connections than allowed: new ones are refused, idle ones closed')
  })
  fastify.decorate('connectionLimit', { maxConnections, openFiles, dropped: () => dropped })

  if (!Number.isFinite(openFiles)) {
    log.info({ maxConnections }, 'open files have no limit')
  } else if (maxConnections > free) {
    log.warn(
      { maxConnections, openFiles },
      `maxConnections leaves too few of the ${openFiles} files that this process may open: use at most ${free}, or raise the limit (ulimit -n)`,
    )
  } else if (openFiles < LOW_LIMIT) {
    log.warn(
      { maxConnections, openFiles },
      `this process may open ${openFiles} files only, so it takes at most ${maxConnections} connections: raise the limit (ulimit -n)`,
    )
  } else {
    log.info({ maxConnections, openFiles }, 'connections are limited')
  }
})

/** Connections by when they were opened, until their first request. */
function trackSilent(server: Server, clock: Clock): ReadonlyMap<Socket, number> {
  const silent = new Map<Socket, number>()
  const heard = ({ socket }: { socket: Socket }) => silent.delete(socket)
  server.on(server instanceof TlsServer ? 'secureConnection' : 'connection', (socket: Socket) => {
    silent.set(socket, clock.monotonic())
    socket.once('close', () => silent.delete(socket))
  })
  server.on('request', heard).on('upgrade', heard)
  return silent
}
