import type { ServerResponse } from 'node:http'
import { type Frame, frame } from './frame.ts'
import type { Transport } from './transport.ts'

/** Server-sent events: the same messages, one way. */
export class EventStreamTransport implements Transport {
  readonly kind = 'event-stream'
  readonly lowestHighWaterMark: number
  readonly #response: ServerResponse
  readonly #onAlive: () => void

  /** @param onAlive called when the peer has taken everything, its only sign of life */
  constructor(response: ServerResponse, onAlive: () => void) {
    this.#response = response
    this.#onAlive = onAlive
    this.lowestHighWaterMark = response.writableHighWaterMark
  }

  get buffered(): number {
    return this.#response.writableLength + (this.#response.socket?.writableLength ?? 0)
  }

  send(frame: Frame): void {
    if (this.#response.writableEnded || this.#response.destroyed) return
    for (const piece of frame.event) this.#response.write(piece)
  }

  ping(): void {
    if (this.buffered === 0) this.#onAlive()
  }

  // It sends nothing.
  pause(): void {}
  resume(): void {}

  /** An event stream has no close codes; the last event says why instead. */
  close(code: number, reason: string): void {
    this.send(frame({ type: 'error', code: closeName(code), message: reason }))
    this.#response.end()
  }

  terminate(): void {
    this.#response.destroy()
  }
}

function closeName(code: number): string {
  if (code === 4401) return 'STATEFUL_UNAUTHENTICATED'
  if (code === 1001) return 'STATEFUL_CLOSING'
  return code === 1013 ? 'STATEFUL_OVERLOADED' : 'STATEFUL_DISCONNECTED'
}
