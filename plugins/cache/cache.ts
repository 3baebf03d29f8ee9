import type { Storage } from '../storage/index.ts'
import { TooManyNamespacesError } from '../support/errors.ts'
import { type CacheStats, numbers } from './counters.ts'
import { checkNamespace } from './names.ts'
import { CacheNamespace, type Shared } from './namespace.ts'
import { type CacheOptions, resolveOptions } from './options.ts'
import { Breaker } from './stores/breaker.ts'
import type { Journal } from './stores/journal.ts'
import { openJournal, openTier } from './stores/open.ts'
import type { CacheTier } from './stores/tier.ts'
import { Warming } from './warming.ts'
import { type WriteHandler, Writers } from './write-behind.ts'

/** What a cache stands on; {@link cacheParts} makes it from a storage. */
export interface CacheParts {
  tier: CacheTier
  journal: Journal
  /** Told of failures that no caller waits for. */
  onError?: (error: unknown, what: string) => void
  /** Told when hot keys have been warmed. */
  onWarmed?: (message: string, details: object) => void
}

export const DEFAULT_NAMESPACE = 'default'
/** Where the lists of hot keys are kept. */
const HOT_KEYS = 'hot-keys'

/** @throws STATEFUL_INVALID_OPTION, STATEFUL_INVALID_DURATION */
export function cacheParts(
  storage: Storage,
  options: CacheOptions = {},
  onOutage: (away: boolean) => void = () => {},
): CacheParts {
  const { clock, l2, outage } = resolveOptions(options)
  const tier = openTier(storage, clock, l2)
  const journal = openJournal(storage)
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
  return { tier: breaker, journal }
}

/**
 * The cache: its default namespace, the others by `namespace(name)`, write-behind, and the numbers of all together.
 * It works from the first call; `start` adds the proof of coherence without which Redis is asked for every read.
 */
export class Cache extends CacheNamespace {
  readonly #parts: CacheParts
  readonly #namespaces: Map<string, CacheNamespace>
  readonly #writers: Writers
  readonly #warming: Warming
  readonly #running: { value: boolean }

  /** @throws STATEFUL_INVALID_OPTION, STATEFUL_INVALID_DURATION */
  constructor(parts: CacheParts, options: CacheOptions = {}) {
    const resolved = resolveOptions(options)
    const namespaces = new Map<string, CacheNamespace>()
    const running = { value: false }
    const report = parts.onError ?? (() => {})
    const writers = new Writers(parts.journal, resolved, (error, writer) => report(error, `write-behind '${writer}'`))
    const warming: Warming = new Warming(
      resolved.warming,
      resolved.clock,
      () => shared.namespace(HOT_KEYS),
      parts.onWarmed ?? (() => {}),
    )
    const shared: Shared = {
      tier: parts.tier,
      options: resolved,
      writers,
      warming,
      namespace(name) {
        const known = namespaces.get(name)
        if (known) return known
        checkNamespace(name)
        // The cache's own housekeeping does not count.
        const used = namespaces.size - Number(namespaces.has(HOT_KEYS))
        if (used >= resolved.maxNamespaces && name !== HOT_KEYS)
          throw new TooManyNamespacesError(resolved.maxNamespaces)
        const made = new CacheNamespace(name, shared)
        namespaces.set(name, made)
        if (running.value) void made.startCoherence().then(() => warming.warm(made))
        return made
      },
    }
    super(DEFAULT_NAMESPACE, shared)
    namespaces.set(DEFAULT_NAMESPACE, this)
    this.#parts = parts
    this.#namespaces = namespaces
    this.#writers = writers
    this.#warming = warming
    this.#running = running
  }

  /** Names of the namespaces that were used. */
  get namespaces(): string[] {
    return [...this.#namespaces.keys()].filter((name) => name !== HOT_KEYS)
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
    // The cache's own housekeeping is not what anybody asks about.
    const parts = [...this.#namespaces]
      .filter(([name]) => name !== HOT_KEYS)
      .map(([name, namespace]) => ({ name, sums: namespace.sums() }))
    return {
      tier: this.#parts.tier.kind,
      coherent: [...this.#namespaces.values()].every(({ coherent }) => coherent),
      ...numbers(parts.map(({ sums }) => sums)),
      namespaces: Object.fromEntries(parts.map(({ name, sums }) => [name, numbers([sums])])),
      writeBehind: this.#writers.stats(),
      warming: this.#warming.stats(),
    }
  }

  resetStats(): void {
    for (const namespace of this.#namespaces.values()) namespace.resetCounters()
  }

  /** Starts the proof of coherence and the writers. Never rejects because of the store. */
  async start(): Promise<void> {
    this.#running.value = true
    await Promise.all([...this.#namespaces.values()].map((namespace) => namespace.startCoherence()))
    await this.#writers.start()
    this.#warming.start(() => this.#namespaces.values())
    // Not awaited: the server need not wait for its cache to be warm.
    for (const namespace of [...this.#namespaces.values()]) void this.#warming.warm(namespace)
  }

  /** Flushes write-behind and ends everything that `start` began; the storage stays open. */
  async close(): Promise<void> {
    this.#running.value = false
    await this.#warming.stop([...this.#namespaces.values()])
    await this.#writers.stop()
    await Promise.all([...this.#namespaces.values()].map((namespace) => namespace.stopCoherence()))
    await this.#parts.tier.close()
  }
}
