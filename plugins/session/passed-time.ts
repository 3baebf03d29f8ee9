import type { Clock } from '../support/clock.ts'

/** Milliseconds that a wall clock may go back without a word: time servers correct so much now and then. */
const TOLERANCE = 1_000

/**
 * The wall clock for questions to a store of sessions. When it goes back (by an administrator, a time server, a host
 * that resumes), what had expired by the latest time that was seen is ended for good before anything else is asked:
 * an expired session stays expired.
 */
export class PassedTime {
  readonly #clock: Clock
  readonly #endExpired: (until: number) => Promise<unknown>
  #latest = Number.NEGATIVE_INFINITY
  #ending: Promise<void> | undefined

  /** @param endExpired removes every session that had expired at `until` */
  constructor(clock: Clock, endExpired: (until: number) => Promise<unknown>) {
    this.#clock = clock
    this.#endExpired = endExpired
  }

  /**
   * Asks with the time that it is. Without `async`: this is on the way of each request that has a session.
   * Rejects like `endExpired` while that fails: better no answer than a session that had ended.
   */
  ask<T>(question: (now: number) => Promise<T>): Promise<T> {
    const now = this.#clock.now()
    if (this.#ending === undefined && now >= this.#latest - TOLERANCE) {
      if (now > this.#latest) this.#latest = now
      return question(this.#latest)
    }
    this.#ending ??= this.#goBack().finally(() => {
      this.#ending = undefined
    })
    return this.#ending.then(() => this.ask(question))
  }

  async #goBack(): Promise<void> {
    const latest = this.#latest
    await this.#endExpired(latest)
    this.#latest = Math.min(latest, this.#clock.now())
  }
}
