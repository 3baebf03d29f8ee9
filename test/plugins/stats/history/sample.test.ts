import t from 'tap'
import type { InstanceStats } from '../../../../openapi/schemas/stats.ts'
import { isSample, pointOf, sampleOf } from '../../../../plugins/stats/history/sample.ts'

function reading(total: number, counts: number[], cache?: object, more: object = {}): InstanceStats {
  return {
    ...{ instance: 'one', at: '2026-01-01T00:00:00.000Z', unavailable: [] },
    ...(cache ? { cache } : {}),
    process: {
      memory: { rss: 5, heapUsed: 3 },
      eventLoop: { p50: 1, p99: 2, utilization: 0.5 },
      requests: { total, byStatus: { '4xx': 0, '5xx': 0 }, duration: { bounds: [1, 10], counts } },
      ...more,
    },
  } as unknown as InstanceStats
}
const INTERVAL = { at: 20_000, measured: 10_000 }

t.test('of a counter its growth is kept, of everything else what it is', (t) => {
  const before = reading(40, [40, 0, 0], { lookups: 10, bytes: 100 })
  const now = reading(100, [50, 40, 10], { lookups: 15, bytes: 80 })
  const sample = sampleOf(before, now, INTERVAL)
  t.match(sample, {
    ...INTERVAL,
    instance: 'one',
    numbers: { requests: 60, lookups: 5, cacheBytes: 80, rss: 5, loopP99: 2 },
    durations: { bounds: [1, 10], counts: [10, 40, 10] },
  })
  t.notOk('sessions' in sample.numbers, 'a service that is not there is absent')
  t.ok(isSample(sample))
  t.end()
})

t.test('the first reading counts from the start, one after a reset from the reset', (t) => {
  const now = reading(7, [7, 0, 0], { lookups: 3 })
  t.match(sampleOf(undefined, now, INTERVAL).numbers, { requests: 7, lookups: 3 })
  const sample = sampleOf(reading(100, [90, 10, 0], { lookups: 50 }), now, INTERVAL)
  t.match(sample, { numbers: { requests: 7, lookups: 3 }, durations: { counts: [7, 0, 0] } })
  t.end()
})

t.test('what a service did while its numbers could not be had is not told as if it were done now', (t) => {
  const sample = sampleOf(reading(1, [1, 0, 0]), reading(2, [2, 0, 0], { lookups: 1_000, bytes: 1 }), INTERVAL)
  t.notOk('lookups' in sample.numbers)
  t.equal(sample.numbers.cacheBytes, 1)
  t.end()
})

t.test('a point is the sum of its instances; what they share is taken once', (t) => {
  const one = sampleOf(undefined, reading(10, [10, 0, 0]), INTERVAL)
  const two = { ...sampleOf(undefined, reading(30, [0, 30, 0]), { ...INTERVAL, measured: 9_000 }), instance: 'two' }
  one.numbers.sessions = 5
  two.numbers.sessions = 5
  const point = pointOf(20_000, [one, two])
  t.match(point, { at: 20_000, instances: 2, measured: 10_000, requests: 40, rss: 10, loopP99: 2, sessions: 5 })
  t.ok((point.p50 ?? 0) > 1, 'percentiles of all requests, not of percentiles')
  const mixed = { ...two, durations: { bounds: [1], counts: [5, 5] } }
  t.same(pointOf(20_000, [one, mixed]).p99, pointOf(20_000, [one]).p99, 'buckets of another version are left out')
  t.notOk('p50' in pointOf(0, [sampleOf(undefined, reading(0, [0, 0, 0]), INTERVAL)]), 'none without requests')
  t.end()
})

t.test('what is no sample is none', (t) => {
  const sample = sampleOf(undefined, reading(1, [1, 0, 0]), INTERVAL)
  for (const wrong of [
    undefined,
    null,
    5,
    { ...sample, at: 'now' },
    { ...sample, instance: 1 },
    { ...sample, measured: -1 },
    { ...sample, numbers: null },
    { ...sample, numbers: { requests: Number.POSITIVE_INFINITY } },
    { ...sample, durations: {} },
    { ...sample, durations: null },
    { ...sample, durations: { bounds: ['1'], counts: [] } },
  ]) {
    t.notOk(isSample(wrong), JSON.stringify(wrong))
  }
  t.end()
})
