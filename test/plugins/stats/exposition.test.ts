import t from 'tap'
import { exposition } from '../../../plugins/stats/exposition.ts'
import { readExposition } from '../../fixtures/prometheus.ts'

t.test('counters end in _total, gauges do not, and what has no sample is left out', async (t) => {
  const text = exposition([
    { prometheus: 'hits', kind: 'counter', help: 'How often.', samples: [{ labels: {}, value: 3 }] },
    { prometheus: 'rate', kind: 'gauge', help: 'A share.', samples: [{ labels: {}, value: 0.75 }] },
    { prometheus: 'nothing', kind: 'gauge', help: 'None.', samples: [] },
  ])
  t.equal(
    text,
    `# HELP hits_total How often.
# TYPE hits_total counter
hits_total 3

# HELP rate A share.
# TYPE rate gauge
rate 0.75
`,
  )
})

t.test('labels and help cannot break the text', async (t) => {
  const labels = { namespace: 'a"\n\\b' }
  const text = exposition([{ prometheus: 'hits', kind: 'counter', help: 'a\nb\\c', samples: [{ labels, value: 2 }] }])
  t.match(text, '# HELP hits_total a\\nb\\\\c\n')
  t.match(text, 'hits_total{namespace="a\\"\\n\\\\b"} 2')
  t.match(readExposition(text).get('hits_total'), { type: 'counter', series: [{ value: 2, labels }] })
})

t.test('durations are in seconds and cumulative, for each label', async (t) => {
  const value = { sum: 1_500, bounds: [1, 250], counts: [3, 0, 1] }
  const text = exposition([
    {
      prometheus: 'load_seconds',
      kind: 'histogram',
      help: 'How long.',
      samples: [
        { labels: {}, value },
        { labels: { namespace: 'users' }, value: { ...value, counts: [0, 0, 0], sum: 0 } },
      ],
    },
  ])
  const { type, series = [] } = readExposition(text).get('load_seconds') ?? {}
  t.equal(type, 'histogram')
  t.same(
    series.map(({ name, labels, value }) => [name, labels, value]),
    [
      ['load_seconds_bucket', { le: '0.001' }, 3],
      ['load_seconds_bucket', { le: '0.25' }, 3],
      ['load_seconds_bucket', { le: '+Inf' }, 4],
      ['load_seconds_sum', {}, 1.5],
      ['load_seconds_count', {}, 4],
      ['load_seconds_bucket', { namespace: 'users', le: '0.001' }, 0],
      ['load_seconds_bucket', { namespace: 'users', le: '0.25' }, 0],
      ['load_seconds_bucket', { namespace: 'users', le: '+Inf' }, 0],
      ['load_seconds_sum', { namespace: 'users' }, 0],
      ['load_seconds_count', { namespace: 'users' }, 0],
    ],
  )
})
