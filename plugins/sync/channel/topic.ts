import type { Op, Position } from '../../../openapi/schemas/state.ts'
import type { Client } from '../../support/client-limits.ts'
import { Frame } from '../transports/frame.ts'
import { type TopicFilter, topicId } from './filter.ts'
import type { FrameSource } from './full-sync.ts'

/** A change as it goes out, serialised once. */
export interface Outgoing {
  readonly prev: number
  readonly revision: number
  readonly text: string
  readonly opsText: string
  readonly clientId: string | undefined
  readonly seq: number | undefined
}

export function outgoing(prev: number, revision: number, opsText: string, clientId?: string, seq?: number): Outgoing {
  const author =
    clientId === undefined ? '' : `,"clientId":${JSON.stringify(clientId)}${seq === undefined ? '' : `,"seq":${seq}`}`
  const text = `{"prev":${prev},"revision":${revision},"ops":${opsText}${author}}`
  return { prev, revision, opsText, clientId, seq, text }
}

/**
 * One part of a space with its followers. Its changes form a chain of their own: each names the revision before
 * it *within the topic*, so that a follower of one key notices a gap although it never hears of other keys.
 *
 *     space     7 ── 8 ── 9 ── 10        8 and 10 touch `a`, 9 touches `b`
 *     topic a   7 ── 8 ──────── 10       the change of revision 10 says `prev: 8`
 */
export class Topic {
  readonly id: string
  readonly space: string
  readonly filter: TopicFilter
  readonly subscriptions = new Set<Subscription>()
  /** The end of the chain: what the next change will name as `prev`. */
  revision: number
  /** The epoch that the end of the chain belongs to, for those who got it. */
  epoch: string
  pending: Outgoing[] = []
  /** What all frames of the topic have in common. */
  readonly head: string

  constructor(space: string, filter: TopicFilter, { epoch, revision }: Position) {
    this.id = topicId(filter)
    this.space = space
    this.filter = filter
    this.epoch = epoch
    this.revision = revision
    this.head = JSON.stringify({ space, ...filter }).slice(1, -1)
  }

  get whole(): boolean {
    return this.id === ''
  }

  matches(key: string): boolean {
    if (this.filter.key !== undefined) return key === this.filter.key
    return this.filter.prefix === undefined || key.startsWith(this.filter.prefix)
  }

  /** The operations that concern this topic; the same array when all do. */
  select(ops: Op[]): Op[] {
    return this.whole || ops.every((op) => this.matches(op.key)) ? ops : ops.filter((op) => this.matches(op.key))
  }

  stateChange(epoch: string, changes: Outgoing[], since?: Position): Frame {
    const from = since ? `"since":${JSON.stringify(since)},` : ''
    const texts = changes.map(({ text }) => text).join(',')
    return new Frame(
      `{"type":"stateChange",${this.head},"epoch":${JSON.stringify(epoch)},${from}"changes":[${texts}]}`,
      `${epoch}.${changes[changes.length - 1]?.revision ?? this.revision}`,
    )
  }
}

/** What a channel needs of a connection: where frames go, and who waits for an ack amid them. */
export interface Recipient {
  readonly identity: Client
  /** More is buffered than may be: changes are held back until it drains. */
  readonly isFull: boolean
  send(frame: Frame): void
  end(code: 1011 | 1013, reason: string): void
  readonly writes: {
    /** Whether any of these changes is a write that waits for its ack. */
    include(changes: Outgoing[]): boolean
    /** Answers the write that this change is. */
    acknowledge(change: Outgoing, epoch: string): void
    /** The subscription of a whole space is live again, or is no more. */
    release(space: string): void
  }
}

/**
 * One connection's place in one topic. This is all that is kept of a slow one.
 *
 *     catching ──── the last frame of the answer is sent ────▶ live
 *        ▲  │                                                   │
 *        │  └──────── the socket is full ──▶ lagging ◀──────────┘  the socket is full
 *        └────────── the socket drains ─────────┘
 *
 * - catching: an answer is being prepared, or is sent frame by frame (`sending`) and waits wherever the socket is full.
 * - live: gets every change; `position` is the end of the topic's chain.
 * - lagging: nothing is queued for it, and when it drains it gets one range from `position` to now.
 *
 * `waitingSince` is set while it waits for its socket, in whichever mode, and cleared when it is live; `attempt` rises
 * with each catching up, so that a slower, earlier one notices that it was overtaken.
 */
export class Subscription {
  readonly connection: Recipient
  readonly topic: Topic
  /** Every revision or none: it is never conflated, but ended with a resume token when the peer is too slow. */
  readonly log: boolean
  mode: 'live' | 'catching' | 'lagging' = 'catching'
  /** The end of what was sent; `undefined` before the first full sync and when only a full sync can help. */
  position: Position | undefined
  /** Gives its space back. */
  readonly release: () => void
  /** A long answer that is under way: its frames may be shared, only the place in them is this subscription's. */
  #unsent: { source: FrameSource; next: number } | undefined
  /** In monotonic milliseconds. */
  waitingSince: number | undefined
  attempt = 0
  ended = false

  constructor(connection: Recipient, topic: Topic, log: boolean, release: () => void = () => {}) {
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
