import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import type { Stats as Report, StatsHistory } from '../../../openapi/schemas/stats.ts'
import { cache } from '../../../plugins/cache/index.ts'
import type { SessionUser } from '../../../plugins/session/user.ts'
import { state } from '../../../plugins/state/index.ts'
import { stats } from '../../../plugins/stats/index.ts'
import { storage } from '../../../plugins/storage/index.ts'
import type { Clock } from '../../../plugins/support/clock.ts'
import { ManualClock } from '../../../plugins/support/manual-clock.ts'
import { sync } from '../../../plugins/sync/index.ts'
import { statsRoutes } from '../../../routes/stats/index.ts'
import { eventually } from '../../fixtures/eventually.ts'
import { readExposition } from '../../fixtures/prometheus.ts'
import { startRedis } from '../../fixtures/redis-server.ts'
import { onEveryStorage, storageUrl } from '../../fixtures/storages.ts'

const administrator: SessionUser = { id: 'a', role: 'administrator' }

interface StartOptions {
  url?: string
  user?: SessionUser
  bare?: boolean
  clock?: Clock
  history?: boolean
}

async function start(
  t: Test,
  { url = 'memory:', user, bare = false, ...settings }: StartOptions,
): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  app.decorateRequest('session')
  app.addHook('onRequest', async (request) => {
    if (user) request.session = { user } as typeof request.session
  })
  await app.register(storage, { storage: url })
  await app.register(stats, { interval: '100ms', ...settings })
  if (!bare) {
    await app.register(cache)
    await app.register(state)
    await app.register(sync)
  }
  await app.register(statsRoutes)
  app.get('/thing/:id', async () => 'thing')
  await app.ready()
  return app
}

const report = async (app: FastifyInstance, query = '') => (await app.inject(`/stats${query}`)).json<Report>()

t.test('what the services did stands in the answer, in JSON and for Prometheus alike', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const app = await start(t, { url: await storageUrl(t, kind), user: administrator })
    await app.cache.set('k', 1)
    await app.cache.get('k')
    await app.cache.get('missing')
    await app.state.set('counter', 1)
    await app.inject('/thing/1')
    await app.inject('/thing/2')

    const numbers = await report(app)
    t.match(numbers, {
      scope: 'instance',
      instance: app.storage.instanceId,
      unavailable: [],
      cache: { tier: kind, lookups: 2, l1Hits: 1, misses: 1, l1HitRate: 0.5, missRate: 0.5 },
      state: { spaces: 1, keys: 1, commits: 1, revision: 1 },
      sync: { connections: 0 },
      process: { requests: { total: 2, active: 1, byStatus: { '2xx': 2 } } },
    })
    t.notOk('sessions' in numbers, 'a service that is not registered is absent')

    const metrics = await app.inject('/metrics')
    t.match(metrics.headers['content-type'], 'text/plain; version=0.0.4')
    for (const line of [
      'stateful_cache_l1_hits_total 1',
      'stateful_cache_l1_hit_rate 0.5',
      'stateful_state_commits_total 1',
      'stateful_state_keys 1',
      'stateful_sync_connections 0',
      'http_request_duration_seconds_count{method="GET",route="/thing/:id",status="2xx"} 2',
    ]) {
      t.ok(metrics.body.split('\n').includes(line), line)
    }
    wellFormed(t, metrics.body)
  }),
)

/** As a scraper reads it: each metric once, with its type and help, and each series once. */
function wellFormed(t: Test, text: string): void {
  const metrics = readExposition(text)
  t.ok(metrics.size > 80)
  for (const [name, { type, help, series }] of metrics) {
    t.match(type, /^(counter|gauge|histogram)$/, name)
    t.match(help, /^[A-Z9].*\.$/, `${name}: ${help}`)
    t.ok(series.length > 0 && series.every(({ value }) => Number.isFinite(value)), name)
  }
}

t.test('what the numbers were is the same on every instance, and after a restart', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const url = await storageUrl(t, kind)
    const clock = new ManualClock(Math.floor(Date.now() / 10_000) * 10_000)
    const app = await start(t, { url, user: administrator, clock })
    await app.cache.get('missing')
    await app.inject('/thing/1')
    clock.advance(15_000)
    const read = async (app: FastifyInstance, query = '') =>
      (await app.inject(`/stats/history${query}`)).json<StatsHistory>()
    await eventually(async () => (await read(app, `?to=${clock.now()}`)).points.length > 0)
    const history = await read(app, `?to=${clock.now()}`)
    t.match(history, {
      interval: 10_000,
      instances: [app.storage.instanceId],
      points: [{ instances: 1, lookups: 1, misses: 1, serverErrors: 0, rss: Number }],
    })
    t.ok((history.points[0]?.requests ?? 0) >= 1)
    t.same((await read(app, `?instance=other&to=${clock.now()}`)).points, [])
    t.same((await read(app, `?from=${clock.now()}&to=${clock.now()}`)).points, [])
    if (kind === 'memory') return
    await app.close()
    const later = await start(t, { url, user: administrator, clock })
    t.same(await read(later, `?to=${clock.now()}`), history)
  }),
)

