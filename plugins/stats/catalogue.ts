/** The parts of the statistics: the storage, a service each, and the process. */
export type Section = 'storage' | 'cache' | 'sessions' | 'state' | 'sync' | 'process'

/** How the numbers of a section behave, by the name of their field, at whatever depth. */
export interface Behaviour {
  /** Go up and down; the cluster's is the sum. What is named nowhere is a counter: it only grows. */
  gauges: readonly string[]
  /** Go up and down; the cluster's is the largest: every instance tells the same, or a sum would mean nothing. */
  largest: readonly string[]
  /** Averages and shares, with the field beside them that says how much each instance's weighs. */
  weighted: Readonly<Record<string, string>>
  /** Objects whose keys are data, with the Prometheus label that takes the key. */
  labels: Readonly<Record<string, string>>
}

export const behaviours: Readonly<Record<Section, Behaviour>> = {
  storage: {
    gauges: [],
    largest: [],
    weighted: {},
    labels: {},
  },
  cache: {
    gauges: ['entries', 'bytes', 'pending', 'dead', 'remembered', 'running', 'open', 'deferred'],
    largest: ['worst'],
    weighted: {
      l1HitRate: 'lookups',
      l2HitRate: 'lookups',
      missRate: 'lookups',
      staleRate: 'lookups',
      meanLoadTime: 'loads',
    },
    labels: { namespaces: 'namespace', loaders: 'loader' },
  },
  // Counted in the storage, which the instances share.
  sessions: {
    gauges: [],
    largest: ['total', 'activeUsers', 'averagePerUser'],
    weighted: {},
    labels: {},
  },
  // Every instance holds a replica of the whole state.
  state: {
    gauges: ['waiting', 'retained'],
    largest: ['spaces', 'keys', 'bytes', 'revision', 'historyBytes'],
    weighted: {},
    labels: {},
  },
  sync: {
    gauges: ['connections', 'spaces', 'topics', 'subscriptions', 'lagging'],
    largest: [],
    weighted: {},
    labels: { closes: 'code' },
  },
  process: {
    gauges: ['rss', 'heapTotal', 'heapUsed', 'external', 'active'],
    largest: ['uptime', 'p50', 'p95', 'p99', 'max', 'utilization'],
    weighted: {},
    labels: {},
  },
}

export function isGauge(section: Section, field: string): boolean {
  const { gauges, largest, weighted } = behaviours[section]
  return gauges.includes(field) || largest.includes(field) || Object.hasOwn(weighted, field)
}

/** Durations in milliseconds: the counts of buckets with these upper bounds, and of what is above them. */
export interface Histogram {
  sum: number
  bounds: number[]
  counts: number[]
}

export function isHistogram(numbers: object): numbers is Histogram {
  const { bounds, counts } = numbers as Partial<Histogram>
  return Array.isArray(bounds) && Array.isArray(counts)
}
