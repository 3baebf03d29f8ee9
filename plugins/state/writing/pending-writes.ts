import type { Clock, Timer } from '../../support/clock.ts'
import {
  StateClosedError,
  StateConflictError,
  StateOutcomeUnknownError,
  StateTimeoutError,
} from '../../support/errors.ts'
import type { SequencerCounts } from './counts.ts'
import type { Committed, Place, Write } from './write.ts'

export interface PendingWritesOptions {
  space: string
  clock: Clock
  /** Milliseconds from the call of a write to its outcome. */
  timeout: number
  counts: SequencerCounts
  /** Some have got their outcome by the deadline. */
  onExpired: () => void
}

/** Writes that are over may make up half of the list before they are taken out, and these many more. */
const SLACK = 256

/** Writes between their call and their outcome. Each gets one, by its deadline at the latest. */
export class PendingWrites {
  readonly #options: PendingWritesOptions
  /**
   * In the order of their deadlines. A write that is over leaves its place empty: what it wrote may be large. No `Set`:
   * each of its tables refers to the next one, so that one which has grown old holds all the writes of all that follow
   * it until the whole heap is collected.
   */
  #places: Place[] = []
  #size = 0
  #deadlines: Timer | undefined

  constructor(options: PendingWritesOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#size
  }

  add(write: Write): void {
    const { clock, timeout } = this.#options
    if (this.#places.length > 2 * this.#size + SLACK) this.#places = this.#places.filter(({ write }) => write)
    write.place = { write }
    this.#places.push(write.place)
    this.#size++
    this.#deadlines ??= clock.after(timeout, () => this.#expire())
  }

  /** @param committed absent also when there was nothing to do */
  settle(write: Write, error: unknown, committed?: Committed): void {
    this.drop(write)
    if (error === undefined) write.resolve(committed)
    else {
      if (!write.settled) this.#options.counts.refused++
      write.reject(error)
    }
  }

  /** It has got its outcome elsewhere, from its middleware. */
  drop(write: Write): void {
    if (!write.place) return
    write.place.write = undefined
    write.place = undefined
    this.#size--
  }

  /** Those that are left were never sent, or their outcome is unknown. */
  close(): void {
    const { space } = this.#options
    this.#deadlines?.cancel()
    for (const { write } of this.#places) {
      if (!write) continue
      this.settle(write, write.sent ? new StateOutcomeUnknownError(space) : new StateClosedError(space))
    }
  }

  #expire(): void {
    const { clock, space, timeout, counts, onExpired } = this.#options
    this.#deadlines = undefined
    const now = clock.monotonic()
    for (const { write } of this.#places) {
      if (!write) continue
      if (write.deadline > now) {
        this.#deadlines = clock.after(write.deadline - now, () => this.#expire())
        break
      }
      this.drop(write)
      if (write.settled) continue
      if (write.sent) counts.unknown++
      else counts.timeouts++
      write.reject(write.sent ? new StateOutcomeUnknownError(space) : new StateTimeoutError(space, timeout))
    }
    onExpired()
  }
}

/** Writes that wait to be committed, in the order of their calls. */
export class WriteQueue {
  readonly #writerId: string
  #writes: Write[] = []

  /** @param writerId what the transactions of these writes begin with */
  constructor(writerId: string) {
    this.#writerId = writerId
  }

  get length(): number {
    return this.#writes.length
  }

  get first(): Write | undefined {
    return this.#writes[0]
  }

  add(write: Write): void {
    this.#writes.push(write)
  }

  shift(): void {
    this.#writes.shift()
  }

  /** What was taken out and has not been committed goes before all others again. */
  putBack(writes: Write[]): void {
    this.#writes = writes.concat(this.#writes)
  }

  /** Takes out the write of this transaction, which turns out to have been committed. */
  take(tx: string): Write | undefined {
    if (!tx.startsWith(this.#writerId)) return undefined
    const index = this.#writes.findIndex((write) => write.tx === tx)
    return index < 0 ? undefined : this.#writes.splice(index, 1)[0]
  }

  /** Takes out those that a store may have been given before this revision. */
  takeDoubtful(revision: number): Write[] {
    const isDoubtful = ({ doubtfulSince = revision }: Write) => doubtfulSince + 1 < revision
    const doubtful = this.#writes.filter(isDoubtful)
    if (doubtful.length > 0) this.#writes = this.#writes.filter((write) => !isDoubtful(write))
    return doubtful
  }

  /** Has values that depend on the state computed again: it has changed while they waited. */
  restart(): void {
    for (const write of this.#writes) {
      if (!write.ops && !write.pending) return
      if (write.dependsOnView) write.restart(new StateConflictError('*', 'another', 'the expected one'))
    }
  }
}
