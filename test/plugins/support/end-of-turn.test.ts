import { AsyncLocalStorage } from 'node:async_hooks'
import t from 'tap'
import { atEndOfTurn } from '../../../plugins/support/end-of-turn.ts'

t.test('what is asked in one turn is answered in one, in the order in which it was asked', async (t) => {
  const told: string[] = []
  const tell = (word: string) => () => told.push(word)
  const asked = Promise.all(['a', 'b', 'c'].map((word) => atEndOfTurn(tell(word))))
  setImmediate(tell('the next immediate'))
  await null
  t.same(told, [], 'not before the end of the turn')
  await asked
  t.same(told, ['a', 'b', 'c'])
  t.same(await Promise.all([atEndOfTurn(tell('d')), atEndOfTurn(() => atEndOfTurn(tell('e')))]), [5, 6])
})

t.test('one that fails is a rejection of its own', async (t) => {
  const [failed, answered] = await Promise.allSettled([
    atEndOfTurn(() => {
      throw new Error('broken')
    }),
    atEndOfTurn(() => 1),
  ])
  t.match(failed, { status: 'rejected', reason: { message: 'broken' } })
  t.match(answered, { value: 1 })
})

t.test('each goes on in the context of its own request', async (t) => {
  const context = new AsyncLocalStorage<number>()
  const seen = await Promise.all(
    [1, 2, 3].map((request) => context.run(request, () => atEndOfTurn(() => {}).then(() => context.getStore()))),
  )
  t.same(seen, [1, 2, 3])
})
