import type { Clock } from '../../support/clock.ts'

/** Milliseconds that a writer which was faster leaves to the others: a round trip and what they compute. */
const TIME_TO_GIVE_WAY = 5
/** Waits that are left out at most, when those before were in vain. */
const MOST_LEFT_OUT = 63

/**
 * Two writers that both go on at once lose every second batch to each other. So the one that was faster waits until
 * it hears of the other one's, and takes more along next time: they take turns. Who is alone never waits; who
 * waits in vain, because the other one writes seldom or is far away, waits more and more seldom.
 */
export class Contention {
  readonly #clock: Clock
  #contended = false
  #end: (() => void) | undefined
  /** How many waits are left out after the last one, which was in vain, and how many of those are still to come. */
  #pause = 0
  #toLeaveOut = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Another writer has committed. */
  contend(): void {
    this.#contended = true
  }

  /** Ends the wait: the other one was heard of, or there is something else to do. */
  goOn(): void {
    this.#end?.()
  }

  /** After an own commit. If another writer has committed since the one before, resolves at `goOn` or a little later. */
  async giveWay(): Promise<void> {
    if (!this.#contended) return
    this.#contended = false
    if (this.#toLeaveOut > 0) {
      this.#toLeaveOut--
      return
    }
    let inVain = true
    await new Promise<void>((resolve) => {
      const timer = this.#clock.after(TIME_TO_GIVE_WAY, resolve)
      this.#end = () => {
        inVain = false
        timer.cancel()
        resolve()
      }
    })
    this.#end = undefined
    this.#pause = inVain ? Math.min(2 * this.#pause + 1, MOST_LEFT_OUT) : 0
    this.#toLeaveOut = this.#pause
  }
}
