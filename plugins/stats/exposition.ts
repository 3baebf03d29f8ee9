import type { TSchema } from '@sinclair/typebox'
import { Counter, Gauge, Registry } from 'prom-client'
import type { ProcessStats } from '../../openapi/schemas/process-stats.ts'
import { behaviours, isGauge, type Section } from './catalogue.ts'

type Numbers = Record<string, unknown>
type Labels = Record<string, string>

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
    for (const { section, numbers, root } of sections) {
      this.#export(registry, section, `stateful_${section}`, numbers as Numbers, this.#schemas.get(root), {})
    }
    return registry.metrics()
  }

  #export(
    registry: Registry,
    section: Section,
    prefix: string,
    numbers: Numbers,
    schema: TSchema | undefined,
    labels: Labels,
  ): void {
    for (const [field, value] of Object.entries(numbers)) {
      const fieldSchema = this.#resolve(propertyOf(schema, field))
      const name = `${prefix}_${snake(field)}`
      const label = behaviours[section].labels[field]
      if (isObject(value) && label !== undefined) {
        const entrySchema = this.#resolve(entryOf(fieldSchema))
        for (const [key, entry] of Object.entries(value)) {
          const labelled = { ...labels, [label]: key }
          if (isObject(entry)) this.#export(registry, section, `${prefix}_${label}`, entry, entrySchema, labelled)
          else set(registry, name, isGauge(section, field), entrySchema, labelled, entry)
        }
      } else if (isObject(value)) {
        this.#export(registry, section, name, value, fieldSchema, labels)
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
  const help = schema?.description ?? `${base.replaceAll('_', ' ')}.`
  const options = { name, help, labelNames: Object.keys(labels), registers: [registry] }
  const metric =
    (registry.getSingleMetric(name) as Gauge | Counter | undefined) ??
    (gauge ? new Gauge(options) : new Counter(options))
  metric.inc(labels, Number(value))
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
