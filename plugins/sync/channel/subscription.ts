import type { Position } from '../../../openapi/schemas/state.ts'
import type { Connection } from '../connection/connection.ts'
import type { Frame } from '../transports/frame.ts'
import type { FrameSource } from './full-sync.ts'
import type { Topic } from './topic.ts'

/** One connection's place in one topic. This is all that is kept of a slow one. */
export class Subscription {
  readonly connection: Connection
  readonly topic: Topic
  /** Every revision or none: it is never conflated, but ended with a resume token when the peer is too slow. */
  readonly log: boolean
  /**
   * live: gets every change. catching: an answer is being prepared or sent. lagging: the socket is full; nothing is
   * queued for it, and when it drains it gets one range from `position` to now.
   */
  mode: 'live' | 'catching' | 'lagging' = 'catching'
  /** The end of what was sent; `undefined` before the first full sync and when only a full sync can help. */
  position: Position | undefined
  /** Gives its space back. */
  readonly release: () => void
  /** A long answer that is under way: its frames may be shared, only the place in them is this subscription's. */
  #unsent: { source: FrameSource; next: number } | undefined
  /** Monotonic time since when it waits for its socket. */
  waitingSince: number | undefined
  /** Rises with each catching up, so that a slower, earlier one notices that it was overtaken. */
  attempt = 0
  ended = false

  constructor(connection: Connection, topic: Topic, log: boolean, release: () => void = () => {}) {
    this.release = release
    this.connection = connection
    this.topic = topic
    this.log = log
  }

  /** Whether a long answer is under way. */
  get sending(): boolean {
    return this.#unsent !== undefined
  }

  begin(source: FrameSource): void {
    this.stop()
    source.enter()
    this.#unsent = { source, next: 0 }
  }

  /** Takes the next frame of the long answer; `undefined` when there is none. */
  nextFrame(): Frame | undefined {
    const { source, next } = this.#unsent ?? {}
    const frame = source?.frames.at(next ?? 0)
    if (frame && this.#unsent) this.#unsent.next++
    return frame
  }

  /** The long answer has been sent, or is of no use any more. @returns the position after it */
  stop(): Position | undefined {
    const source = this.#unsent?.source
    this.#unsent = undefined
    source?.leave()
    return source?.position
  }
}