t.test('the history can be switched off', async (t) => {
  const app = await start(t, { user: administrator, bare: true, history: false })
  t.equal(app.stats.history, undefined)
  t.match((await app.inject('/stats/history')).json(), { instances: [], points: [] })
})

t.test('without any service there is still the process', async (t) => {
  const app = await start(t, { user: administrator, bare: true })
  const numbers = await report(app)
  const names = ['at', 'health', 'instance', 'process', 'scope', 'storage', 'unavailable', 'version']
  t.same(Object.keys(numbers).sort(), names)
})

t.test('the counters go back to 0, what is there stays', async (t) => {
  const app = await start(t, { user: administrator })
  await app.cache.set('k', 1)
  await app.cache.get('k')
  const response = await app.inject({ method: 'POST', url: '/stats/reset' })
  t.equal(response.statusCode, 204)
  t.equal(response.body, '')
  t.match(await report(app), { cache: { lookups: 0, l1HitRate: 0, entries: 1 } })
})

t.test('instances on one Redis add up, and one that ends is gone', async (t) => {
  const { url } = await startRedis(t)
  const first = await start(t, { url, user: administrator })
  const second = await start(t, { url, user: administrator })
  await first.cache.set('k', 1)
  await first.cache.get('k')
  await second.cache.get('nothing')
  const ids = [first.storage.instanceId, second.storage.instanceId]
  // The second's numbers arrive with its next interval.
  let cluster = await report(first, '?scope=cluster')
  for (let attempt = 0; attempt < 100 && cluster.cache?.lookups !== 2; attempt++) {
    await new Promise((resolve) => setTimeout(resolve, 50))
    cluster = await report(first, '?scope=cluster')
  }
  t.match(cluster, { scope: 'cluster', cache: { lookups: 2, l1Hits: 1, misses: 1, l1HitRate: 0.5 } })
  t.same(
    cluster.instances?.map(({ instance }) => instance),
    ids,
    'the one that answers first',
  )
  t.notOk('instance' in cluster)
  await second.close()
  t.same(
    (await report(first, '?scope=cluster')).instances?.map(({ instance }) => instance),
    ids.slice(0, 1),
  )
})

t.test('without its storage it still tells what it knows', async (t) => {
  const redis = await startRedis(t)
  const app = await start(t, { url: redis.url, user: administrator })
  await redis.kill()
  const numbers = await report(app)
  t.match(numbers, { scope: 'instance', process: { memory: { rss: Number } }, cache: { tier: 'redis' } })
  const cluster = await app.inject('/stats?scope=cluster')
  t.equal(cluster.statusCode, 503)
  t.match(cluster.json(), { code: 'STATEFUL_STORAGE_UNAVAILABLE' })
})

t.test('one process is a cluster of one', async (t) => {
  const app = await start(t, { user: administrator })
  await app.cache.get('missing')
  const { instances = [], ...cluster } = await report(app, '?scope=cluster')
  const { instance, version, age, ...only } = instances[0] ?? {}
  t.equal(instances.length, 1)
  t.equal(instance, app.storage.instanceId)
  t.match(version, /^\d+\.\d+\.\d+/)
  t.same(cluster, { scope: 'cluster', ...only }, 'the sum of one is that one')
  t.equal(age, 0)
})

t.test('they are for administrators, whatever the method', async (t) => {
  for (const [user, status, code] of [
    [undefined, 401, 'STATEFUL_UNAUTHENTICATED'],
    [{ id: 'u', role: 'user' }, 403, 'STATEFUL_FORBIDDEN'],
  ] as const) {
    const app = await start(t, { bare: true, ...(user ? { user } : {}) })
    for (const [method, url] of [
      ['GET', '/stats'],
      ['GET', '/stats?scope=wrong'],
      ['GET', '/stats/history'],
      ['HEAD', '/stats'],
      ['POST', '/stats/reset'],
      ['GET', '/metrics'],
    ] as const) {
      const response = await app.inject({ method, url })
      t.equal(response.statusCode, status, `${method} ${url}`)
      if (method !== 'HEAD') t.match(response.json(), { code })
    }
  }
})

t.test('an unknown scope or parameter is refused', async (t) => {
  const app = await start(t, { user: administrator, bare: true })
  for (const query of ['?scope=galaxy', '?scoop=cluster']) {
    t.match((await app.inject(`/stats${query}`)).json(), { status: 400, code: 'STATEFUL_INVALID_INPUT' }, query)
  }
})

