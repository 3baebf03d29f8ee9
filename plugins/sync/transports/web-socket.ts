import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import type { Frame } from './frame.ts'
import type { Transport } from './transport.ts'

const OPEN = 1

/**
 * What `ws` is told of compression: each message by itself, in both directions, so that one compressed frame serves all
 * who negotiated it, and no connection keeps a window of what was sent before.
 */
export const COMPRESSION = {
  serverNoContextTakeover: true,
  clientNoContextTakeover: true,
  // Messages that are inflated at the same time, of all connections: half of the threads that Node has for everything.
  concurrencyLimit: 2,
} as const

/**
 * A client that keeps less than 32 KiB of a message while it inflates it cannot read a frame that refers back further.
 */
const SMALL_WINDOW = /server_max_window_bits/

/**
 * A WebSocket of the server side. Frames are written to the TCP socket as they were built (and compressed) once for all
 * recipients, instead of being framed again by `ws` for each: `ws`, which is left with pings and closes, writes each of
 * its frames in one go, so the two never mix within a frame.
 */
export class WebSocketTransport implements Transport {
  readonly kind = 'websocket'
  readonly #webSocket: WebSocket
  readonly #socket: Socket | undefined
  readonly #compressed: boolean

  /**
   * @param socket the TCP or TLS socket of the upgrade; absent for an injected connection
   * @param offer the extensions that the client offered, if it may get compressed frames at all
   */
  constructor(webSocket: WebSocket, socket: Socket | undefined, offer: string | undefined) {
    this.#webSocket = webSocket
    this.#socket = socket
    this.#compressed =
      offer !== undefined && webSocket.extensions.includes('permessage-deflate') && !SMALL_WINDOW.test(offer)
  }

  get buffered(): number {
    return this.#webSocket.bufferedAmount
  }

  get lowestHighWaterMark(): number {
    return this.#socket?.writableHighWaterMark ?? 0
  }

  send(frame: Frame): void {
    if (this.#webSocket.readyState !== OPEN) return
    if (this.#socket) this.#socket.write(this.#compressed ? frame.compressed : frame.wire)
    else this.#webSocket.send(frame.text)
  }

  ping(): void {
    if (this.#webSocket.readyState === OPEN) this.#webSocket.ping()
  }

  pause(): void {
    this.#webSocket.pause()
  }

  resume(): void {
    this.#webSocket.resume()
  }

  close(code: number, reason: string): void {
    // The reason of a close frame has room for 123 bytes.
    this.#webSocket.close(
      code,
      Buffer.from(reason)
        .subarray(0, 123)
        .toString()
        .replace(/\uFFFD$/, ''),
    )
  }

  terminate(): void {
    this.#webSocket.terminate()
  }
}
