import { setImmediate as nextTurn } from 'node:timers/promises'
import * as api from '@opentelemetry/api'
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
import { BatchSpanProcessor, NodeTracerProvider } from '@opentelemetry/sdk-trace-node'
import Fastify, { type FastifyInstance } from 'fastify'
import { stateful } from '../../plugins/stateful/index.ts'
import { observe } from '../../plugins/telemetry/instruments.ts'
import { record } from '../../plugins/telemetry/recorder.ts'
import type { Contender, Context, Measurement, Suite } from '../harness.ts'

const SECRET = 'of a benchmark, and therefore no secret'
const PACKAGES = ['@opentelemetry/api', '@opentelemetry/sdk-trace-node', '@opentelemetry/sdk-metrics']
/** How often a reader asks for the metrics, in milliseconds: far more often than in production. */
const READ_EVERY = 100
/** Calls between two looks at the clock. */
const BATCH = 100

type Call = (index: number) => Promise<unknown>

async function openApp(context: Context): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(stateful, { storage: 'memory:', secret: SECRET })
  await app.ready()
  context.teardown(() => app.close())
  return app
}

/** The SDK with exporters that drop everything, and a span that is active, as while a request is answered. */
async function withSdk(run: () => Promise<Measurement>): Promise<Measurement> {
  const done = { code: 0 }
  const exporter = { export: (_: unknown, told: (result: typeof done) => void) => told(done), shutdown: async () => {} }
  const tracers = new NodeTracerProvider({ spanProcessors: [new BatchSpanProcessor(exporter)] })
  tracers.register()
  const reader = new PeriodicExportingMetricReader({
    exporter: { ...exporter, forceFlush: async () => {} },
    exportIntervalMillis: READ_EVERY,
    exportTimeoutMillis: READ_EVERY,
  })
  const meters = new MeterProvider({ readers: [reader] })
  api.metrics.setGlobalMeterProvider(meters)
  try {
    const request = api.trace.getTracer('bench').startSpan('request')
    return await api.context.with(api.trace.setSpan(api.context.active(), request), run)
  } finally {
    await Promise.all([tracers.shutdown(), meters.shutdown()])
    // Also ends what its context manager costs every promise of the process.
    for (const part of [api.trace, api.context, api.metrics]) part.disable()
  }
}

/** The same call with nobody listening, beside OpenTelemetry, and recorded. @param prepare makes the call */
function contenders(prepare: (app: FastifyInstance) => Promise<Call>): Contender[] {
  const measured = async (context: Context, call: Call): Promise<Measurement> => {
    const time = context.quick ? 50 : 500
    let [calls, wrong] = [0, 0]
    const started = performance.now()
    while (performance.now() - started < time) {
      for (let turn = 0; turn < BATCH; turn++) if ((await call(calls + turn)) === undefined) wrong++
      calls += BATCH
      // As a server would now and then: promises alone would keep the reader from being heard.
      await nextTurn()
    }
    return { value: (calls * 1_000) / (performance.now() - started), faults: { wrong } }
  }
  return [
    {
      name: 'without OpenTelemetry',
      role: 'ours',
      async setup(context) {
        const call = await prepare(await openApp(context))
        return () => measured(context, call)
      },
    },
    {
      name: 'OpenTelemetry in the process, not registered here',
      role: 'limit',
      packages: PACKAGES,
      async setup(context) {
        const call = await prepare(await openApp(context))
        return () => withSdk(() => measured(context, call))
      },
    },
    {
      name: 'metrics',
      role: 'ours',
      packages: PACKAGES,
      setup: (context) => recorded(context, { spans: false, metrics: true, keys: false }),
    },
    {
      name: 'metrics and spans',
      role: 'ours',
      packages: PACKAGES,
      setup: (context) => recorded(context, { spans: true, metrics: true, keys: false }),
    },
  ]

  async function recorded(context: Context, options: Parameters<typeof record>[1]) {
    const app = await openApp(context)
    const call = await prepare(app)
    // Only while it is measured: the channels are the whole process's.
    return () =>
      withSdk(async () => {
        const stops = [record(api, options), observe(api, app.stats)]
        try {
          return await measured(context, call)
        } finally {
          for (const stop of stops) stop()
        }
      })
  }
}

const suite: Suite = {
  name: 'telemetry',
  description:
    'What it costs to be observed: the same calls in memory, where nothing hides it, with nobody listening to the tracing channels, beside an OpenTelemetry SDK that has nothing to do with them, and recorded by the plugin `telemetry`, its metrics read ten times a second.',
  cases: [
    {
      name: 'a cache hit',
      unit: 'calls/s',
      better: 'higher',
      contenders: contenders(async ({ cache }) => {
        await cache.set('k', { id: 1 })
        return () => cache.getOrSet('k', () => undefined)
      }),
    },
    {
      name: 'a load of the cache',
      unit: 'calls/s',
      better: 'higher',
      contenders: contenders(
        async ({ cache }) =>
          (index) =>
            cache.getOrSet(`k${index % 5_000}`, () => index, { ttl: 1 }),
      ),
    },
    {
      name: 'a commit',
      unit: 'calls/s',
      better: 'higher',
      contenders: contenders(
        async ({ state }) =>
          () =>
            state.increment('n'),
      ),
    },
    {
      name: 'a session is loaded',
      unit: 'calls/s',
      better: 'higher',
      contenders: contenders(async ({ sessions }) => {
        const { handle } = await sessions.create('ada', { theme: 'dark' })
        return () => sessions.get(handle)
      }),
    },
  ],
}

export default suite
