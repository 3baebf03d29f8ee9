import type { CacheStats } from '../../../openapi/schemas/cache.ts'
import type { Clock } from '../../support/clock.ts'

/** Loaders that are told apart. */
const MAX_LOADERS = 100
/** For the slowest load, in milliseconds: a reading each time one ends misses none, and tells each at most twice. */
const SLOT = 10_000
const MAX_BEGINNING = 40

interface Times {
  loads: number
  loadFailures: number
  time: number
  /** When the slot of `worst` began, by number; `before` is that of the slot before. */
  slot: number
  worst: number
  before: number
}

/**
 * Which loaders are slow: those of keys that begin alike count as one, because `user:1` and `user:2` are loaded by the
 * same code.
 */
export class LoaderMeter {
  readonly #clock: Pick<Clock, 'monotonic'>
  /** The least recently run first. */
  readonly #loaders = new Map<string, Times>()

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock
  }

  /** A loader has ended, well or not. */
  ended(namespace: string, key: string, ms: number, failed: boolean): void {
    const name = `${namespace}/${beginningOf(key)}*`
    const slot = this.#slot()
    const times = this.#loaders.get(name) ?? { loads: 0, loadFailures: 0, time: 0, slot, worst: 0, before: 0 }
    this.#loaders.delete(name)
    this.#loaders.set(name, times)
    if (this.#loaders.size > MAX_LOADERS) this.#loaders.delete(this.#loaders.keys().next().value as string)
    if (times.slot !== slot) {
      times.before = times.slot === slot - 1 ? times.worst : 0
      times.worst = 0
      times.slot = slot
    }
    times.loads++
    if (failed) times.loadFailures++
    times.time += ms
    times.worst = Math.max(times.worst, ms)
  }

  stats(): NonNullable<CacheStats['loaders']> {
    const now = this.#slot()
    return Object.fromEntries(
      [...this.#loaders].map(([name, { loads, loadFailures, time, slot, worst, before }]) => {
        const recent = slot === now ? Math.max(worst, before) : slot === now - 1 ? worst : 0
        return [name, { loads, loadFailures, time, worst: recent }]
      }),
    )
  }

  reset(): void {
    this.#loaders.clear()
  }

  #slot(): number {
    return Math.floor(this.#clock.monotonic() / SLOT)
  }
}

/** Up to its first `:` or `/`. Nothing of a key without: it may be the name of a single thing. */
function beginningOf(key: string): string {
  return key.slice(0, Math.min(key.search(/[:/]/) + 1, MAX_BEGINNING))
}
