import t from 'tap'
import { deepFreeze } from '../../../plugins/support/freeze.ts'

t.test('what is plain is frozen in depth, what has inner state is left alone, and it is the same object', async (t) => {
  const map = new Map()
  const bytes = new Uint8Array(1)
  const value = { list: [{ n: 1 }], none: null, map, bytes, bare: Object.create(null) as object }
  t.equal(deepFreeze(value), value)
  for (const frozen of [value, value.list, value.list[0], value.bare]) t.ok(Object.isFrozen(frozen))
  t.notOk(Object.isFrozen(map))
  bytes[0] = 1
  for (const simple of [1, 'a', null, undefined, map]) t.equal(deepFreeze(simple), simple)
})

t.test('of any depth, and in circles', async (t) => {
  let deep: { inner?: object } = {}
  for (let i = 0; i < 100_000; i++) deep = { inner: deep }
  t.ok(Object.isFrozen(deepFreeze(deep).inner))
  const circle: { self?: object } = {}
  circle.self = circle
  t.ok(Object.isFrozen(deepFreeze(circle)))
})
