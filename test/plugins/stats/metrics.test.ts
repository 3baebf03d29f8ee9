import { Type } from '@sinclair/typebox'
import t from 'tap'
import type { Section } from '../../../plugins/stats/catalogue.ts'
import { MetricCatalogue, PROCESS_METRICS } from '../../../plugins/stats/metrics.ts'

const Durations = Type.Object({
  p50: Type.Number(),
  sum: Type.Number(),
  bounds: Type.Array(Type.Number()),
  counts: Type.Array(Type.Integer()),
})
const Numbers = Type.Object(
  {
    l1Hits: Type.Integer({ description: 'Answered by the first level.' }),
    bytes: Type.Integer({ description: 'Their size.' }),
    loadDuration: Durations,
  },
  { $id: 'Numbers' },
)
const Root = Type.Object(
  {
    l1Hits: Type.Integer({ description: 'Answered by the first level.' }),
    l1HitRate: Type.Number({ description: 'A share.' }),
    coherent: Type.Boolean({ description: 'Whether it is current.' }),
    tier: Type.String(),
    namespaces: Type.Record(Type.String(), Type.Ref('Numbers')),
    writeBehind: Type.Object({ pending: Type.Integer({ description: 'Waiting to be written.' }) }),
    closes: Type.Record(Type.String(), Type.Integer({ description: 'By code.' })),
  },
  { $id: 'Root' },
)
const catalogue = new MetricCatalogue([Root, Numbers])
const metric = (section: Section, name: string) => {
  const found = catalogue.of(section, 'Root').find((one) => one.name === name)
  if (!found) throw new Error(`no ${name}`)
  return found
}

t.test('a number of the schema is a metric, with its kind, unit and help', async (t) => {
  t.match(metric('cache', 'stateful.cache.l1_hits'), {
    prometheus: 'stateful_cache_l1_hits',
    kind: 'counter',
    unit: '1',
    help: 'Answered by the first level.',
  })
  t.match(metric('cache', 'stateful.cache.l1_hit_rate'), { kind: 'gauge' })
  t.match(metric('cache', 'stateful.cache.coherent'), { kind: 'gauge' })
  t.match(metric('cache', 'stateful.cache.write_behind.pending'), {
    prometheus: 'stateful_cache_write_behind_pending',
    kind: 'gauge',
    help: 'Waiting to be written.',
  })
  t.match(metric('cache', 'stateful.cache.namespace.bytes'), { kind: 'gauge', unit: 'By' })
  t.throws(() => metric('cache', 'stateful.cache.tier'), 'text is no metric')
  t.same(catalogue.of('cache', 'Unknown'), [])
})

t.test('it reads its samples; what the numbers do not have has none', async (t) => {
  t.same(metric('cache', 'stateful.cache.coherent').read({ coherent: true }), [{ labels: {}, value: 1 }])
  t.same(metric('cache', 'stateful.cache.write_behind.pending').read({ writeBehind: { pending: 2 } }), [
    { labels: {}, value: 2 },
  ])
  t.same(metric('cache', 'stateful.cache.write_behind.pending').read({}), [])
})

t.test('keys that are data become a label', async (t) => {
  t.same(
    metric('cache', 'stateful.cache.namespace.l1_hits').read({ namespaces: { a: { l1Hits: 1 }, b: { l1Hits: 2 } } }),
    [
      { labels: { namespace: 'a' }, value: 1 },
      { labels: { namespace: 'b' }, value: 2 },
    ],
  )
  t.same(metric('sync', 'stateful.sync.closes').read({ closes: { 1000: 4 } }), [{ labels: { code: '1000' }, value: 4 }])
})

t.test('durations are one histogram, and what it says is not said again', async (t) => {
  const durations = metric('cache', 'stateful.cache.namespace.load_duration')
  t.match(durations, { prometheus: 'stateful_cache_namespace_load_duration_seconds', kind: 'histogram', unit: 'ms' })
  const loadDuration = { sum: 7, p50: 1, bounds: [1], counts: [3, 1] }
  t.same(durations.read({ namespaces: { a: { loadDuration } } }), [{ labels: { namespace: 'a' }, value: loadDuration }])
  t.notOk(catalogue.of('cache', 'Root').some(({ name }) => /p50|counts/.test(name)))
})

t.test('names are unique', async (t) => {
  const all = [...catalogue.of('cache', 'Root'), ...PROCESS_METRICS]
  t.equal(new Set(all.map(({ name }) => name)).size, all.length)
  t.equal(new Set(all.map(({ prometheus }) => prometheus)).size, all.length)
})
