import { StorageFullError } from '../support/errors.ts'
import { refuseUnknown } from '../support/options.ts'
import { Bucket, Buckets, ended } from './bucket.ts'
import { CallNames, callKey } from './calls.ts'
import { FirstLevel } from './coherence/first-level.ts'
import type { Terms } from './coherence/mutations.ts'
import { type CacheNumbers, Counters, numbers, sums } from './counters.ts'
import { type CachedOptions, cachedDecorator, invalidatingDecorator, type MethodDecorator } from './decorators.ts'
import { FirstInOrder } from './first-in-order.ts'
import { globMatcher, hasWildcard, literalPrefix } from './glob.ts'
import type { LoaderMeter } from './loading/loader-meter.ts'
import { checkKey, checkTags, GENERATION, prefixName, tagName } from './names.ts'
import { lifetime, type ResolvedOptions } from './options.ts'
import type { CacheTier, Invalidation } from './tier/contract.ts'
import {
  LOAD_OPTIONS,
  type LoadContext,
  type Loader,
  type LoadOptions,
  SET_OPTIONS,
  type SearchOptions,
  type SearchResult,
  type SetOptions,
  type WarmEntry,
  type WarmResult,
} from './types.ts'
import { checkValue, cloned } from './values.ts'
import type { Warming } from './warming.ts'
import type { Overlay } from './write-behind/journal.ts'
import type { Writers } from './write-behind/writers.ts'

/** What all namespaces of a cache share. */
export interface Shared {
  tier: CacheTier
  journal: Overlay
  meter: LoaderMeter
  options: ResolvedOptions
  writers: Writers
  warming: Warming
  /** Finds or makes a namespace. @throws STATEFUL_INVALID_CACHE_KEY, STATEFUL_TOO_MANY_NAMESPACES */
  namespace(name: string): CacheNamespace
  /** Names of the buckets of a namespace, see tier/buckets.ts. */
  bucketsOf(name: string): readonly string[]
}

/** Options of `setWithDelayedPersist`. */
export interface DelayedPersistOptions extends SetOptions {
  /** Name of the handler that `writeBehind` registered. Default `'default'`. */
  writer?: string
}

const CACHED_OPTIONS: ReadonlySet<string> = new Set([...LOAD_OPTIONS, 'name'])
const NO_OPTIONS: ReadonlySet<string> = new Set()
const WARM_PARALLEL = 8
/** Loads of one batch at a time: all steps of more of them would not end within the deadline of one. */
const BATCH = 100

/**
 * A cache whose keys, tags and `clear` concern no other namespace. A miss is `undefined`; `null` is a value like
 * others.
 *
 * Reads never fail because of the store: that is a counted miss. What changes the cache rejects with
 * STATEFUL_CACHE_STORE_UNAVAILABLE unless the store has confirmed it.
 */
export class CacheNamespace {
  readonly name: string
  readonly #shared: Shared
  readonly #counters = new Counters()
  readonly #l1: FirstLevel
  readonly #buckets: Buckets
  readonly #clones: boolean
  readonly #calls = new CallNames()

