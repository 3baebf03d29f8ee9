import { runInNewContext } from 'node:vm'
import t from 'tap'
import { CallbackSessionStore } from '../../../plugins/session/stores/callback.ts'
import { Listeners } from '../../../plugins/support/listeners.ts'
import { isPromiseLike } from '../../../plugins/support/promise-like.ts'
import { onEveryState } from '../../fixtures/state.ts'

/** Promises that are none of this realm's: of a test runner's context, and of a library of its own. */
const foreign: Record<string, (value: unknown) => PromiseLike<never>> = {
  'of another realm': runInNewContext('(value) => Promise.resolve(value)'),
  // biome-ignore lint/suspicious/noThenProperty: what a query builder is
  'of a library': (value) => ({ then: (resolve, reject) => Promise.resolve(value as never).then(resolve, reject) }),
}
const rejecting = (make: (value: unknown) => PromiseLike<never>) =>
  make(undefined).then(() => {
    throw new Error('rejected')
  })

t.test('what is a promise, and what is a value', async (t) => {
  for (const [which, make] of Object.entries(foreign)) t.ok(isPromiseLike(make(1)), which)
  for (const value of [undefined, null, 0, '', {}, [], () => {}, JSON.parse('{"then":1}')])
    t.notOk(isPromiseLike(value))
})

for (const [which, make] of Object.entries(foreign)) {
  t.test(`${which}: a listener that rejects is reported`, async (t) => {
    const reported: unknown[] = []
    const listeners = new Listeners<void>((error) => reported.push(error))
    listeners.add(() => rejecting(make))
    listeners.tell()
    await new Promise(setImmediate)
    t.match(reported, [{ message: 'rejected' }])
  })

  t.test(`${which}: a session store that rejects has answered`, async (t) => {
    const fail = () => rejecting(make) as never
    const store = new CallbackSessionStore({ get: fail, set: fail, destroy: fail })
    await t.rejects(store.load('id', 0), { message: 'rejected' })
  })

  t.test(`${which}: an update and a transaction wait for it`, (t) =>
    onEveryState(t, async (t, state) => {
      t.equal(await state.update('key', () => make(1)), 1)
      t.equal(
        await state.transaction((tx) =>
          make(2).then((two) => {
            tx.set('other', two)
            return two
          }),
        ),
        2,
      )
      t.same([state.get('key'), state.get('other')], [1, 2])
      await t.rejects(
        state.update('key', () => rejecting(make)),
        { message: 'rejected' },
      )
    }),
  )
}
