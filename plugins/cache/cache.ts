import type { Storage } from '../storage/index.ts'
import type { Client } from '../support/client-limits.ts'
import { TooManyNamespacesError } from '../support/errors.ts'
import { Lending } from '../support/lending.ts'
import { type CacheNumbers, type CacheStats, Counters, counted, numbers, type Sums, sums } from './counters.ts'
import { LoaderMeter } from './loading/loader-meter.ts'
import { checkNamespace } from './names.ts'
import { CacheNamespace, type Shared } from './namespace.ts'
import { type CacheOptions, resolveOptions } from './options.ts'
import { Breaker } from './tier/breaker.ts'
import { placeOf } from './tier/buckets.ts'
import type { CacheTier } from './tier/contract.ts'
import { openJournal, openTier } from './tier/open.ts'
import type { SearchOptions, SearchResult } from './types.ts'
import { Warming } from './warming.ts'
import type { Journal } from './write-behind/journal.ts'
import { Writers } from './write-behind/writers.ts'
import type { WriteHandler } from './write-behind/writes.ts'

/** The few lists of hot keys need not be spread. */
function bucketsOf(tier: CacheTier, name: string): readonly string[] {
  return name === HOT_KEYS ? tier.buckets(name).slice(0, 1) : tier.buckets(name)
}

/** What a cache stands on; {@link cacheParts} makes it from a storage. */
export interface CacheParts {
  tier: CacheTier
  journal: Journal
  /** The tier itself, where it can be away. */
  breaker?: Breaker
  /** Told of failures that no caller waits for. */
  onError?: (error: unknown, what: string) => void
  /** Told when hot keys have been warmed. */
  onWarmed?: (message: string, details: object) => void
}

export const DEFAULT_NAMESPACE = 'default'
/** Where the lists of hot keys are kept. */
const HOT_KEYS = 'hot-keys'

/** @throws STATEFUL_INVALID_OPTION, STATEFUL_INVALID_DURATION */
export async function cacheParts(
  storage: Storage,
  options: CacheOptions = {},
  onOutage: (away: boolean) => void = () => {},
): Promise<CacheParts> {
  const { clock, l2, outage } = resolveOptions(options)
  const tier = await openTier(storage, clock, l2)
  const journal = await openJournal(storage, tier, clock)
  // Memory and LMDB are never away.
  if (!tier.shared) return { tier, journal }
  const breaker = new Breaker(tier, {
    clock,
    deadline: l2.timeout,
    failures: outage.failures,
    pause: outage.retry,
    journal: outage.invalidations === 'journal',
    onChange: onOutage,
  })
  return { tier: breaker, journal, breaker }
}

/**
 * The cache: its default namespace, the others by `namespace(name)`, write-behind, and the numbers of all together.
 * It works from the first call; `start` adds the proof of coherence without which Redis is asked for every read.
 */
export class Cache extends CacheNamespace {
  readonly #parts: CacheParts
  readonly #namespaces: Lending<CacheNamespace>
  /** Of namespaces that have been closed. */
  readonly #past: { sums: Sums }
  /** Where hot keys are remembered: the cache's own housekeeping, in no statistics. */
  readonly #hotKeys: () => CacheNamespace | undefined
  readonly #writers: Writers
  readonly #warming: Warming
  readonly #meter: LoaderMeter
  readonly #running: { value: boolean }

  /** @throws STATEFUL_INVALID_OPTION, STATEFUL_INVALID_DURATION */
  constructor(parts: CacheParts, options: CacheOptions = {}) {
    const resolved = resolveOptions(options)
    const past = { sums: sums(new Counters(), 0, 0) }
    let hotKeys: CacheNamespace | undefined
    const made = (name: string) => {
      const namespace = new CacheNamespace(name, shared)
      if (running.value) void namespace.startCoherence().then(() => warming.warm(namespace))
      return namespace
    }
    const running = { value: false }
    const report = parts.onError ?? (() => {})
    const meter = new LoaderMeter(resolved.clock)
    const writers = new Writers(parts.journal, resolved, (error, writer) => report(error, `write-behind '${writer}'`))
    const warming: Warming = new Warming(
      resolved.warming,
      resolved.clock,
      () => shared.namespace(HOT_KEYS),
      parts.onWarmed ?? (() => {}),
    )
    const shared: Shared = {
      tier: parts.tier,
      journal: parts.journal,
      meter,
      options: resolved,
      writers,
      warming,
      bucketsOf: (name) => bucketsOf(parts.tier, name),
      namespace(name) {
        checkNamespace(name)
        if (name !== HOT_KEYS) return namespaces.keep(name)
        hotKeys ??= made(name)
        return hotKeys
      },
    }
    const namespaces = new Lending<CacheNamespace>({
      what: 'cache namespaces',
      kept: resolved.maxNamespaces,
      tooManyKept: () => new TooManyNamespacesError(resolved.maxNamespaces),
      clients: resolved.clients,
      clock: resolved.clock,
      open: made,
      close: (namespace) => namespace.stopCoherence(),
      // Reads hold what they borrow, and an application that loads has kept its namespace.
      busy: () => false,
      onClosing(namespace) {
        warming.forget(namespace)
        past.sums = counted(past.sums, namespace.sums())
      },
      onError: report,
    })
    super(DEFAULT_NAMESPACE, shared)
    namespaces.adopt(DEFAULT_NAMESPACE, this)
    this.#parts = parts
    this.#namespaces = namespaces
    this.#past = past
    this.#hotKeys = () => hotKeys
    this.#writers = writers
    this.#warming = warming
    this.#meter = meter
    this.#running = running
  }

