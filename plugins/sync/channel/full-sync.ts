import type { Json, Position } from '../../../openapi/schemas/state.ts'
import type { ByteBudget, Client } from '../../support/client-limits.ts'
import { SharedSequence } from '../../support/shared-sequence.ts'
import { Frame } from '../transports/frame.ts'
import type { SyncSpace } from './space.ts'

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

/** What a full sync needs of a topic. */
interface Part {
  readonly head: string
  readonly whole: boolean
  matches(key: string): boolean
}

/**
 * The full syncs of one space. All who ask for the same content share one, as long as it is the present content or
 * somebody is amid it:
 *
 *     asked for ── one frame ──▶ kept for who comes before the next commit ──▶ forgotten
 *         └── several ──▶ read by some, old or not ── the last of them has all ──▶ forgotten
 */
export class FullSyncs {
  readonly #space: SyncSpace
  readonly #chunk: number
  readonly #bytes: ByteBudget
  readonly #latest = new Map<Part, FullSync>()
  /** Those of one frame, in the middle of which no reader stands. */
  readonly #kept = new Set<Part>()

  /**
   * @param chunk characters of a frame
   * @param bytes for those of several frames that are under way, of all spaces
   */
  constructor(space: SyncSpace, chunk: number, bytes: ByteBudget) {
    this.#space = space
    this.#chunk = chunk
    this.#bytes = bytes
  }

  /**
   * @param position where the topic is, and the space
   * @throws STATEFUL_TOO_MANY_AT_ONCE, STATEFUL_OVERLOADED
   */
  of(part: Part, position: Position, client: Client): FullSync {
    const known = this.#latest.get(part)
    if (known?.position.epoch === position.epoch && known.position.revision === position.revision) return known
    const all = Object.entries(this.#space.snapshot().state)
    const entries = part.whole ? all : all.filter(([key]) => part.matches(key))
    const bytes = Math.ceil((this.#space.bytes * entries.length) / Math.max(all.length, 1))
    let release = () => {}
    if (bytes > this.#chunk) {
      try {
        release = this.#bytes.take(client, bytes)
      } catch (error) {
        // Too many different ones are under way: an older one, and then what came after it, leads to the same.
        if (known && known.readers > 0 && known.position.epoch === position.epoch) return known
        throw error
      }
    }
    const fullSync: FullSync = new FullSync(fullSyncFrames(part.head, position, entries, this.#chunk), position, () => {
      release()
      if (this.#latest.get(part) === fullSync) this.#latest.delete(part)
    })
    this.#latest.set(part, fullSync)
    if (fullSync.short) this.#kept.add(part)
    return fullSync
  }

  /** Something was committed. */
  outdate(): void {
    for (const part of this.#kept) if (this.#latest.get(part)?.readers === 0) this.#latest.delete(part)
    this.#kept.clear()
  }

  /** It has no followers any more. */
  forget(part: Part): void {
    this.#latest.delete(part)
    this.#kept.delete(part)
  }

  /** What there was is no part of the present history. */
  clear(): void {
    this.#latest.clear()
    this.#kept.clear()
  }
}

/**
 * @param head what all frames of the topic have in common
 * @param chunk characters after which a further frame is begun
 */
function* fullSyncFrames(
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
