import t from 'tap'
import { onEveryState, testState } from '../../../fixtures/state.ts'
import { storageUrl } from '../../../fixtures/storages.ts'

t.test('compareAndSet sets only at the revision that it names', (t) =>
  onEveryState(t, async (t, state) => {
    t.equal(await state.compareAndSet('k', 0, 'new'), true)
    t.equal(await state.compareAndSet('k', 0, 'again'), false)
    const revision = state.entry('k')?.revision ?? -1
    const outcomes = await Promise.all([1, 2, 3].map((n) => state.compareAndSet('k', revision, n)))
    t.same(outcomes, [true, false, false])
    t.equal(state.get('k'), 1)
  }),
)

t.test('a condition holds in the history in which its revision was made, and in no other', (t) =>
  onEveryState(t, async (t, state) => {
    await state.set('k', 1)
    const lost = state.epoch
    const { revision } = await state.restore({ state: { k: 2 } })
    const set = { op: 'set', key: 'k', value: 3 } as const
    // The replica has the new history already: only the commit itself can tell them apart.
    await t.rejects(state.apply(set, { guards: [{ key: 'k', revision, epoch: lost }] }), {
      code: 'STATEFUL_STATE_CONFLICT',
    })
    t.equal(state.get('k'), 2)
    await state.apply(set, { guards: [{ key: 'k', revision, epoch: state.epoch }] })
    t.equal(state.get('k'), 3)
  }),
)

t.test('a transaction moves between keys and is repeated, not lost', (t) =>
  onEveryState(t, async (t, state) => {
    await state.set('from', 100)
    await state.set('to', 0)
    const move = () =>
      state.transaction((tx) => {
        tx.set('from', (tx.get('from') as number) - 1)
        tx.increment('to')
        return tx.get('to')
      })
    const moveSlowly = () =>
      state.transaction(async (tx) => {
        const from = tx.get('from') as number
        await null
        tx.set('from', from - 1)
        tx.increment('to')
        return tx.get('to')
      })
    const results = await Promise.all(Array.from({ length: 20 }, (_, n) => (n % 2 ? move() : moveSlowly())))
    t.same([state.get('from'), state.get('to')], [80, 20])
    t.equal(new Set(results).size, 20, 'each run that counted saw another value')
    await t.rejects(
      state.transaction((tx) => {
        tx.set('from', 0)
        throw new Error('no')
      }),
      { message: 'no' },
    )
    t.equal(state.get('from'), 80)
  }),
)

t.test('transactions and updates of two instances meet, and all of them count', async (t) => {
  const url = await storageUrl(t, 'redis')
  const { state: one } = await testState(t, { url })
  const { state: two } = await testState(t, { url })
  await one.commit([
    { op: 'set', key: 'from', value: 60 },
    { op: 'set', key: 'to', value: 0 },
  ])
  await two.freshen()
  let runs = 0
  const moves = [one, two].flatMap((state) =>
    Array.from({ length: 15 }, (_, n) =>
      state.transaction(async (tx) => {
        runs++
        const from = tx.get('from') as number
        if (n % 3 === 0) await new Promise(setImmediate)
        tx.set('from', from - 1)
        tx.set('to', (tx.get('to') as number) + 1)
      }),
    ),
  )
  const updates = [one, two].flatMap((state) =>
    Array.from({ length: 15 }, () => state.update('from', async (from) => (from as number) - 1)),
  )
  const sums: number[] = []
  two.onCommit(() => sums.push((two.get('from') as number) + (two.get('to') as number)))
  await Promise.all([...moves, ...updates])
  await Promise.all([one.freshen(), two.freshen()])
  t.same([one.get('from'), one.get('to')], [0, 30])
  t.same(one.snapshot(), two.snapshot())
  t.ok(runs > 30, 'some ran again')
  t.ok(
    sums.every((sum, i) => i === 0 || sum === sums[i - 1] || sum === (sums[i - 1] as number) - 1),
    'nobody sees half of one',
  )
})

t.test('what a transaction holds and how long it lives is bounded', (t) =>
  onEveryState(
    t,
    async (t, state) => {
      await t.rejects(
        state.transaction((tx) => {
          for (let n = 0; n < 5; n++) tx.set(`k${n}`, n)
        }),
        { code: 'STATEFUL_STATE_LIMIT' },
      )
      let late = () => {}
      await state.transaction((tx) => {
        late = () => tx.set('k', 1)
      })
      t.throws(late, { code: 'STATEFUL_STATE_INVALID_OPERATION' })
      t.equal(state.revision, 0, 'a transaction that writes nothing is no commit')
    },
    { limits: { opsPerCommit: 4 } },
  ),
)
