import { context, metrics, trace } from '@opentelemetry/api'
import {
  AggregationTemporality,
  type DataPoint,
  type Histogram,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics'
import { InMemorySpanExporter, type ReadableSpan, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { NodeTracerProvider } from '@opentelemetry/sdk-trace-node'
import type { Test } from 'tap'

export interface Telemetry {
  /** Those that have ended, by name. */
  spans(name?: string): ReadableSpan[]
  /** What a reader gets now, by name. */
  metrics(): Promise<Map<string, { unit: string; description: string; points: DataPoint<number | Histogram>[] }>>
  forget(): void
}

/** The SDK as an application sets it up, with exporters that keep everything. The providers are global. */
export function startOpenTelemetry(t: Test): Telemetry {
  const exporter = new InMemorySpanExporter()
  const tracers = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
  tracers.register()
  const exported = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
  const reader = new PeriodicExportingMetricReader({ exporter: exported, exportIntervalMillis: 600_000 })
  const meters = new MeterProvider({ readers: [reader] })
  metrics.setGlobalMeterProvider(meters)
  t.teardown(async () => {
    trace.disable()
    context.disable()
    metrics.disable()
    await Promise.all([tracers.shutdown(), meters.shutdown()])
  })
  return {
    spans: (name) => exporter.getFinishedSpans().filter((span) => name === undefined || span.name === name),
    async metrics() {
      exported.reset()
      await reader.forceFlush()
      const all = exported.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics.flatMap(({ metrics }) => metrics))
      return new Map(
        all.map(({ descriptor: { name, unit, description }, dataPoints }) => [
          name,
          { unit, description, points: dataPoints as DataPoint<number | Histogram>[] },
        ]),
      )
    },
    forget: () => exporter.reset(),
  }
}
