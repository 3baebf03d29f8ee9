import type { Stats } from '../openapi/schemas/stats.ts'

/** What the charts show at one time; `null` where nothing is known, so that a line has a gap and not a zero. */
export interface Point {
  /** Seconds since the Unix epoch, as uPlot wants it. */
  at: number
  l1: number | null
  l2: number | null
  miss: number | null
  requests: number | null
  errors: number | null
  p50: number | null
  p95: number | null
  p99: number | null
  loopP50: number | null
  loopP99: number | null
  rss: number | null
  heap: number | null
  sessions: number | null
  connections: number | null
  frames: number | null
  revision: number | null
}

export type SeriesName = Exclude<keyof Point, 'at'>

/** A number at `section.field.field`, if it is there. */
export function numberAt(stats: Stats | undefined, path: string): number | null {
  let value: unknown = stats
  for (const part of path.split('.')) {
    if (typeof value !== 'object' || value === null) return null
    value = (value as Record<string, unknown>)[part]
  }
  return typeof value === 'number' ? value : null
}

/**
 * What happened between two answers. Rates over the whole life of a process hide what goes on now. Counters that
 * went back (a reset, a restart, an instance that left) tell nothing about the time between.
 */
export function pointOf(previous: Stats | undefined, current: Stats): Point {
  const at = Date.parse(current.at) / 1000
  const seconds = previous ? at - Date.parse(previous.at) / 1000 : 0
  const grown = (path: string): number | null => {
    const [before, now] = [numberAt(previous, path), numberAt(current, path)]
    return before === null || now === null || now < before ? null : now - before
  }
  const perSecond = (path: string): number | null => {
    const growth = grown(path)
    return growth === null || seconds <= 0 ? null : growth / seconds
  }
  const lookups = grown('cache.lookups')
  const share = (...paths: string[]): number | null => {
    if (!lookups) return null
    let sum = 0
    for (const path of paths) {
      const growth = grown(path)
      if (growth === null) return null
      sum += growth
    }
    return sum / lookups
  }
  return {
    at,
    l1: share('cache.l1Hits'),
    l2: share('cache.l2Hits'),
    miss: share('cache.misses', 'cache.joined'),
    requests: perSecond('process.requests.total'),
    errors: perSecond('process.requests.byStatus.5xx'),
    p50: numberAt(current, 'process.requests.duration.p50'),
    p95: numberAt(current, 'process.requests.duration.p95'),
    p99: numberAt(current, 'process.requests.duration.p99'),
    loopP50: numberAt(current, 'process.eventLoop.p50'),
    loopP99: numberAt(current, 'process.eventLoop.p99'),
    rss: numberAt(current, 'process.memory.rss'),
    heap: numberAt(current, 'process.memory.heapUsed'),
    sessions: numberAt(current, 'sessions.total'),
    connections: numberAt(current, 'sync.connections'),
    frames: perSecond('sync.frames'),
    revision: numberAt(current, 'state.revision'),
  }
}

/** Adds a point and forgets those that are older than `span` seconds. */
export function remember(points: readonly Point[], point: Point, span: number): Point[] {
  return [...points.filter(({ at }) => at > point.at - span && at < point.at), point]
}

/** Columns as uPlot wants them: the times, then each series. */
export function columns(points: readonly Point[], names: readonly SeriesName[]): (number | null)[][] {
  return [points.map(({ at }) => at), ...names.map((name) => points.map((point) => point[name]))]
}
