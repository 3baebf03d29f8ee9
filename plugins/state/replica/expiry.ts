import type { Clock, Timer } from '../../support/clock.ts'
import type { Entry } from '../log/contract.ts'

/** Long timers overflow; looking again is cheap. */
const LONGEST_WAIT = 60_000

export interface ExpiryOptions {
  clock: Clock
  /** From 0 inclusive to 1 exclusive. */
  random: () => number
  /** Milliseconds over which instances spread their attempts; 0 when there is only one. */
  spread: number
  /** The key is due, if it still stands at this revision. Called again until it is gone. */
  onDue: (key: string, revision: number) => void
}

/**
 * Says when keys are due. Every instance of a shared log does: the first one deletes, the guard turns the others
 * away. A random delay lets mostly one of them try.
 */
export class Expiry {
  readonly #options: ExpiryOptions
  readonly #due = new Map<string, { at: number; revision: number }>()
  #timer: { at: number; timer: Timer } | undefined
  #stopped = false

  constructor(options: ExpiryOptions) {
    this.#options = options
  }

  note(key: string, entry: Entry | undefined): void {
    if (entry?.expiresAt === undefined) {
      if (this.#due.size > 0) this.#due.delete(key)
      return
    }
    this.#due.set(key, { at: entry.expiresAt, revision: entry.revision })
    this.#arm(entry.expiresAt)
  }

  reset(entries: Iterable<[string, Entry]>): void {
    this.#due.clear()
    for (const [key, entry] of entries) this.note(key, entry)
  }

  stop(): void {
    this.#stopped = true
    this.#timer?.timer.cancel()
    this.#due.clear()
  }

  #arm(at: number): void {
    if (this.#stopped || (this.#timer && this.#timer.at <= at)) return
    this.#timer?.timer.cancel()
    const { clock, random, spread } = this.#options
    const wait = Math.min(Math.max(at - clock.now(), 0) + random() * spread, LONGEST_WAIT)
    this.#timer = { at, timer: clock.after(Math.ceil(wait), () => this.#look()) }
  }

  #look(): void {
    this.#timer = undefined
    const now = this.#options.clock.now()
    let next = Number.POSITIVE_INFINITY
    for (const [key, { at, revision }] of this.#due) {
      if (at <= now) this.#options.onDue(key, revision)
      // One that could not be deleted now (the store is down) is tried again.
      next = Math.min(next, at <= now ? now + 1_000 : at)
    }
    if (next < Number.POSITIVE_INFINITY) this.#arm(next)
  }
}
