import fc from 'fast-check'
import t from 'tap'
import { milliseconds } from '../../../plugins/support/durations.ts'

t.test('milliseconds and texts', async (t) => {
  for (const [duration, expected] of [
    [0, 0],
    [1500, 1500],
    ['0', 0],
    ['250ms', 250],
    ['250', 250],
    ['5m', 300_000],
    ['1.5h', 5_400_000],
    ['1 day', 86_400_000],
  ] as const) {
    t.equal(milliseconds(duration, 'ttl'), expected, JSON.stringify(duration))
  }
})

t.test('anything else names the option and the value', async (t) => {
  for (const duration of ['', 'soon', '-5m', -1, Number.NaN, Infinity, '5 fortnights', '1e400', 'x'.repeat(101)]) {
    t.throws(() => milliseconds(duration, 'l1.ttl'), { code: 'STATEFUL_INVALID_DURATION', message: /'l1\.ttl'/ })
  }
})

t.test('whatever is accepted is finite and not negative', async () => {
  fc.assert(
    fc.property(fc.oneof(fc.double(), fc.string()), (duration) => {
      try {
        const value = milliseconds(duration, 'x')
        return Number.isFinite(value) && value >= 0
      } catch (error) {
        return (error as { code?: string }).code === 'STATEFUL_INVALID_DURATION'
      }
    }),
  )
})
