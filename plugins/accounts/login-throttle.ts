import { createHash } from 'node:crypto'
import type { Beyond, Counts } from '../storage/counts/counts.ts'
import { openCounts } from '../storage/counts/open.ts'
import type { Storage } from '../storage/storage.ts'
import { type Clock, systemClock } from '../support/clock.ts'
import type { Duration } from '../support/durations.ts'
import { TooManyAttemptsError } from '../support/errors.ts'
import { networkOf } from '../support/network.ts'
import { duration, type Rule, type Rules, readOptions, wholeNumber } from '../support/options.ts'

/** How many wrong passwords are let through, by address and by account. */
export interface ThrottleOptions {
  /** Failed logins to one account from one address, or from one known device, in `window`. Default 10. */
  perAccount?: number
  /** Failed logins from one address, in `window`. Default 100. */
  perAddress?: number
  /** Default `'15m'`. */
  window?: Duration
  /** What failed logins to one account from all addresses together lead to. A known device is exempt from it. */
  delay?: DelayOptions
}

/** How long a wrong password makes its user wait. */
export interface DelayOptions {
  /** Failed logins, in `window`, after which each further one makes the next wait. Default 10. */
  after?: number
  /** How long the first of them makes wait; each further one twice as long. Default `'1s'`. */
  first?: Duration
  /** The longest wait. Default `'5m'`. */
  most?: Duration
  /** Default `'1h'`. */
  window?: Duration
}

export const THROTTLE_RULES = {
  perAccount: wholeNumber(10),
  perAddress: wholeNumber(100),
  window: atLeastASecond('15m'),
  delay: {
    after: wholeNumber(10),
    first: atLeastASecond('1s'),
    most: atLeastASecond('5m'),
    window: atLeastASecond('1h'),
  },
} satisfies Rules<ThrottleOptions>

/** In milliseconds. A client is told to wait in whole seconds. */
function atLeastASecond(byDefault: Duration): Rule<number> {
  const read = duration(byDefault, { least: 0 })
  return (given, option) => Math.max(1_000, read(given, option))
}

/** What is known of an attempt to log in. */
export interface Attempt {
  /** Whose password is tried: the same text for the same account, by any of its names. */
  account: string
  /** Counted by its network: of IPv6, the /64. */
  address: string
  /** A device on which a login to this account has succeeded. */
  device?: string
}

interface Limit {
  readonly counts: Counts
  readonly key: string
  readonly points: number
  /** Milliseconds after which a count is forgotten, from its first failure on. */
  readonly window: number
  /** Says how long to wait once `points` are used up; without it, until the count is forgotten. */
  readonly delays?: Counts
}

/** A delay begins with the latest failure. */
const FROM_NOW: Beyond = { most: 0, window: 'renew' }

interface Limits {
  address: Omit<Limit, 'key'>
  pair: Omit<Limit, 'key'>
  device: Omit<Limit, 'key'>
  account: Omit<Limit, 'key'>
  /** Milliseconds of the first and of the longest delay. */
  delay: { after: number; first: number; most: number }
}

/** Attempts that may wait for others of the same account or address. */
const MAX_WAITING = 200

/**
 * Counts failed logins, and refuses more once there were too many; logins that succeed cost nothing.
 *
 * - From one address, and from one address to one account, so many in a while.
 * - To one account, from however many addresses: each after the first few makes the next one wait, twice as long as the
 *   one before. No one is locked out for good, but an attacker gets a few hundred guesses a day.
 * - A device that has logged in to the account before is asked for nothing of this. It has a count of its own, so the
 *   owner gets in while others guess (OWASP, "Slow Down Online Guessing Attacks with Device Cookies").
 *
 * An attempt that is still being checked is taken for one that may fail: it waits when the attempts before it
 * could use the limit up. So the limit holds against guesses that are sent at the same moment, too.
 *
 * Counts are shared by the instances on one Redis. On other storages they are this process's, and a restart forgets
 * them; the memory for them is bounded.
 */
export class LoginThrottle {
  readonly #storage: Storage
  readonly #clock: Clock
  readonly #busy = new Map<string, number>()
  readonly #waiting = new Map<string, Set<() => void>>()
  #limits: Limits
  #finished = 0

  /**
   * @param clock of counts in memory
   * @throws STATEFUL_INVALID_OPTION, STATEFUL_INVALID_DURATION
   */
  constructor(storage: Storage, options: ThrottleOptions = {}, clock: Clock = systemClock) {
    this.#storage = storage
    this.#clock = clock
    this.#limits = this.#limitsOf(options)
  }

