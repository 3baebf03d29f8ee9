/** Lets through `rate` a second on average and `burst` at once; what is taken beyond that must be waited for. */
export class TokenBucket {
  readonly #rate: number
  readonly #burst: number
  #tokens: number
  #at: number

  /** @param now monotonic milliseconds */
  constructor(rate: number, burst: number, now: number) {
    this.#rate = rate
    this.#burst = burst
    this.#tokens = burst
    this.#at = now
  }

  /**
   * Takes a token, on credit if there is none: what has arrived has arrived.
   * @returns milliseconds to wait before the next; 0 as long as there are tokens
   */
  take(now: number): number {
    this.#refill(now)
    this.#tokens--
    return this.wait(now)
  }

  /** Milliseconds until what was taken on credit is paid back. */
  wait(now: number): number {
    this.#refill(now)
    return this.#tokens >= 0 ? 0 : Math.ceil((-this.#tokens / this.#rate) * 1_000)
  }

  /** Takes a token only if there is one. */
  tryTake(now: number): boolean {
    this.#refill(now)
    if (this.#tokens < 1) return false
    this.#tokens--
    return true
  }

  #refill(now: number): void {
    this.#tokens = Math.min(this.#tokens + ((now - this.#at) / 1_000) * this.#rate, this.#burst)
    this.#at = now
  }
}
