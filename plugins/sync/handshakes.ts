import type { IncomingMessage, Server } from 'node:http'
import type { Duplex } from 'node:stream'
import type { WebSocketServer } from 'ws'
import type { Clock } from '../support/clock.ts'

/** Milliseconds from the request to the WebSocket; far more than hooks and a session's store may take. */
const DEADLINE = 10_000

/**
 * Ends the sockets of upgrades that come to nothing. Node hands such a socket over and forgets it: no timeout of the
 * server reaches it, nobody reads it, so that its end is not noticed either, and `close()` would wait for it for ever.
 * Whoever answers an upgrade without a hook or a route (a URL that cannot be decoded) leaves one behind.
 *
 * @returns ends those that are open, for the close
 */
export function endUnfinishedHandshakes(server: Server, webSockets: WebSocketServer, clock: Clock): () => void {
  const unfinished = new Map<Duplex, () => void>()
  // First: a route without an asynchronous hook has its WebSocket before the other listeners hear of the upgrade.
  server.prependListener('upgrade', (_request: IncomingMessage, socket: Duplex) => {
    const timer = clock.after(DEADLINE, () => socket.destroy())
    const settle = () => {
      unfinished.delete(socket)
      timer.cancel()
      socket.off('close', settle)
    }
    unfinished.set(socket, settle)
    socket.once('close', settle)
  })
  webSockets.on('connection', (_webSocket, { socket }: IncomingMessage) => unfinished.get(socket)?.())
  return () => {
    for (const socket of [...unfinished.keys()]) socket.destroy()
  }
}
