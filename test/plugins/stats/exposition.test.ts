import { Type } from '@sinclair/typebox'
import t from 'tap'
import type { Section } from '../../../plugins/stats/catalogue.ts'
import { Exposition } from '../../../plugins/stats/exposition.ts'

const Numbers = Type.Object(
  { l1Hits: Type.Integer({ description: 'Answered by the first level.' }) },
  { $id: 'Numbers' },
)
const Root = Type.Object(
  {
    l1Hits: Type.Integer({ description: 'Answered by the first level.' }),
    namespaces: Type.Record(Type.String(), Type.Ref('Numbers')),
    writeBehind: Type.Object({ pending: Type.Integer({ description: 'Waiting to be written.' }) }),
  },
  { $id: 'Root' },
)
const text = (section: Section, numbers: object) =>
  new Exposition([Root, Numbers]).services([{ section, numbers, root: 'Root' }])

t.test('counters and gauges under their names, with the help of the schema', async (t) => {
  const lines = (
    await text('cache', { l1Hits: 3, l1HitRate: 0.75, coherent: true, tier: 'redis', writeBehind: { pending: 2 } })
  ).split('\n')
  for (const line of [
    '# HELP stateful_cache_l1_hits_total Answered by the first level.',
    '# TYPE stateful_cache_l1_hits_total counter',
    'stateful_cache_l1_hits_total 3',
    '# TYPE stateful_cache_l1_hit_rate gauge',
    'stateful_cache_l1_hit_rate 0.75',
    'stateful_cache_coherent 1',
    '# HELP stateful_cache_write_behind_pending Waiting to be written.',
    'stateful_cache_write_behind_pending 2',
  ]) {
    t.ok(lines.includes(line), line)
  }
  t.notOk(
    lines.some((line) => line.includes('tier')),
    'text is no metric',
  )
})

t.test('keys that are data become a label, and cannot break the text', async (t) => {
  const lines = await text('cache', { namespaces: { users: { l1Hits: 1 }, 'a"\n\\b': { l1Hits: 2 } } })
  t.match(lines, '# HELP stateful_cache_namespace_l1_hits_total Answered by the first level.')
  t.match(lines, 'stateful_cache_namespace_l1_hits_total{namespace="users"} 1')
  t.match(lines, 'stateful_cache_namespace_l1_hits_total{namespace="a\\"\\n\\\\b"} 2')
  t.match(await text('sync', { closes: { 1000: 4 } }), 'stateful_sync_closes_total{code="1000"} 4')
})

t.test('durations become a histogram in seconds, cumulative, for each label', async (t) => {
  const loadDuration = { sum: 1_500, p50: 1, p95: 1, p99: 1, bounds: [1, 250], counts: [3, 0, 1] }
  const lines = (await text('cache', { loadDuration, namespaces: { 'a"': { loadDuration } } })).split('\n')
  for (const line of [
    '# TYPE stateful_cache_load_duration_seconds histogram',
    'stateful_cache_load_duration_seconds_bucket{le="0.001"} 3',
    'stateful_cache_load_duration_seconds_bucket{le="0.25"} 3',
    'stateful_cache_load_duration_seconds_bucket{le="+Inf"} 4',
    'stateful_cache_load_duration_seconds_sum 1.5',
    'stateful_cache_load_duration_seconds_count 4',
    'stateful_cache_namespace_load_duration_seconds_bucket{namespace="a\\"",le="+Inf"} 4',
    'stateful_cache_namespace_load_duration_seconds_count{namespace="a\\""} 4',
  ]) {
    t.ok(lines.includes(line), line)
  }
  t.notOk(
    lines.some((line) => /_p50|_counts/.test(line)),
    'what a histogram says is not said again',
  )
})
