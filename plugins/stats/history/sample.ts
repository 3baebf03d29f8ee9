import type { HistoryPoint, InstanceStats } from '../../../openapi/schemas/stats.ts'
import { percentiles } from '../../support/quantile.ts'
import { isHistogram } from '../catalogue.ts'
import { numberAt } from '../number-at.ts'

interface Buckets {
  bounds: number[]
  counts: number[]
}

/**
 * Codes and loaders of one sample, so that it stays small: what is beyond the first is counted together, the latter go.
 */
const MAX_CODES = 8
const OTHER_CODES = 'other'
const MAX_LOADERS = 5
/** Characters of a name; a longer one is cut. */
const MAX_NAME = 112

/** What one instance did and was in one interval. What it has no service for is absent. */
export interface Sample {
  /** When the interval ended: a multiple of its length, in milliseconds since the Unix epoch. */
  at: number
  instance: string
  /** How long was measured, in milliseconds: of the first interval after a start, less than all of it. */
  measured: number
  numbers: { [name in SeriesName]?: number }
  /** Upper bounds of the buckets of request durations in milliseconds, and how many requests fell into each. */
  durations?: Buckets
  /** The same of the storage. */
  latency?: Buckets
  /** Requests answered with a problem, by its code. */
  problems?: Record<string, number>
  /** How many loads of the cache there were, how long they took together, and the slowest, in milliseconds. */
  loaders?: Record<string, [loads: number, time: number, worst: number]>
}

/**
 * - `counted`: how much the counter grew in the interval; of several instances, the sum.
 * - `held`: how much there was at its end; of several instances, the sum.
 * - `shared`: the same, but all instances tell the same number, or a sum would mean nothing: the largest.
 */
type Kind = 'counted' | 'held' | 'shared'

/** What of the statistics is kept, by the name that it has in the history. */
const SERIES = {
  lookups: ['cache.lookups', 'counted'],
  l1Hits: ['cache.l1Hits', 'counted'],
  l2Hits: ['cache.l2Hits', 'counted'],
  misses: ['cache.misses', 'counted'],
  joined: ['cache.joined', 'counted'],
  stale: ['cache.stale', 'counted'],
  loads: ['cache.loads', 'counted'],
  loadFailures: ['cache.loadFailures', 'counted'],
  storeFailures: ['cache.storeFailures', 'counted'],
  cacheBytes: ['cache.bytes', 'held'],
  pendingWrites: ['cache.writeBehind.pending', 'held'],
  deadLetters: ['cache.writeBehind.dead', 'held'],
  requests: ['process.requests.total', 'counted'],
  clientErrors: ['process.requests.byStatus.4xx', 'counted'],
  serverErrors: ['process.requests.byStatus.5xx', 'counted'],
  loopP50: ['process.eventLoop.p50', 'shared'],
  loopP99: ['process.eventLoop.p99', 'shared'],
  loopUtilization: ['process.eventLoop.utilization', 'shared'],
  rss: ['process.memory.rss', 'held'],
  heapUsed: ['process.memory.heapUsed', 'held'],
  sessions: ['sessions.total', 'shared'],
  activeUsers: ['sessions.activeUsers', 'shared'],
  revision: ['state.revision', 'shared'],
  stateKeys: ['state.keys', 'shared'],
  connections: ['sync.connections', 'held'],
  frames: ['sync.frames', 'counted'],
  storageFailures: ['storage.failures', 'counted'],
  openCircuits: ['cache.breaker.open', 'held'],
  outages: ['cache.breaker.outages', 'counted'],
} as const satisfies { [name: string]: readonly [path: string, kind: Kind] }

export type SeriesName = keyof typeof SERIES

const NAMES = Object.keys(SERIES) as SeriesName[]

/**
 * What an instance did between two readings of its statistics.
 * @param before absent: since its start
 * @param slowest of each loader, the slowest load since then
 */
export function sampleOf(
  before: InstanceStats | undefined,
  now: InstanceStats,
  { at, measured }: Pick<Sample, 'at' | 'measured'>,
  slowest: ReadonlyMap<string, number> = new Map(),
): Sample {
  const numbers: Sample['numbers'] = {}
  for (const name of NAMES) {
    const [path, kind] = SERIES[name]
    const value = numberAt(now, path)
    if (value === undefined) continue
    const former = before ? numberAt(before, path) : 0
    if (kind !== 'counted') numbers[name] = value
    // After an outage of its storage it is unknown when a counter grew.
    else if (former !== undefined) numbers[name] = grown(former, value)
  }
  const { duration, problems } = now.process.requests
  const former = before?.process.requests
  const latency = now.storage && between(before?.storage?.latency, now.storage.latency)
  const codes = mostOf(grownBetween(former?.problems, problems))
  const loaders = loadersBetween(before, now, slowest)
  return {
    ...{ at, instance: now.instance, measured, numbers },
    durations: between(former?.duration, duration),
    ...(latency?.counts.some((count) => count > 0) ? { latency } : {}),
    ...(codes.length > 0 ? { problems: Object.fromEntries(codes) } : {}),
    ...(loaders.length > 0 ? { loaders: Object.fromEntries(loaders) } : {}),
  }
}

/** A counter that went back was set to 0 in between, and has grown since. */
const grown = (before: number, now: number): number => (now < before ? now : now - before)

function between(before: Buckets | undefined, { bounds, counts }: Buckets): Buckets {
  return { bounds, counts: counts.map((count, i) => grown(before?.counts[i] ?? 0, count)) }
}

