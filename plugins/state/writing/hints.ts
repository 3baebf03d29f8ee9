import type { Hint, LogRecord } from '../log/contract.ts'
import type { Replica } from '../replica/replica.ts'

/** Hints that wait while the sequencer is busy; of more, only that the log must be read is remembered. */
const MOST_WAITING = 64

/** What others have told of the log, and whether it must be read to find out more. */
export class Hints {
  readonly #replica: Replica
  #waiting: Hint[] = []
  #stale = false

  constructor(replica: Replica) {
    this.#replica = replica
  }

  /** The log must be read: something was missed, or may have been. */
  get stale(): boolean {
    return this.#stale
  }

  /** Whether there is something that the replica does not hold yet. */
  get pending(): boolean {
    // Mostly it was told of its own commits, and has applied them since.
    while (this.#waiting[0] && this.#holds(this.#waiting[0])) this.#waiting.shift()
    return this.#stale || this.#waiting.length > 0
  }

  /** @param hint absent when all that is known is that the log may stand elsewhere */
  add(hint?: Hint): void {
    if (hint && this.#waiting.length < MOST_WAITING) this.#waiting.push(hint)
    else this.#stale = true
  }

  /** What was told is not enough. */
  invalidate(): void {
    this.#stale = true
  }

  /** The log is about to be read, so what was told before has been heard. */
  clear(): void {
    this.#stale = false
    this.#waiting = []
  }

  /** The records that continue the replica, if they came with a hint; what does not continue makes it stale. */
  next(): LogRecord[] | undefined {
    if (!this.pending || this.#stale) return undefined
    const { epoch, revision } = this.#replica
    const hint = this.#waiting.shift() as Hint
    if (hint.epoch === epoch && hint.prev === revision) {
      const records = recordsOf(hint)
      if (records?.length === hint.revision - hint.prev) return records
    }
    this.#stale = true
    return undefined
  }

  #holds({ epoch, revision }: Hint): boolean {
    return epoch === this.#replica.epoch && revision <= this.#replica.revision
  }
}

/** What cannot be read is as good as lost. */
function recordsOf(hint: Hint): LogRecord[] | undefined {
  try {
    return hint.records()
  } catch {
    return undefined
  }
}
