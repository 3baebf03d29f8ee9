import type { ClientBounds } from '../support/client-limits.ts'
import type { Clock } from '../support/clock.ts'
import { type Duration, told } from '../support/durations.ts'
import { MAX_DURATION } from '../support/numbers.ts'
import {
  type Bounds,
  checkedDuration,
  choice,
  clock,
  duration,
  invalidOption,
  type Rules,
  readOptions,
  supplied,
  texts,
  wholeNumber,
} from '../support/options.ts'
import type { DeadWrite } from './write-behind/writes.ts'

/** Options of the plugin `cache`. */
export interface CacheOptions {
  /** The first level: values in this process, bounds per namespace. */
  l1?: {
    /** Default 10 000. */
    maxEntries?: number
    /** Measured by the encoded size of the values. Default 64 MiB. */
    maxBytes?: number
    /** How long a value is served from here before the second level is asked again. Default `'5m'`. */
    ttl?: Duration
  }
  /** The second level: encoded values in the storage. */
  l2?: {
    /** How long an entry lives when nothing else is said. Default `'1h'`. */
    ttl?: Duration
    /** Bound on memory and LMDB, all namespaces together. Redis has `maxmemory`. Default 100 000. */
    maxEntries?: number
    /** Bound on memory, all namespaces together. Default 128 MiB. */
    maxBytes?: number
    /** Longest time for one step of Redis; a read then counts as a miss. Default 250 ms. */
    timeout?: Duration
  }
  /** What happens while Redis is away. */
  outage?: {
    /**
     * After so many failures or missed deadlines in a row, or more than a third of all steps for a while, callers do
     * not wait for Redis until it is back. Default 5.
     */
    failures?: number
    /** How long to wait before it is tried again. Default `'1s'`. */
    retry?: Duration
    /**
     * For how long, from the beginning of an outage, the first level is served without proof of being current: an
     * instance that is cut off cannot hear of invalidations by others. Default `'1m'`; 0 for not at all.
     */
    serveL1?: Duration
    /**
     * `'reject'`: an invalidation that Redis has not confirmed rejects. `'journal'`: it is kept in this process, and
     * carried out before anything is read from Redis again; other instances that reach Redis learn of it only then,
     * and never if this process dies first. Default `'reject'`.
     */
    invalidations?: 'reject' | 'journal'
  }
  /**
   * How long after an invalidation another instance may still serve the old value from its first level: that level is
   * used only while its proof of being current is younger. On Redis only. Default 500 ms.
   */
  coherence?: Duration
  /**
   * Spreads the ends of entries: each `ttl` of a load is shortened by up to this share, so that what was loaded
   * together does not end together. Default 0.
   */
  jitter?: number
  /** Longest time that a loader may take. Default `'30s'`. */
  loadTimeout?: Duration
  /**
   * What a reader holds: `'share'` the very object that is cached (fastest; do not change it), `'freeze'` the same,
   * frozen in depth, `'clone'` a copy of its own. Default `'share'`.
   */
  values?: 'share' | 'freeze' | 'clone'
  /** Prefixes such as `'user:'` whose `deleteMatching('user:*')` takes constant time. Default none. */
  prefixes?: string[]
  /** Namespaces of the application; those of clients have bounds of their own. Default 100. */
  maxNamespaces?: number
  /** Open namespaces that clients use over HTTP and the application itself does not. */
  clients?: {
    /** Of all clients together. Default 64. */
    namespaces?: number
    /** Of one user; of an address for those without a user. Default 16. */
    namespacesPerUser?: number
    /** Of one session. Default 8. */
    namespacesPerSession?: number
    /** How long one stays open that no client uses any more. Default `'1m'`. */
    idle?: Duration
  }
  writeBehind?: WriteBehindOptions
  /** Hot keys are written down and brought back into the first level at boot and after it had to be emptied. */
  warming?: {
    /** Most keys of a namespace; 0 for none. Default 500. */
    keys?: number
    /** How often they are written down. Default `'1m'`. */
    interval?: Duration
  }
  /** Default: the system's. */
  clock?: Clock
  /** From 0 inclusive to 1 exclusive. Default `Math.random`. */
  random?: () => number
}

