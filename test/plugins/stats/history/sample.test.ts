import t from 'tap'
import type { InstanceStats } from '../../../../openapi/schemas/stats.ts'
import { isSample, pointOf, type Sample, sampleOf } from '../../../../plugins/stats/history/sample.ts'

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

t.test('problems, loaders and the latency of the storage are those of the interval', (t) => {
  const at = (problems: object, loaders: object, counts: number[]) =>
    ({
      ...reading(10, [10, 0, 0], { loaders, breaker: { open: 1, outages: 3 } }),
      storage: { failures: 2, latency: { bounds: [1, 10], counts } },
      process: {
        ...reading(10, [10, 0, 0]).process,
        requests: { ...reading(10, [10, 0, 0]).process.requests, problems },
      },
    }) as unknown as InstanceStats
  const before = at({ A: 5, B: 1 }, { 'n/u:*': { loads: 3, time: 30, worst: 20 } }, [5, 0, 0])
  const now = at(
    { A: 6, B: 1, C: 4 },
    { 'n/u:*': { loads: 5, time: 90.04, worst: 25 }, 'n/v:*': { loads: 0, time: 0 } },
    [5, 2, 0],
  )
  const sample = sampleOf(before, now, INTERVAL, new Map([['n/u:*', 55]]))
  t.match(sample, {
    problems: { A: 1, C: 4 },
    loaders: { 'n/u:*': [2, 60, 55] },
    latency: { counts: [0, 2, 0] },
    numbers: { storageFailures: 0, openCircuits: 1, outages: 0 },
  })
  t.same(Object.keys(sample.problems ?? {}), ['C', 'A'], 'the most frequent first, those that did not grow left out')
  t.ok(isSample(sample))
  const other: Sample = { ...sample, instance: 'two', problems: { A: 2 }, loaders: { 'n/u:*': [1, 10, 70] } }
  const point = pointOf(20_000, [sample, other])
  t.match(point, { problems: { A: 3, C: 4 }, loaders: { 'n/u:*': { loads: 3, time: 70, worst: 70 } } })
  t.ok((point.storageP50 ?? 0) > 1)
  for (const wrong of [
    { ...sample, latency: {} },
    { ...sample, problems: { A: -1 } },
    { ...sample, problems: null },
    { ...sample, loaders: { x: [1, 2] } },
    { ...sample, loaders: { x: { loads: 1 } } },
  ]) {
    t.notOk(isSample(wrong), JSON.stringify(wrong))
  }
  t.end()
})

t.test('a sample stays small, whatever there is to tell', (t) => {
  const large = 1_000_000
  const many = (of: (i: number) => unknown) => Object.fromEntries(Array.from({ length: 60 }, (_, i) => [i, of(i)]))
  const named = (name: string, values: object) =>
    Object.fromEntries(Object.entries(values).map(([i, value]) => [`${name}${i}`, value]))
  const buckets = { bounds: Array.from({ length: 13 }, (_, i) => 10 ** i), counts: new Array(14).fill(large) }
  const everything = Object.fromEntries(
    ['lookups', 'l1Hits', 'l2Hits', 'misses', 'joined', 'stale', 'loads', 'loadFailures', 'bytes'].map((n) => [
      n,
      large,
    ]),
  )
  const stats = {
    ...reading(large, [large, 0, 0], {
      ...everything,
      loaders: named(
        'x'.repeat(100),
        many(() => ({ loads: large, time: large + 0.12345, worst: large + 0.12345 })),
      ),
    }),
    storage: { failures: large, latency: buckets },
  } as unknown as InstanceStats
  Object.assign(stats.process.requests, {
    duration: buckets,
    problems: named(
      'STATEFUL_A_RATHER_LONG_CODE_',
      many((i) => i + 1),
    ),
  })
  const sample = sampleOf(undefined, stats, INTERVAL)
  t.equal(Object.keys(sample.problems ?? {}).length, 9)
  t.equal(sample.problems?.['other'], (52 * 53) / 2, 'what is beyond is counted together')
  t.equal(Object.keys(sample.loaders ?? {}).length, 5)
  const bytes = JSON.stringify(sample).length
  t.ok(bytes < 2_500, `${bytes} bytes`)
  t.end()
})
