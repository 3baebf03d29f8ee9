import type { ServerOptions as HttpOptions, Server } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyHttpOptions, FastifyInstance } from 'fastify'
import { systemClock } from '../support/clock.ts'
import type { Duration } from '../support/durations.ts'
import { duration, namesFor, refuseUnknown } from '../support/options.ts'
import { isAnswering } from './connections.ts'
import { problemAnswer } from './raw.ts'
import { sendProblem } from './send.ts'

/** What {@link serverOptions} may be told. */
export interface ServerSettings {
  /** A request whose headers and body have not come within this is cut with 408. Default `'30s'`. */
  requestTimeout?: Duration
}

export const SERVER_SETTINGS = namesFor<ServerSettings>({ requestTimeout: true })
/** Node's own timer, which is at most so long. */
const requestTimeout = duration('30s', { least: '10ms', most: '24d' })

/**
 * How often, in milliseconds, Node looks for requests that take too long (by itself, each 30 s); less for a short
 * timeout.
 */
const CHECK_INTERVAL = 250
/** How long, in milliseconds, a client may take to read why it is cut. */
const LINGER = 1_000

/** What the parser says, as an answer; everything else is a request that is none. */
const PARSER_ERRORS: Record<string, { status: number; code: string; detail: string }> = {
  ERR_HTTP_REQUEST_TIMEOUT: {
    status: 408,
    code: 'STATEFUL_REQUEST_TIMEOUT',
    detail: 'The request did not come in time.',
  },
  HPE_HEADER_OVERFLOW: {
    status: 431,
    code: 'STATEFUL_HEADERS_TOO_LARGE',
    detail: 'The request line and the headers are too large.',
  },
  HPE_CHUNK_EXTENSIONS_OVERFLOW: {
    status: 413,
    code: 'STATEFUL_BODY_TOO_LARGE',
    detail: 'The extensions of a chunk are too large.',
  },
}
const MALFORMED = { status: 400, code: 'STATEFUL_MALFORMED_REQUEST', detail: 'This is no well-formed HTTP request.' }

/**
 * Options of Fastify's constructor under which whatever goes wrong before a plugin knows of it is a problem document as
 * well (a bad URL, what is no HTTP, headers too large, a request while the server closes), and a request that dribbles
 * is cut, headers and body, within `requestTimeout`. They go with `stateful` or `problems`, which answer the rest.
 *
 * @example
 * ```ts
 * const app = Fastify({ ...serverOptions(), logger: true })
 * await app.register(stateful, { secret })
 * ```
 * @throws STATEFUL_INVALID_DURATION, STATEFUL_INVALID_OPTION
 */
export function serverOptions(options: ServerSettings = {}) {
  refuseUnknown(options, SERVER_SETTINGS)
  const timeout = Math.floor(requestTimeout(options.requestTimeout, 'requestTimeout'))
  const interval = Math.ceil(Math.min(CHECK_INTERVAL, timeout / 4))
  const http = {
    connectionsCheckingInterval: interval,
    headersTimeout: timeout,
    requestTimeout: timeout,
    // Answered in `problems`: Node's answer has no body.
    requireHostHeader: false,
  } satisfies HttpOptions
  return {
    http,
    requestTimeout: timeout,
    // Answered in `problems`: Fastify's answer says neither what nor when to come back.
    return503OnClosing: false,
    frameworkErrors: sendProblem,
    clientErrorHandler,
  } satisfies FastifyHttpOptions<Server>
}

/** What Node says of a request that it could not read. */
type ClientError = Error & { code?: string; rawPacket?: unknown }

function clientErrorHandler(this: FastifyInstance, error: ClientError, socket: Socket): void {
  // A client that is gone, or is in the middle of an answer, cannot be told.
  if (error.code === 'ECONNRESET' || !socket.writable || isAnswering(socket)) {
    socket.destroy()
    return
  }
  const problem = PARSER_ERRORS[error.code ?? ''] ?? MALFORMED
  socket.end(problemAnswer(this, problem, { err: error, head: asksForHead(error) }))
  // Destroyed at once, with something unread, the connection would be reset and the answer lost.
  const timer = systemClock.after(LINGER, () => socket.destroy())
  socket.once('close', () => timer.cancel())
}

/** As far as can be told: what came in an earlier packet is not known here. */
function asksForHead({ rawPacket }: ClientError): boolean {
  return Buffer.isBuffer(rawPacket) && rawPacket.toString('latin1', 0, 5) === 'HEAD '
}
