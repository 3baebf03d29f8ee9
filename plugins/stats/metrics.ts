import type { TSchema } from '@sinclair/typebox'
import type { ProcessStats } from '../../openapi/schemas/process-stats.ts'
import { behaviours, type Histogram, isGauge, isHistogram, type Section } from './catalogue.ts'

export type Labels = Readonly<Record<string, string>>

export interface Sample<Value = number | Histogram> {
  labels: Labels
  value: Value
}

/** A number of the statistics, as monitoring systems see it. */
export interface Metric {
  /** As OpenTelemetry has it: `stateful.cache.l1_hits`. */
  name: string
  /** As Prometheus has it, with its unit and without `_total`: `stateful_cache_l1_hits`. */
  prometheus: string
  kind: 'counter' | 'gauge' | 'histogram'
  /** Of the samples; histograms are in milliseconds, and exported in seconds. `1`: a count or a share. */
  unit: '1' | 's' | 'ms' | 'By'
  help: string
  /** What it says in the numbers of its section. */
  read(numbers: object): Sample[]
}

/** What stands at one place of the numbers: once, or under each key that is data. */
type Place = (numbers: object) => { labels: Labels; value: unknown }[]

/**
 * Every metric of a section, from its schema: `cache.l1Hits` is one, and an object whose keys are data is a label. A
 * number that a service adds to its statistics becomes a metric without a word here.
 */
export class MetricCatalogue {
  readonly #schemas: ReadonlyMap<string, TSchema>

  /** @param schemas by `$id`, for references between them */
  constructor(schemas: readonly TSchema[]) {
    this.#schemas = new Map(schemas.map((schema) => [schema.$id ?? '', schema]))
  }

  /** @param root `$id` of the section's schema; one that is not there has no metrics */
  of(section: Section, root: string): Metric[] {
    const schema = this.#schemas.get(root)
    return schema ? this.#within(section, schema, [section], (numbers) => [{ labels: {}, value: numbers }]) : []
  }

  #within(section: Section, schema: TSchema, path: readonly string[], outer: Place): Metric[] {
    const properties = Object.entries((schema['properties'] ?? {}) as Record<string, TSchema>)
    return properties.flatMap(([field, property]) => {
      const label = behaviours[section].labels[field]
      const place = fieldOf(outer, field)
      const fieldSchema = this.#resolved(property)
      const entry = entryOf(fieldSchema)
      if (entry === undefined || label === undefined)
        return this.#at(section, field, fieldSchema, [...path, field], place)
      const entrySchema = this.#resolved(entry)
      // `namespaces` holds objects, which are about one namespace each; `closes` is itself what is counted.
      const inner = isObjectSchema(entrySchema) ? label : field
      return this.#at(section, field, entrySchema, [...path, inner], entriesOf(place, label))
    })
  }

  #at(section: Section, field: string, schema: TSchema, path: readonly string[], place: Place): Metric[] {
    const { type, properties = {}, description } = schema as TSchema & { properties?: object; type?: string }
    const snakes = path.map(snake)
    const base = { name: `stateful.${snakes.join('.')}`, prometheus: `stateful_${snakes.join('_')}` }
    const help = description ?? `${base.prometheus.replaceAll('_', ' ')}.`
    if ('bounds' in properties && 'counts' in properties) {
      const read = (numbers: object) => place(numbers).filter(holdsHistogram)
      return [{ ...base, prometheus: `${base.prometheus}_seconds`, kind: 'histogram', unit: 'ms', help, read }]
    }
    if (isObjectSchema(schema)) return this.#within(section, schema, path, place)
    if (type !== 'integer' && type !== 'number' && type !== 'boolean') return []
    const kind = type === 'boolean' || isGauge(section, field) ? 'gauge' : 'counter'
    const read = (numbers: object) => place(numbers).flatMap(asNumber)
    return [{ ...base, kind, unit: /bytes$/i.test(field) ? 'By' : '1', help, read }]
  }

  #resolved(schema: TSchema): TSchema {
    const target = schema['$ref'] as string | undefined
    return target === undefined ? schema : (this.#schemas.get(target) ?? schema)
  }
}

