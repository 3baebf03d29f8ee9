import t from 'tap'
import { Expiry } from '../../../../plugins/state/replica/expiry.ts'
import { ManualClock } from '../../../../plugins/support/manual-clock.ts'
import { deaf, testState, until } from '../../../fixtures/state.ts'
import { onEveryStorage, storageUrl } from '../../../fixtures/storages.ts'

t.test('a key is deleted when its time is over, by a commit that everybody hears of', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const clock = new ManualClock()
    const { state } = await testState(t, { url: await storageUrl(t, kind), clock, random: () => 0 })
    await state.set('short', 1, { ttl: 1_000 })
    await state.set('long', 1, { ttl: 5_000 })
    await state.set('extended', 1, { ttl: 1_000 })
    await state.set('extended', 1, { ttl: 5_000 })
    await state.set('stays', 1, { ttl: 1_000 })
    await state.set('stays', 2)
    await state.set('counted', 1, { ttl: 1_000 })
    await state.increment('counted')
    t.equal(state.entry('counted')?.expiresAt, clock.now() + 1_000, 'other operations keep it')
    const position = { epoch: state.epoch, revision: state.revision }
    const heard: unknown[] = []
    state.on('delete', ({ key, previous }) => heard.push([key, previous]))
    clock.advance(999)
    await state.freshen()
    t.equal(state.size, 5)
    clock.advance(1)
    await until(state, () => state.size === 3)
    t.same(state.keys().sort(), ['extended', 'long', 'stays'])
    t.same(heard, [
      ['short', 1],
      ['counted', 2],
    ])
    t.match(await state.history(position), [
      { ops: [{ op: 'delete', key: 'short' }] },
      { ops: [{ op: 'delete', key: 'counted' }] },
    ])
    clock.advance(4_000)
    await until(state, () => state.size === 1)
    t.same(state.snapshot().state, { stays: 2 })
  }),
)

for (const kind of ['lmdb', 'redis'] as const) {
  t.test(`a time to live on ${kind} goes on over a restart, and over while nobody was there`, async (t) => {
    const url = await storageUrl(t, kind)
    const before = new ManualClock()
    const first = await testState(t, { url, clock: before })
    await first.state.set('over', 1, { ttl: 1_000 })
    await first.state.set('left', 1, { ttl: 5_000 })
    await first.close()
    const clock = new ManualClock(before.now() + 2_000)
    const { state } = await testState(t, { url, clock, random: () => 0 })
    clock.advance(1)
    await until(state, () => !state.has('over'))
    t.equal(state.has('left'), true)
    clock.advance(2_999)
    await until(state, () => !state.has('left'))
    t.equal(state.size, 0)
  })
}

t.test('of two instances one deletes', async (t) => {
  const url = await storageUrl(t, 'redis')
  const clock = new ManualClock()
  const { state: one } = await testState(t, { url, clock, random: () => 0 })
  const { state: two } = await testState(t, { url, clock, random: () => 0 })
  await one.set('k', 1, { ttl: 1_000 })
  await two.freshen()
  clock.advance(1_000)
  await Promise.all([until(one, () => !one.has('k')), until(two, () => !two.has('k'))])
  while (one.describe().waiting + two.describe().waiting > 0) await new Promise(setImmediate)
  await Promise.all([one.freshen(), two.freshen()])
  t.equal(one.revision, 2)
  t.same(one.snapshot(), two.snapshot())
})

t.test('what was set anew elsewhere is not deleted by an instance that has not heard of it', async (t) => {
  const url = await storageUrl(t, 'redis')
  const clock = new ManualClock()
  const { state: one } = await testState(t, { url, clock, random: () => 0 })
  const { state: two } = await testState(t, { url, clock, random: () => 0, wrap: deaf })
  await one.set('k', 1, { ttl: 500 })
  await two.freshen()
  await one.set('k', 2)
  clock.advance(500)
  t.equal(two.describe().waiting, 1, 'it tries')
  while (two.describe().waiting > 0) await new Promise(setImmediate)
  await one.freshen()
  t.equal(one.get('k'), 2)
  t.equal(one.revision, 2)
})

t.test('it is tried again while the store refuses, and spread by chance', (t) => {
  const clock = new ManualClock()
  const due: [string, number, number][] = []
  const start = clock.now()
  const expiry = new Expiry({
    clock,
    random: () => 0.5,
    spread: 100,
    onDue: (key, revision) => due.push([key, revision, clock.now() - start]),
  })
  const entry = (at: number) => ({ value: 1, revision: 7, bytes: 2, expiresAt: start + at })
  expiry.note('k', entry(1_000))
  clock.advance(1_049)
  t.same(due, [])
  clock.advance(1)
  t.same(due, [['k', 7, 1_050]])
  clock.advance(1_050)
  t.same(due.length, 2, 'again')
  expiry.note('k', undefined)
  clock.advance(10_000)
  t.same(due.length, 2, 'it is gone')
  expiry.note('far', entry(24 * 3_600_000))
  clock.advance(25 * 3_600_000)
  t.match(due.at(2), ['far'], 'also what lies beyond the longest timer')
  expiry.stop()
  t.equal(clock.timers, 0)
  t.end()
})