  constructor(name: string, shared: Shared) {
    this.name = name
    this.#shared = shared
    const { tier, journal: overlay, options, warming, meter } = shared
    const counters = this.#counters
    this.#l1 = new FirstLevel({
      maxEntries: options.l1.maxEntries,
      maxBytes: options.l1.maxBytes,
      random: options.random,
      onEvict: () => {
        counters.evictions++
      },
    })
    this.#buckets = new Buckets(
      shared.bucketsOf(name).map((bucket, index, { length: of }) => {
        const place = { index, of }
        return new Bucket({ tier, overlay, bucket, place, l1: this.#l1, options, counters, meter })
      }),
    )
    for (const { levels } of this.#buckets.all) {
      levels.watch((message) => {
        if (!message) warming.lost(this)
      })
    }
    this.#clones = options.values === 'clone'
  }

  /**
   * The value, or `undefined`. From the first level if it is there, else from the second, which moves it to the first.
   * @throws STATEFUL_INVALID_CACHE_KEY
   */
  get<T = unknown>(key: string): Promise<T | undefined> {
    return (this.#hit(key) ?? this.#lookUp(key)) as Promise<T | undefined>
  }

  /** The value if the first level has it, at once. It leaves no trace: neither a hit nor a use that keeps the entry. */
  peek<T = unknown>(key: string): T | undefined {
    return this.#own(this.#buckets.of(key).levels.peek(key)) as T | undefined
  }

  /**
   * Stores in both levels. It ends loads of the key that began before, so that none of them overwrites it.
   * @throws STATEFUL_INVALID_CACHE_KEY, STATEFUL_INVALID_CACHE_VALUE, STATEFUL_INVALID_OPTION,
   * STATEFUL_CACHE_STORE_UNAVAILABLE, STATEFUL_STORAGE_FULL: nothing has changed then
   */
  set(key: string, value: unknown, options: SetOptions = {}): Promise<void> {
    return this.setMany([[key, value]], options)
  }

  /** The values that are there, in no order; in one round trip, on a Cluster in one for each shard, all at once. */
  async getMany<T = unknown>(keys: readonly string[]): Promise<Map<string, T>> {
    const { values, missing } = await this.#collect<T>(keys)
    this.#counters.misses += missing.length
    return values
  }

  /**
   * Stores all in one step, on a Redis Cluster in one for each bucket: when it rejects, some may have been stored.
   * Same errors as `set`.
   */
  async setMany(entries: Iterable<readonly [key: string, value: unknown]>, options: SetOptions = {}): Promise<void> {
    const terms = this.#terms(options)
    const last = new Map(entries)
    if (last.size === 0) return
    for (const [key, value] of last) {
      checkKey(key)
      checkValue(value)
    }
    const groups = this.#buckets.grouped([...last], ([key]) => key)
    await ended([...groups].map(([{ mutations }, some]) => mutations.put(new Map(some), terms)))
  }

  /**
   * The value; when it is not there, what `loader` returns, stored. One loader runs for a key, here and on other
   * instances; all who ask meanwhile get its result or its failure.
   * @throws what the loader throws; STATEFUL_CACHE_LOAD_TIMEOUT; STATEFUL_INVALID_CACHE_KEY;
   *   STATEFUL_INVALID_CACHE_VALUE when the result cannot be encoded; STATEFUL_CACHE_NESTED_LOAD inside the loader of
   *   the same key
   * @example await cache.getOrSet(`user:${id}`, ({ signal }) => db.find(id, { signal }), { ttl: '5m', signal: request.signal })
   */
  getOrSet<T>(key: string, loader: Loader<T>, options: LoadOptions = {}): Promise<T> {
    return (this.#hit(key) ?? this.#load(key, loader, options)) as Promise<T>
  }

  /**
   * Like `getOrSet` for many keys, with one round trip to read them; the loader gets each key that is missing in turn,
   * 100 at a time.
   * Rejects with the first failure of a loader, after all of them have ended.
   */
  async getOrSetMany<T>(
    keys: readonly string[],
    loader: (key: string, context: LoadContext) => T | Promise<T>,
    options: LoadOptions = {},
  ): Promise<Map<string, T>> {
    refuseUnknown(options, LOAD_OPTIONS)
    const { values, missing } = await this.#collect<T>(keys)
    const failures = new Map<string, unknown>()
    const queue = missing.values()
    const work = async () => {
      for (const key of queue) {
        const loading = this.getOrSet(key, (context) => loader(key, context), options)
        await loading.then(
          (value) => values.set(key, value),
          (error: unknown) => failures.set(key, error),
        )
      }
    }
    await Promise.all(Array.from({ length: Math.min(BATCH, missing.length) }, work))
    for (const key of missing) if (failures.has(key)) throw failures.get(key)
    // In the order in which they were asked for.
    return new Map(keys.map((key) => [key, values.get(key) as T]))
  }

  /** Removes one or more. Resolves to how many were there. @throws STATEFUL_CACHE_STORE_UNAVAILABLE */
  async delete(keys: string | readonly string[]): Promise<number> {
    const list = distinct(keys)
    for (const key of list) checkKey(key)
    const counts = await this.#buckets.withKeys(list, ({ mutations }, some) => mutations.invalidate({ keys: some }))
    const removed = sum(counts)
    this.#counters.invalidations++
    this.#counters.deletes += removed
    return removed
  }

  /** Makes them stale: loaded again at the next `getOrSet`, served meanwhile to those who allow `stale`. */
  async expire(keys: string | readonly string[]): Promise<number> {
    const list = distinct(keys)
    for (const key of list) checkKey(key)
    const counts = await this.#buckets.withKeys(list, ({ mutations }, some) => mutations.expire(some))
    this.#counters.invalidations++
    return sum(counts)
  }

  /** Everything that carries one of the tags is gone, in constant time. */
  async invalidateTags(tags: string | readonly string[]): Promise<void> {
    const list = distinct(tags)
    checkTags(list, Number.POSITIVE_INFINITY)
    await this.#invalidate({ names: list.map(tagName) })
  }

  /**
   * Removes every key that matches: `*` stands for any characters, `?` for one. Constant time for a declared prefix
   * (`prefixes: ['user:']` and `'user:*'`), else as long as the store takes to go through its keys.
   * Resolves to how many were removed, as far as that was counted.
   */
  async deleteMatching(pattern: string): Promise<number> {
    checkKey(pattern, 'pattern')
    if (!hasWildcard(pattern)) return this.delete(pattern)
    const prefix = literalPrefix(pattern)
    if (pattern === `${prefix}*`) {
      if (prefix === '') return this.clear().then(() => 0)
      if (this.#shared.options.prefixes.includes(prefix)) return this.#invalidate({ names: [prefixName(prefix)] })
    }
    return this.#invalidate({ pattern })
  }

  /** Everything of this namespace, and nothing else, is gone, in constant time. */
  async clear(): Promise<void> {
    await this.#invalidate({ names: [GENERATION] })
  }

  /**
   * Write-through: persists first, then stores. When `persist` fails nothing is cached, and the old value goes as
   * well, because what the source holds now is unknown.
   */
  async setAndPersist<T>(
    key: string,
    value: T,
    persist: (value: T, key: string) => unknown,
    options: SetOptions = {},
  ): Promise<void> {
    refuseUnknown(options, SET_OPTIONS)
    checkKey(key)
    try {
      await persist(value, key)
    } catch (error) {
      // Its failure adds nothing to the one that the caller gets.
      await this.delete(key).catch(() => {})
      throw error
    }
    await this.#setPersisted(key, value, options)
  }

  /**
   * Write-behind: resolves when the write is in the journal and in the cache; the handler gets it later. Until it has
   * persisted it, readers who do not find the key in the cache are given the write, also after a `delete`, an
   * invalidation or the end of its `ttl`: they see what the source will have.
   * @throws STATEFUL_UNKNOWN_WRITER, STATEFUL_WRITE_BEHIND_FULL and what `set` throws
   */
  async setWithDelayedPersist(key: string, value: unknown, options: DelayedPersistOptions = {}): Promise<void> {
    checkKey(key)
    const { writer = 'default', ...rest } = options
    const journal = this.#shared.writers.of(writer)
    checkValue(value)
    await this.#buckets.of(key).mutations.delay(key, value, this.#terms(rest), (write) => journal.append(write))
  }

  /** The source has it, or will: where there is no room for the new value the old one must not stay. */
  async #setPersisted(key: string, value: unknown, options: SetOptions): Promise<void> {
    try {
      await this.set(key, value, options)
    } catch (error) {
      if (error instanceof StorageFullError) await this.delete(key)
      throw error
    }
  }

  /**
   * The function, cached: the same arguments give the same entry.
   * @param options.name stands in the keys before the arguments; default: made of the function's name and text
   * @param options.key instead of both
   * @throws STATEFUL_INVALID_OPTION when the function cannot be told from another one and has neither
   * @example const rates = cache.wrap((day: Date) => bank.rates(day), { name: 'rates', ttl: '1h' })
   */
  wrap<A extends unknown[], R>(
    fn: (...args: A) => R | Promise<R>,
    options: CachedOptions & { key?: (...args: A) => string } = {},
  ): (...args: A) => Promise<R> {
    const { key, name, ...rest } = options
    refuseUnknown(rest, LOAD_OPTIONS)
    const called = key ? '' : (name ?? this.#calls.ofFunction(fn))
    const keyOf = key ?? ((...args: A) => callKey(called, args))
    return (...args) => {
      try {
        return this.getOrSet(keyOf(...args), () => fn(...args), rest)
      } catch (error) {
        return Promise.reject(error)
      }
    }
  }

  /**
   * Gets entries into the first level, from the second or their loaders, a few at a time. A key alone has the loader
   * that `warmFrom` registered for it, if any. Never rejects.
   */
  async warm(entries: readonly (string | WarmEntry)[]): Promise<WarmResult> {
    const result: WarmResult = { warmed: 0, missing: 0, failed: 0 }
    const queue = [...entries]
    const work = async () => {
      for (let entry = queue.shift(); entry !== undefined; entry = queue.shift()) {
        try {
          const value = await this.#warmOne(entry)
          if (value === undefined) result.missing++
          else result.warmed++
        } catch {
          result.failed++
        }
      }
    }
    await Promise.all(Array.from({ length: WARM_PARALLEL }, work))
    return result
  }

  /** Warms the hot keys that were written down last, as at boot. Never rejects. */
  warmHottest(): Promise<WarmResult> {
    return this.#shared.warming.warm(this)
  }

  /**
   * Registers where keys that match the pattern come from when they are warmed and the second level does not have
   * them. `options` are those of `getOrSet`.
   */
  warmFrom(pattern: string, loader: Loader, options: LoadOptions = {}): void {
    checkKey(pattern, 'pattern')
    refuseUnknown(options, LOAD_OPTIONS)
    this.#shared.warming.register(this.name, pattern, loader, options)
  }

  /** The keys of the first level that were used most, the hottest first. */
  hottest(n: number): string[] {
    return n === 0 ? [] : this.#l1.hottest(n)
  }

  /** The keys of the second level, in batches and in no order. One may come twice, or be past its time. */
  async *keys(): AsyncGenerator<string[]> {
    for (const { levels } of this.#buckets.all) yield* this.#shared.tier.keys(levels.bucket)
  }

  /**
   * The entries whose keys match, by pages in the order of their keys, without their values. It leaves no trace. Takes
   * as long as the store takes to go through its keys: for people who look, not for a program's every request.
   * @throws STATEFUL_INVALID_CACHE_KEY, STATEFUL_CACHE_STORE_UNAVAILABLE
   * @example
   * const { entries, cursor } = await cache.search({ pattern: 'user:*' })
   */
  async search({ pattern = '*', cursor = '', limit = 100, ...unknown }: SearchOptions = {}): Promise<SearchResult> {
    refuseUnknown(unknown, NO_OPTIONS)
    checkKey(pattern, 'pattern')
    const found = new FirstInOrder(limit + 1)
    const matches = globMatcher(pattern)
    for (const { levels } of this.#buckets.all) {
      for await (const keys of this.#shared.tier.keys(levels.bucket, 'tell')) {
        for (const key of keys) if (key > cursor && matches(key)) found.add(key)
      }
    }
    const keys = found.list()
    const page = keys.slice(0, limit)
    const described = await this.#buckets.withKeys(page, ({ levels }, some) => levels.describe(some))
    const last = keys.length > limit ? page.at(-1) : undefined
    return {
      entries: described.flat().sort((a, b) => (a.key < b.key ? -1 : 1)),
      ...(last === undefined ? {} : { cursor: last }),
    }
  }

  /** Another namespace of the same cache. */
  namespace(name: string): CacheNamespace {
    return this.#shared.namespace(name)
  }

  /**
   * Method decorator: caches what the method returns, for all instances of its class.
   * @param key default: made of class, method, its text and the arguments
   */
  cached<K extends unknown[] = []>(
    ttl?: LoadOptions['ttl'] | CachedOptions,
    key?: (...args: K) => string,
  ): MethodDecorator<K> {
    const options = typeof ttl === 'object' ? ttl : ttl === undefined ? {} : { ttl }
    refuseUnknown(options, CACHED_OPTIONS)
    return cachedDecorator(this, this.#calls, options, key)
  }

  /**
   * Method decorator: after the method has succeeded, removes what the patterns match, before its caller
   * gets the result. A failed invalidation rejects.
   * @param patterns keys or globs such as `'user:*'`, or a function of the arguments that returns them
   */
  invalidatesCache<K extends unknown[] = []>(
    patterns: string | readonly string[] | ((...args: K) => string | readonly string[]),
  ): MethodDecorator<K> {
    return invalidatingDecorator(this, patterns)
  }

  numbers(): CacheNumbers {
    return numbers([this.sums()])
  }

  sums() {
    return sums(this.#counters, this.#l1.size, this.#l1.bytes)
  }

  /** Whether the first level is proven current at this moment. */
  get coherent(): boolean {
    return this.#buckets.all.every(({ levels }) => levels.coherent())
  }

  /** The same for the statistics: without readers it needs no proof. */
  get stands(): boolean {
    return this.#buckets.all.every(({ levels }) => levels.stands())
  }

  resetCounters(): void {
    this.#counters.reset()
  }

  /** Never rejects. */
  async startCoherence(): Promise<void> {
    await this.#buckets.everywhere(({ levels }) => levels.coherence.start())
  }

  /** Asks the store where it stands; what is read before that is known counts as a miss. Never rejects. */
  async proveCoherence(): Promise<void> {
    await this.#buckets.everywhere(({ levels }) => levels.coherence.beat())
  }

  /** The same for the bucket of a key, unless it is known. */
  async proveCoherenceOf(key: string): Promise<void> {
    const { levels } = this.#buckets.of(key)
    if (!levels.coherent()) await levels.coherence.beat()
  }

  async stopCoherence(): Promise<void> {
    await this.#buckets.everywhere(({ levels }) => levels.coherence.stop())
  }

  /** What concerns every bucket. Resolves to how many entries were removed, as far as that was counted. */
  async #invalidate(what: Invalidation): Promise<number> {
    const counts = await this.#buckets.everywhere(({ mutations }) => mutations.invalidate(what))
    this.#counters.invalidations++
    return sum(counts)
  }

  #terms({ ttl, stale, tags = [], ...unknown }: SetOptions): Terms {
    refuseUnknown(unknown, SET_OPTIONS)
    checkTags(tags)
    const fresh = ttl === undefined ? this.#shared.options.l2.ttl : lifetime(ttl, 'ttl')
    return { ttl: fresh, stale: stale === undefined ? 0 : lifetime(stale, 'stale'), tags }
  }

  /** What the first level has of the key, counted. */
  #hit(key: string): Promise<unknown> | undefined {
    const promise = this.#clones ? this.#cloneOf(key) : this.#buckets.of(key).levels.promised(key)
    if (promise !== undefined) this.#counters.l1Hits++
    return promise
  }

  #cloneOf(key: string): Promise<unknown> | undefined {
    const value = this.#buckets.of(key).levels.fresh(key)
    return value === undefined ? undefined : Promise.resolve(cloned(value))
  }

  /** What both levels have of the keys, counted, and those that are missing, not counted. */
  async #collect<T>(keys: readonly string[]): Promise<{ values: Map<string, T>; missing: string[] }> {
    const values = new Map<string, T>()
    const unheld: string[] = []
    for (const key of new Set(keys)) {
      const value = this.#buckets.of(key).levels.fresh(key)
      if (value === undefined) {
        checkKey(key)
        unheld.push(key)
      } else {
        values.set(key, this.#own(value) as T)
      }
    }
    this.#counters.l1Hits += values.size
    if (unheld.length === 0) return { values, missing: unheld }
    const missing: string[] = []
    await this.#buckets.withKeys(unheld, async (bucket, keys) => {
      const found = await bucket.read(keys)
      // This is the way of every batch: destructuring entries() takes longer than looking at what was found.
      for (let i = 0; i < keys.length; i++) {
        const key = keys[i] as string
        const one = found[i]
        if (one?.fresh) values.set(key, this.#own(one.record.value) as T)
        else missing.push(key)
      }
    })
    this.#counters.l2Hits += unheld.length - missing.length
    return { values, missing }
  }

  async #lookUp(key: string): Promise<unknown> {
    checkKey(key)
    const found = await this.#buckets.of(key).look(key)
    if (!found?.fresh) {
      this.#counters.misses++
      return undefined
    }
    this.#counters.l2Hits++
    return this.#own(found.record.value)
  }

  async #load(key: string, loader: Loader, options: LoadOptions): Promise<unknown> {
    checkKey(key)
    const { levels, loads } = this.#buckets.of(key)
    const write = levels.written([key])
    if (write) await write
    const value = await loads.load(key, loader, options)
    return this.#own(value)
  }

  /** What a caller gets of a value that the first level may hold. */
  #own(value: unknown): unknown {
    return this.#clones ? cloned(value) : value
  }

  #warmOne(given: string | WarmEntry): Promise<unknown> {
    const entry = typeof given === 'string' ? this.#shared.warming.entryOf(this.name, given) : given
    if (typeof entry === 'string') return this.get(entry)
    const { key, loader, ...options } = entry
    return this.getOrSet(key, loader, options)
  }
}

const sum = (counts: readonly number[]): number => counts.reduce((total, count) => total + count, 0)

function distinct(names: string | readonly string[]): string[] {
  return Array.isArray(names) ? [...new Set<string>(names)] : [names as string]
}
