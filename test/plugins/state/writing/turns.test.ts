import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { Turns } from '../../../../plugins/state/writing/turns.ts'
import { ManualClock } from '../../../../plugins/support/manual-clock.ts'
import { onEveryState, testState } from '../../../fixtures/state.ts'

t.test('120 concurrent async updates of a key all succeed, each about once', (t) =>
  onEveryState(t, async (t, state) => {
    let runs = 0
    const work = async (n: unknown) => {
      runs++
      // What an application waits for: the point is that it takes a while.
      await delay(15)
      return ((n as number) ?? 0) + 1
    }
    await Promise.all(Array.from({ length: 120 }, () => state.update('n', work)))
    t.equal(state.get('n'), 120)
    t.ok(runs <= 1.2 * 120, `${runs} runs`)
  }),
)

t.test('also when two instances do so at the same time, nothing is lost', (t) =>
  onEveryState(t, async (t, state, { url, kind }) => {
    const other = kind === 'redis' ? (await testState(t, { url })).state : state
    const work = async (n: unknown) => {
      await delay(5)
      return ((n as number) ?? 0) + 1
    }
    await Promise.all([state, other].flatMap((one) => Array.from({ length: 20 }, () => one.update('n', work))))
    t.equal(await state.read('n'), 40)
  }),
)

t.test(
  'updates of a key, async or not, begin in the order of their calls; those of another key do not wait',
  async (t) => {
    const { state } = await testState(t)
    let finish = (_: string) => {}
    const slow = state.update('list', () => new Promise<string>((resolve) => (finish = resolve)))
    const second = state.update('list', (before) => `${before}, second`)
    await state.update('other', () => 'done')
    finish('first')
    await Promise.all([slow, second])
    t.equal(state.get('list'), 'first, second')
  },
)

t.test('a function that never ends holds up the others for the time of a write', async (t) => {
  const clock = new ManualClock()
  const { state } = await testState(t, { clock })
  state.update('k', () => new Promise<never>(() => {})).catch(() => {})
  const next = state.update('k', async () => 'next')
  await state.set('another', 1)
  t.equal(state.get('k'), undefined)
  clock.advance(5_000)
  t.equal(await next, 'next')
})

t.test('a turn that has ended is not ended twice', async (t) => {
  const turns = new Turns(new ManualClock(), 1_000)
  const first = turns.take('k')
  const second = turns.wait('k')
  const third = turns.wait('k')
  first()
  first()
  const end = await second
  t.ok(turns.isTaken('k'))
  end()
  ;(await third)()
  t.notOk(turns.isTaken('k'))
})
