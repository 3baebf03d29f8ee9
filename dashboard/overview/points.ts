import type { HistoryPoint } from '../../openapi/schemas/stats.ts'

/** What the charts show at one time; `null` where nothing is known, so that a line has a gap and not a zero. */
export interface Point {
  /** Seconds since the Unix epoch, as uPlot wants it. */
  at: number
  l1: number | null
  l2: number | null
  miss: number | null
  requests: number | null
  clientErrors: number | null
  serverErrors: number | null
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
  loads: number | null
  loadFailures: number | null
  storeFailures: number | null
  pendingWrites: number | null
  deadLetters: number | null
  storageFailures: number | null
  openCircuits: number | null
  storageP50: number | null
  storageP99: number | null
}

export type SeriesName = Exclude<keyof Point, 'at'>

/** Counts of an interval as shares and rates. */
export function pointOf(point: HistoryPoint): Point {
  const { measured, lookups } = point
  const rate = (count: number | undefined): number | null =>
    count === undefined || measured <= 0 ? null : (count / measured) * 1_000
  const share = (...counts: (number | undefined)[]): number | null =>
    lookups ? counts.reduce<number>((sum, count) => sum + (count ?? 0), 0) / lookups : null
  return {
    at: point.at / 1_000,
    l1: share(point.l1Hits),
    l2: share(point.l2Hits),
    miss: share(point.misses, point.joined),
    requests: rate(point.requests),
    clientErrors: rate(point.clientErrors),
    serverErrors: rate(point.serverErrors),
    p50: point.p50 ?? null,
    p95: point.p95 ?? null,
    p99: point.p99 ?? null,
    loopP50: point.loopP50 ?? null,
    loopP99: point.loopP99 ?? null,
    rss: point.rss ?? null,
    heap: point.heapUsed ?? null,
    sessions: point.sessions ?? null,
    connections: point.connections ?? null,
    frames: rate(point.frames),
    revision: point.revision ?? null,
    loads: rate(point.loads),
    loadFailures: rate(point.loadFailures),
    storeFailures: rate(point.storeFailures),
    pendingWrites: point.pendingWrites ?? null,
    deadLetters: point.deadLetters ?? null,
    storageFailures: point.storageFailures ?? null,
    openCircuits: point.openCircuits ?? null,
    storageP50: point.storageP50 ?? null,
    storageP99: point.storageP99 ?? null,
  }
}

/** The points with an empty one wherever some are missing, so that no line is drawn across. */
export function withGaps(points: readonly HistoryPoint[], interval: number): Point[] {
  const all: Point[] = []
  let before: number | undefined
  for (const point of points) {
    if (before !== undefined && point.at - before > 1.5 * interval) {
      all.push(pointOf({ at: before + interval, instances: 0, measured: 0 }))
    }
    all.push(pointOf(point))
    before = point.at
  }
  return all
}

/** Of the whole range: counts added up, shares of these. */
export function totalOf(points: readonly HistoryPoint[]): HistoryPoint {
  const total: HistoryPoint = { at: points.at(-1)?.at ?? 0, instances: 0, measured: 0 }
  const counts = [
    'lookups',
    'l1Hits',
    'l2Hits',
    'misses',
    'joined',
    'requests',
    'clientErrors',
    'serverErrors',
    'storageFailures',
    'outages',
  ] as const
  for (const point of points) {
    total.measured += point.measured
    for (const name of counts) {
      const count = point[name]
      if (count !== undefined) total[name] = (total[name] ?? 0) + count
    }
  }
  return total
}

/** Columns as uPlot wants them: the times, then each series. */
export function columns(points: readonly Point[], names: readonly SeriesName[]): (number | null)[][] {
  return [points.map(({ at }) => at), ...names.map((name) => points.map((point) => point[name]))]
}