/** The process; for Prometheus under the names that ready-made dashboards know. */
export const PROCESS_METRICS: readonly Metric[] = [
  ofProcess('uptime', 'process_uptime_seconds', 's', 'Seconds since the process started.', ({ uptime }) => uptime),
  ofProcess('memory.rss', 'process_resident_memory_bytes', 'By', 'Resident memory.', ({ memory }) => memory.rss),
  ofProcess('memory.heap_total', 'nodejs_heap_size_total_bytes', 'By', 'Heap of V8.', ({ memory }) => memory.heapTotal),
  ofProcess('memory.heap_used', 'nodejs_heap_size_used_bytes', 'By', 'Heap in use.', ({ memory }) => memory.heapUsed),
  ofProcess(
    'memory.external',
    'nodejs_external_memory_bytes',
    'By',
    'Memory of buffers and native objects.',
    ({ memory }) => memory.external,
  ),
  ofProcess(
    'event_loop.delay.p50',
    'nodejs_eventloop_lag_p50_seconds',
    's',
    'Median of the event loop delays of the last interval.',
    ({ eventLoop }) => eventLoop.p50 / 1_000,
  ),
  ofProcess(
    'event_loop.delay.p99',
    'nodejs_eventloop_lag_p99_seconds',
    's',
    '99th percentile of those delays.',
    ({ eventLoop }) => eventLoop.p99 / 1_000,
  ),
  ofProcess(
    'event_loop.delay.max',
    'nodejs_eventloop_lag_max_seconds',
    's',
    'The longest of those delays.',
    ({ eventLoop }) => eventLoop.max / 1_000,
  ),
  ofProcess(
    'event_loop.utilization',
    'nodejs_eventloop_utilization',
    '1',
    'Share of the last interval spent working.',
    ({ eventLoop }) => eventLoop.utilization,
  ),
  ofProcess(
    'requests.active',
    'http_requests_in_progress',
    '1',
    'Requests being answered now.',
    ({ requests }) => requests.active,
  ),
  {
    ...ofProcess(
      'requests.aborted',
      'http_requests_aborted',
      '1',
      'Requests whose client went away before the answer was complete.',
      ({ requests }) => requests.aborted,
    ),
    kind: 'counter',
  },
  {
    name: 'stateful.process.requests.problems',
    prometheus: 'http_problems',
    kind: 'counter',
    unit: '1',
    help: 'Requests answered with a problem, by its code.',
    read: (stats) =>
      Object.entries((stats as ProcessStats).requests.problems ?? {}).map(([code, value]) => ({
        labels: { code },
        value,
      })),
  },
]

function ofProcess(
  name: string,
  prometheus: string,
  unit: Metric['unit'],
  help: string,
  value: (stats: ProcessStats) => number,
): Metric {
  const read = (stats: object) => [{ labels: {}, value: value(stats as ProcessStats) }]
  return { name: `stateful.process.${name}`, prometheus, kind: 'gauge', unit, help, read }
}

function fieldOf(outer: Place, field: string): Place {
  return (numbers) =>
    outer(numbers).flatMap(({ labels, value }) =>
      isObject(value) && value[field] !== undefined ? [{ labels, value: value[field] }] : [],
    )
}

function entriesOf(outer: Place, label: string): Place {
  return (numbers) =>
    outer(numbers).flatMap(({ labels, value }) =>
      Object.entries(value as object).map(([key, entry]) => ({ labels: { ...labels, [label]: key }, value: entry })),
    )
}

function holdsHistogram(sample: { labels: Labels; value: unknown }): sample is Sample<Histogram> {
  return isObject(sample.value) && isHistogram(sample.value)
}

function asNumber({ labels, value }: { labels: Labels; value: unknown }): Sample<number>[] {
  return typeof value === 'number' || typeof value === 'boolean' ? [{ labels, value: Number(value) }] : []
}

/** The schema of a record's values; TypeBox writes string keys as a pattern. */
function entryOf(schema: TSchema): TSchema | undefined {
  const patterns = schema['patternProperties'] as Record<string, TSchema> | undefined
  return patterns && Object.values(patterns)[0]
}

function isObjectSchema(schema: TSchema): boolean {
  return schema['properties'] !== undefined
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** `l1HitRate` → `l1_hit_rate` */
function snake(name: string): string {
  return name
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .toLowerCase()
    .replace(/[^a-z0-9_]/g, '_')
}
