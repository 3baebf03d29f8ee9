import type { Clock, Timer } from '../support/clock.ts'
import { globMatcher, type Matcher } from './glob.ts'
import type { CacheNamespace } from './namespace.ts'
import type { Loader, LoadOptions, WarmEntry, WarmResult } from './types.ts'

export interface WarmingSettings {
  /** Most keys remembered for a namespace; 0 for none. */
  keys: number
  /** How often they are written down, in ms. */
  interval: number
}

export interface WarmingStats extends WarmResult {
  /** Hot keys written down at the last time, all namespaces together. */
  remembered: number
  /** Warmings that are running. */
  running: number
}

interface Source {
  matches: Matcher
  loader: Loader
  options: LoadOptions
}

/** How long an application may be down and still find its hot keys. */
const REMEMBERED_FOR = 7 * 24 * 3_600_000
/** Losing the first level twice in so many ms is one loss. */
const CALM = 1_000

/**
 * Remembers which keys are used most, by the first level's own frequencies, and brings them back into it: at boot, when
 * a namespace is used for the first time, and after the first level had to be emptied. A key comes from the second
 * level, or from the loader that was registered for it.
 */
export class Warming {
  readonly #settings: WarmingSettings
  readonly #clock: Clock
  /** Where the lists are kept: a namespace of the same cache, so that they are wherever the entries are. */
  readonly #lists: () => CacheNamespace
  readonly #report: (message: string, details: object) => void
  readonly #last = new Map<string, string[]>()
  readonly #sources = new Map<string, Source[]>()
  readonly #totals: WarmResult = { warmed: 0, missing: 0, failed: 0 }
  #running = 0
  #timer: Timer | undefined
  readonly #soon = new Map<string, Timer>()

  constructor(
    settings: WarmingSettings,
    clock: Clock,
    lists: () => CacheNamespace,
    report: (message: string, details: object) => void,
  ) {
    this.#settings = settings
    this.#clock = clock
    this.#lists = lists
    this.#report = report
  }

  /** The loader for keys of the namespace that match and are not in the second level. */
  register(namespace: string, pattern: string, loader: Loader, options: LoadOptions): void {
    const source = { matches: globMatcher(pattern), loader, options }
    this.#sources.set(namespace, [...(this.#sources.get(namespace) ?? []), source])
  }

  /** The key with the loader that was registered for it; the key alone if there is none. */
  entryOf(namespace: string, key: string): string | WarmEntry {
    const source = this.#sources.get(namespace)?.find(({ matches }) => matches(key))
    return source ? { key, loader: source.loader, ...source.options } : key
  }

  start(namespaces: () => Iterable<CacheNamespace>): void {
    if (this.#settings.keys === 0) return
    this.#timer = this.#clock.every(this.#settings.interval, () => void this.remember(namespaces()))
  }

  /** Ends with a last list. */
  async stop(namespaces: Iterable<CacheNamespace>): Promise<void> {
    if (!this.#timer) return
    this.#timer.cancel()
    for (const timer of this.#soon.values()) timer.cancel()
    await this.remember(namespaces)
  }

  /** Writes the hot keys down. Never rejects: it is a convenience. */
  async remember(namespaces: Iterable<CacheNamespace>): Promise<void> {
    const lists: [string, string[]][] = []
    for (const namespace of namespaces) {
      const keys = namespace.hottest(this.#settings.keys)
      if (keys.length === 0 || namespace === this.#lists()) continue
      this.#last.set(namespace.name, keys)
      lists.push([namespace.name, keys])
    }
    await this.#lists()
      .setMany(lists, { ttl: REMEMBERED_FOR })
      .catch(() => {})
  }

  /** Warms what was hot; resolves when it is through, never rejects. */
  async warm(namespace: CacheNamespace): Promise<WarmResult> {
    const nothing = { warmed: 0, missing: 0, failed: 0 }
    if (this.#settings.keys === 0) return nothing
    // A list is an entry like others: anything may be there.
    const list = this.#last.get(namespace.name) ?? (await this.#lists().get(namespace.name))
    const keys = Array.isArray(list) ? list.filter((key): key is string => typeof key === 'string') : []
    if (keys.length === 0) return nothing
    this.#running++
    const result = await namespace.warm(keys)
    this.#running--
    for (const name of Object.keys(result) as (keyof WarmResult)[]) this.#totals[name] += result[name]
    this.#report('hot keys warmed', { namespace: namespace.name, keys: keys.length, ...result })
    return result
  }

  /** The namespace is closed; its list stays where lists are kept. */
  forget({ name }: CacheNamespace): void {
    this.#soon.get(name)?.cancel()
    this.#soon.delete(name)
    this.#last.delete(name)
  }

  /** The first level was emptied; more of that may come at once. */
  lost(namespace: CacheNamespace): void {
    if (this.#settings.keys === 0 || !this.#timer) return
    this.#soon.get(namespace.name)?.cancel()
    this.#soon.set(
      namespace.name,
      this.#clock.after(CALM, () => {
        this.#soon.delete(namespace.name)
        void this.warm(namespace)
      }),
    )
  }

  stats(): WarmingStats {
    const remembered = [...this.#last.values()].reduce((sum, { length }) => sum + length, 0)
    return { ...this.#totals, remembered, running: this.#running }
  }
}
