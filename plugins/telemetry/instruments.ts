import type * as OpenTelemetry from '@opentelemetry/api'
import type { BatchObservableCallback, MetricOptions } from '@opentelemetry/api'
import type { StatsEngine } from '../stats/stats.ts'
import { SCOPE } from './operations.ts'

/**
 * Every number of the statistics as an observable instrument, read when a reader asks, until the returned function is
 * called. OpenTelemetry has no observable histogram: durations are recorded as they happen, see recorder.ts.
 */
export function observe(api: typeof OpenTelemetry, stats: Pick<StatsEngine, 'catalogue' | 'collect'>): () => void {
  const meter = api.metrics.getMeter(SCOPE)
  const observed = stats.catalogue().flatMap(({ section, metrics }) =>
    metrics.flatMap(({ kind, name, unit, help, read }) => {
      if (kind === 'histogram') return []
      const options: MetricOptions = { unit, description: help }
      const instrument =
        kind === 'counter' ? meter.createObservableCounter(name, options) : meter.createObservableGauge(name, options)
      return [{ section, instrument, read }]
    }),
  )
  const callback: BatchObservableCallback = async (result) => {
    const report = await stats.collect()
    for (const { section, instrument, read } of observed) {
      const numbers = report[section]
      if (!numbers) continue
      for (const { labels, value } of read(numbers)) {
        const attributes = Object.entries(labels).map(([label, text]) => [`stateful.${section}.${label}`, text])
        if (typeof value === 'number') result.observe(instrument, value, Object.fromEntries(attributes))
      }
    }
  }
  const instruments = observed.map(({ instrument }) => instrument)
  meter.addBatchObservableCallback(callback, instruments)
  return () => meter.removeBatchObservableCallback(callback, instruments)
}