  /**
   * Other limits, from now on.
   * @throws STATEFUL_INVALID_OPTION, STATEFUL_INVALID_DURATION
   */
  configure(options: ThrottleOptions): void {
    this.#limits = this.#limitsOf(options)
  }

  /**
   * Runs `login`; one that answers `undefined` has failed.
   * @throws STATEFUL_TOO_MANY_ATTEMPTS with `retryAfter` in whole seconds, STATEFUL_STORAGE_UNAVAILABLE, STATEFUL_STORAGE_FULL: a
   * failure that cannot be counted is told by nobody
   */
  async attempt<T>(by: Attempt, login: () => Promise<T | undefined>): Promise<T | undefined> {
    const network = networkOf(by.address)
    // Of fixed length: a name may be long, and keys are what the memory is bounded by.
    const account = createHash('sha256').update(by.account).digest('base64url')
    const { address, pair, device, account: whole } = this.#limits
    const strangers: Limit[] = [
      { ...address, key: `address ${network}` },
      { ...pair, key: `pair ${network} ${account}` },
      { ...whole, key: `account ${account}` },
    ]
    const known = by.device === undefined ? [] : [{ ...device, key: `device ${account} ${by.device}` }]
    const counted = [...known, ...strangers]
    await this.#enter(known, strangers, counted)
    try {
      const user = await login()
      if (user === undefined) await this.#fail(counted)
      return user
    } finally {
      this.#leave(counted)
    }
  }

  #limitsOf(options: ThrottleOptions): Limits {
    const { perAccount, perAddress, window, delay } = readOptions(THROTTLE_RULES, options, 'accounts.throttle')
    const { after, first, most } = delay
    const counts = (name: string) => openCounts(this.#storage, `login:${name}`, this.#clock)
    return {
      address: { counts: counts('perAddress'), points: perAddress, window },
      pair: { counts: counts('perAccount'), points: perAccount, window },
      device: { counts: counts('perDevice'), points: perAccount, window },
      account: { counts: counts('failures'), points: after, window: delay.window, delays: counts('delay') },
      delay: { after, first, most },
    }
  }

  async #enter(known: Limit[], strangers: Limit[], counted: Limit[]): Promise<void> {
    for (;;) {
      const finished = this.#finished
      const used = new Map(await Promise.all(counted.map(async (limit) => [limit.key, await use(limit)] as const)))
      const of = ({ key }: Limit) => used.get(key) ?? { points: 0, wait: 0 }
      // A device that has used up its own count is a stranger again.
      const trusted = known.some((limit) => of(limit).points < limit.points)
      const limits = trusted ? known : strangers
      for (const limit of limits) {
        const { points, wait } = of(limit)
        if (points >= limit.points && wait > 0) throw tooMany(wait)
      }
      // An attempt that ended meanwhile is neither in what was read nor among the busy ones: read again.
      if (finished !== this.#finished) continue
      const full = limits.find((limit) => {
        // Those that only delay let one at a time through once they are used up.
        const most = limit.delays ? Math.max(limit.points, of(limit).points + 1) : limit.points
        return of(limit).points + (this.#busy.get(limit.key) ?? 0) >= most
      })
      if (!full) break
      await this.#wait(full.key)
    }
    for (const { key } of counted) this.#busy.set(key, (this.#busy.get(key) ?? 0) + 1)
  }

  async #fail(counted: Limit[]): Promise<void> {
    const { after, first, most } = this.#limits.delay
    await Promise.all(
      counted.map(async ({ counts, key, window, delays }) => {
        const { count } = await counts.add(key, window)
        if (!delays || count < after) return
        await delays.add(key, Math.min(most, first * 2 ** Math.min(count - after, 30)), FROM_NOW)
      }),
    )
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

/** How much of a limit is used up, and for how many milliseconds that refuses more. */
async function use({ counts, key, delays }: Limit): Promise<{ points: number; wait: number }> {
  const [{ count, left }, delay] = await Promise.all([counts.read(key), delays?.read(key)])
  return { points: count, wait: delays ? (delay?.left ?? 0) : left }
}

function tooMany(wait: number): Error & { retryAfter: number } {
  return Object.assign(new TooManyAttemptsError(), { retryAfter: Math.max(1, Math.ceil(wait / 1000)) })
}
