import type { Clock } from '../../support/clock.ts'
import { type Beyond, type Count, type Counts, countKey, windowOf } from './counts.ts'

/** Keys that are counted at the same time: some megabytes. */
const MOST_KEYS = 20_000

/** Counts of this process. A flood of made-up keys makes it forget the one that was not counted for longest. */
export class MemoryCounts implements Counts {
  readonly #clock: Clock
  readonly #most: number
  /** The one that was counted last at the end; `end` on the monotonic clock. */
  readonly #counts = new Map<string, { count: number; end: number }>()

  constructor(clock: Clock, most = MOST_KEYS) {
    this.#clock = clock
    this.#most = most
  }

  async add(key: string, window: number, beyond?: Beyond): Promise<Count> {
    const now = this.#clock.monotonic()
    const name = countKey(key)
    const former = this.#counts.get(name)
    const runs = former !== undefined && former.end > now
    const count = runs ? former.count + 1 : 1
    const lasts = windowOf(count, window, beyond)
    const end = lasts === undefined && runs ? former.end : now + (lasts ?? window)
    this.#counts.delete(name)
    this.#counts.set(name, { count, end })
    if (this.#counts.size > this.#most) {
      const [oldest] = this.#counts.keys()
      if (oldest !== undefined) this.#counts.delete(oldest)
    }
    return { count, left: end - now }
  }

  async read(key: string): Promise<Count> {
    const found = this.#counts.get(countKey(key))
    const left = found ? found.end - this.#clock.monotonic() : 0
    return found && left > 0 ? { count: found.count, left } : { count: 0, left: 0 }
  }
}
