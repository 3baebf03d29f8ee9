import t from 'tap'
import { LOADED } from '../../../../plugins/state/log/contract.ts'
import { onEveryState, testState } from '../../../fixtures/state.ts'

t.test('a client that sends a write again gets its first commit, also one that only the log holds', (t) =>
  onEveryState(t, async (t, state, { url, kind, close }) => {
    const first = await state.commit([{ op: 'increment', key: 'n' }], { clientId: 'c', seq: 1 })
    await state.commit([{ op: 'set', key: 'big', value: 'x'.repeat(200_000) }])
    for (let bytes = 0; bytes < LOADED.bytes; bytes += 200_000) await state.set('big', 'x'.repeat(200_000))
    if (kind !== 'memory') await close()
    const again = kind === 'memory' ? state : (await testState(t, { url })).state
    t.match(await again.commit([{ op: 'increment', key: 'n' }], { clientId: 'c', seq: 1 }), {
      revision: first.revision,
    })
    t.equal(again.get('n'), 1)
    await again.commit([{ op: 'increment', key: 'n' }], { clientId: 'c', seq: 2 })
    t.equal(again.get('n'), 2)
    if (kind !== 'memory') t.ok(again.describe().retained < again.revision, 'not all of it is held in memory')
    t.ok(again.stats().historyBytes > LOADED.bytes)
  }),
)

t.test('a write that is older than the history is refused, not made again', (t) =>
  onEveryState(
    t,
    async (t, state) => {
      await state.commit([{ op: 'increment', key: 'n' }], { clientId: 'c', seq: 1 })
      for (let n = 0; n < 4; n++) await state.set('big', `${n}`.repeat(2_000))
      await t.rejects(state.commit([{ op: 'increment', key: 'n' }], { clientId: 'c', seq: 1 }), {
        code: 'STATEFUL_STATE_INVALID_OPERATION',
      })
      t.equal(state.get('n'), 1)
    },
    { history: { bytes: 4_000 } },
  ),
)
