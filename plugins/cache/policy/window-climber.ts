/** A change of the hit rate this large means that the workload has changed: search again with the full step. */
const RESTART_THRESHOLD = 0.05
const INITIAL_STEP = 0.0625
const STEP_DECAY = 0.98
/** Share of the cache that is window at first. */
const INITIAL_WINDOW = 0.01
const MAX_WINDOW = 0.8

/**
 * Finds the share of the cache that should be its recency window, by hill climbing on the hit rate (Einziger, Eytan,
 * Friedman, Manes, "Adaptive software cache management"): keep changing in the direction that helped, turn round
 * when it did not, with ever smaller steps until the hit rate jumps.
 */
export class WindowClimber {
  #share = INITIAL_WINDOW
  #step = INITIAL_STEP
  #last = -1

  /** From 0 to 1. */
  get share(): number {
    return this.#share
  }

  /** To be told the hit rate of each period. */
  observe(hitRate: number): void {
    if (this.#last < 0) {
      this.#last = hitRate
      return
    }
    const change = hitRate - this.#last
    this.#last = hitRate
    const amount = change >= 0 ? this.#step : -this.#step
    this.#step = Math.abs(change) >= RESTART_THRESHOLD ? Math.sign(amount) * INITIAL_STEP : STEP_DECAY * amount
    this.#share = Math.min(MAX_WINDOW, Math.max(0, this.#share + amount))
  }
}
