import type { TSchema } from '@sinclair/typebox'
import type { InstanceStats, Stats as Report } from '../../openapi/schemas/stats.ts'
import type { Clock, Timer } from '../support/clock.ts'
import { namesFor, refuseUnknown } from '../support/options.ts'
import { packageVersion } from '../support/version.ts'
import type { Section } from './catalogue.ts'
import { EXPOSITION_TYPE, exposition } from './exposition.ts'
import { clusterHealth, type Faults, healthOf, withSilence } from './health.ts'
import { History } from './history/history.ts'
import type { HistoryStore } from './history/stores/contract.ts'
import { merge } from './merge.ts'
import { type Metric, MetricCatalogue, PROCESS_METRICS } from './metrics.ts'
import { ProcessMeter } from './process-meter.ts'
import type { Board } from './stores/board.ts'

export type ServiceSection = Exclude<Section, 'process'>

/** What a service must have to be part of the statistics. */
export interface Source {
  stats(): object | Promise<object>
  resetStats?(): unknown
}

export interface StatsEngineOptions {
  instanceId: string
  board: Board
  /** Where what the numbers were is kept; absent: it is not. */
  history?: HistoryStore | undefined
  clock: Clock
  /** How often the event-loop window turns and the board is renewed, in milliseconds. */
  interval: number
  /** The services that there are now. */
  sources: () => ReadonlyMap<ServiceSection, Source>
  /** What keeps this instance from serving that no number tells. Default: nothing. */
  faults?: () => Faults
  /** The sections' schemas by section, and all that they refer to. */
  schemas: { roots: Readonly<Record<ServiceSection, string>>; all: readonly TSchema[] }
  /** Told what went wrong in the background. */
  onError: (error: unknown, message: string) => void
}

/** Whose numbers are collected. */
export interface CollectOptions {
  /** `'instance'` (default): this one. `'cluster'`: all that share the storage, summed, and each by itself. */
  scope?: 'instance' | 'cluster'
}

const COLLECT_OPTIONS = namesFor<CollectOptions>({ scope: true })

/** Collects what the services tell; keeps no number of its own but those of the process. */
export class StatsEngine {
  readonly meter: ProcessMeter
  /** What the numbers of the last day were; `undefined` with the option `history: false`. */
  readonly history: History | undefined
  readonly #options: StatsEngineOptions
  readonly #catalogue: MetricCatalogue
  #timer: Timer | undefined
  #publishing: Promise<void> | undefined

  constructor(options: StatsEngineOptions) {
    this.#options = options
    this.#catalogue = new MetricCatalogue(options.schemas.all)
    this.meter = new ProcessMeter()
    const { history: store, clock, onError } = options
    this.history = store && new History({ store, clock, onError, collect: () => this.#instance() })
  }

  async start(): Promise<void> {
    this.#timer = this.#options.clock.every(this.#options.interval, () => {
      this.meter.rotate()
      // One at a time: a slow storage must not pile them up.
      this.#publishing ??= this.#publish().finally(() => {
        this.#publishing = undefined
      })
    })
    this.history?.start()
    await this.#publish()
  }

  /**
   * A service whose numbers cannot be had now (its storage is away) is named in `unavailable`: the rest is wanted
   * most just then.
   *
   * @throws STATEFUL_STORAGE_UNAVAILABLE in the scope `cluster`, when the other instances' numbers cannot be had
   */
  async collect(options: CollectOptions = {}): Promise<Report> {
    refuseUnknown(options, COLLECT_OPTIONS)
    const own = await this.#instance()
    if (options.scope !== 'cluster') return { scope: 'instance', ...own }
    const { board, interval } = this.#options
    const others = (await board.others()).map(({ health, ...stats }): InstanceStats => {
      return { ...stats, ...(health ? { health: withSilence(health, stats.age ?? 0, interval) } : {}) }
    })
    const instances = [{ ...own, age: 0 }, ...others]
    return { scope: 'cluster', at: own.at, health: clusterHealth(instances), ...combine(instances), instances }
  }

  /** Sets the counters of this instance's services and of its process back to 0. */
  reset(): void {
    for (const source of this.#options.sources().values()) source.resetStats?.()
    this.meter.reset()
  }

  /** The same numbers of this instance for Prometheus, which asks each instance by itself. */
  async metrics(): Promise<string> {
    const own = await this.#instance()
    const measured = this.catalogue().flatMap(({ section, metrics }) => {
      const numbers = own[section]
      return numbers ? metrics.map((metric) => ({ ...metric, samples: metric.read(numbers) })) : []
    })
    return exposition([...measured, { ...HTTP_DURATION, samples: this.meter.durations() }])
  }

  get contentType(): string {
    return EXPOSITION_TYPE
  }

  /** The metrics of the services that there are, and of the process: each can be read in what `collect` answers. */
  catalogue(): { section: Section; metrics: readonly Metric[] }[] {
    const { roots } = this.#options.schemas
    const services = [...this.#options.sources().keys()].map((section) => {
      return { section, metrics: this.#catalogue.of(section, roots[section]) }
    })
    return [...services, { section: 'process', metrics: PROCESS_METRICS }]
  }

  async close(): Promise<void> {
    this.#timer?.cancel()
    this.meter.close()
    await Promise.all([this.#publishing, this.history?.close()])
    // When the storage is away, the entry ends by its lifetime.
    await this.#options.board.withdraw().catch(() => {})
  }

  async #instance(): Promise<InstanceStats> {
    const { instanceId, clock, sources, faults = NO_FAULTS } = this.#options
    const sections: Partial<Record<ServiceSection, object>> = {}
    const unavailable: ServiceSection[] = []
    const asked = [...sources()].map(async ([section, source]) => {
      try {
        sections[section] = await source.stats()
      } catch (error) {
        unavailable.push(section)
        this.#options.onError(error, `the statistics of ${section} cannot be had`)
      }
    })
    await Promise.all(asked)
    return {
      instance: instanceId,
      version: packageVersion(),
      at: new Date(clock.now()).toISOString(),
      unavailable,
      health: healthOf({ unavailable, ...(sections as Partial<InstanceStats>) }, faults()),
      ...sections,
      process: this.meter.collect(),
    } as InstanceStats
  }

  async #publish(): Promise<void> {
    try {
      await this.#options.board.publish(await this.#instance())
    } catch (error) {
      this.#options.onError(error, 'the other instances cannot be told the statistics')
    }
  }
}

/** Statistics tell it as one histogram; for Prometheus it has labels. */
const HTTP_DURATION = {
  prometheus: 'http_request_duration_seconds',
  kind: 'histogram',
  help: 'How long requests took to answer, by method, route and class of status.',
} as const

const NO_FAULTS = (): Faults => ({ overloaded: false, state: false })

const SECTIONS: readonly Section[] = ['storage', 'cache', 'sessions', 'state', 'sync', 'process']

/** The sections of several instances as one. */
function combine(instances: readonly InstanceStats[]) {
  const sections: Partial<Record<Section, object>> = {}
  for (const section of SECTIONS) {
    const parts = instances.flatMap((instance) => instance[section] ?? [])
    if (parts.length > 0) sections[section] = merge<object>(section, parts)
  }
  const unavailable = new Set(instances.flatMap((instance) => instance.unavailable))
  return { unavailable: [...unavailable], ...sections } as Omit<InstanceStats, 'instance' | 'version' | 'at' | 'health'>
}
