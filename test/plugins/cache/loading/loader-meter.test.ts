import t from 'tap'
import { LoaderMeter } from '../../../../plugins/cache/loading/loader-meter.ts'
import { ManualClock } from '../../../../plugins/support/manual-clock.ts'

t.test('loads of keys that begin alike are those of one loader', (t) => {
  const meter = new LoaderMeter(new ManualClock())
  meter.ended('default', 'user:1', 10, false)
  meter.ended('default', 'user:2', 30, true)
  meter.ended('other', 'user:1', 5, false)
  meter.ended('default', 'a/b/c', 1, false)
  meter.ended('default', 'report', 2, false)
  t.same(meter.stats(), {
    'default/user:*': { loads: 2, loadFailures: 1, time: 40, worst: 30 },
    'other/user:*': { loads: 1, loadFailures: 0, time: 5, worst: 5 },
    'default/a/*': { loads: 1, loadFailures: 0, time: 1, worst: 1 },
    'default/*': { loads: 1, loadFailures: 0, time: 2, worst: 2 },
  })
  meter.reset()
  t.same(meter.stats(), {})
  t.end()
})

t.test('the worst is that of the last seconds, and none is missed by who looks each ten', (t) => {
  const clock = new ManualClock()
  const meter = new LoaderMeter(clock)
  const worst = () => meter.stats()['n/k:*']?.worst
  meter.ended('n', 'k:1', 100, false)
  clock.advance(10_000)
  t.equal(worst(), 100)
  meter.ended('n', 'k:1', 20, false)
  t.equal(worst(), 100)
  clock.advance(10_000)
  t.equal(worst(), 20)
  clock.advance(10_000)
  t.equal(worst(), 0)
  meter.ended('n', 'k:1', 7, false)
  t.equal(worst(), 7, 'what was long ago does not come back')
  t.end()
})

t.test('there is an end to the names', (t) => {
  const meter = new LoaderMeter(new ManualClock())
  for (let i = 0; i < 150; i++) {
    meter.ended('n', `${i}:x`, 1, false)
    meter.ended('n', 'often:x', 1, false)
  }
  const names = Object.keys(meter.stats())
  t.equal(names.length, 100)
  t.ok(names.includes('n/often:*'))
  t.notOk(names.includes('n/0:*'))
  meter.ended('n', `${'long'.repeat(50)}:x`, 1, false)
  t.ok(Object.keys(meter.stats()).every((name) => name.length < 50))
  t.end()
})
