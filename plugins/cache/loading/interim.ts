import type { Clock } from '../../support/clock.ts'

/** For how many milliseconds a value is given to those who ask for it after its load. */
const KEPT = 1_000
const MAX_KEPT = 10_000

/**
 * What was loaded while the store is away, for a second: the source then sees a load a key and second, not one a call.
 * An invalidation ends it, one by this instance also when it was not confirmed. While others cannot be heard it is served
 * as the first level is, see `outage.serveL1`.
 */
export class Interim {
  readonly #clock: Clock
  readonly #values = new Map<string, { value: unknown; until: number; era: number }>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** @param era see Levels: of another one nothing is certain */
  get(key: string, era: number): { value: unknown } | undefined {
    const kept = this.#values.get(key)
    if (kept === undefined) return undefined
    if (kept.era === era && kept.until > this.#clock.monotonic()) return kept
    this.#values.delete(key)
    return undefined
  }

  set(key: string, value: unknown, ms: number, era: number): void {
    this.#values.delete(key)
    if (this.#values.size >= MAX_KEPT) this.#values.delete(this.#values.keys().next().value as string)
    this.#values.set(key, { value, until: this.#clock.monotonic() + Math.min(ms, KEPT), era })
  }

  /** All without keys. */
  forget(keys?: Iterable<string>): void {
    if (keys === undefined) this.#values.clear()
    else for (const key of keys) this.#values.delete(key)
  }
}
