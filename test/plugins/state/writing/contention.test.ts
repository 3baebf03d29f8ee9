import { setImmediate as nextTurn } from 'node:timers/promises'
import t from 'tap'
import type { StateLog } from '../../../../plugins/state/log/contract.ts'
import { Contention } from '../../../../plugins/state/writing/contention.ts'
import { ManualClock } from '../../../../plugins/support/manual-clock.ts'
import { testState } from '../../../fixtures/state.ts'
import { storageUrl } from '../../../fixtures/storages.ts'

/** Whether a promise has resolved by the next turn. */
async function over(promise: Promise<void>): Promise<boolean> {
  let done = false
  promise.then(() => {
    done = true
  })
  await nextTurn()
  return done
}

t.test('who is alone does not wait', async (t) => {
  const clock = new ManualClock()
  const turns = new Contention(clock)
  t.equal(await over(turns.giveWay()), true)
  t.equal(clock.timers, 0)
})

t.test('who has heard of another writer waits until it hears of it again, once', async (t) => {
  const clock = new ManualClock()
  const turns = new Contention(clock)
  turns.contend()
  const waiting = turns.giveWay()
  t.equal(await over(waiting), false)
  turns.goOn()
  t.equal(await over(waiting), true)
  t.equal(clock.timers, 0, 'without leaving a timer')
  t.equal(await over(turns.giveWay()), true, 'nobody has come since')
  turns.goOn()
})

t.test('and no longer than a few milliseconds', async (t) => {
  const clock = new ManualClock()
  const turns = new Contention(clock)
  turns.contend()
  const waiting = turns.giveWay()
  clock.advance(4)
  t.equal(await over(waiting), false)
  clock.advance(1)
  t.equal(await over(waiting), true)
})

t.test('who waits in vain waits more and more seldom, until it is worth it again', async (t) => {
  const clock = new ManualClock()
  const turns = new Contention(clock)
  /** For each contention whether it waited. */
  const contentions = async (count: number, heard = false) => {
    let waits = ''
    for (let n = 0; n < count; n++) {
      turns.contend()
      const waiting = turns.giveWay()
      const waited = clock.timers > 0
      waits += waited ? 'w' : '-'
      if (heard && waited) turns.goOn()
      else clock.advance(5)
      await waiting
    }
    return waits
  }
  t.equal(await contentions(13), 'w-w---w------')
  await contentions(1_000)
  t.equal((await contentions(640)).replaceAll('-', '').length, 10, 'each 64th at least')
  await contentions(64, true)
  t.equal(await contentions(5, true), 'wwwww')
})

t.test('two instances that write at the same time lose few batches to each other', async (t) => {
  const url = await storageUrl(t, 'redis')
  let sent = 0
  const wrap = (log: StateLog) =>
    new Proxy(log, {
      get(target, name) {
        if (name === 'commit') sent++
        const member = Reflect.get(target, name)
        return typeof member === 'function' ? member.bind(target) : member
      },
    })
  const { state: one } = await testState(t, { url, wrap })
  const { state: two } = await testState(t, { url, wrap })
  const lost = () => one.describe().conflicts + two.describe().conflicts
  // The best of some: a busy machine lets them meet more often, and never less.
  let best = 1
  for (let round = 1; round <= 12 && best >= 0.3; round++) {
    const before = { sent, lost: lost() }
    let left = 3_000
    const lane = async (state: typeof one) => {
      while (left-- > 0) await state.increment('n')
    }
    await Promise.all(Array.from({ length: 40 }, (_, n) => lane(n % 2 ? one : two)))
    await one.freshen()
    t.equal(one.get('n'), round * 3_000)
    best = Math.min(best, (lost() - before.lost) / (sent - before.sent))
  }
  t.ok(best < 0.3, `${best} were lost`)
})
