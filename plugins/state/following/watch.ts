import type { Commit, Position } from '../../../openapi/schemas/state.ts'
import type { Clock } from '../../support/clock.ts'
import { StateOverloadedError } from '../../support/errors.ts'
import { namesFor } from '../../support/options.ts'
import type { OpOf } from '../values/key-types.ts'
import type { ResetReason } from './events.ts'

/** Options of `watch`. */
export interface WatchOptions {
  /** Start after this position instead of at the call of `watch`. */
  since?: Position
  /** Ends the watch. */
  signal?: AbortSignal
  /** Events that may wait for their reader. Default 10,000. */
  buffer?: number
  /**
   * Milliseconds after which a watch that has nothing to tell says how far it is. Its position then advances also
   * while others write other keys, so that its reader can come back after the history has been trimmed. Default: never.
   */
  progress?: number
}

export const WATCH_OPTIONS = namesFor<WatchOptions>({ since: true, signal: true, buffer: true, progress: true })

/** Of operations on keys with this prefix, which have the types that were declared for all such keys. */
export type WatchEvent<Prefix extends string = string> =
  | { type: 'commit'; position: Position; prev: number; ops: OpOf<`${Prefix}${string}`>[]; commit: Commit }
  /** The reader has everything up to this position. */
  | { type: 'progress'; position: Position }
  /** The history does not continue what was seen: start over from a snapshot of this position or later. */
  | { type: 'reset'; reason: ResetReason; position: Position }

interface Watched {
  readonly name: string
  readonly ready: Promise<void>
  readonly epoch: string
  readonly revision: number
  onCommit(listener: (commit: Commit) => void): () => void
  onReset(listener: (reason: ResetReason) => void): () => void
  history(since: Position): Promise<Commit[] | undefined>
}

/**
 * Every commit that touches the prefix, in order, none twice and none left out; what was missed is taken from the
 * history.
 * @throws STATEFUL_STATE_OVERLOADED when the reader is so slow that there would be a gap
 */
export async function* watchCommits<Prefix extends string>(
  space: Watched,
  prefix: Prefix,
  clock: Clock,
  { since, signal, buffer = 10_000, progress }: WatchOptions,
): AsyncGenerator<WatchEvent<Prefix>, undefined, undefined> {
  await space.ready
  const waiting: WatchEvent<Prefix>[] = []
  let overflowed = false
  let wake = () => {}
  const push = (event: WatchEvent<Prefix>) => {
    if (waiting.length < buffer) waiting.push(event)
    else overflowed = true
    wake()
  }
  const position = () => ({ epoch: space.epoch, revision: space.revision })
  const toEvent = (commit: Commit): WatchEvent<Prefix> | undefined => {
    const ops = commit.ops.filter(({ key }) => key.startsWith(prefix)) as OpOf<`${Prefix}${string}`>[]
    const { epoch, revision, prev } = commit
    return ops.length > 0 ? { type: 'commit', position: { epoch, revision }, prev, ops, commit } : undefined
  }
  /** Where the reader knows that it is. */
  let told = since ?? position()
  const stops = [
    space.onCommit((commit) => {
      const event = toEvent(commit)
      if (event) push(event)
    }),
    space.onReset((reason) => push({ type: 'reset', reason, position: position() })),
  ]
  // Only while nothing waits: then everything that this replica has been applied to has been told.
  const quiet = () => {
    const here = position()
    if (waiting.length > 0 || overflowed) return
    if (here.epoch !== told.epoch || here.revision > told.revision) push({ type: 'progress', position: here })
  }
  const abort = () => wake()
  signal?.addEventListener('abort', abort)
  try {
    // What came in while history was read is in both; the revision tells.
    let seen = 0
    if (since) {
      const missed = await space.history(since)
      if (!missed) {
        told = position()
        seen = told.revision
        yield { type: 'reset', reason: 'resync', position: told }
      }
      for (const commit of missed ?? []) {
        seen = commit.revision
        const event = toEvent(commit)
        if (!event) continue
        told = event.position
        yield event
      }
    }
    if (progress !== undefined) stops.push(every(clock, progress, quiet))
    while (!signal?.aborted) {
      const event = waiting.shift()
      if (event?.type === 'reset') seen = 0
      if (event && (event.type !== 'commit' || event.position.revision > seen)) {
        told = event.position
        yield event
      } else if (event) continue
      else if (overflowed) throw new StateOverloadedError(space.name, buffer)
      else {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    }
    return undefined
  } finally {
    signal?.removeEventListener('abort', abort)
    for (const stop of stops) stop()
  }
}

function every(clock: Clock, ms: number, run: () => void): () => void {
  const timer = clock.every(ms, run)
  return () => timer.cancel()
}
