import t from 'tap'
import type { InstanceStats } from '../../../openapi/schemas/stats.ts'
import { clusterHealth, healthOf, withSilence } from '../../../plugins/stats/health.ts'

const WELL = { overloaded: false, state: false }
const numbers = (more: object = {}) => ({ unavailable: [], ...more }) as unknown as InstanceStats
const breaker = (open: number) => ({ coherent: true, breaker: { open, outages: 1, deferred: 0 } })

t.test('what refuses requests is worse than what only misses something, and stands first', (t) => {
  t.same(healthOf(numbers({ storage: { answers: true }, cache: breaker(0) }), WELL), { status: 'ok', reasons: [] })
  t.match(healthOf(numbers({ storage: { answers: false } }), WELL), {
    status: 'unavailable',
    reasons: ['The storage does not answer.'],
  })
  t.match(healthOf(numbers({ cache: breaker(1) }), WELL), { status: 'degraded', reasons: [/breaker is open/] })
  t.match(healthOf(numbers({ cache: { coherent: false } }), WELL), { status: 'degraded', reasons: [/proven current/] })
  t.match(
    healthOf(numbers({ unavailable: ['sessions', 'state'], cache: breaker(2) }), { overloaded: true, state: true }),
    {
      status: 'unavailable',
      reasons: [/damaged/, /overloaded/, /breaker/, 'There are no numbers of sessions, state.'],
    },
  )
  t.end()
})

t.test('who is not heard of any more is not well, whatever its last numbers were', (t) => {
  const ok = { status: 'ok', reasons: [] } as const
  t.same(withSilence({ ...ok, reasons: [] }, 10_000, 5_000), ok)
  const silent = withSilence({ ...ok, reasons: [] }, 12_400, 5_000)
  t.same(silent, { status: 'degraded', reasons: ['It was last heard of 12 s ago.'] })
  t.equal(withSilence({ status: 'unavailable', reasons: ['x'] }, 12_400, 5_000).status, 'unavailable')
  t.end()
})

t.test('a cluster serves as long as one instance does, and tells how many have what', (t) => {
  const [ok, ill, down] = [
    { health: { status: 'ok' as const, reasons: [] } },
    { health: { status: 'degraded' as const, reasons: ['slow'] } },
    { health: { status: 'unavailable' as const, reasons: ['gone', 'slow'] } },
  ]
  t.same(clusterHealth([ok, ok]), { status: 'ok', reasons: [] })
  t.same(clusterHealth([ok, ill, down]), {
    status: 'degraded',
    reasons: ['2 of 3 instances: slow', '1 of 3 instances: gone'],
  })
  t.same(clusterHealth([down]), { status: 'unavailable', reasons: ['gone', 'slow'] })
  t.same(clusterHealth([{}, ok]), { status: 'ok', reasons: [] }, 'an earlier version tells none')
  t.end()
})
