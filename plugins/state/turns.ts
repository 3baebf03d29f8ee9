import type { Clock } from '../support/clock.ts'

/** Milliseconds that a writer which was faster leaves to the others: a round trip and what they compute. */
const TIME_TO_GIVE_WAY = 2

/**
 * Two writers that both go on at once lose every second batch to each other. So the one that was faster waits until
 * it hears of the other one's, and takes more along next time: they take turns. Who is alone never waits.
 */
export class Turns {
  readonly #clock: Clock
  #contended = false
  #end: (() => void) | undefined

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
    await new Promise<void>((resolve) => {
      const timer = this.#clock.after(TIME_TO_GIVE_WAY, resolve)
      this.#end = () => {
        timer.cancel()
        resolve()
      }
    })
    this.#end = undefined
  }
}
