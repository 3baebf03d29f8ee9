import { storageFailure } from '../storage/failure.ts'
import type { Clock } from '../support/clock.ts'
import { within } from '../support/deadline.ts'
import { StorageFullError, StorageUnavailableError } from '../support/errors.ts'

/** A failure that took so long, in milliseconds, is a store that hangs rather than one that refuses. */
const SLOW_FAILURE = 150
/** So many slow failures in a row, and the store is not asked for a while. */
const FAILURES_TO_OPEN = 5
/** For how long, in milliseconds; then one question finds out. It is what `Retry-After` says, too. */
const OPEN_FOR = 1_000

/**
 * Between the engine and its store: a deadline for each answer, one kind of error for each failure, and, while the
 * store hangs, an answer at once instead of one more request that waits for the deadline.
 */
export class StoreGuard {
  readonly #clock: Clock
  readonly #deadline: number
  #slowFailures = 0
  #openUntil = Number.NEGATIVE_INFINITY

  /** @param deadline in milliseconds; 0: the store keeps one by itself */
  constructor(clock: Clock, deadline: number) {
    this.#clock = clock
    this.#deadline = deadline
  }

  /**
   * Without `async`, and with what becomes of the answer in the same step: this is on the way of each request that has
   * a session.
   * @throws STATEFUL_STORAGE_UNAVAILABLE or STATEFUL_STORAGE_FULL with the store's error as `cause`
   */
  ask<T, Result>(question: () => Promise<T>, read: (answer: T) => Result): Promise<Result> {
    const asked = this.#clock.monotonic()
    if (asked < this.#openUntil) return Promise.reject(new StorageUnavailableError('sessions: the store hangs'))
    // Requests that come while this question is open do not wait for it as well.
    if (this.#slowFailures >= FAILURES_TO_OPEN) this.#openUntil = asked + OPEN_FOR
    let answer: Promise<T>
    try {
      answer = question()
    } catch (error) {
      answer = Promise.reject(error)
    }
    return this.#inTime(answer).then(
      (value) => {
        if (this.#slowFailures > 0) {
          this.#slowFailures = 0
          this.#openUntil = Number.NEGATIVE_INFINITY
        }
        return read(value)
      },
      (cause: unknown) => {
        throw this.#failed(cause, asked)
      },
    )
  }

  #inTime<T>(answer: Promise<T>): Promise<T> {
    const ms = this.#deadline
    if (ms === 0) return answer
    return within(answer, ms, this.#clock, () => new StorageUnavailableError(`sessions: no answer within ${ms} ms`))
  }

  #failed(cause: unknown, asked: number): Error {
    const failed = this.#clock.monotonic()
    const failure = storageFailure(cause, 'sessions')
    if (failed - asked >= SLOW_FAILURE && !(failure instanceof StorageFullError)) {
      this.#slowFailures += 1
      if (this.#slowFailures >= FAILURES_TO_OPEN) this.#openUntil = failed + OPEN_FOR
    }
    return failure
  }
}
