import { FastifyOtelInstrumentation } from '@fastify/otel'
import { SpanStatusCode, trace } from '@opentelemetry/api'
import type { ReadableSpan } from '@opentelemetry/sdk-trace-base'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { stateful } from '../../../plugins/stateful/index.ts'
import { type TelemetryOptions, telemetry } from '../../../plugins/telemetry/index.ts'
import { syncRoutes } from '../../../routes/sync/index.ts'
import { SECRET } from '../../fixtures/credentials.ts'
import { eventually } from '../../fixtures/eventually.ts'
import { startOpenTelemetry } from './providers.ts'

/** An application as its author writes it: @fastify/otel makes the spans of the requests. */
async function start(t: Test, options: TelemetryOptions = {}) {
  const exported = startOpenTelemetry(t)
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(new FastifyOtelInstrumentation().plugin())
  await app.register(stateful, { storage: 'memory:', secret: SECRET, session: { cookie: { secure: false } } })
  await app.register(telemetry, options)
  await app.register(syncRoutes, { authorize: () => true })
  app.get('/report/:id', async (request) => {
    const { id } = request.params as { id: string }
    return app.cache.getOrSet(`report:${id}`, async () => {
      const query = trace.getTracer('database').startSpan('query')
      await Promise.resolve()
      query.end()
      if (id === 'broken') throw Object.assign(new Error('the database is away'), { code: 'ECONNREFUSED' })
      return { id }
    })
  })
  app.post('/in', async (request) => request.login({ id: 'ada' }))
  app.post('/visit', async (request) => {
    request.session.visits = (request.session.visits ?? 0) + 1
    return { visits: await app.state.increment('visits') }
  })
  app.post('/twice', async () => {
    await Promise.all([app.state.set('a', 1), app.state.set('b', 2)])
  })
  app.post('/once', async () => app.state.compareAndSet('a', 0, 1))
  const address = await app.listen({ port: 0, host: '127.0.0.1' })
  return { app, address, ...exported }
}

declare module 'fastify' {
  interface Session {
    visits?: number
  }
}

const idOf = (span: ReadableSpan | undefined) => span?.spanContext().spanId
const parentIdOf = (span: ReadableSpan | undefined) => span?.parentSpanContext?.spanId

/** Whether one is somewhere below the other. */
function isBelow(spans: ReadableSpan[], span: ReadableSpan | undefined, ancestor: ReadableSpan | undefined): boolean {
  for (let at = span; at; at = spans.find((other) => idOf(other) === parentIdOf(at))) if (at === ancestor) return true
  return false
}

t.test('a load is below the request that asked, and the query of its loader below the load', async (t) => {
  const { address, spans } = await start(t)
  t.equal((await fetch(`${address}/report/7`)).status, 200)
  t.equal((await fetch(`${address}/report/7`)).status, 200)
  const all = spans()
  const [load, ...others] = spans('stateful.cache.load')
  t.same(others, [], 'a hit is no load')
  t.same(load?.attributes, {
    'stateful.cache.namespace': 'default',
    'stateful.cache.refresh': false,
    'stateful.cache.stored': true,
  })
  t.equal(load?.instrumentationScope.name, 'fastify-stateful')
  const [query] = spans('query')
  t.equal(parentIdOf(query), idOf(load))
  const request = all.find((span) => span.attributes['http.route'] === '/report/:id' && !span.parentSpanContext)
  t.ok(request, all.map(({ name }) => name).join(', '))
  t.ok(isBelow(all, load, request))
})

t.test('a loader that fails is an error of its span', async (t) => {
  const { address, spans, metrics } = await start(t, { keys: true })
  t.equal((await fetch(`${address}/report/broken`)).status, 500)
  const [load] = spans('stateful.cache.load')
  t.equal(load?.status.code, SpanStatusCode.ERROR)
  t.match(load?.attributes, { 'error.type': 'ECONNREFUSED', 'stateful.cache.key': 'report:broken' })
  t.match(load?.events, [{ name: 'exception', attributes: { 'exception.message': 'the database is away' } }])
  t.match((await metrics()).get('stateful.cache.load.duration')?.points, [
    { attributes: { 'stateful.cache.namespace': 'default', 'error.type': 'ECONNREFUSED' }, value: { count: 1 } },
  ])
})

t.test('a session that is loaded and saved', async (t) => {
  const { app, address, spans, forget } = await start(t)
  const login = await fetch(`${address}/in`, { method: 'POST' })
  const cookie = login.headers.get('set-cookie')?.split(';')[0] as string
  t.match(spans('stateful.session.save')[0]?.attributes, {
    'stateful.session.operation': 'create',
    'stateful.session.outcome': 'saved',
  })
  forget()
  t.equal((await fetch(`${address}/visit`, { method: 'POST', headers: { cookie } })).status, 200)
  const all = spans()
  const request = all.find((span) => span.attributes['http.route'] === '/visit' && !span.parentSpanContext)
  const [load] = spans('stateful.session.load')
  const [save] = spans('stateful.session.save')
  t.same(load?.attributes, { 'stateful.session.outcome': 'live' })
  t.same(save?.attributes, { 'stateful.session.operation': 'save', 'stateful.session.outcome': 'saved' })
  for (const span of [load, save, spans('stateful.state.commit')[0]]) {
    t.ok(request && isBelow(all, span, request), span?.name ?? 'no span')
  }
  const [session] = await app.sessions.list('ada')
  t.notMatch(
    JSON.stringify(all.map(({ attributes, events }) => [attributes, events])),
    session?.handle ?? 'no session',
    'no span says whose session it is',
  )
})

