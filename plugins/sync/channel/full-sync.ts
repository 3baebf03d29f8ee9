import type { Json, Position } from '../../../openapi/schemas/state.ts'
import { SharedSequence } from '../../support/shared-sequence.ts'
import { Frame } from '../transports/frame.ts'

/** Frames on their way to subscriptions, which send them one after the other, as fast as the peer takes them. */
export interface FrameSource {
  readonly frames: SharedSequence<Frame>
  /** What a peer has after the last one. */
  readonly position: Position
  /** A subscription has begun to send them. */
  enter(): void
  /** It has sent them all, or stopped. */
  leave(): void
}

/**
 * A whole topic at one position, in frames of bounded size that are made when the first subscription comes to them,
 * and shared by all. While a subscription is amid them, what they are made from is held in memory.
 */
export class FullSync implements FrameSource {
  readonly frames: SharedSequence<Frame>
  readonly position: Position
  readonly #onUnused: () => void
  #readers = 0

  /** @param onUnused runs each time the last of its readers is gone */
  constructor(frames: Iterable<Frame>, position: Position, onUnused: () => void) {
    this.frames = new SharedSequence(frames)
    this.position = position
    this.#onUnused = onUnused
  }

  get readers(): number {
    return this.#readers
  }

  /** Everything is in one frame. */
  get short(): boolean {
    return this.frames.at(1) === undefined
  }

  enter(): void {
    this.#readers++
  }

  leave(): void {
    if (--this.#readers === 0) this.#onUnused()
  }
}

/**
 * @param head what all frames of the topic have in common
 * @param chunk characters after which a further frame is begun
 */
export function* fullSyncFrames(
  head: string,
  { epoch, revision }: Position,
  entries: readonly [string, Json][],
  chunk: number,
): Generator<Frame> {
  const start = `{"type":"fullSync",${head},"epoch":${JSON.stringify(epoch)},"revision":${revision}`
  let index = 0
  let text = ''
  for (const [key, value] of entries) {
    const entry = `${JSON.stringify(key)}:${JSON.stringify(value)}`
    if (text !== '' && text.length + entry.length > chunk) {
      yield new Frame(`${start},"part":${index++},"more":true,"state":{${text}}}`)
      text = entry
    } else {
      text = text === '' ? entry : `${text},${entry}`
    }
  }
  // Only the last one completes the position that a stream may be continued from.
  const part = index === 0 ? '' : `,"part":${index}`
  yield new Frame(`${start}${part},"state":{${text}}}`, `${epoch}.${revision}`)
}
