import t from 'tap'
import {
  formatAge,
  formatBytes,
  formatCount,
  formatDuration,
  formatField,
  formatMilliseconds,
  formatRate,
  words,
} from '../../dashboard/format.ts'
import { adviceOn } from '../../dashboard/overview/advice.ts'
import { columns, pointOf, totalOf, withGaps } from '../../dashboard/overview/points.ts'
import { hashOf, routeOf } from '../../dashboard/route.ts'
import type { HistoryPoint, Stats } from '../../openapi/schemas/stats.ts'

const point = (at: number, numbers: Partial<HistoryPoint> = {}): HistoryPoint => ({
  ...{ at, instances: 1, measured: 10_000 },
  ...numbers,
})

t.test('counts become rates of the time that was measured, and shares of the lookups', async (t) => {
  const numbers = { lookups: 40, l1Hits: 20, l2Hits: 10, misses: 5, joined: 5, requests: 50 }
  t.match(pointOf(point(20_000, numbers)), { at: 20, l1: 0.5, l2: 0.25, miss: 0.25, requests: 5, serverErrors: null })
})

t.test('what is not known is a gap, not a zero', async (t) => {
  t.match(pointOf(point(0, { lookups: 0, requests: 0 })), {
    l1: null,
    miss: null,
    requests: 0,
    sessions: null,
    p50: null,
  })
  t.match(pointOf(point(0, { requests: 5, measured: 0 })), { requests: null })
  const points = withGaps([point(10_000, { requests: 1 }), point(20_000), point(60_000, { requests: 1 })], 10_000)
  t.same(columns(points, ['requests']), [
    [10, 20, 30, 60],
    [0.1, null, null, 0.1],
  ])
})

t.test('a range has the counts of all its points', async (t) => {
  const total = totalOf([point(1, { lookups: 10, l1Hits: 10 }), point(2, { lookups: 30, misses: 30, requests: 4 })])
  t.match(total, { lookups: 40, l1Hits: 10, misses: 30, requests: 4, measured: 20_000 })
  t.match(pointOf(total), { l1: 0.25, miss: 0.75 })
  t.match(totalOf([]), { at: 0, measured: 0 })
})

t.test('advice is in words, and none where all is well', async (t) => {
  const stats = (coherent: boolean, dead: number, utilization: number, unavailable: string[] = []) =>
    ({
      unavailable,
      cache: { coherent, writeBehind: { dead } },
      process: { eventLoop: { utilization } },
    }) as unknown as Stats
  const namespace = {
    name: 'user',
    lookups: 1_204,
    missRate: 0.93,
    meanLoadTime: 12,
    entries: 1,
    bytes: 1,
    hottest: [],
  }
  const loader = { name: 'users/user:*', loads: 10, time: 9_000, worst: 2_000 }
  t.same(adviceOn(undefined, [], []), [])
  t.same(adviceOn(stats(true, 0, 0.2), [{ ...namespace, missRate: 0.1 }], [{ ...loader, time: 900 }]), [])
  t.same(adviceOn(stats(true, 0, 0.2), [{ ...namespace, lookups: 3 }], []), [], 'three lookups say nothing')
  const all = adviceOn(stats(false, 2, 0.95, ['sessions']), [namespace], [loader])
  for (const [i, words] of [
    /sessions/,
    /not proven/,
    /refused for good: 2/,
    /95 % busy/,
    /`user` misses 93 % of 1,204/,
    /Loads of `users\/user:\*` take 900 ms/,
  ].entries()) {
    t.match(all[i], words)
  }
})

t.test('a place in the address, and back', async (t) => {
  for (const parameters of [{}, { namespace: 'users', pattern: 'user:*&?#/ü' }] as Record<string, string>[]) {
    t.same(routeOf(hashOf('cache', parameters)), { view: 'cache', parameters })
  }
  t.equal(hashOf('cache', { pattern: '', key: undefined }), '#/cache')
  t.same(routeOf(''), { view: '', parameters: {} })
})

t.test('numbers as people read them', async (t) => {
  t.equal(formatRate(0.98765), '98.8 %')
  t.equal(formatRate(null), '–')
  t.equal(formatCount(12_345), '12,345')
  t.equal(formatCount(1_234_567), '1.2M')
  t.equal(formatBytes(0), '0 B')
  t.equal(formatBytes(1_536), '1.5 KiB')
  t.equal(formatBytes(5e15), '4,547.5 TiB')
  t.equal(formatMilliseconds(0.123), '0.12 ms')
  t.equal(formatMilliseconds(1_500), '1.5 s')
  t.equal(formatDuration(30), '30 s')
  t.equal(formatDuration(600), '10 min')
  t.equal(formatDuration(9_000), '2.5 h')
  t.equal(formatDuration(259_200), '3 d')
  t.equal(formatAge(1_000, 31_000), '30\u00a0s\u00a0ago')
  t.equal(formatAge(50_000, 31_000), '0\u00a0s\u00a0ago', 'by a clock that is ahead')
  t.equal(words('l1HitRate'), 'l1 hit rate')
  for (const [field, value, text] of [
    ['coherent', true, 'yes'],
    ['tier', 'lmdb', 'lmdb'],
    ['missRate', 0.5, '50 %'],
    ['uptime', 60, '60 s'],
    ['rss', 1024, '1 KiB'],
    ['p99', 3, '3 ms'],
    ['lookups', 3, '3'],
  ] as const) {
    t.equal(formatField(field, value), text)
  }
})
