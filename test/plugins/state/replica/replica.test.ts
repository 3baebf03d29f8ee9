import t from 'tap'
import type { Commit, Json } from '../../../../openapi/schemas/state.ts'
import type { LogRecord } from '../../../../plugins/state/log/contract.ts'
import { Replica } from '../../../../plugins/state/replica/replica.ts'
import { ManualClock } from '../../../../plugins/support/manual-clock.ts'
import { testState, until } from '../../../fixtures/state.ts'

const epoch = '1:a'

function loaded(history = 10): Replica {
  const replica = new Replica({ commits: history, bytes: 2 ** 25 })
  replica.load({
    epoch,
    revision: 0,
    floor: 1,
    epochs: [{ epoch, first: 1, cause: 'created' }],
    entries: new Map(),
    records: [],
    clientWrites: [],
  })
  return replica
}

function record(prev: number, value: Json, client: Partial<Commit> = {}): LogRecord {
  const ops = [{ op: 'set' as const, key: 'k', value }]
  return { commit: { space: 's', epoch, prev, revision: prev + 1, ops, at: 0, ...client }, tx: `${prev}` }
}

t.test('a record is applied only where it continues: never twice, never over a gap', async (t) => {
  const replica = loaded()
  t.ok(replica.apply(record(0, 1)))
  t.equal(replica.apply(record(0, 'again')), undefined)
  t.equal(replica.apply(record(5, 'later')), undefined)
  t.same([replica.revision, replica.get('k')?.value], [1, 1])
})

t.test('client writes: applied, surely new, or no longer known', async (t) => {
  const replica = loaded(4)
  for (let seq = 1; seq <= 6; seq++) replica.apply(record(seq - 1, seq, { clientId: 'c', seq: seq * 10 }))
  t.match(replica.acknowledged('c', 60), { revision: 6 })
  t.equal(replica.acknowledged('c', 61), 'new')
  t.equal(replica.acknowledged('c', 55), 'new', 'a later one is known, so this one never was committed')
  t.equal(replica.acknowledged('c', 10), 'unknown')
  t.equal(replica.acknowledged('d', 10), 'new')
})

t.test('a key with a time to live is deleted by a commit of its own', async (t) => {
  const clock = new ManualClock()
  const { state } = await testState(t, { clock })
  await state.set('k', 1, { ttl: 500 })
  await state.increment('k')
  t.equal(state.entry('k')?.expiresAt, clock.now() + 500, 'other operations keep it')
  await state.set('stays', 1, { ttl: 500 })
  await state.set('stays', 2)
  t.equal(state.entry('stays')?.expiresAt, undefined, 'a new value without one ends it')
  clock.advance(499)
  t.ok(state.has('k'))
  const deleted = until(state, () => !state.has('k'))
  clock.advance(1)
  await deleted
  t.ok(state.has('stays'))
  t.same((await state.history({ epoch: state.epoch, revision: state.revision - 1 }))?.[0]?.ops, [
    { op: 'delete', key: 'k' },
  ])
})
