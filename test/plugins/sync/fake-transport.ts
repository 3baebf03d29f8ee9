import type { ServerMessage } from '../../../openapi/messages/server.ts'
import type { Frame } from '../../../plugins/sync/transports/frame.ts'
import type { Transport } from '../../../plugins/sync/transports/transport.ts'
import { checked } from './messages.ts'

/** A socket whose peer reads when the test says so. */
export class FakeTransport implements Transport {
  readonly kind = 'websocket'
  readonly lowestHighWaterMark = 0
  readonly frames: Frame[] = []
  readonly received: ServerMessage[] = []
  buffered = 0
  /** Whether the peer reads. */
  reading = true
  paused = false
  pings = 0
  closedWith: { code: number; reason: string } | undefined
  terminated = false

  send(frame: Frame): void {
    this.frames.push(frame)
    this.received.push(checked(frame.text))
    if (!this.reading) this.buffered += frame.wire.length
  }

  ping(): void {
    this.pings++
  }

  pause(): void {
    this.paused = true
  }

  resume(): void {
    this.paused = false
  }

  close(code: number, reason: string): void {
    this.closedWith = { code, reason }
  }

  terminate(): void {
    this.terminated = true
  }

  /** What came since the last call. */
  take(): ServerMessage[] {
    return this.received.splice(0)
  }
}
