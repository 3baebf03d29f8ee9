import { AsyncLocalStorage } from 'node:async_hooks'
import t from 'tap'
import { endOfTurn } from '../../../plugins/support/end-of-turn.ts'

t.test('what waits in one turn goes on in one, in the order in which it came', async (t) => {
  const told: string[] = []
  const waits = ['a', 'b', 'c'].map((word) => endOfTurn().then(() => told.push(word)))
  setImmediate(() => told.push('the next immediate'))
  await null
  t.same(told, [], 'not before the end of the turn')
  await Promise.all(waits)
  t.same(told, ['a', 'b', 'c'])
  await endOfTurn()
  t.same(told.at(-1), 'the next immediate')
})

t.test('each goes on in its own context', async (t) => {
  const context = new AsyncLocalStorage<number>()
  const seen = await Promise.all(
    [1, 2, 3].map((request) => context.run(request, () => endOfTurn().then(() => context.getStore()))),
  )
  t.same(seen, [1, 2, 3])
})
