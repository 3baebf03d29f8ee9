import type { FastifyRequest } from 'fastify'
import type { WebSocket } from 'ws'
import type { Authorize } from '../../plugins/security/authorize.ts'
import type { SyncHub } from '../../plugins/sync/hub.ts'
import { WebSocketTransport } from '../../plugins/sync/transports/web-socket.ts'
import { identityOf } from './identity.ts'
import type { SyncQuery } from './index.ts'
import { positionOf } from './position.ts'

/** Joins an upgraded socket to the hub. Every handler is attached in this tick: later would lose messages. */
export function openWebSocket(
  hub: SyncHub,
  webSocket: WebSocket,
  request: FastifyRequest<{ Querystring: SyncQuery }>,
  authorize: Authorize | undefined,
): void {
  const { space, key, prefix, since, clientId } = request.query
  // An injected connection has no socket of the network; `ws` writes to its stream then.
  const socket = request.raw.socket?.writable ? request.raw.socket : undefined
  const transport = new WebSocketTransport(webSocket, socket)
  const connection = hub.connect(transport, identityOf(request, authorize, clientId))

  webSocket.on('message', (data, isBinary) => {
    if (isBinary) connection.end(1003, 'only JSON text is understood')
    else connection.receive(data.toString())
  })
  webSocket.on('pong', () => connection.seen())
  webSocket.on('ping', () => connection.seen())
  webSocket.on('close', (code) => hub.closed(connection, code))
  socket?.on('drain', () => connection.drained())

  if (space === undefined) return
  const filter = { ...(key === undefined ? {} : { key }), ...(prefix === undefined ? {} : { prefix }) }
  connection.open(space, filter, positionOf(since))
}
