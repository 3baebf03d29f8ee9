import type { ClientBounds } from '../support/client-limits.ts'
import { type Clock, systemClock } from '../support/clock.ts'
import { type Duration, milliseconds } from '../support/durations.ts'
import { InvalidOptionError } from '../support/errors.ts'

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
     * So many failures or missed deadlines in a row, or more than a third of all steps for a while, and nobody waits for
     * Redis any more until it is back. Default 5.
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
   * Spreads the ends of entries: each `ttl` of a load is shortened by up to this share, so that what was loaded together
   * does not end together. Default 0.
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

export interface WriteBehindOptions {
  /** How long a write waits for company. Default 50 ms. */
  delay?: Duration
  /** Most writes that a handler gets at once. Default 100. */
  batch?: number
  /** Attempts before a write goes to the dead letters. Default 5. */
  attempts?: number
  /** Wait before the second attempt; doubles each time up to 30 s. Default 200 ms. */
  backoff?: Duration
  /** Most writes that wait; more are refused with STATEFUL_WRITE_BEHIND_FULL. Default 100 000. */
  maxPending?: number
}

export interface ResolvedOptions {
  l1: { maxEntries: number; maxBytes: number; ttl: number }
  l2: { ttl: number; maxEntries: number; maxBytes: number; timeout: number }
  outage: { failures: number; retry: number; serveL1: number; invalidations: 'reject' | 'journal' }
  coherence: number
  loadTimeout: number
  jitter: number
  values: 'share' | 'freeze' | 'clone'
  prefixes: string[]
  maxNamespaces: number
  clients: ClientBounds & { idle: number }
  writeBehind: { delay: number; batch: number; attempts: number; backoff: number; maxPending: number }
  warming: { keys: number; interval: number }
  clock: Clock
  random: () => number
}

/** @throws STATEFUL_INVALID_OPTION, STATEFUL_INVALID_DURATION */
export function resolveOptions(options: CacheOptions = {}): ResolvedOptions {
  const { l1 = {}, l2 = {}, outage = {}, writeBehind = {} } = options
  const invalidations = outage.invalidations ?? 'reject'
  if (invalidations !== 'reject' && invalidations !== 'journal') {
    throw new InvalidOptionError('cache.outage.invalidations', "is unknown: use 'reject' or 'journal'.")
  }
  const values = options.values ?? 'share'
  if (!['share', 'freeze', 'clone'].includes(values)) {
    throw new InvalidOptionError('cache.values', `is ${JSON.stringify(values)}: use 'share', 'freeze' or 'clone'.`)
  }
  const jitter = options.jitter ?? 0
  if (!(jitter >= 0 && jitter < 1)) {
    throw new InvalidOptionError('cache.jitter', `is ${jitter}: use a share from 0 to below 1.`)
  }
  const prefixes = options.prefixes ?? []
  if (prefixes.some((prefix) => typeof prefix !== 'string' || prefix === '' || /[*?]/.test(prefix))) {
    throw new InvalidOptionError('cache.prefixes', 'holds something that is no prefix: use strings without * and ?.')
  }
  return {
    l1: {
      maxEntries: count(l1.maxEntries ?? 10_000, 'cache.l1.maxEntries'),
      maxBytes: count(l1.maxBytes ?? 64 * 2 ** 20, 'cache.l1.maxBytes'),
      ttl: duration(l1.ttl ?? '5m', 'cache.l1.ttl'),
    },
    l2: {
      ttl: duration(l2.ttl ?? '1h', 'cache.l2.ttl'),
      maxEntries: count(l2.maxEntries ?? 100_000, 'cache.l2.maxEntries'),
      maxBytes: count(l2.maxBytes ?? 128 * 2 ** 20, 'cache.l2.maxBytes'),
      timeout: duration(l2.timeout ?? 250, 'cache.l2.timeout'),
    },
    outage: {
      failures: count(outage.failures ?? 5, 'cache.outage.failures'),
      retry: duration(outage.retry ?? '1s', 'cache.outage.retry'),
      serveL1: milliseconds(outage.serveL1 ?? '1m', 'cache.outage.serveL1'),
      invalidations,
    },
    coherence: duration(options.coherence ?? 500, 'cache.coherence'),
    loadTimeout: duration(options.loadTimeout ?? '30s', 'cache.loadTimeout'),
    jitter,
    values,
    prefixes: [...prefixes],
    maxNamespaces: count(options.maxNamespaces ?? 100, 'cache.maxNamespaces'),
    clients: {
      total: count(options.clients?.namespaces ?? 64, 'cache.clients.namespaces'),
      perUser: count(options.clients?.namespacesPerUser ?? 16, 'cache.clients.namespacesPerUser'),
      perSession: count(options.clients?.namespacesPerSession ?? 8, 'cache.clients.namespacesPerSession'),
      idle: duration(options.clients?.idle ?? '1m', 'cache.clients.idle'),
    },
    writeBehind: {
      delay: milliseconds(writeBehind.delay ?? 50, 'cache.writeBehind.delay'),
      batch: count(writeBehind.batch ?? 100, 'cache.writeBehind.batch'),
      attempts: count(writeBehind.attempts ?? 5, 'cache.writeBehind.attempts'),
      backoff: milliseconds(writeBehind.backoff ?? 200, 'cache.writeBehind.backoff'),
      maxPending: count(writeBehind.maxPending ?? 100_000, 'cache.writeBehind.maxPending'),
    },
    warming: {
      keys: options.warming?.keys === 0 ? 0 : count(options.warming?.keys ?? 500, 'cache.warming.keys'),
      interval: duration(options.warming?.interval ?? '1m', 'cache.warming.interval'),
    },
    clock: options.clock ?? systemClock,
    random: options.random ?? Math.random,
  }
}

/** Milliseconds above 0. @throws STATEFUL_INVALID_DURATION, STATEFUL_INVALID_OPTION */
export function duration(value: Duration, option: string): number {
  const ms = milliseconds(value, option)
  if (ms <= 0) throw new InvalidOptionError(option, 'is 0: use a duration above 0.')
  return ms
}

function count(value: number, option: string): number {
  if (!Number.isInteger(value) || value < 1) {
    throw new InvalidOptionError(option, `is ${value}: use a whole number above 0.`)
  }
  return value
}
