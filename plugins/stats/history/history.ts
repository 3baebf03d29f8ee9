import type { InstanceStats, StatsHistory } from '../../../openapi/schemas/stats.ts'
import type { Clock, Timer } from '../../support/clock.ts'
import { namesFor, refuseUnknown } from '../../support/options.ts'
import { pointOf, type Sample, sampleOf } from './sample.ts'
import type { HistoryStore, Resolution } from './stores/contract.ts'

const SECOND = 1_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE

/**
 * Each holds about as many points as a chart has room for, so that no answer is long. A question is answered in the
 * finest that reaches back as far.
 */
export const RESOLUTIONS: readonly Resolution[] = [
  { interval: 10 * SECOND, reach: HOUR },
  { interval: MINUTE, reach: 6 * HOUR },
  { interval: 5 * MINUTE, reach: 24 * HOUR },
]
const [FINEST, , COARSEST] = RESOLUTIONS as readonly [Resolution, Resolution, Resolution]

/** Which part of the history is read. */
export interface HistoryOptions {
  /** In milliseconds since the Unix epoch. Default: an hour before `to`. */
  from?: number
  /** In milliseconds since the Unix epoch. Default: now. */
  to?: number
  /** Only this instance's numbers. Default: those of all together. */
  instance?: string
}

const HISTORY_OPTIONS = namesFor<HistoryOptions>({ from: true, to: true, instance: true })

export interface HistoryParts {
  store: HistoryStore
  clock: Clock
  /** The numbers of this instance as they are now. */
  collect: () => Promise<InstanceStats>
  /** Told what went wrong in the background. */
  onError: (error: unknown, message: string) => void
}

/** The reading that the next sample of a resolution counts from. */
interface Last {
  stats: InstanceStats | undefined
  at: number
  taken: number
  /** Of each loader, the slowest load that a reading since then told: no single reading reaches back a minute. */
  slowest: Map<string, number>
}

/**
 * What the statistics of the last day were. Each instance takes a reading every ten seconds and keeps how much its
 * counters grew since the last one: 360 samples of 10 s, 360 of a minute, 288 of five.
 *
 * Example: an instance that began at 10:00:00 has answered 40 requests at 10:00:15 and 100 at 10:00:25. The sample `at`
 * 10:00:20 has `requests: 60`. Readings are taken in the middle of an interval, so that a timer that is a little late
 * or early does not move one into the interval beside it.
 */
export class History {
  readonly #parts: HistoryParts
  readonly #last = new Map<Resolution, Last>()
  #timer: Timer | undefined
  #recording: Promise<void> | undefined

  constructor(parts: HistoryParts) {
    this.#parts = parts
  }

  start(): void {
    const { clock } = this.#parts
    for (const resolution of RESOLUTIONS) {
      const now = clock.now()
      this.#last.set(resolution, {
        stats: undefined,
        at: endOf(resolution, now),
        taken: clock.monotonic(),
        slowest: new Map(),
      })
    }
    this.#schedule()
  }

  /**
   * @throws STATEFUL_STORAGE_UNAVAILABLE
   * @example
   * ```ts
   * const { interval, points } = await app.stats.history.read({ from: Date.now() - 3_600_000 })
   * points.map(({ requests = 0, measured }) => (requests / measured) * 1_000) // requests a second
   * ```
   */
  async read(options: HistoryOptions = {}): Promise<StatsHistory> {
    refuseUnknown(options, HISTORY_OPTIONS)
    const { store, clock } = this.#parts
    const now = clock.now()
    const to = options.to ?? now
    const from = options.from ?? Math.max(0, to - FINEST.reach)
    const resolution = RESOLUTIONS.find(({ reach }) => from >= now - reach) ?? COARSEST
    const samples = await store.read(resolution, from, to)
    const moments = new Map<number, Sample[]>()
    for (const sample of samples) {
      if (options.instance !== undefined && sample.instance !== options.instance) continue
      const moment = moments.get(sample.at)
      if (moment) moment.push(sample)
      else moments.set(sample.at, [sample])
    }
    return {
      ...{ from, to, interval: resolution.interval },
      instances: [...new Set(samples.map(({ instance }) => instance))],
      points: [...moments].map(([at, of]) => pointOf(at, of)),
    }
  }

  async close(): Promise<void> {
    this.#timer?.cancel()
    await this.#recording
  }

  #schedule(): void {
    const { clock } = this.#parts
    const { interval } = FINEST
    const middle = endOf(FINEST, clock.now() + interval / 2) + interval / 2
    this.#timer = clock.after(Math.max(1, middle - clock.now()), () => {
      this.#schedule()
      // One at a time: a slow storage must not pile them up.
      this.#recording ??= this.#record().finally(() => {
        this.#recording = undefined
      })
    })
  }

  async #record(): Promise<void> {
    const { store, clock, collect, onError } = this.#parts
    try {
      const stats = await collect()
      const [now, taken] = [clock.now(), clock.monotonic()]
      for (const resolution of RESOLUTIONS) {
        const at = endOf(resolution, now)
        const last = this.#last.get(resolution)
        if (!last) continue
        for (const [name, { worst }] of Object.entries(stats.cache?.loaders ?? {})) {
          last.slowest.set(name, Math.max(worst, last.slowest.get(name) ?? 0))
        }
        if (at === last.at) continue
        this.#last.set(resolution, { stats, at, taken, slowest: new Map() })
        const interval = { at, measured: taken - last.taken }
        await store.append(resolution, sampleOf(last.stats, stats, interval, last.slowest))
      }
    } catch (error) {
      onError(error, 'the history of the statistics has a gap')
    }
  }
}

/** When the last interval ended. */
function endOf({ interval }: Resolution, now: number): number {
  return Math.floor(now / interval) * interval
}
