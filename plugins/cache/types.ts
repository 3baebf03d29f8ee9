import type { Duration } from '../support/durations.ts'
import { namesFor } from '../support/options.ts'

/** Options of a write. */
export interface SetOptions {
  /** How long the entry is fresh, `Infinity` for ever. Default: `l2.ttl`. */
  ttl?: Duration
  /** Names by which `invalidateTags` reaches it, at most 1,000. */
  tags?: string[]
  /** How long after its `ttl` it may still be served to those who ask for `stale`. Default: not at all. */
  stale?: Duration
}

export const SET_OPTIONS = namesFor<SetOptions>({ ttl: true, tags: true, stale: true })

/** Options of `getOrSet`, and of what builds on it. */
export interface LoadOptions extends SetOptions {
  /**
   * Ends this caller's wait with its `reason`. The load goes on for the others, and is aborted when no caller waits.
   */
  signal?: AbortSignal
  /**
   * Lets an entry be served for so long after its `ttl`, while one caller refreshes it, and when its loader fails.
   * Default: not at all.
   */
  stale?: Duration
  /** How long a caller waits for the refresh before it takes the stale value. Default 0: it does not wait. */
  softTimeout?: Duration
  /** Longest time that the loader may take. Default: `loadTimeout`. */
  timeout?: Duration
  /**
   * How eagerly an entry is refreshed before its `ttl` is over, as a multiple of what its load took (XFetch, see
   * Loads). Default 1 with `stale`, else 0: a caller that refreshes early needs a value to serve meanwhile.
   */
  early?: number
  /**
   * How long a failed load is remembered and its error given to further callers, in this process; those who allow
   * `stale` get the old value as long as there is one. Default: not at all.
   */
  negative?: Duration
}

export const LOAD_OPTIONS = namesFor<LoadOptions>({
  ttl: true,
  tags: true,
  stale: true,
  softTimeout: true,
  timeout: true,
  early: true,
  negative: true,
  signal: true,
})

/** What a loader is told and may say. */
export interface LoadContext {
  readonly key: string
  /** Aborted when the load takes too long, and when none of its callers waits any more. */
  readonly signal: AbortSignal
  /** The value that the new one replaces, when there is one and `stale` allows it. */
  readonly staleValue: unknown
  /** Push further tags; all together may be 1,000. */
  readonly tags: string[]
  /** @param ttl 0 for not at all, as `skip` @param stale see {@link SetOptions}; default: as the load says */
  setTtl(ttl: Duration, stale?: Duration): void
  /** Return the value to the callers, but do not cache it. */
  skip(): void
}

/** Gets the value from its source. `undefined` is returned to the callers and not cached; `null` is cached. */
export type Loader<T = unknown> = (context: LoadContext) => T | Promise<T>

/** An entry to load ahead of its first use. */
export interface WarmEntry<T = unknown> extends LoadOptions {
  key: string
  loader: Loader<T>
}

/** What became of the entries to warm. */
export interface WarmResult {
  /** Now in the first level. */
  warmed: number
  /** Neither there nor loadable. */
  missing: number
  failed: number
}

/** What is known of an entry without its value. */
export interface EntryInfo {
  key: string
  /** Milliseconds until it is loaded again; 0 when that time has come. */
  ttl: number
  /** `false`: only served as stale. */
  fresh: boolean
  /** The first level that has it, on this instance. */
  level: 'first' | 'second'
  /** Its encoded size. */
  bytes: number
  tags: string[]
}

/** Options of `search`. */
export interface SearchOptions {
  /** `*` stands for any characters, `?` for one. Default: all keys. */
  pattern?: string
  /** Of the page before. */
  cursor?: string
  /** The most entries of a page. Default 100. */
  limit?: number
}

/** A page of entries, in the order of their keys. */
export interface SearchResult {
  entries: EntryInfo[]
  /** Names the next page; absent: this is the last one. */
  cursor?: string
}
