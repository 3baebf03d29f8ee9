import { monitorEventLoopDelay, performance } from 'node:perf_hooks'
import { getHeapStatistics } from 'node:v8'
import { Histogram, type Registry } from 'prom-client'
import type { ProcessStats } from '../../openapi/schemas/process-stats.ts'
import { percentiles } from '../support/quantile.ts'
import { residentBytes } from '../support/resident-bytes.ts'

/** Upper bounds of the request durations, in seconds: what is below the first is fast, above the last is stuck. */
const BUCKETS = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
/** How often the event loop is sampled, in milliseconds; Node's histogram includes this much in every sample. */
const RESOLUTION = 10
const NANOSECONDS = 1e6

type StatusClass = keyof ProcessStats['requests']['byStatus']

export interface AnsweredRequest {
  method: string
  /** The route's pattern, never the URL itself: there are few of the former and endless of the latter. */
  route: string
  status: number
  /** In milliseconds. */
  duration: number
}

/**
 * Measures the process: memory, event loop, requests. The duration histogram of prom-client is the one place
 * that counts requests; JSON is read from it, so that both always tell the same numbers.
 */
export class ProcessMeter {
  readonly #delay = monitorEventLoopDelay({ resolution: RESOLUTION })
  readonly #durations: Histogram<'method' | 'route' | 'status'>
  #utilization = performance.eventLoopUtilization()
  #window: ProcessStats['eventLoop'] | undefined
  #active = 0
  #aborted = 0

  constructor(registry: Registry) {
    this.#durations = new Histogram({
      name: 'http_request_duration_seconds',
      help: 'How long requests took to answer, by method, route and class of status.',
      labelNames: ['method', 'route', 'status'],
      buckets: BUCKETS,
      registers: [registry],
    })
    this.#delay.enable()
  }

  started(): void {
    this.#active += 1
  }

  ended(complete: boolean): void {
    this.#active -= 1
    if (!complete) this.#aborted += 1
  }

  answered({ method, route, status, duration }: AnsweredRequest): void {
    this.#durations.observe({ method, route, status: `${Math.trunc(status / 100)}xx` }, duration / 1000)
  }

  /** Ends an interval: what the event loop did in it is reported until the next one ends. */
  rotate(): void {
    this.#window = this.#eventLoop()
    this.#delay.reset()
    this.#utilization = performance.eventLoopUtilization()
  }

  async collect(): Promise<ProcessStats> {
    // Not process.memoryUsage(): it opens a file, which fails just when one wants to see why.
    const heap = getHeapStatistics()
    return {
      uptime: process.uptime(),
      memory: {
        rss: residentBytes(),
        heapTotal: heap.total_heap_size,
        heapUsed: heap.used_heap_size,
        external: heap.external_memory,
      },
      eventLoop: this.#window ?? this.#eventLoop(),
      requests: await this.#requests(),
    }
  }

  /** Forgets what was counted; what goes on now still does. */
  reset(): void {
    this.#durations.reset()
    this.#aborted = 0
  }

  close(): void {
    this.#delay.disable()
  }

  #eventLoop(): ProcessStats['eventLoop'] {
    const delay = (nanoseconds: number) => Math.max(0, nanoseconds / NANOSECONDS - RESOLUTION)
    // Without a sample yet, Node answers 0 or NaN.
    const sampled = this.#delay.count > 0
    const utilization = performance.eventLoopUtilization(this.#utilization).utilization
    return {
      p50: sampled ? delay(this.#delay.percentile(50)) : 0,
      p99: sampled ? delay(this.#delay.percentile(99)) : 0,
      max: sampled ? delay(this.#delay.max) : 0,
      utilization: Math.min(1, Math.max(0, utilization)),
    }
  }

  async #requests(): Promise<ProcessStats['requests']> {
    const byStatus: Record<StatusClass, number> = { '1xx': 0, '2xx': 0, '3xx': 0, '4xx': 0, '5xx': 0 }
    const cumulative = new Map<number, number>()
    let total = 0
    let sum = 0
    for (const { labels, metricName, value } of (await this.#durations.get()).values) {
      if (metricName?.endsWith('_bucket')) {
        // prom-client adds the label `le` to those that were declared.
        const { le } = labels as { le?: number | string }
        const bound = le === '+Inf' ? Infinity : Number(le)
        cumulative.set(bound, (cumulative.get(bound) ?? 0) + value)
      } else if (metricName?.endsWith('_sum')) {
        sum += value
      } else {
        total += value
        if (labels.status && labels.status in byStatus) byStatus[labels.status as StatusClass] += value
      }
    }
    let below = 0
    const counts = [...BUCKETS, Infinity].map((bound) => {
      const upTo = cumulative.get(bound) ?? 0
      const count = upTo - below
      below = upTo
      return count
    })
    const bounds = BUCKETS.map((seconds) => seconds * 1000)
    return {
      total,
      active: this.#active,
      aborted: this.#aborted,
      byStatus,
      duration: { sum: sum * 1000, ...percentiles(bounds, counts), bounds, counts },
    }
  }
}
