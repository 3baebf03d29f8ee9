import t from 'tap'
import { KeyHistory, UNKNOWN } from '../../dashboard/state/key-history.ts'
import type { Commit, Op } from '../../openapi/schemas/state.ts'

const commit = (revision: number, ops: Op[], epoch = '1:a'): Commit => {
  return { space: 'app', epoch, prev: revision - 1, revision, ops, at: revision * 1_000 }
}

t.test('what a key held before and after each change, the newest first', async (t) => {
  const history = new KeyHistory('k', 10)
  history.add([
    commit(1, [{ op: 'set', key: 'other', value: 1 }]),
    commit(2, [{ op: 'merge', key: 'k', value: { a: 1 } }]),
  ])
  history.add([
    commit(3, [
      { op: 'merge', key: 'k', value: { b: 2 } },
      { op: 'set', key: 'other', value: 2 },
      { op: 'merge', key: 'k', value: { c: 3 }, ttl: 5_000 },
    ]),
    commit(4, [{ op: 'delete', key: 'k' }]),
  ])
  t.match(history.changes, [
    { revision: 4, before: { a: 1, b: 2, c: 3 }, after: undefined },
    { revision: 3, before: { a: 1 }, after: { a: 1, b: 2, c: 3 }, ops: [{ key: 'k' }, { key: 'k', ttl: 5_000 }] },
    { revision: 2, before: undefined, after: { a: 1 }, at: 2_000 },
  ])
})

t.test('what is not in the history that was read is unknown, until the key is set', async (t) => {
  const history = new KeyHistory('k', 10)
  history.add([commit(8, [{ op: 'increment', key: 'k', value: 1 }])])
  t.match(history.changes, [{ before: UNKNOWN, after: UNKNOWN }])
  history.add([
    commit(9, [{ op: 'set', key: 'k', value: 5 }]),
    commit(10, [{ op: 'increment', key: 'k', value: 1 }]),
    commit(11, [{ op: 'append', key: 'k', value: 1 }]),
  ])
  t.match(history.changes, [
    { before: 6, after: UNKNOWN },
    { before: 5, after: 6 },
    { before: UNKNOWN, after: 5 },
    { after: UNKNOWN },
  ])
  history.add([
    commit(12, [{ op: 'set', key: 'k', value: 1 }]),
    commit(13, [{ op: 'increment', key: 'k', value: 1 }], '2:b'),
  ])
  t.match(history.changes[0], { before: UNKNOWN, after: UNKNOWN }, 'another epoch may have begun with anything')
})

t.test('only so many changes are kept', async (t) => {
  const history = new KeyHistory('k', 3)
  for (let n = 1; n <= 5; n++) history.add([commit(n, [{ op: 'set', key: 'k', value: n }])])
  t.same(
    history.changes.map(({ revision }) => revision),
    [5, 4, 3],
  )
})