t.test('the fan-out of a write is below its commit, and linked to those that it carries as well', async (t) => {
  const { address, spans, forget } = await start(t)
  const socket = new WebSocket(`${address.replace('http', 'ws')}/sync?space=app`)
  t.teardown(() => socket.terminate())
  await new Promise((resolve) => socket.once('message', resolve))
  await fetch(`${address}/visit`, { method: 'POST' })
  await eventually(() => spans('stateful.sync.fanout').length === 1)
  const [commit] = spans('stateful.state.commit')
  t.match(commit?.attributes, {
    'stateful.state.space': 'app',
    'stateful.state.kind': 'commit',
    'stateful.state.revision': 1,
    'stateful.state.operations': 1,
  })
  const [fanOut] = spans('stateful.sync.fanout')
  t.equal(parentIdOf(fanOut), idOf(commit))
  t.match(fanOut?.attributes, {
    'stateful.state.revision': 1,
    'stateful.sync.changes': 1,
    'stateful.sync.recipients': 1,
  })
  forget()
  await fetch(`${address}/twice`, { method: 'POST' })
  await eventually(() => spans('stateful.sync.fanout').length === 1)
  const [first, second] = spans('stateful.state.commit').sort(
    (a, b) => Number(a.attributes['stateful.state.revision']) - Number(b.attributes['stateful.state.revision']),
  )
  const [both] = spans('stateful.sync.fanout')
  t.equal(parentIdOf(both), idOf(second))
  t.same(
    both?.links.map(({ context }) => context.spanId),
    [idOf(first)],
  )
})

t.test('a refusal is told by its code, and is no error', async (t) => {
  const { app, address, spans } = await start(t)
  await app.state.set('a', 1)
  t.equal(await (await fetch(`${address}/once`, { method: 'POST' })).text(), 'false')
  const refused = spans('stateful.state.commit').at(-1)
  t.equal(refused?.attributes['error.type'], 'STATEFUL_STATE_CONFLICT')
  t.equal(refused?.status.code, SpanStatusCode.UNSET)
  t.same(refused?.events, [])
})

t.test('the statistics are instruments with their units, and durations are histograms', async (t) => {
  const { app, address, metrics } = await start(t)
  await fetch(`${address}/report/1`)
  await fetch(`${address}/report/1`)
  const read = await metrics()
  const report = await app.stats.collect()
  for (const [name, value] of [
    ['stateful.cache.l1_hits', 1],
    ['stateful.cache.loads', 1],
    ['stateful.cache.bytes', report.cache?.bytes],
    ['stateful.sessions.total', 0],
    ['stateful.state.commits', 0],
    ['stateful.sync.connections', 0],
  ] as const) {
    t.match(read.get(name)?.points, [{ value, attributes: {} }], name)
  }
  t.match(read.get('stateful.cache.bytes'), { unit: 'By', description: 'Their encoded size.' })
  t.match(read.get('stateful.process.uptime'), { unit: 's' })
  t.match(read.get('stateful.cache.namespace.l1_hits')?.points, [
    { attributes: { 'stateful.cache.namespace': 'default' }, value: 1 },
  ])
  t.match(read.get('stateful.cache.load.duration'), { unit: 's', points: [{ value: { count: 1 } }] })
  // A store in memory is never away, so the cache has no breaker; and nothing was answered with a problem.
  const without = /^stateful\.sync\.|\.namespace\.|\.breaker\.|\.problems$/
  for (const { name, kind } of app.stats.catalogue().flatMap(({ metrics }) => metrics)) {
    if (kind !== 'histogram' && !without.test(name)) t.ok(read.has(name), name)
  }
})

t.test('of several applications one records; when all are closed, nobody does', async (t) => {
  const { app, spans } = await start(t)
  const other = Fastify()
  await other.register(stateful, { storage: 'memory:', secret: SECRET })
  await other.register(telemetry)
  await other.ready()
  await other.cache.getOrSet('k', () => 1)
  t.equal(spans('stateful.cache.load').length, 1)
  await app.close()
  await other.cache.getOrSet('k2', () => 1)
  t.equal(spans('stateful.cache.load').length, 2)
  await other.close()
  t.notOk(await subscribed())
})

t.test('either alone', async (t) => {
  await t.test('metrics without spans', async (t) => {
    const { address, spans, metrics } = await start(t, { spans: false })
    await fetch(`${address}/report/1`)
    t.same(spans('stateful.cache.load'), [])
    t.match((await metrics()).get('stateful.cache.load.duration')?.points, [{ value: { count: 1 } }])
  })
  await t.test('spans without metrics', async (t) => {
    const { address, spans, metrics } = await start(t, { metrics: false })
    await fetch(`${address}/report/1`)
    t.equal(spans('stateful.cache.load').length, 1)
    t.notOk([...(await metrics()).keys()].some((name) => name.startsWith('stateful.')))
  })
})

t.test('without the statistics it does not boot', async (t) => {
  const app: FastifyInstance = Fastify()
  t.teardown(() => app.close())
  await t.rejects(async () => app.register(telemetry), /stats/)
})

async function subscribed(): Promise<boolean> {
  const { cacheLoad, sessionLoad, sessionSave, stateCommit, syncFanOut } = await import(
    '../../../plugins/support/tracing.ts'
  )
  return [cacheLoad, sessionLoad, sessionSave, stateCommit, syncFanOut].some(({ hasSubscribers }) => hasSubscribers)
}
