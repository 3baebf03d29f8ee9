import type { Clock } from '../../support/clock.ts'

interface Turn {
  /** Those who come next, in the order of their calls. */
  readonly waiting: (() => void)[]
}

/**
 * Who computes a new value of a key asynchronously does so one after the other: all at once, every one but the first
 * would find its work in vain, and n of them would run n² times.
 *
 *   (free) --take--> taken --release, or `longest` later--> (free), or taken by the next who waits
 *
 * It decides who begins, not who wins: that is decided by the revision that was read.
 */
export class Turns {
  readonly #clock: Clock
  readonly #longest: number
  readonly #taken = new Map<string, Turn>()

  /** @param longest milliseconds after which the next one begins although the one before has not ended */
  constructor(clock: Clock, longest: number) {
    this.#clock = clock
    this.#longest = longest
  }

  isTaken(key: string): boolean {
    return this.#taken.has(key)
  }

  /** Of a key that is free. @returns ends the turn; calling it again does nothing */
  take(key: string): () => void {
    const turn: Turn = { waiting: [] }
    this.#taken.set(key, turn)
    return this.#begin(key, turn)
  }

  /** Resolves when it is the caller's turn, to what ends it. */
  wait(key: string): Promise<() => void> {
    const turn = this.#taken.get(key)
    if (!turn) return Promise.resolve(this.take(key))
    return new Promise((resolve) => turn.waiting.push(() => resolve(this.#begin(key, turn))))
  }

  #begin(key: string, turn: Turn): () => void {
    let ended = false
    const end = () => {
      if (ended) return
      ended = true
      timer.cancel()
      const next = turn.waiting.shift()
      if (next) next()
      else this.#taken.delete(key)
    }
    const timer = this.#clock.after(this.#longest, end)
    return end
  }
}
