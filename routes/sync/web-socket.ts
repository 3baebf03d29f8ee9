import type { FastifyRequest } from 'fastify'
import type { WebSocket } from 'ws'
import type { Authorize } from '../../plugins/security/authorize.ts'
import { SPACE_NAME } from '../../plugins/support/keys.ts'
import { filterOf } from '../../plugins/sync/channel/filter.ts'
import type { SyncHub } from '../../plugins/sync/hub.ts'
import { WebSocketTransport } from '../../plugins/sync/transports/web-socket.ts'
import { identityOf } from './identity.ts'
import { positionOf, type SyncQuery } from './query.ts'

const protocolErrors: { [code: string]: number } = {
  WS_ERR_UNSUPPORTED_MESSAGE_LENGTH: 1009,
  WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH: 1009,
  WS_ERR_TOO_MANY_BUFFERED_PARTS: 1008,
  WS_ERR_INVALID_UTF8: 1007,
  WS_ERR_UNEXPECTED_RSV_1: 1002,
  WS_ERR_UNEXPECTED_RSV_2_3: 1002,
  WS_ERR_UNEXPECTED_MASK: 1002,
  WS_ERR_EXPECTED_MASK: 1002,
  WS_ERR_EXPECTED_FIN: 1002,
  WS_ERR_INVALID_CLOSE_CODE: 1002,
  WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH: 1002,
  WS_ERR_INVALID_OPCODE: 1002,
}

const codeOf = (error: Error) => (error as NodeJS.ErrnoException).code ?? ''

/** Says on an upgraded socket why it is refused, and ends it. */
export function turnAway(hub: SyncHub, webSocket: WebSocket, { raw, query }: FastifyRequest, error: unknown): void {
  const transport = new WebSocketTransport(webSocket, socketOf(raw), offerOf(hub, raw))
  webSocket.on('error', () => {})
  const { space } = query as { space?: unknown }
  const about = typeof space === 'string' && SPACE_NAME.test(space) ? { space } : {}
  webSocket.on('close', hub.turnAway(transport, error, { type: 'connect', ...about }))
}

/** An injected connection has no socket of the network; `ws` writes to its stream then. */
const socketOf = ({ socket }: FastifyRequest['raw']) => (socket?.writable ? socket : undefined)

/** The extensions that a client offered, where compression is on. */
const offerOf = (hub: SyncHub, { headers }: FastifyRequest['raw']) =>
  hub.settings.compression ? headers['sec-websocket-extensions'] : undefined

/** Joins an upgraded socket to the hub. Every handler is attached in this tick: later would lose messages. */
export function openWebSocket(
  hub: SyncHub,
  webSocket: WebSocket,
  request: FastifyRequest<{ Querystring: SyncQuery }>,
  authorize: Authorize | undefined,
): void {
  const { space, key, prefix, since, clientId } = request.query
  const socket = socketOf(request.raw)
  const transport = new WebSocketTransport(webSocket, socket, offerOf(hub, request.raw))
  const connection = hub.connect(transport, identityOf(request, authorize, clientId))

  webSocket.on('message', (data, isBinary) => {
    if (isBinary) connection.end(1003, 'only JSON text is understood')
    else connection.receive(data.toString())
  })
  webSocket.on('pong', () => connection.seen())
  webSocket.on('ping', () => connection.seen())
  // `ws` has answered a protocol error with its code, but would report the end of the connection as 1006.
  webSocket.on('error', (error) => hub.forget(connection, protocolErrors[codeOf(error)] ?? 1006))
  webSocket.on('close', (code) => hub.closed(connection, code))
  socket?.on('drain', () => connection.drained())

  if (space === undefined) return
  connection.open(space, filterOf({ key, prefix }), positionOf(since))
}
