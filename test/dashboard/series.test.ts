import t from 'tap'
import {
  formatBytes,
  formatCount,
  formatDuration,
  formatField,
  formatMilliseconds,
  formatRate,
  words,
} from '../../dashboard/format.ts'
import { columns, numberAt, type Point, pointOf, remember } from '../../dashboard/series.ts'
import type { Stats } from '../../openapi/schemas/stats.ts'

const statsOf = (second: number, cache: object, requests: object = {}) =>
  ({
    scope: 'instance',
    at: new Date(second * 1000).toISOString(),
    unavailable: [],
    cache,
    process: { requests: { byStatus: {}, duration: {}, ...requests } },
  }) as unknown as Stats

t.test('rates are those of the time between two answers', async (t) => {
  const before = statsOf(10, { lookups: 100, l1Hits: 0, l2Hits: 50, misses: 40, joined: 10 }, { total: 10 })
  const now = statsOf(14, { lookups: 140, l1Hits: 20, l2Hits: 60, misses: 45, joined: 15 }, { total: 30 })
  t.match(pointOf(before, now), { at: 14, l1: 0.5, l2: 0.25, miss: 0.25, requests: 5, errors: null })
})

t.test('what is not known is a gap, not a zero', async (t) => {
  const now = statsOf(14, { lookups: 140, l1Hits: 20, l2Hits: 60, misses: 45, joined: 15 }, { total: 30 })
  t.match(pointOf(undefined, now), { l1: null, miss: null, requests: null, sessions: null, revision: null })
  t.match(pointOf(now, { ...now, at: new Date(15_000).toISOString() }), { l1: null, requests: 0 }, 'no lookups')
  const reset = statsOf(16, { lookups: 1, l1Hits: 1, l2Hits: 0, misses: 0, joined: 0 }, { total: 1 })
  t.match(pointOf(now, reset), { l1: null, requests: null }, 'counters that went back')
  t.match(pointOf(now, now), { requests: null }, 'no time went by')
})

t.test('numbers are found by their path', async (t) => {
  const stats = statsOf(1, { lookups: 3, tier: 'lmdb' })
  t.equal(numberAt(stats, 'cache.lookups'), 3)
  for (const path of ['cache.tier', 'cache.nothing', 'sync.connections', 'cache.lookups.more']) {
    t.equal(numberAt(stats, path), null, path)
  }
  t.equal(numberAt(undefined, 'cache.lookups'), null)
})

t.test('old points are forgotten, and one that came late does not go back', async (t) => {
  const point = (at: number): Point => ({ ...pointOf(undefined, statsOf(at, {})), l1: at / 100 })
  let points = [point(1), point(2)]
  points = remember(points, point(11), 10)
  t.same(columns(points, ['l1']), [
    [2, 11],
    [0.02, 0.11],
  ])
  t.same(columns(remember(points, point(11), 10), ['l1'])[0], [2, 11], 'each time once')
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
