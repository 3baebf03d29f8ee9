import t, { type Test } from 'tap'
import { deferred } from '../fixture.ts'
import { Stage, turn } from '../staged-store.ts'

/** One instance loads and the other waits for it. */
async function waiting(t: Test, outcome: Promise<unknown>, timeout = '30s') {
  const stage = new Stage()
  const [a, b] = [await stage.instance(t), await stage.instance(t)]
  const started = deferred()
  const load = () => {
    started.resolve()
    return outcome
  }
  const first = a.cache.getOrSet('k', load, { timeout })
  first.catch(() => {})
  await started.promise
  let own = 0
  const second = b.cache.getOrSet('k', () => `own ${++own}`)
  await turn()
  t.equal(own, 0, 'it waits')
  return { stage, lineA: a.line, first, second }
}

t.test('a loader that throws gives its lease back: another instance loads at once', async (t) => {
  const gate = deferred<never>()
  const { stage, first, second } = await waiting(t, gate.promise)
  gate.reject(new Error('source down'))
  await t.rejects(first, { message: 'source down' })
  await stage.pass(100)
  t.equal(await second, 'own 1')
})

t.test('a loader that hangs gives its lease back when its time is over', async (t) => {
  const { stage, first, second } = await waiting(t, new Promise(() => {}), '5s')
  await stage.pass(4_900)
  await stage.pass(300)
  await t.rejects(first, { code: 'STATEFUL_CACHE_LOAD_TIMEOUT' })
  t.equal(await second, 'own 1')
})

t.test('the lease of an instance that is gone ends by itself, that of a long load does not', async (t) => {
  const gate = deferred<string>()
  const { stage, lineA, second } = await waiting(t, gate.promise)
  let ended = false
  void second.then(() => {
    ended = true
  })
  await stage.pass(10_000)
  t.notOk(ended, 'renewed for as long as the loader runs')
  lineA.cut = true
  await stage.pass(3_200)
  t.equal(await second, 'own 1')
  gate.resolve('too late')
})
