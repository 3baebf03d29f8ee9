import t, { type Test } from 'tap'
import { CacheStats } from '../../../openapi/schemas/cache.ts'
import { SessionStats } from '../../../openapi/schemas/session.ts'
import type { InstanceStats } from '../../../openapi/schemas/stats.ts'
import { type ServiceSection, type Source, StatsEngine } from '../../../plugins/stats/stats.ts'
import type { Board } from '../../../plugins/stats/stores/board.ts'
import { ManualClock } from '../../../plugins/support/manual-clock.ts'

class FakeBoard implements Board {
  published: InstanceStats[] = []
  reachable: InstanceStats[] = []
  withdrawn = 0
  publishing: (() => Promise<void>) | undefined

  async publish(stats: InstanceStats) {
    this.published.push(stats)
    await this.publishing?.()
  }

  async others() {
    return this.reachable
  }

  async withdraw() {
    this.withdrawn += 1
  }
}

function create(t: Test, services: Partial<Record<ServiceSection, Source>> = {}) {
  const clock = new ManualClock()
  const board = new FakeBoard()
  const errors: [unknown, string][] = []
  const engine = new StatsEngine({
    instanceId: 'one',
    board,
    clock,
    interval: 5_000,
    sources: () => new Map(Object.entries(services)) as ReadonlyMap<ServiceSection, Source>,
    schemas: {
      roots: { storage: 'S', cache: 'StatefulCacheStats', sessions: 'StatefulSessionStats', state: 'T', sync: 'Y' },
      all: [CacheStats, SessionStats],
    },
    onError: (error, message) => errors.push([error, message]),
  })
  t.teardown(() => engine.close())
  return { engine, clock, board, errors }
}

t.test('it asks the services that there are, whether they answer at once or later', async (t) => {
  const { engine } = create(t, {
    cache: { stats: () => ({ lookups: 1 }) },
    sessions: { stats: async () => ({ total: 2 }) },
  })
  const report = await engine.collect()
  t.match(report, {
    scope: 'instance',
    instance: 'one',
    at: '2026-01-01T00:00:00.000Z',
    unavailable: [],
    cache: { lookups: 1 },
    sessions: { total: 2 },
    process: { memory: { rss: Number }, eventLoop: { p99: Number } },
  })
  t.notOk('sync' in report)
  t.notOk('instances' in report)
})

t.test('a service whose numbers cannot be had does not hide the others', async (t) => {
  const gone = new Error('gone')
  const { engine, errors } = create(t, {
    cache: { stats: () => ({ lookups: 1 }) },
    sessions: {
      async stats() {
        throw gone
      },
    },
    sync: {
      stats() {
        throw gone
      },
    },
  })
  const report = await engine.collect()
  t.same(report.unavailable.sort(), ['sessions', 'sync'])
  t.match(report, { cache: { lookups: 1 } })
  t.equal(errors.length, 2)
  const text = await engine.metrics()
  t.match(text, 'stateful_cache_lookups_total 1')
  t.notMatch(text, /stateful_sessions/)
})

t.test('requests are counted by status, timed and watched while they run', async (t) => {
  const { engine } = create(t)
  const { meter } = engine
  for (const [status, duration] of [
    [200, 0.5],
    [204, 3],
    [301, 30],
    [404, 300],
    [500, 30_000],
  ] as const) {
    meter.started()
    meter.answered({ method: 'GET', route: '/state/keys/:key', status, duration })
    meter.ended(true)
  }
  meter.started()
  meter.started()
  meter.ended(false)
  const { requests } = (await engine.collect()).process
  t.match(requests, {
    total: 5,
    active: 1,
    aborted: 1,
    byStatus: { '1xx': 0, '2xx': 2, '3xx': 1, '4xx': 1, '5xx': 1 },
  })
  t.equal(Math.round(requests.duration.sum * 10), 303_335)
  t.equal(
    requests.duration.counts.reduce((sum, count) => sum + count, 0),
    5,
  )
  t.equal(requests.duration.counts.length, requests.duration.bounds.length + 1)
  t.equal(requests.duration.counts.at(-1), 1, 'what is above all bounds')
  t.ok(requests.duration.p50 > 25 && requests.duration.p50 <= 50)

  const text = await engine.metrics()
  t.match(text, 'http_request_duration_seconds_count{method="GET",route="/state/keys/:key",status="2xx"} 2')
  t.match(text, 'http_request_duration_seconds_bucket{method="GET",route="/state/keys/:key",status="5xx",le="+Inf"} 1')
  t.match(text, 'http_requests_in_progress 1')
  t.match(text, 'http_requests_aborted_total 1')

  engine.reset()
  t.match((await engine.collect()).process.requests, { total: 0, active: 1, aborted: 0, duration: { sum: 0, p99: 0 } })
})

t.test('reset reaches the services that can', async (t) => {
  const resets: string[] = []
  const { engine } = create(t, {
    cache: { stats: () => ({}), resetStats: () => resets.push('cache') },
    state: { stats: () => ({}) },
  })
  engine.reset()
  t.same(resets, ['cache'])
})

t.test('a cluster is the sum of its instances, and each of them', async (t) => {
  const { engine, board } = create(t, { cache: { stats: () => ({ lookups: 1 }) } })
  const own = await engine.collect()
  const alone = await engine.collect({ scope: 'cluster' })
  t.match(alone, { scope: 'cluster', cache: { lookups: 1 }, instances: [{ instance: 'one' }] })
  t.notOk('instance' in alone)
  board.reachable = [
    { ...own, instance: 'two', unavailable: ['sessions'], cache: { lookups: 2 } } as unknown as InstanceStats,
    { ...own, instance: 'three', cache: undefined } as unknown as InstanceStats,
  ]
  const report = await engine.collect({ scope: 'cluster' })
  t.match(report, { cache: { lookups: 3 }, unavailable: ['sessions'] })
  t.same(
    report.instances?.map(({ instance }) => instance),
    ['one', 'two', 'three'],
  )
  t.ok(report.process.memory.rss > own.process.memory.rss * 2)
})

t.test('it renews its numbers each interval, one at a time, and withdraws them at the end', async (t) => {
  const { engine, board, clock, errors } = create(t)
  await engine.start()
  t.equal(board.published.length, 1, 'at once: a new instance is seen immediately')
  let release = () => {}
  board.publishing = () => new Promise((resolve) => (release = resolve))
  clock.advance(5_000)
  await new Promise(setImmediate)
  clock.advance(15_000)
  await new Promise(setImmediate)
  t.equal(board.published.length, 2, 'not a second while the first has not ended')
  release()
  await new Promise(setImmediate)
  board.publishing = async () => {
    throw new Error('away')
  }
  clock.advance(5_000)
  await new Promise(setImmediate)
  await new Promise(setImmediate)
  t.match(errors, [[{ message: 'away' }, /other instances/]])
  await engine.close()
  t.equal(board.withdrawn, 1)
  t.equal(clock.timers, 0)
})

t.test('the event loop is told per interval', async (t) => {
  const { engine } = create(t)
  const samples = () => new Promise((resolve) => setTimeout(resolve, 50))
  engine.meter.rotate()
  await samples()
  const until = Date.now() + 60
  while (Date.now() < until);
  await samples()
  engine.meter.rotate()
  const busy = (await engine.collect()).process.eventLoop
  t.ok(busy.max > 20, `max ${busy.max}`)
  t.ok(busy.utilization > 0 && busy.utilization <= 1)
  t.ok(busy.p50 <= busy.p99 && busy.p99 <= busy.max)
})
