import type { Beyond } from '../../storage/counts/counts.ts'
import { openCounts } from '../../storage/counts/open.ts'
import type { Storage } from '../../storage/storage.ts'

type Callback = (error: Error | null, result?: { current: number; ttl: number }) => void

/** What @fastify/rate-limit tells its store; of a route with limits of its own also which one it is. */
interface RateLimitOptions {
  continueExceeding?: boolean
  exponentialBackoff?: boolean
  routeInfo?: { method?: string | string[]; url?: string; constraints?: object }
}

/** A store as @fastify/rate-limit (10 and 11) wants one. */
export interface RateLimitStore {
  /** One more. `current` is how many there are, `ttl` how many milliseconds are left of the window. */
  incr(key: string, callback: Callback, timeWindow: number, max: number): void
  /** The same without counting, for `{ increment: false }`. */
  read(key: string, callback: Callback): void
  child(options: object): RateLimitStore
}

/**
 * The `store` of @fastify/rate-limit: counts on the storage of the application, one step each, so that instances on
 * one Redis have one limit together. On memory and LMDB they are this process's, bounded, and forgotten by a restart.
 * `ban`, `continueExceeding`, `exponentialBackoff` and limits of single routes do what its documentation says. When Redis
 * is away it gets STATEFUL_STORAGE_UNAVAILABLE, which is a 503, or no limit at all with `skipOnError`.
 *
 * @param options `name` of this limit in the storage; give each registration its own. Default `'rate-limit'`
 * @example
 * await app.register(rateLimit, { max: 100, timeWindow: '1 minute', store: rateLimitStore(app.storage) })
 */
export function rateLimitStore(
  storage: Storage,
  { name = 'rate-limit' }: { name?: string } = {},
): new (
  options: object,
) => RateLimitStore {
  const counts = openCounts(storage, name)
  /** Limits that belong to no route, in the order in which the application makes them. */
  let others = 0

  return class StatefulRateLimitStore implements RateLimitStore {
    readonly #beyond: Beyond['window'] | undefined
    readonly #scope: string

    constructor(options: RateLimitOptions, scope = '*') {
      const { continueExceeding = false, exponentialBackoff = false } = options
      this.#beyond = continueExceeding ? 'renew' : exponentialBackoff ? 'double' : undefined
      this.#scope = scope
    }

    incr(key: string, callback: Callback, timeWindow: number, max: number): void {
      const beyond = this.#beyond && { most: max, window: this.#beyond }
      counts.add(this.#key(key), timeWindow, beyond).then(
        ({ count, left }) => callback(null, { current: count, ttl: left }),
        (error: Error) => callback(error),
      )
    }

    read(key: string, callback: Callback): void {
      counts.read(this.#key(key)).then(
        ({ count, left }) => callback(null, { current: count, ttl: left }),
        (error: Error) => callback(error),
      )
    }

    child(options: RateLimitOptions): RateLimitStore {
      const { method, url, constraints } = options.routeInfo ?? {}
      const scope = url === undefined ? `#${++others}` : [method, url, constraints && JSON.stringify(constraints)]
      return new StatefulRateLimitStore(options, [scope].flat(2).filter(Boolean).join(' '))
    }

    #key(key: string): string {
      return `${this.#scope} ${key}`
    }
  }
}
