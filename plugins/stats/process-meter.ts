import { monitorEventLoopDelay, performance } from 'node:perf_hooks'
import { getHeapStatistics } from 'node:v8'
import type { ProcessStats } from '../../openapi/schemas/process-stats.ts'
import { percentiles } from '../support/quantile.ts'
import { residentBytes } from '../support/resident-bytes.ts'
import type { Histogram } from './catalogue.ts'
import type { Sample } from './metrics.ts'

/** Upper bounds of the request durations, in milliseconds: what is below the first is fast, above the last is stuck. */
const BOUNDS = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000]
/** How often the event loop is sampled, in milliseconds; Node's histogram includes this much in every sample. */
const RESOLUTION = 10
const NANOSECONDS = 1e6
/** Problem codes that are told apart; an application has some dozens. */
const MAX_CODES = 64
const OTHER_CODES = 'other'

type StatusClass = keyof ProcessStats['requests']['byStatus']

export interface AnsweredRequest {
  method: string
  /** The route's pattern, never the URL itself: there are few of the former and endless of the latter. */
  route: string
  status: number
  /** In milliseconds. */
  duration: number
  /** Of the problem that was answered, if one was. */
  code?: string | undefined
}

interface Answers {
  labels: { method: string; route: string; status: string }
  sum: number
  counts: number[]
}

/**
 * Measures the process: memory, event loop, requests. The durations are the one place that counts requests: JSON and
 * metrics are both read from them, so that they always tell the same numbers.
 */
export class ProcessMeter {
  readonly #delay = monitorEventLoopDelay({ resolution: RESOLUTION })
  /** By method, route and class of status: no more than the application has routes. */
  readonly #answers = new Map<string, Answers>()
  readonly #problems = new Map<string, number>()
  #utilization = performance.eventLoopUtilization()
  #window: ProcessStats['eventLoop'] | undefined
  #active = 0
  #aborted = 0

  constructor() {
    this.#delay.enable()
  }

  started(): void {
    this.#active += 1
  }

  ended(complete: boolean): void {
    this.#active -= 1
    if (!complete) this.#aborted += 1
  }

  answered({ method, route, status, duration, code }: AnsweredRequest): void {
    if (code !== undefined) this.#count(code)
    const statusClass = `${Math.trunc(status / 100)}xx`
    const series = `${method} ${statusClass} ${route}`
    let answers = this.#answers.get(series)
    if (!answers) {
      answers = { labels: { method, route, status: statusClass }, sum: 0, counts: new Array(BOUNDS.length + 1).fill(0) }
      this.#answers.set(series, answers)
    }
    answers.sum += duration
    let bucket = 0
    while (bucket < BOUNDS.length && duration > (BOUNDS[bucket] as number)) bucket++
    answers.counts[bucket] = (answers.counts[bucket] as number) + 1
  }

  /** Ends an interval: what the event loop did in it is reported until the next one ends. */
  rotate(): void {
    this.#window = this.#eventLoop()
    this.#delay.reset()
    this.#utilization = performance.eventLoopUtilization()
  }

  /** How long answers took, by what they were. */
  durations(): Sample<Histogram>[] {
    return [...this.#answers.values()].map(({ labels, sum, counts }) => ({
      labels,
      value: { sum, bounds: BOUNDS, counts },
    }))
  }

  collect(): ProcessStats {
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
      requests: this.#requests(),
    }
  }

  /** Forgets what was counted; what goes on now still does. */
  reset(): void {
    this.#answers.clear()
    this.#problems.clear()
    this.#aborted = 0
  }

  close(): void {
    this.#delay.disable()
  }

  #count(code: string): void {
    const name = this.#problems.has(code) || this.#problems.size < MAX_CODES - 1 ? code : OTHER_CODES
    this.#problems.set(name, (this.#problems.get(name) ?? 0) + 1)
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

  #requests(): ProcessStats['requests'] {
    const byStatus: Record<StatusClass, number> = { '1xx': 0, '2xx': 0, '3xx': 0, '4xx': 0, '5xx': 0 }
    const counts: number[] = new Array(BOUNDS.length + 1).fill(0)
    let total = 0
    let sum = 0
    for (const answers of this.#answers.values()) {
      const { status } = answers.labels
      sum += answers.sum
      for (const [bucket, count] of answers.counts.entries()) {
        total += count
        counts[bucket] = (counts[bucket] as number) + count
        if (status in byStatus) byStatus[status as StatusClass] += count
      }
    }
    return {
      total,
      active: this.#active,
      aborted: this.#aborted,
      byStatus,
      duration: { sum, ...percentiles(BOUNDS, counts), bounds: [...BOUNDS], counts },
      problems: Object.fromEntries(this.#problems),
    }
  }
}
