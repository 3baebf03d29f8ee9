import type { StorageStats } from '../../openapi/schemas/storage.ts'
import type { Storage } from '../storage/storage.ts'
import type { Clock, Timer } from '../support/clock.ts'
import { percentiles } from '../support/quantile.ts'

/** Upper bounds in milliseconds: a server in the same rack answers within the first, one that is away reaches none. */
const BOUNDS = [0.25, 0.5, 1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500]
/** How often the storage is asked whether it is there, in milliseconds. */
const INTERVAL = 1_000

/**
 * How long the storage takes. Redis is asked for a `PING` each second: the same way over the same connection as
 * commands go, at a cost that does not grow with them. Of LMDB the transactions are timed, which wait for the disk;
 * reads do not.
 */
export class StorageMeter {
  readonly #storage: Storage
  readonly #clock: Clock
  #counts: number[] = new Array(BOUNDS.length + 1).fill(0)
  #sum = 0
  #failures = 0
  #answers = true
  #asking = false
  #timer: Timer | undefined

  constructor(storage: Storage, clock: Clock) {
    this.#storage = storage
    this.#clock = clock
  }

  start(): void {
    this.#timer = this.#clock.every(INTERVAL, () => void this.probe())
    if (this.#storage.kind === 'lmdb') this.#storage.commits.onTimed = (ms) => this.#record(ms)
  }

  /** Asks the storage once; while it has not answered, it is not asked again. Never rejects. */
  async probe(): Promise<void> {
    if (this.#asking) return
    this.#asking = true
    const started = this.#clock.monotonic()
    try {
      await this.#storage.ping()
      this.#answers = true
      if (this.#storage.kind === 'redis') this.#record(this.#clock.monotonic() - started)
    } catch {
      this.#answers = false
      this.#failures++
    } finally {
      this.#asking = false
    }
  }

  stats(): StorageStats {
    return {
      kind: this.#storage.kind,
      answers: this.#answers,
      failures: this.#failures,
      latency: {
        sum: this.#sum,
        ...percentiles(BOUNDS, this.#counts),
        bounds: [...BOUNDS],
        counts: [...this.#counts],
      },
    }
  }

  resetStats(): void {
    this.#counts.fill(0)
    this.#sum = 0
    this.#failures = 0
  }

  close(): void {
    this.#timer?.cancel()
    if (this.#storage.kind === 'lmdb') this.#storage.commits.onTimed = undefined
  }

  #record(ms: number): void {
    this.#sum += ms
    let bucket = 0
    while (bucket < BOUNDS.length && ms > (BOUNDS[bucket] as number)) bucket++
    this.#counts[bucket] = (this.#counts[bucket] as number) + 1
  }
}
