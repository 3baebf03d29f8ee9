import type { CacheNumbers } from '../../openapi/schemas/cache.ts'
import { percentiles } from '../support/quantile.ts'

export type { CacheNumbers, CacheStats } from '../../openapi/schemas/cache.ts'

/** Upper bounds of the durations of loads, in ms: a source that answers at once, and one that is about to be given up. */
const BOUNDS = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000]

/** What happened, counted once per operation; everything else is computed from these. */
export class Counters {
  /** Answered by the first level. */
  l1Hits = 0
  /** Answered by the second level. */
  l2Hits = 0
  /** Answered with a value past its time, as the caller allowed. */
  stale = 0
  /** Waited for a load that another caller had begun. */
  joined = 0
  /** Nothing was there. */
  misses = 0
  /** Loaders run, and those of them that failed. */
  loads = 0
  loadFailures = 0
  /** How long they took together, in ms, and how many took how long. */
  loadTime = 0
  loadCounts: number[] = new Array(BOUNDS.length + 1).fill(0)
  /** Loads whose result was not stored, because an invalidation came between. */
  refused = 0
  sets = 0
  deletes = 0
  invalidations = 0
  evictions = 0
  /** Operations that the second level failed; reads among them were counted as misses. */
  storeFailures = 0
  /** How often the first level was emptied because messages were lost. */
  resyncs = 0

  /** A loader has ended, well or not. */
  loaded(ms: number): void {
    this.loadTime += ms
    let bucket = 0
    while (bucket < BOUNDS.length && ms > (BOUNDS[bucket] as number)) bucket++
    this.loadCounts[bucket] = (this.loadCounts[bucket] as number) + 1
  }

  reset(): void {
    Object.assign(this, new Counters())
  }
}

export type Sums = Omit<
  CacheNumbers,
  'lookups' | 'l1HitRate' | 'l2HitRate' | 'missRate' | 'staleRate' | 'meanLoadTime' | 'loadDuration'
> &
  Pick<Counters, 'loadTime' | 'loadCounts'>

/** What was counted by both; for namespaces that are closed, whose first levels are gone. */
export function counted(one: Sums, other: Sums): Sums {
  const total = { ...one }
  for (const [name, value] of Object.entries(other) as [keyof Sums, number][]) {
    if (typeof value === 'number') (total[name] as number) += value
  }
  const loadCounts = one.loadCounts.map((count, bucket) => count + (other.loadCounts[bucket] as number))
  return { ...total, loadCounts, entries: 0, bytes: 0 }
}

/** Adds namespaces up and computes rates. */
export function numbers(parts: Sums[]): CacheNumbers {
  const sum = (pick: (part: Sums) => number): number => parts.reduce((total, part) => total + pick(part), 0)
  const l1Hits = sum((part) => part.l1Hits)
  const l2Hits = sum((part) => part.l2Hits)
  const misses = sum((part) => part.misses)
  const joined = sum((part) => part.joined)
  const stale = sum((part) => part.stale)
  const loads = sum((part) => part.loads)
  const loadTime = sum((part) => part.loadTime)
  const loadCounts = [...BOUNDS, 0].map((_, bucket) => sum((part) => part.loadCounts[bucket] as number))
  const lookups = l1Hits + l2Hits + misses + joined + stale
  const share = (count: number): number => (lookups === 0 ? 0 : count / lookups)
  return {
    lookups,
    l1Hits,
    l2Hits,
    l1HitRate: share(l1Hits),
    l2HitRate: share(l2Hits),
    missRate: share(misses + joined),
    staleRate: share(stale),
    misses,
    joined,
    stale,
    loads,
    loadFailures: sum((part) => part.loadFailures),
    loadDuration: { sum: loadTime, ...percentiles(BOUNDS, loadCounts), bounds: [...BOUNDS], counts: loadCounts },
    meanLoadTime: loads === 0 ? 0 : loadTime / loads,
    refused: sum((part) => part.refused),
    sets: sum((part) => part.sets),
    deletes: sum((part) => part.deletes),
    invalidations: sum((part) => part.invalidations),
    evictions: sum((part) => part.evictions),
    storeFailures: sum((part) => part.storeFailures),
    resyncs: sum((part) => part.resyncs),
    entries: sum((part) => part.entries),
    bytes: sum((part) => part.bytes),
  }
}

/** The counters of one namespace with the sizes of its first level. */
export function sums(counters: Counters, entries: number, bytes: number): Sums {
  // Own enumerable fields only: exactly the counters.
  return { ...counters, entries, bytes }
}
