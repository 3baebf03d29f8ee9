import type { Position } from '../../openapi/schemas/state.ts'
import type { Connection } from './connection.ts'
import type { Topic } from './topic.ts'

/** One connection's place in one topic. This is all that is kept of a slow one. */
export class Subscription {
  readonly connection: Connection
  readonly topic: Topic
  /**
   * live: gets every change. catching: an answer is being prepared. lagging: the socket is full; nothing is
   * queued for it, and when it drains it gets one range from `position` to now.
   */
  mode: 'live' | 'catching' | 'lagging' = 'catching'
  /** The end of what was sent; `undefined` before the first full sync and when only a full sync can help. */
  position: Position | undefined
  /** Monotonic time since when it lags. */
  laggingSince = 0
  /** Rises with each catching up, so that a slower, earlier one notices that it was overtaken. */
  attempt = 0
  ended = false

  constructor(connection: Connection, topic: Topic) {
    this.connection = connection
    this.topic = topic
  }
}
