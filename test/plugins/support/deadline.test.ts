import t from 'tap'
import { within } from '../../../plugins/support/deadline.ts'
import { ManualClock } from '../../../plugins/support/manual-clock.ts'

const late = () => new Error('late')

t.test('what comes in time, good or bad, and no timer is left', async (t) => {
  const clock = new ManualClock()
  t.equal(await within(Promise.resolve(1), 10, clock, late), 1)
  await t.rejects(within(Promise.reject(new Error('own')), 10, clock, late), { message: 'own' })
  t.equal(clock.timers, 0)
})

t.test('what does not is late, to the millisecond of the clock, and disturbs nobody afterwards', async (t) => {
  const clock = new ManualClock()
  for (const settle of ['resolve', 'reject'] as const) {
    const { promise, ...ends } = withResolvers()
    let outcome: unknown
    const asked = within(promise, 10, clock, late).catch((error) => {
      outcome = error.message
    })
    clock.advance(9)
    await new Promise(setImmediate)
    t.equal(outcome, undefined)
    clock.advance(1)
    await asked
    t.equal(outcome, 'late')
    if (settle === 'resolve') ends.resolve(1)
    else ends.reject(new Error('after all'))
    await new Promise(setImmediate)
  }
  t.equal(clock.timers, 0)
})

function withResolvers() {
  let resolve: (value: number) => void = () => {}
  let reject: (error: Error) => void = () => {}
  const promise = new Promise<number>((one, other) => {
    resolve = one
    reject = other
  })
  return { promise, resolve, reject }
}