  /** Names of the namespaces that were used. */
  get namespaces(): string[] {
    return this.#namespaces.all().map(({ name }) => name)
  }

  /**
   * The namespaces that are open, each with its numbers and the keys of the first level that were used most.
   * @param hottest at most so many keys
   */
  overview(hottest: number): { name: string; numbers: CacheNumbers; hottest: string[] }[] {
    return this.#namespaces.all().map((namespace) => ({
      name: namespace.name,
      numbers: namespace.numbers(),
      hottest: namespace.hottest(hottest),
    }))
  }

  /**
   * A namespace for something that a client does: within the bounds of clients, and closed some time after nobody has
   * borrowed it any more. Release it when the client is done with it.
   * @throws STATEFUL_INVALID_CACHE_KEY, STATEFUL_TOO_MANY_AT_ONCE, STATEFUL_OVERLOADED
   */
  borrow(name: string, client: Client): { namespace: CacheNamespace; release(): void } {
    checkNamespace(name)
    if (name === HOT_KEYS) return { namespace: this.namespace(name), release() {} }
    const { thing: namespace, release } = this.#namespaces.borrow(name, client)
    return { namespace, release }
  }

  /**
   * Lets a client look up a key. A namespace that is neither open nor in the store is not opened for it.
   * @returns `undefined` for a miss
   * @throws what `borrow` throws
   */
  async readAs(client: Client, name: string, key: string): Promise<unknown> {
    checkNamespace(name)
    const known = this.#namespaces.get(name) ?? (name === HOT_KEYS ? this.#hotKeys() : undefined)
    // As for every read: a store that is away is a miss.
    if (!known && !(await this.#exists(name, key).catch(() => false))) return undefined
    const { namespace, release } = this.borrow(name, client)
    try {
      // A miss would be told as if there were no such entry.
      if (this.#running.value) await namespace.proveCoherenceOf(key)
      return await namespace.get(key)
    } finally {
      release()
    }
  }

  /**
   * Lets a client search a namespace. One that is neither open nor in the store is not opened for it.
   * @throws what `borrow` and `search` throw
   */
  async searchAs(client: Client, name: string, options: SearchOptions): Promise<SearchResult> {
    checkNamespace(name)
    if (!this.#namespaces.get(name)) {
      const { tier } = this.#parts
      const there = await Promise.all(bucketsOf(tier, name).map((bucket) => tier.exists(bucket)))
      if (!there.some(Boolean)) return { entries: [] }
    }
    const { namespace, release } = this.borrow(name, client)
    try {
      return await namespace.search(options)
    } finally {
      release()
    }
  }

  /**
   * Registers who persists what `setWithDelayedPersist` was given, in batches, the latest write of each key. Writes
   * that an earlier process left in the journal come first.
   * @throws STATEFUL_INVALID_OPTION when the name is taken
   */
  writeBehind(name: string, handler: WriteHandler): void {
    this.#writers.register(name, handler)
  }

  /** Write-behind: flush, and the writes that its handler refused for good. */
  get writers(): Writers {
    return this.#writers
  }

  /** The numbers of all namespaces. */
  stats(): CacheStats {
    const parts = this.#namespaces.all().map((namespace) => ({ name: namespace.name, sums: namespace.sums() }))
    return {
      tier: this.#parts.tier.kind,
      coherent: this.#all().every(({ stands }) => stands),
      ...numbers([this.#past.sums, ...parts.map(({ sums }) => sums)]),
      namespaces: Object.fromEntries(parts.map(({ name, sums }) => [name, numbers([sums])])),
      writeBehind: this.#writers.stats(),
      warming: this.#warming.stats(),
      loaders: this.#meter.stats(),
      ...(this.#parts.breaker ? { breaker: this.#parts.breaker.stats() } : {}),
    }
  }

  resetStats(): void {
    this.#past.sums = sums(new Counters(), 0, 0)
    this.#meter.reset()
    this.#parts.breaker?.resetStats()
    for (const namespace of this.#all()) namespace.resetCounters()
  }

  /** Whether the bucket of the key has anything. */
  #exists(name: string, key: string): Promise<boolean> {
    const { tier } = this.#parts
    const buckets = bucketsOf(tier, name)
    return tier.exists(buckets[placeOf(key, buckets.length)] as string)
  }

  #all(): CacheNamespace[] {
    const hotKeys = this.#hotKeys()
    return [...this.#namespaces.all(), ...(hotKeys ? [hotKeys] : [])]
  }

  /** Starts the proof of coherence and the writers. Never rejects because of the store. */
  async start(): Promise<void> {
    this.#running.value = true
    await Promise.all(this.#all().map((namespace) => namespace.startCoherence()))
    await this.#writers.start()
    this.#warming.start(() => this.#all())
    // Not awaited: the server need not wait for its cache to be warm.
    for (const namespace of this.#all()) void this.#warming.warm(namespace)
  }

  /** Flushes write-behind and ends everything that `start` began; the storage stays open. */
  async close(): Promise<void> {
    this.#running.value = false
    await this.#warming.stop(this.#all())
    await this.#writers.stop()
    await this.#namespaces.close(this)
    await Promise.all([this, this.#hotKeys()].map((namespace) => namespace?.stopCoherence()))
    await this.#parts.tier.close()
  }
}
