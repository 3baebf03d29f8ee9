import type { HistoryPoint, InstanceStats } from '../../../openapi/schemas/stats.ts'
import { percentiles } from '../../support/quantile.ts'
import { isHistogram } from '../catalogue.ts'

/** What one instance did and was in one interval. What it has no service for is absent. */
export interface Sample {
  /** When the interval ended: a multiple of its length, in milliseconds since the Unix epoch. */
  at: number
  instance: string
  /** How long was measured, in milliseconds: of the first interval after a start, less than all of it. */
  measured: number
  numbers: { [name in SeriesName]?: number }
  /** Upper bounds of the buckets of request durations in milliseconds, and how many requests fell into each. */
  durations?: { bounds: number[]; counts: number[] }
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
} as const satisfies { [name: string]: readonly [path: string, kind: Kind] }

export type SeriesName = keyof typeof SERIES

const NAMES = Object.keys(SERIES) as SeriesName[]

/**
 * What an instance did between two readings of its statistics.
 * @param before absent: since its start
 */
export function sampleOf(
  before: InstanceStats | undefined,
  now: InstanceStats,
  { at, measured }: Pick<Sample, 'at' | 'measured'>,
): Sample {
  const numbers: Sample['numbers'] = {}
  for (const name of NAMES) {
    const [path, kind] = SERIES[name]
    const value = numberAt(now, path)
    if (value === undefined) continue
    const former = before ? numberAt(before, path) : 0
    if (kind !== 'counted') numbers[name] = value
    // After an outage of its storage nobody knows when a counter grew.
    else if (former !== undefined) numbers[name] = grown(former, value)
  }
  const durations = durationsBetween(before, now)
  return { at, instance: now.instance, measured, numbers, ...(durations ? { durations } : {}) }
}

/** A counter that went back was set to 0 in between, and has grown since. */
const grown = (before: number, now: number): number => (now < before ? now : now - before)

function durationsBetween(before: InstanceStats | undefined, now: InstanceStats): Sample['durations'] {
  const { bounds, counts } = now.process.requests.duration
  const former = before?.process.requests.duration.counts ?? []
  return { bounds, counts: counts.map((count, i) => grown(former[i] ?? 0, count)) }
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
  const { bounds, counts } = together(samples)
  if (counts.some((count) => count > 0)) Object.assign(point, percentiles(bounds, counts))
  return point
}

/** Buckets only add up when all have the same bounds; they do, unless versions are mixed. */
function together(samples: readonly Sample[]): { bounds: number[]; counts: number[] } {
  const bounds = samples.find(({ durations }) => durations)?.durations?.bounds ?? []
  const counts = new Array<number>(bounds.length + 1).fill(0)
  for (const { durations } of samples) {
    if (durations?.bounds.length !== bounds.length) continue
    durations.counts.forEach((count, i) => {
      counts[i] = (counts[i] ?? 0) + count
    })
  }
  return { bounds, counts }
}

/** A sample that was read from a storage, if it is one: another version may have written it. */
export function isSample(value: unknown): value is Sample {
  const { at, instance, measured, numbers, durations } = (value ?? {}) as Partial<Record<keyof Sample, unknown>>
  return (
    isNumber(at) &&
    typeof instance === 'string' &&
    isNumber(measured) &&
    typeof numbers === 'object' &&
    numbers !== null &&
    NAMES.every((name) => (numbers as Sample['numbers'])[name] === undefined || isNumber((numbers as never)[name])) &&
    (durations === undefined || isDurations(durations))
  )
}

function isDurations(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || !isHistogram(value)) return false
  const { bounds, counts } = value as { bounds: unknown[]; counts: unknown[] }
  return [...bounds, ...counts].every(isNumber)
}

const isNumber = (value: unknown): value is number => typeof value === 'number' && value >= 0 && Number.isFinite(value)

function numberAt(stats: InstanceStats | undefined, path: string): number | undefined {
  let value: unknown = stats
  for (const part of path.split('.')) {
    if (typeof value !== 'object' || value === null) return undefined
    value = (value as Record<string, unknown>)[part]
  }
  return typeof value === 'number' ? value : undefined
}
