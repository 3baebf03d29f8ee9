import fc from 'fast-check'
import t from 'tap'
import { merge } from '../../../plugins/stats/merge.ts'
import { quantile } from '../../../plugins/support/quantile.ts'

t.test('counters add up, rates are weighted by what they are rates of', async (t) => {
  const merged = merge('cache', [
    {
      lookups: 100,
      l1Hits: 90,
      l1HitRate: 0.9,
      missRate: 0.1,
      coherent: true,
      tier: 'redis',
      loads: 0,
      meanLoadTime: 0,
    },
    { lookups: 300, l1Hits: 0, l1HitRate: 0, missRate: 0.5, coherent: false, tier: 'redis', loads: 2, meanLoadTime: 8 },
  ])
  t.match(merged, {
    lookups: 400,
    l1Hits: 90,
    l1HitRate: 90 / 400,
    missRate: (0.1 * 100 + 0.5 * 300) / 400,
    coherent: false,
    tier: 'redis',
    meanLoadTime: 8,
  })
})

t.test('before the first lookup rates are 0, not NaN', async (t) => {
  t.match(
    merge('cache', [
      { lookups: 0, l1HitRate: 0 },
      { lookups: 0, l1HitRate: 0 },
    ]),
    { l1HitRate: 0 },
  )
})

t.test('what only some instances have is kept, and so are objects whose keys are data', async (t) => {
  t.same(
    merge<object>('sync', [
      { connections: 1, closes: { 1000: 2, 1001: 1 } },
      { connections: 2, closes: { 1000: 3, 4401: 1 } },
    ]),
    { connections: 3, closes: { 1000: 5, 1001: 1, 4401: 1 } },
  )
})

t.test('what the instances share is taken once', async (t) => {
  t.match(
    merge('sessions', [
      { total: 7, activeUsers: 3 },
      { total: 7, activeUsers: 3 },
    ]),
    { total: 7, activeUsers: 3 },
  )
})

const processOf = (uptime: number, counts: number[]) => ({
  uptime,
  memory: { rss: 10 },
  eventLoop: { p99: uptime },
  requests: { total: 1, duration: { sum: 1, p50: 0, p95: 0, p99: 0, bounds: [10, 20], counts } },
})

t.test('of processes: memory and buckets add up, the busiest loop counts, percentiles are computed anew', async (t) => {
  const merged = merge('process', [processOf(5, [10, 0, 0]), processOf(9, [0, 10, 0])])
  t.match(merged, {
    uptime: 9,
    memory: { rss: 20 },
    eventLoop: { p99: 9 },
    requests: { total: 2, duration: { sum: 2, bounds: [10, 20], counts: [10, 10, 0], p50: 10, p95: 19 } },
  })
})

t.test('of histograms anywhere: buckets add up, percentiles are computed anew', async (t) => {
  const loads = (counts: number[]) => ({
    namespaces: { n: { loadDuration: { sum: 5, p50: 1, bounds: [10, 20], counts } } },
  })
  t.match(merge('cache', [loads([4, 0, 0]), loads([0, 4, 0])]), {
    namespaces: { n: { loadDuration: { sum: 10, bounds: [10, 20], counts: [4, 4, 0], p50: 10, p95: 19 } } },
  })
})

t.test('one instance comes back as it is', async (t) => {
  const cache = { lookups: 3, l1HitRate: 1 / 3, namespaces: { a: { lookups: 3, l1HitRate: 1 / 3 } }, coherent: true }
  t.same(merge('cache', [cache]), cache)
})

t.test('a quantile lies in its bucket', async (t) => {
  t.equal(quantile([1, 2], [0, 0, 0], 0.5), 0, 'of nothing')
  t.equal(quantile([1, 2], [0, 0, 5], 0.5), 2, 'above all bounds: at least the highest')
  t.equal(quantile([1, 2], [4, 0, 0], 0.5), 0.5)
  t.equal(quantile([1, 2, 4], [1, 1, 2], 0.75), 3)
  fc.assert(
    fc.property(
      fc.array(fc.nat(20), { minLength: 1, maxLength: 8 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (counts, a, b) => {
        const bounds = counts.slice(1).map((_, i) => 2 ** i)
        const [lower, upper] = [quantile(bounds, counts, Math.min(a, b)), quantile(bounds, counts, Math.max(a, b))]
        return lower <= upper && lower >= 0 && upper <= (bounds.at(-1) ?? 0)
      },
    ),
  )
})
