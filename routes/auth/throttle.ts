import { RateLimiterMemory, RateLimiterRedis } from 'rate-limiter-flexible'
import type { Storage } from '../../plugins/storage/storage.ts'
import { type Duration, milliseconds } from '../../plugins/support/durations.ts'
import { InvalidOptionError, StorageUnavailableError, TooManyAttemptsError } from '../../plugins/support/errors.ts'

export interface ThrottleOptions {
  /** Failed logins to one account from one address, in `window`. Default 10. */
  perAccount?: number
  /** Failed logins from one address, in `window`. Default 100. */
  perAddress?: number
  /** Default `'15m'`. */
  window?: Duration
}

interface Limit {
  readonly key: string
  readonly points: number
  readonly limiter: RateLimiterMemory | RateLimiterRedis
}

/** Attempts that may wait for others of the same account or address. */
const MAX_WAITING = 200

/**
 * Counts failed logins, and refuses more once there were too many; logins that succeed cost nothing.
 *
 * An attempt that is still being checked is taken for one that may fail: it waits when the attempts before it
 * could use the limit up. So the limit holds against guesses that are sent at the same moment, too.
 */
export class LoginThrottle {
  readonly #account: { limiter: Limit['limiter']; points: number }
  readonly #address: { limiter: Limit['limiter']; points: number }
  readonly #busy = new Map<string, number>()
  readonly #waiting = new Map<string, Set<() => void>>()
  #finished = 0

  constructor(storage: Storage, options: ThrottleOptions = {}) {
    const duration = Math.ceil(milliseconds(options.window ?? '15m', 'throttle.window') / 1000)
    const limit = (name: 'perAccount' | 'perAddress', points: number) => {
      if (!Number.isSafeInteger(points) || points < 1) {
        throw new InvalidOptionError(`throttle.${name}`, 'must be a whole number from 1.')
      }
      const keyPrefix = `login:${name}`
      const limiter =
        storage.kind === 'redis'
          ? new RateLimiterRedis({
              storeClient: storage.client,
              keyPrefix: storage.prefix + keyPrefix,
              points,
              duration,
            })
          : new RateLimiterMemory({ keyPrefix, points, duration })
      return { limiter, points }
    }
    this.#account = limit('perAccount', options.perAccount ?? 10)
    this.#address = limit('perAddress', options.perAddress ?? 100)
  }

  /**
   * Runs `login`; one that answers `undefined` has failed.
   * @throws STATEFUL_TOO_MANY_ATTEMPTS with `retryAfter` in whole seconds
   */
  async attempt<T>(account: string, address: string, login: () => Promise<T | undefined>): Promise<T | undefined> {
    const limits: Limit[] = [
      { ...this.#address, key: address },
      { ...this.#account, key: `${address} ${account}` },
    ]
    await this.#enter(limits)
    try {
      const user = await login()
      if (user === undefined) await ask(() => Promise.all(limits.map(({ limiter, key }) => limiter.penalty(key))))
      return user
    } finally {
      this.#leave(limits)
    }
  }

  async #enter(limits: Limit[]): Promise<void> {
    for (;;) {
      const finished = this.#finished
      const results = await ask(() => Promise.all(limits.map(({ limiter, key }) => limiter.get(key))))
      for (const [index, { points }] of limits.entries()) {
        const result = results[index]
        if (result && result.consumedPoints >= points) throw tooMany(result.msBeforeNext)
      }
      // An attempt that ended meanwhile is neither in what was read nor among the busy ones: read again.
      if (finished !== this.#finished) continue
      const full = limits.find(
        ({ key, points }, index) => (results[index]?.consumedPoints ?? 0) + (this.#busy.get(key) ?? 0) >= points,
      )
      if (!full) break
      await this.#wait(full.key)
    }
    for (const { key } of limits) this.#busy.set(key, (this.#busy.get(key) ?? 0) + 1)
  }

  #wait(key: string): Promise<void> {
    const waiting = this.#waiting.get(key) ?? new Set()
    if (waiting.size >= MAX_WAITING) throw tooMany(0)
    this.#waiting.set(key, waiting)
    return new Promise((resolve) => waiting.add(resolve))
  }

  #leave(limits: Limit[]): void {
    this.#finished += 1
    for (const { key } of limits) {
      const busy = (this.#busy.get(key) ?? 1) - 1
      if (busy > 0) this.#busy.set(key, busy)
      else this.#busy.delete(key)
      const waiting = this.#waiting.get(key)
      this.#waiting.delete(key)
      for (const wake of waiting ?? []) wake()
    }
  }
}

function tooMany(wait: number): Error & { retryAfter: number } {
  return Object.assign(new TooManyAttemptsError(), { retryAfter: Math.max(1, Math.ceil(wait / 1000)) })
}

async function ask<T>(question: () => Promise<T>): Promise<T> {
  try {
    return await question()
  } catch (cause) {
    throw new StorageUnavailableError(`login throttle: ${(cause as Error).message}`, { cause })
  }
}