/** Options of writing behind: how soon, how often, and for how long it is tried. */
export interface WriteBehindOptions {
  /** How long a write waits for company. Default 50 ms. */
  delay?: Duration
  /** Most writes that a handler gets at once. Default 100. */
  batch?: number
  /** Attempts before a write goes to the dead letters. Default 5. */
  attempts?: number
  /** Wait before the second attempt; doubles each time up to 30 s. Default 200 ms. */
  backoff?: Duration
  /**
   * Most keys of a writer that wait, on Redis in each namespace, on a Cluster divided among its buckets; more are
   * refused with STATEFUL_WRITE_BEHIND_FULL. Default 100 000.
   */
  maxPending?: number
  /**
   * How long a handler may take for a batch. Then its signal is aborted, and the batch counts as failed. Default
   * `'30s'`.
   */
  timeout?: Duration
  /**
   * How long the instance that hands over stays the only one without renewing it, as it does while it works: so long it
   * takes until another one goes on after it was killed. On Redis only. Default 1500 ms.
   */
  lease?: Duration
  /** How often an instance looks for writes that another one has left. On Redis only. Default 1500 ms. */
  takeover?: Duration
  /** How long `close` waits for handlers; what they have not persisted by then stays in the journal. Default `'5s'`. */
  closing?: Duration
  /** Told of each write that is given up, after it has gone to the dead letters and out of the cache. */
  onDeadLetter?: (letter: DeadWrite & { writer: string }) => void
}

/** What each option must be, and what holds without it. */
export const CACHE_RULES = {
  l1: { maxEntries: wholeNumber(10_000), maxBytes: wholeNumber(64 * 2 ** 20), ttl: duration('5m') },
  l2: {
    ttl: (given: unknown = '1h', option: string) => lifetime(given as Duration, option),
    maxEntries: wholeNumber(100_000),
    maxBytes: wholeNumber(128 * 2 ** 20),
    timeout: duration(250),
  },
  outage: {
    failures: wholeNumber(5),
    retry: duration('1s'),
    serveL1: duration('1m', { least: 0 }),
    invalidations: choice(['reject', 'journal'], 'reject'),
  },
  coherence: duration(500),
  jitter: share,
  loadTimeout: duration('30s'),
  values: choice(['share', 'freeze', 'clone'], 'share'),
  prefixes,
  maxNamespaces: wholeNumber(100),
  clients: {
    namespaces: wholeNumber(64),
    namespacesPerUser: wholeNumber(16),
    namespacesPerSession: wholeNumber(8),
    idle: duration('1m'),
  },
  writeBehind: {
    delay: duration(50, { least: 0 }),
    batch: wholeNumber(100),
    attempts: wholeNumber(5),
    backoff: duration(200, { least: 0 }),
    maxPending: wholeNumber(100_000),
    timeout: duration('30s'),
    lease: duration(1_500, { least: 100 }),
    takeover: duration(1_500),
    closing: duration('5s', { least: 0 }),
    onDeadLetter: supplied<NonNullable<WriteBehindOptions['onDeadLetter']>>(),
  },
  warming: { keys: wholeNumber(500, 0), interval: duration('1m') },
  clock,
  random: supplied<() => number>(),
} satisfies Rules<CacheOptions>

/**
 * How long something lives. For ever is the longest duration there is.
 * @throws STATEFUL_INVALID_OPTION, STATEFUL_INVALID_DURATION
 */
export function lifetime(given: Duration, option: string, bounds: Bounds = {}): number {
  return checkedDuration(given === Number.POSITIVE_INFINITY ? MAX_DURATION : given, option, bounds)
}

export type ResolvedOptions = ReturnType<typeof resolveOptions>

/** @throws STATEFUL_INVALID_OPTION, STATEFUL_INVALID_DURATION */
export function resolveOptions(options?: CacheOptions) {
  const { clients, random = Math.random, ...others } = readOptions(CACHE_RULES, options, 'cache')
  const bounds: ClientBounds & { idle: number } = {
    total: clients.namespaces,
    perUser: clients.namespacesPerUser,
    perSession: clients.namespacesPerSession,
    idle: clients.idle,
  }
  return { ...others, random, clients: bounds }
}

function share(given: unknown = 0, option: string): number {
  if (typeof given === 'number' && given >= 0 && given < 1) return given
  throw invalidOption(option, `must be a share from 0 to below 1, not ${told(given)}.`)
}

function prefixes(given: unknown, option: string): string[] {
  const read = texts()(given, option)
  if (read.some((prefix) => /[*?]/.test(prefix))) throw invalidOption(option, 'must be prefixes without * and ?.')
  return read
}
