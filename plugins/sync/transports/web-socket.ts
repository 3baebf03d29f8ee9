import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import type { Frame } from './frame.ts'
import type { Transport } from './transport.ts'

const OPEN = 1

/**
 * A WebSocket of the server side. Frames are written to the TCP socket as they were built once for all
 * recipients, instead of being framed again by `ws` for each: without compression (see index.ts) `ws` itself
 * writes each frame in one go, so the two never mix within a frame.
 */
export class WebSocketTransport implements Transport {
  readonly kind = 'websocket'
  readonly #webSocket: WebSocket
  readonly #socket: Socket | undefined

  /** @param socket the TCP or TLS socket of the upgrade; absent for an injected connection */
  constructor(webSocket: WebSocket, socket: Socket | undefined) {
    this.#webSocket = webSocket
    this.#socket = socket
  }

  get buffered(): number {
    return this.#webSocket.bufferedAmount
  }

  get lowestHighWaterMark(): number {
    return this.#socket?.writableHighWaterMark ?? 0
  }

  send(frame: Frame): void {
    if (this.#webSocket.readyState !== OPEN) return
    if (this.#socket) this.#socket.write(frame.wire)
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
