import type { Clock, Timer } from '../../support/clock.ts'
import { StateClosedError, StateOutcomeUnknownError, StateTimeoutError } from '../../support/errors.ts'
import type { SequencerCounts } from './sequencer-types.ts'
import type { Committed, Write } from './write.ts'

export interface OpenWritesOptions {
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
export class OpenWrites {
  readonly #options: OpenWritesOptions
  /**
   * In the order of their deadlines, among those that are over. No `Set`: each of its tables refers to the next one,
   * so that one which has grown old holds all the writes of all that follow it until the whole heap is collected.
   */
  #writes: Write[] = []
  #size = 0
  #deadlines: Timer | undefined

  constructor(options: OpenWritesOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#size
  }

  add(write: Write): void {
    const { clock, timeout } = this.#options
    if (this.#writes.length > 2 * this.#size + SLACK) this.#writes = this.#writes.filter(({ open }) => open)
    this.#writes.push(write)
    write.open = true
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
    if (!write.open) return
    write.open = false
    this.#size--
  }

  /** Those that are left were never sent, or nobody can tell what became of them. */
  close(): void {
    const { space } = this.#options
    this.#deadlines?.cancel()
    for (const write of this.#writes) {
      if (!write.open) continue
      this.settle(write, write.sent ? new StateOutcomeUnknownError(space) : new StateClosedError(space))
    }
  }

  #expire(): void {
    const { clock, space, timeout, counts, onExpired } = this.#options
    this.#deadlines = undefined
    const now = clock.monotonic()
    for (const write of this.#writes) {
      if (!write.open) continue
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
