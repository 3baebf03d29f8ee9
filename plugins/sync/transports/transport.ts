import type { Frame } from './frame.ts'

/** What a connection needs of a socket, so that WebSockets and event streams share the engine. */
export interface Transport {
  readonly kind: 'websocket' | 'event-stream'
  /** Never blocks and never throws; what the peer does not take is buffered and counted in `buffered`. */
  send(frame: Frame): void
  /** Bytes that the peer has not taken yet. */
  readonly buffered: number
  /** Below this, `buffered` may never fall visibly: the kernel signals a drain only above it. */
  readonly lowestHighWaterMark: number
  /** Asks the peer for a sign of life. */
  ping(): void
  /** Takes no more from the peer for now, so that one who does not read its answers cannot pile them up here. */
  pause(): void
  resume(): void
  /** Says goodbye; the peer may take its time or never answer. */
  close(code: number, reason: string): void
  /** Ends it now. */
  terminate(): void
}
