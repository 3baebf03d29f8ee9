import { type IRateLimiterOptions, RateLimiterMemory, type RateLimiterRes } from 'rate-limiter-flexible'

/** Keys that are counted at the same time: some megabytes. */
const MOST_KEYS = 20_000

/**
 * The memory limiter with a bound: a flood of made-up names and addresses makes it forget the key that has not failed
 * for longest, not grow.
 */
export class BoundedLimiter extends RateLimiterMemory {
  readonly #most: number
  /** The one that failed last at the end. */
  readonly #keys = new Set<string | number>()

  constructor(options: IRateLimiterOptions, most = MOST_KEYS) {
    super(options)
    this.#most = most
  }

  override penalty(key: string | number, ...rest: [points?: number]): Promise<RateLimiterRes> {
    this.#touch(key)
    return super.penalty(key, ...rest)
  }

  override set(key: string | number, points: number, seconds: number): Promise<RateLimiterRes> {
    this.#touch(key)
    return super.set(key, points, seconds)
  }

  #touch(key: string | number): void {
    this.#keys.delete(key)
    this.#keys.add(key)
    if (this.#keys.size <= this.#most) return
    const [oldest] = this.#keys
    if (oldest === undefined) return
    this.#keys.delete(oldest)
    // Resolves at once: the memory is its own.
    void this.delete(oldest)
  }
}
