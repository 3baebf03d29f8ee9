import t from 'tap'
import type { Hint, LogRecord } from '../../../../plugins/state/log/contract.ts'
import { Replica } from '../../../../plugins/state/replica/replica.ts'
import { Hints } from '../../../../plugins/state/writing/hints.ts'
import { batchOf } from '../../../suites/state-log.ts'

const EPOCH = '1:a'

/** A replica at a revision of the epoch. */
function replicaAt(revision: number): Replica {
  const replica = new Replica({ commits: 100, bytes: 2 ** 25 })
  const epochs = [{ epoch: EPOCH, first: 1, cause: 'created' as const }]
  replica.load({
    epoch: EPOCH,
    revision,
    floor: revision + 1,
    epochs,
    entries: new Map(),
    records: [],
    clientWrites: [],
  })
  return replica
}

function hintOf(prev: number, count: number, more: Partial<Hint> = {}): Hint {
  const commits = Array.from({ length: count }, (_, n) => ({ [`k${prev + n}`]: n }))
  const { records } = batchOf({ epoch: EPOCH, revision: prev }, 'app', ...commits)
  return { epoch: EPOCH, prev, revision: prev + count, records: () => [...records], ...more }
}

const revisions = (records: LogRecord[] | undefined) => records?.map(({ commit }) => commit.revision)

t.test('records that continue the replica need no look at the log, one hint after the other', (t) => {
  const replica = replicaAt(5)
  const hints = new Hints(replica)
  hints.add(hintOf(5, 2))
  hints.add(hintOf(7, 1))
  const first = hints.next()
  t.same(revisions(first), [6, 7])
  for (const record of first ?? []) replica.apply(record)
  t.equal(hints.pending, true)
  const second = hints.next()
  t.same(revisions(second), [8])
  for (const record of second ?? []) replica.apply(record)
  t.equal(hints.next(), undefined)
  t.equal(hints.pending, false)
  t.end()
})

t.test('what the replica holds is not decoded', (t) => {
  const hints = new Hints(replicaAt(5))
  const records = () => t.fail('decoded') as unknown as LogRecord[]
  hints.add(hintOf(3, 2, { records }))
  hints.add(hintOf(4, 1, { records }))
  t.equal(hints.pending, false)
  t.equal(hints.next(), undefined)
  t.equal(hints.stale, false)
  t.end()
})

for (const [what, hint] of [
  ['a gap', hintOf(6, 1)],
  ['an overlap', hintOf(4, 2)],
  ['another epoch', hintOf(5, 1, { epoch: '2:b' })],
  ['another epoch at a revision that is there', hintOf(3, 1, { epoch: '2:b' })],
  ['no records', hintOf(5, 1, { records: () => undefined })],
  ['fewer records than told', hintOf(5, 1, { revision: 7 })],
  [
    'what cannot be read',
    hintOf(5, 1, {
      records: () => {
        throw new SyntaxError('unexpected')
      },
    }),
  ],
  ['no hint at all', undefined],
] as const) {
  t.test(`${what} says that the log must be read, and only once`, (t) => {
    const hints = new Hints(replicaAt(5))
    hints.add(hint)
    t.equal(hints.pending, true)
    t.equal(hints.next(), undefined)
    t.equal(hints.stale, true)
    hints.clear()
    t.equal(hints.pending, false)
    t.end()
  })
}

t.test('what waits is bounded: of more it is only known that something was missed', (t) => {
  const hints = new Hints(replicaAt(5))
  for (let n = 0; n < 64; n++) hints.add(hintOf(5 + n, 1))
  t.equal(hints.stale, false)
  hints.add(hintOf(69, 1))
  t.equal(hints.stale, true)
  t.end()
})
