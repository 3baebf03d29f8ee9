import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { FastifyInstance } from 'fastify'
import type { WebSocketServer } from 'ws'
import { problemAnswer } from '../../problems/raw.ts'
import type { Clock } from '../../support/clock.ts'

/** Milliseconds from the request to the WebSocket; far more than hooks and a session's store may take. */
const DEADLINE = 10_000
/** The same for one that comes while the instance closes, which is refused at once. */
const DEADLINE_WHILE_CLOSING = 1_000

/**
 * Ends the sockets of upgrades that come to nothing. Node hands such a socket over and forgets it: no timeout of the
 * server reaches it, nobody reads it, so that its end is not noticed either, and `close()` would wait for it for ever.
 * What refuses an upgrade before @fastify/websocket knows of it (a hook that was added earlier), or without a hook or
 * a route (a URL that cannot be decoded), leaves one behind: the former ends with its answer, the latter at a deadline.
 *
 * @returns ends those that are open, for the close
 */
export function endUnfinishedHandshakes(fastify: FastifyInstance, clock: Clock): () => void {
  const unfinished = new Map<Duplex, () => void>()
  let deadline = DEADLINE
  // First: a route without an asynchronous hook has its WebSocket before the other listeners hear of the upgrade.
  fastify.server.prependListener('upgrade', (_request: IncomingMessage, socket: Duplex) => {
    const timer = clock.after(deadline, () => socket.destroy())
    const settle = () => {
      unfinished.delete(socket)
      timer.cancel()
      socket.off('close', settle)
    }
    unfinished.set(socket, settle)
    socket.once('close', settle)
  })
  fastify.websocketServer.on('connection', (_webSocket, { socket }: IncomingMessage) => unfinished.get(socket)?.())
  fastify.addHook('onResponse', ({ raw: { socket } }, _reply, done) => {
    if (unfinished.has(socket)) socket.destroy()
    done()
  })
  return () => {
    deadline = DEADLINE_WHILE_CLOSING
    for (const socket of [...unfinished.keys()]) socket.destroy()
  }
}

/**
 * Answers a handshake that cannot be understood (key, version, subprotocol) by a problem document: the answer of `ws`
 * is HTML. Its headers were read by then, so it is a request with a mistake in it.
 */
export function refuseByProblem(fastify: FastifyInstance, webSockets: WebSocketServer): void {
  webSockets.on('wsClientError', (error, socket, { method }) => {
    const problem = { status: 400, code: 'STATEFUL_INVALID_HANDSHAKE', detail: `${error.message}.` }
    socket.once('finish', () => socket.destroy())
    socket.end(
      problemAnswer(fastify, problem, { err: error, head: method === 'HEAD', more: { 'sec-websocket-version': 13 } }),
    )
  })
}
