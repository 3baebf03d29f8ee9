import t from 'tap'
import { isTooDeep, MAX_JSON_DEPTH } from '../../../plugins/support/json-depth.ts'

const nested = (levels: number, [open, close] = ['[', ']']) => JSON.parse(open.repeat(levels) + close.repeat(levels))

t.test('levels are counted, whatever they are made of', async (t) => {
  for (const value of [null, 1, 'text', true, undefined, [], {}, { a: [{ b: 1 }] }]) t.notOk(isTooDeep(value))
  t.notOk(isTooDeep(nested(MAX_JSON_DEPTH)))
  t.ok(isTooDeep(nested(MAX_JSON_DEPTH + 1)))
  t.notOk(isTooDeep([nested(3), 1, nested(2)], 4))
  t.ok(isTooDeep([1, nested(4), 1], 4))
  t.ok(isTooDeep(JSON.parse(`${'{"a":'.repeat(101)}1${'}'.repeat(101)}`)))
})

t.test('a hundred thousand levels are told without an overflow', async (t) => {
  t.ok(isTooDeep(nested(100_000)))
})

t.test('a wide value is no deep one', async (t) => {
  t.notOk(isTooDeep(Array.from({ length: 100_000 }, () => [1])))
})