/** Counters by name that have grown. */
function grownBetween(before: Record<string, number> = {}, now: Record<string, number> = {}): [string, number][] {
  return Object.entries(now)
    .map(([name, count]): [string, number] => [name, grown(before[name] ?? 0, count)])
    .filter(([, count]) => count > 0)
}

/** The most frequent codes, and the sum of the others. */
function mostOf(counts: [code: string, count: number][]): [string, number][] {
  const sorted = counts.map(([code, count]): [string, number] => [code.slice(0, MAX_NAME), count])
  sorted.sort(([, one], [, other]) => other - one)
  const rest = sorted.slice(MAX_CODES).reduce((sum, [, count]) => sum + count, 0)
  return [...sorted.slice(0, MAX_CODES), ...(rest > 0 ? [[OTHER_CODES, rest] as [string, number]] : [])]
}

/** The loaders that took most time. */
function loadersBetween(
  before: InstanceStats | undefined,
  now: InstanceStats,
  slowest: ReadonlyMap<string, number>,
): [string, [number, number, number]][] {
  const tenths = (ms: number) => Math.round(ms * 10) / 10
  return Object.entries(now.cache?.loaders ?? {})
    .map(([name, { loads, time, worst }]): [string, [number, number, number]] => {
      const former = before?.cache?.loaders?.[name]
      const longest = Math.max(worst, slowest.get(name) ?? 0)
      const counted = grown(former?.loads ?? 0, loads)
      return [name.slice(0, MAX_NAME), [counted, tenths(grown(former?.time ?? 0, time)), tenths(longest)]]
    })
    .filter(([, [loads]]) => loads > 0)
    .sort(([, [, one]], [, [, other]]) => other - one)
    .slice(0, MAX_LOADERS)
}

/**
 * The samples of one moment, of one instance or several, as one point. What an instance told twice (it was late once)
 * counts as the longer time that it is.
 */
export function pointOf(at: number, samples: readonly Sample[]): HistoryPoint {
  const point: HistoryPoint = { at, instances: new Set(samples.map(({ instance }) => instance)).size, measured: 0 }
  for (const { measured, numbers } of samples) {
    point.measured = Math.max(point.measured, measured)
    for (const name of NAMES) {
      const value = numbers[name]
      if (value === undefined) continue
      const so = point[name]
      if (so === undefined) point[name] = value
      else point[name] = SERIES[name][1] === 'shared' ? Math.max(so, value) : so + value
    }
  }
  const durations = together(samples.map(({ durations }) => durations))
  if (durations) Object.assign(point, percentiles(durations.bounds, durations.counts))
  const latency = together(samples.map(({ latency }) => latency))
  if (latency) {
    const { p50, p99 } = percentiles(latency.bounds, latency.counts)
    Object.assign(point, { storageP50: p50, storageP99: p99 })
  }
  const problems = samples.flatMap(({ problems = {} }) => Object.entries(problems))
  if (problems.length > 0) {
    point.problems = {}
    for (const [code, count] of problems) point.problems[code] = (point.problems[code] ?? 0) + count
  }
  const loaders = samples.flatMap(({ loaders = {} }) => Object.entries(loaders))
  if (loaders.length > 0) {
    point.loaders = {}
    for (const [name, [loads, time, worst]] of loaders) {
      const so = point.loaders[name] ?? { loads: 0, time: 0, worst: 0 }
      point.loaders[name] = { loads: so.loads + loads, time: so.time + time, worst: Math.max(so.worst, worst) }
    }
  }
  return point
}

/** Buckets only add up when all have the same bounds; they do, unless versions are mixed. */
function together(parts: readonly (Buckets | undefined)[]): Buckets | undefined {
  const { bounds } = parts.find((part) => part) ?? { bounds: [] }
  const counts = new Array<number>(bounds.length + 1).fill(0)
  for (const part of parts) {
    if (part?.bounds.length !== bounds.length) continue
    part.counts.forEach((count, i) => {
      counts[i] = (counts[i] ?? 0) + count
    })
  }
  return counts.some((count) => count > 0) ? { bounds, counts } : undefined
}

/** A sample that was read from a storage, if it is one: another version may have written it. */
export function isSample(value: unknown): value is Sample {
  const { at, instance, measured, numbers, durations, latency, problems, loaders } = (value ?? {}) as Partial<
    Record<keyof Sample, unknown>
  >
  return (
    isNumber(at) &&
    typeof instance === 'string' &&
    isNumber(measured) &&
    typeof numbers === 'object' &&
    numbers !== null &&
    NAMES.every((name) => (numbers as Sample['numbers'])[name] === undefined || isNumber((numbers as never)[name])) &&
    (durations === undefined || isBuckets(durations)) &&
    (latency === undefined || isBuckets(latency)) &&
    (problems === undefined || isRecordOf(problems, isNumber)) &&
    (loaders === undefined || isRecordOf(loaders, isTimes))
  )
}

function isRecordOf(value: unknown, isEntry: (entry: unknown) => boolean): boolean {
  return typeof value === 'object' && value !== null && Object.values(value).every(isEntry)
}

function isTimes(value: unknown): boolean {
  return Array.isArray(value) && value.length === 3 && value.every(isNumber)
}

function isBuckets(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || !isHistogram(value)) return false
  const { bounds, counts } = value as { bounds: unknown[]; counts: unknown[] }
  return [...bounds, ...counts].every(isNumber)
}

const isNumber = (value: unknown): value is number => typeof value === 'number' && value >= 0 && Number.isFinite(value)
