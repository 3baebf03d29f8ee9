import type { Clock, Timer } from '../support/clock.ts'
import { StateOutcomeUnknownError, StateTimeoutError } from '../support/errors.ts'
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

/** Writes between their call and their outcome. Each gets one, by its deadline at the latest. */
export class OpenWrites {
  readonly #options: OpenWritesOptions
  /** In the order of their deadlines. */
  readonly #writes = new Set<Write>()
  #deadlines: Timer | undefined

  constructor(options: OpenWritesOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#writes.size
  }

  add(write: Write): void {
    const { clock, timeout } = this.#options
    this.#writes.add(write)
    this.#deadlines ??= clock.after(timeout, () => this.#expire())
  }

  /** @param committed absent also when there was nothing to do */
  settle(write: Write, error: unknown, committed?: Committed): void {
    this.#writes.delete(write)
    if (error === undefined) write.resolve(committed)
    else {
      if (!write.settled) this.#options.counts.refused++
      write.reject(error)
    }
  }

  /** It has got its outcome elsewhere, from its middleware. */
  drop(write: Write): void {
    this.#writes.delete(write)
  }

  close(error: Error): void {
    this.#deadlines?.cancel()
    for (const write of this.#writes) this.settle(write, error)
  }

  #expire(): void {
    const { clock, space, timeout, counts, onExpired } = this.#options
    this.#deadlines = undefined
    const now = clock.monotonic()
    for (const write of this.#writes) {
      if (write.deadline > now) {
        this.#deadlines = clock.after(write.deadline - now, () => this.#expire())
        break
      }
      this.#writes.delete(write)
      if (write.settled) continue
      if (write.sent) counts.unknown++
      else counts.timeouts++
      write.reject(write.sent ? new StateOutcomeUnknownError(space, timeout) : new StateTimeoutError(space, timeout))
    }
    onExpired()
  }
}
