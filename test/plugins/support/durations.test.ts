import fc from 'fast-check'
import t from 'tap'
import { milliseconds } from '../../../plugins/support/durations.ts'
import { MAX_DURATION } from '../../../plugins/support/numbers.ts'

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
    [MAX_DURATION, MAX_DURATION],
  ] as const) {
    t.equal(milliseconds(duration, 'ttl'), expected, JSON.stringify(duration))
  }
})

t.test('anything else names the option and the value', async (t) => {
  for (const duration of ['', 'soon', '-5m', -1, Number.NaN, Infinity, '5 fortnights', '1e400', 'x'.repeat(101)]) {
    t.throws(() => milliseconds(duration, 'l1.ttl'), { code: 'STATEFUL_INVALID_DURATION', message: /'l1\.ttl'/ })
  }
  for (const value of [null, {}, [], true, 5n] as unknown as string[]) {
    t.throws(() => milliseconds(value, 'l1.ttl'), { code: 'STATEFUL_INVALID_DURATION' }, String(value))
  }
})

t.test('more than 100 years is a mistake: it would be no date any more', async (t) => {
  for (const duration of ['101y', '292000000y', '9007199254740993ms', MAX_DURATION + 1, 2 ** 53, 1e308]) {
    t.throws(() => milliseconds(duration, 'l1.ttl'), { code: 'STATEFUL_INVALID_DURATION' }, `${duration}`)
  }
})

t.test('whatever is accepted is a date from now on', async () => {
  fc.assert(
    fc.property(fc.oneof(fc.double(), fc.string()), (duration) => {
      try {
        const value = milliseconds(duration, 'x')
        return value >= 0 && !Number.isNaN(new Date(Date.now() + value).getTime())
      } catch (error) {
        return (error as { code?: string }).code === 'STATEFUL_INVALID_DURATION'
      }
    }),
  )
})
