import type { Counts } from '../storage/counts/counts.ts'
import { TooManyAttemptsError } from '../support/errors.ts'
import { networkOf } from '../support/network.ts'

/** Tokens that are remembered to have been right here. */
const MOST_KNOWN = 1_000

/**
 * Limits how many wrong tokens an address may try. They cannot be guessed; but attempts are to cost neither the store
 * nor the log much. A token that was right here before passes no matter what its neighbours do: machines behind one
 * address, one of them with an old token, do not lock each other out.
 */
export class TokenThrottle {
  readonly #counts: Counts
  readonly #most: number
  readonly #window: number
  /** Digests, the one that was right last at the end. */
  readonly #known = new Set<string>()
  /** Attempts at work, by network. */
  readonly #busy = new Map<string, number>()

  /**
   * @param most wrong ones from one address (of IPv6: one /64) in `window`
   * @param window milliseconds
   */
  constructor(counts: Counts, most: number, window: number) {
    this.#counts = counts
    this.#most = most
    this.#window = window
  }

  /**
   * Runs `open`; what answers `undefined` has failed.
   * @throws STATEFUL_TOO_MANY_ATTEMPTS with `retryAfter` in whole seconds, STATEFUL_STORAGE_UNAVAILABLE
   */
  async attempt<T>(digest: string, address: string, open: () => Promise<T | undefined>): Promise<T | undefined> {
    if (this.#known.has(digest)) {
      const opened = await open()
      if (opened === undefined) this.#known.delete(digest)
      return opened
    }
    const network = networkOf(address)
    // With those that are at work, and before the count is read: one that fails meanwhile is in the one or the other.
    const busy = (this.#busy.get(network) ?? 0) + 1
    this.#busy.set(network, busy)
    try {
      const { count: failed, left } = await this.#counts.read(network)
      if (failed >= this.#most) throw tooMany(left)
      if (failed + busy > this.#most) throw tooMany(0)
      const opened = await open()
      if (opened === undefined) await this.#counts.add(network, this.#window)
      else this.#know(digest)
      return opened
    } finally {
      const others = (this.#busy.get(network) ?? 1) - 1
      if (others > 0) this.#busy.set(network, others)
      else this.#busy.delete(network)
    }
  }

  #know(digest: string): void {
    if (this.#known.size >= MOST_KNOWN) {
      const [oldest = ''] = this.#known
      this.#known.delete(oldest)
    }
    this.#known.add(digest)
  }
}

function tooMany(wait: number): Error & { retryAfter: number } {
  return Object.assign(new TooManyAttemptsError(), { retryAfter: Math.max(1, Math.ceil(wait / 1_000)) })
}
