import type { TSchema } from '@sinclair/typebox'
import { Counter, Gauge, Registry } from 'prom-client'
import type { ProcessStats } from '../../openapi/schemas/process-stats.ts'
import { behaviours, type Histogram, isGauge, isHistogram, type Section } from './catalogue.ts'

type Numbers = Record<string, unknown>
type Labels = Record<string, string>
type Histograms = Map<string, { help: string; series: { labels: Labels; histogram: Histogram }[] }>

/** What is exported to. prom-client takes histograms observation by observation, ours are counted already. */
interface Target {
  registry: Registry
  histograms: Histograms
  section: Section
}

/**
 * Statistics as Prometheus text: `cache.l1Hits` becomes `stateful_cache_l1_hits_total`, an object whose keys are
 * data becomes a label. Help comes from the schemas, so that a number which a service adds to its statistics is
 * exported without a word here.
 */
export class Exposition {
  readonly #schemas: ReadonlyMap<string, TSchema>

  /** @param schemas by `$id`, for references between them */
  constructor(schemas: readonly TSchema[]) {
    this.#schemas = new Map(schemas.map((schema) => [schema.$id ?? '', schema]))
  }

  /** @param root `$id` of the section's schema */
  async services(sections: readonly { section: Section; numbers: object; root: string }[]): Promise<string> {
    // A new registry each time: what a section no longer tells must not stay as the number of yesterday.
    const registry = new Registry()
    const histograms: Histograms = new Map()
    for (const { section, numbers, root } of sections) {
      const target = { registry, histograms, section }
      this.#export(target, `stateful_${section}`, numbers as Numbers, this.#schemas.get(root), {})
    }
    return (await registry.metrics()) + [...histograms].map(histogramText).join('')
  }

  #export(target: Target, prefix: string, numbers: Numbers, schema: TSchema | undefined, labels: Labels): void {
    const { registry, histograms, section } = target
    for (const [field, value] of Object.entries(numbers)) {
      const fieldSchema = this.#resolve(propertyOf(schema, field))
      const name = `${prefix}_${snake(field)}`
      const label = behaviours[section].labels[field]
      if (isObject(value) && label !== undefined) {
        const entrySchema = this.#resolve(entryOf(fieldSchema))
        for (const [key, entry] of Object.entries(value)) {
          const labelled = { ...labels, [label]: key }
          if (isObject(entry)) this.#export(target, `${prefix}_${label}`, entry, entrySchema, labelled)
          else set(registry, name, isGauge(section, field), entrySchema, labelled, entry)
        }
      } else if (isObject(value) && isHistogram(value)) {
        const series = histograms.get(`${name}_seconds`) ?? { help: helpOf(name, fieldSchema), series: [] }
        histograms.set(`${name}_seconds`, series)
        series.series.push({ labels, histogram: value })
      } else if (isObject(value)) {
        this.#export(target, name, value, fieldSchema, labels)
      } else {
        set(registry, name, typeof value === 'boolean' || isGauge(section, field), fieldSchema, labels, value)
      }
    }
  }

  #resolve(schema: TSchema | undefined): TSchema | undefined {
    const target = schema?.['$ref'] as string | undefined
    return target === undefined ? schema : this.#schemas.get(target)
  }
}

/** The process under the names that prom-client's own metrics have: ready-made dashboards know them. */
export function processMetrics(stats: ProcessStats): Promise<string> {
  const registry = new Registry()
  const gauge = (name: string, help: string, value: number) =>
    new Gauge({ name, help, registers: [registry] }).set(value)
  const { memory, eventLoop, requests } = stats
  gauge('process_uptime_seconds', 'Seconds since the process started.', stats.uptime)
  gauge('process_resident_memory_bytes', 'Resident memory size in bytes.', memory.rss)
  gauge('nodejs_heap_size_total_bytes', 'Process heap size from Node.js in bytes.', memory.heapTotal)
  gauge('nodejs_heap_size_used_bytes', 'Process heap size used from Node.js in bytes.', memory.heapUsed)
  gauge('nodejs_external_memory_bytes', 'Node.js external memory size in bytes.', memory.external)
  gauge(
    'nodejs_eventloop_lag_p50_seconds',
    'Median of the event loop delays of the last interval.',
    eventLoop.p50 / 1000,
  )
  gauge('nodejs_eventloop_lag_p99_seconds', '99th percentile of those delays.', eventLoop.p99 / 1000)
  gauge('nodejs_eventloop_lag_max_seconds', 'The longest of those delays.', eventLoop.max / 1000)
  gauge('nodejs_eventloop_utilization', 'Share of the last interval spent working.', eventLoop.utilization)
  gauge('http_requests_in_progress', 'Requests being answered now.', requests.active)
  new Counter({
    name: 'http_requests_aborted_total',
    help: 'Requests whose client went away before the answer was complete.',
    registers: [registry],
  }).inc(requests.aborted)
  return registry.metrics()
}

function set(
  registry: Registry,
  base: string,
  gauge: boolean,
  schema: TSchema | undefined,
  labels: Labels,
  value: unknown,
): void {
  if (typeof value !== 'number' && typeof value !== 'boolean') return
  const name = gauge ? base : `${base}_total`
  const options = { name, help: helpOf(base, schema), labelNames: Object.keys(labels), registers: [registry] }
  const metric =
    (registry.getSingleMetric(name) as Gauge | Counter | undefined) ??
    (gauge ? new Gauge(options) : new Counter(options))
  metric.inc(labels, Number(value))
}

function helpOf(name: string, schema: TSchema | undefined): string {
  return schema?.description ?? `${name.replaceAll('_', ' ')}.`
}

/** In seconds and cumulative, as Prometheus has it. */
function histogramText([name, { help, series }]: [
  string,
  { help: string; series: { labels: Labels; histogram: Histogram }[] },
]): string {
  const lines = [`# HELP ${name} ${help}`, `# TYPE ${name} histogram`]
  for (const { labels, histogram } of series) {
    let below = 0
    for (const [i, count] of histogram.counts.entries()) {
      below += count
      const bound = histogram.bounds[i]
      lines.push(
        `${name}_bucket${labelText({ ...labels, le: bound === undefined ? '+Inf' : `${bound / 1000}` })} ${below}`,
      )
    }
    lines.push(`${name}_sum${labelText(labels)} ${histogram.sum / 1000}`, `${name}_count${labelText(labels)} ${below}`)
  }
  return `\n${lines.join('\n')}\n`
}

function labelText(labels: Labels): string {
  const escaped = (text: string) => text.replace(/[\\"]/g, '\\$&').replaceAll('\n', '\\n')
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`)
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`
}

function propertyOf(schema: TSchema | undefined, field: string): TSchema | undefined {
  return (schema?.['properties'] as Record<string, TSchema> | undefined)?.[field]
}

/** The schema of a record's values; TypeBox writes string keys as a pattern. */
function entryOf(schema: TSchema | undefined): TSchema | undefined {
  const patterns = schema?.['patternProperties'] as Record<string, TSchema> | undefined
  return patterns && Object.values(patterns)[0]
}

function isObject(value: unknown): value is Numbers {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** `l1HitRate` → `l1_hit_rate` */
function snake(name: string): string {
  return name
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .toLowerCase()
    .replace(/[^a-z0-9_]/g, '_')
}
