import type {} from '../stats/index.ts'
import { defineService } from '../support/define.ts'
import { missingFor } from '../support/optional-peer.ts'
import { flag, type Rules, readOptions } from '../support/options.ts'

export type {
  CacheLoadEvent,
  SessionLoadEvent,
  SessionSaveEvent,
  StateCommitEvent,
  SyncFanOutEvent,
  TracingEvents,
} from '../support/tracing.ts'

/** Options of the plugin {@link telemetry}. */
export interface TelemetryOptions {
  /** A span for each load of the cache, commit, load and save of a session, and fan-out. Default `true`. */
  spans?: boolean
  /** The statistics as observable instruments, and how long those operations took as histograms. Default `true`. */
  metrics?: boolean
  /** Spans name the key that the cache loads, as `stateful.cache.key`. Default `false`: a key may name a person. */
  keys?: boolean
}

/** What each option must be, and what holds without it. @internal */
export const TELEMETRY_RULES = {
  spans: flag(true),
  metrics: flag(true),
  keys: flag(false),
} satisfies Rules<TelemetryOptions>

/**
 * OpenTelemetry of all services: metrics and spans by the global providers of `@opentelemetry/api`, an optional peer.
 * Set them up before the application is ready; without any, nothing is recorded. docs/monitoring.md lists what there
 * is.
 *
 * The channels of node:diagnostics_channel are the process's: of several applications in one process the first records
 * what all of them do, each by its own options for the instruments.
 *
 * @example
 * await app.register(stateful, { storage: 'redis://localhost', secret })
 * await app.register(telemetry)
 * @throws STATEFUL_MISSING_PACKAGE when `@opentelemetry/api` is not installed
 */
export const telemetry = defineService<TelemetryOptions>(
  'telemetry',
  async (fastify, options) => {
    const read = readOptions(TELEMETRY_RULES, options, 'telemetry')
    const api = await import('@opentelemetry/api').catch(missingFor('@opentelemetry/api', 'telemetry'))
    const [{ record }, { observe }] = await Promise.all([import('./recorder.ts'), import('./instruments.ts')])
    const stops: (() => void)[] = []
    // Meters, unlike tracers, do not find a provider that is set up after them.
    fastify.addHook('onReady', async () => {
      if (read.spans || read.metrics) stops.push(record(api, read))
      if (read.metrics) stops.push(observe(api, fastify.stats))
    })
    fastify.addHook('onClose', async () => {
      for (const stop of stops.splice(0)) stop()
    })
  },
  { decorators: { fastify: ['stats'] } },
)