t.test('requests are counted by their route, never by their URL', async (t) => {
  const app = await start(t, { user: administrator, bare: true })
  for (let i = 0; i < 50; i++) await app.inject(`/unknown/${i}?q=${i}`)
  const text = (await app.inject('/metrics')).body
  t.match(text, 'http_request_duration_seconds_count{method="GET",route="(none)",status="4xx"} 50')
  t.notMatch(text, 'unknown')
})

t.test('a client that goes away leaves no request behind', async (t) => {
  const app = await start(t, { user: administrator, bare: true })
  // Not app.get: routes cannot be added once it is ready, so this one is slow in a hook of the server itself.
  const address = await app.listen({ host: '127.0.0.1', port: 0 })
  const collect = app.stats.collect.bind(app.stats)
  let release = () => {}
  const asked = new Promise<void>((resolve) => {
    app.stats.collect = async (options) => {
      resolve()
      await new Promise<void>((done) => {
        release = done
      })
      return collect(options)
    }
  })
  const controller = new AbortController()
  const response = fetch(`${address}/stats`, { signal: controller.signal }).catch((error: Error) => error.name)
  await asked
  t.equal((await collect()).process.requests.active, 1)
  controller.abort()
  t.equal(await response, 'AbortError')
  for (let attempt = 0; attempt < 100 && (await collect()).process.requests.active > 0; attempt++) {
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  t.match((await collect()).process.requests, { active: 0, aborted: 1 })
  release()
})

t.test('an interval that cannot work stops the boot', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(storage, { storage: 'memory:' })
  await t.rejects(async () => app.register(stats, { interval: 5 }), { code: 'STATEFUL_INVALID_OPTION' })
})

t.test('problems are counted by code, in JSON, for Prometheus and in the history', async (t) => {
  const clock = new ManualClock(Date.UTC(2026, 0, 1, 10))
  const app = await start(t, { user: administrator, clock })
  for (const _ of [1, 2]) await app.inject({ method: 'POST', url: '/stats/reset?unknown=1', payload: '{' })
  await app.inject('/stats?scope=wrong')
  const { process } = await report(app)
  t.same(process.requests.problems, { STATEFUL_UNSUPPORTED_MEDIA_TYPE: 2, STATEFUL_INVALID_INPUT: 1 })
  const metrics = readExposition((await app.inject('/metrics')).body)
  t.ok(metrics)
  clock.advance(16_000)
  await eventually(async () => {
    const { points } = (await app.inject('/stats/history')).json<StatsHistory>()
    t.match(points, [{ problems: { STATEFUL_INVALID_INPUT: 1 } }])
    return points.length === 1
  })
})

t.test('every storage tells how it answers, and who is ill says why', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const clock = new ManualClock(Date.UTC(2026, 0, 1, 10))
    const redis = kind === 'redis' ? await startRedis(t) : undefined
    const app = await start(t, { url: redis?.url ?? (await storageUrl(t, kind)), user: administrator, clock })
    for (let second = 0; second < 5; second++) {
      await app.state.set('n', second)
      clock.advance(1_000)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    const { storage, health, cache } = await report(app)
    t.match(storage, { kind, answers: true, failures: 0 })
    const measured = (storage?.latency.counts ?? []).reduce((sum, count) => sum + count, 0)
    if (kind === 'memory') t.equal(measured, 0, 'there is nothing to wait for')
    else t.ok(measured > 0, `${measured} measurements`)
    t.equal(cache?.breaker !== undefined, kind === 'redis')
    t.match(health, { status: 'ok', reasons: [] })

    if (!redis) return
    await redis.kill()
    clock.advance(1_000)
    await eventually(async () => {
      clock.advance(1_000)
      return (await report(app)).health?.status === 'unavailable'
    })
    t.equal((await report(app)).health?.reasons[0], 'The storage does not answer.')
  }),
)

t.test('the cluster tells the health, the age and the version of each instance', async (t) => {
  const { url } = await startRedis(t)
  const [one, two] = [await start(t, { url, user: administrator }), await start(t, { url, user: administrator })]
  // The cache of one that has just begun is not proven current yet.
  await eventually(async () => (await report(one, '?scope=cluster')).health?.status === 'ok')
  const { health, instances = [] } = await report(one, '?scope=cluster')
  t.same(health, { status: 'ok', reasons: [] })
  t.same(
    new Set(instances.map(({ instance }) => instance)),
    new Set([one, two].map(({ storage }) => storage.instanceId)),
  )
  for (const { age = Number.NaN, version, health } of instances) {
    t.ok(age >= 0 && age < 5_000, `${age}`)
    t.match(version, /^\d+\.\d+\.\d+/)
    t.match(health, { status: 'ok' })
  }
})
