import fc from 'fast-check'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { Replica } from '../../../../client/replica.ts'
import type { Json } from '../../../../openapi/schemas/state.ts'
import { type StateManager, state as statePlugin } from '../../../../plugins/state/index.ts'
import { sameJson } from '../../../../plugins/state/values/reducer.ts'
import { storage } from '../../../../plugins/storage/index.ts'
import { ByteBudget } from '../../../../plugins/support/client-limits.ts'
import { ManualClock } from '../../../../plugins/support/manual-clock.ts'
import { FullSyncs } from '../../../../plugins/sync/channel/full-sync.ts'
import { stateRoutes } from '../../../../routes/state/index.ts'
import { onEveryState, testState, until } from '../../../fixtures/state.ts'

// biome-ignore-start lint/suspicious/noControlCharactersInRegex: keys may hold none
const CONTROL = /[\u0000-\u001f\u007f]/
// biome-ignore-end lint/suspicious/noControlCharactersInRegex: as above
const special = fc.constantFrom(
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  'hasOwnProperty',
  '0',
  '-1',
  '.',
  '*',
)
const key = fc.oneof(
  special,
  fc
    .string({ unit: 'grapheme', minLength: 1, maxLength: 20 })
    .filter((text) => text.isWellFormed() && !CONTROL.test(text)),
)
const field = fc.oneof(
  special,
  fc.string({ unit: 'grapheme', maxLength: 8 }).filter((text) => text.isWellFormed()),
)
const value = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    fc.constant(null),
    fc.boolean(),
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => n || 0),
    field,
    fc.array(tie('value'), { maxLength: 3 }),
    // JSON.parse makes own fields of every name.
    fc
      .array(fc.tuple(field, tie('value')), { maxLength: 3 })
      .map((fields) =>
        JSON.parse(`{${fields.map(([name, part]) => `${JSON.stringify(name)}:${JSON.stringify(part)}`)}}`),
      ),
  ),
})).value

const AS_JSON = { 'content-type': 'application/json' }

/** The routes of state over a memory of their own. */
async function restoreRoutes(t: Test) {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(storage, { storage: 'memory:' })
  await app.register(statePlugin)
  await app.register(stateRoutes, { authorize: () => true })
  await app.ready()
  return app
}

/** What a client holds after a full sync of as many parts as there are keys. */
function followed(state: StateManager): Replica {
  const link = { initial: () => undefined, publicId: 'me', clientId: 'me', wanted() {}, send() {}, write() {} }
  const replica = new Replica({ ...link, release: () => true, changed() {} }, 'app', {}, [])
  const { epoch, revision } = state
  const part = { head: '"space":"app"', whole: true, matches: () => true }
  const { frames } = new FullSyncs(state, 1, new ByteBudget(1e9)).of(part, { epoch, revision }, { address: 'here' })
  for (let index = 0; ; index++) {
    const frame = frames.at(index)
    if (!frame) return replica
    replica.receive(JSON.parse(frame.text))
  }
}

t.test('every legal key and field makes the round trip: written, followed, read again, in a snapshot and back', (t) =>
  onEveryState(t, async (t, state, { url, kind, close }) => {
    const { state: copy } = await testState(t)
    const routes = await restoreRoutes(t)
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(key, value), { minLength: 1, maxLength: 5 }), async (pairs) => {
        await state.clear()
        const from = state.revision
        const { epoch } = state
        for (const [name, content] of pairs) await state.set(name, content)
        const expected = new Map(pairs)
        const check = (found: Map<string, Json | undefined>, where: string) => {
          const same = [...expected].every(([name, content]) => sameJson(found.get(name), content))
          if (!same || found.size !== expected.size) throw new Error(`${where}: ${JSON.stringify([...found])}`)
        }
        check(new Map(state.entries()), 'read')
        const text = JSON.stringify(state.snapshot())
        check(new Map(Object.entries(JSON.parse(text).state)), 'as a snapshot')
        await copy.restore(JSON.parse(text))
        check(new Map(copy.entries()), 'restored')
        const posted = await routes.inject({ method: 'POST', url: '/state/restore', headers: AS_JSON, payload: text })
        if (posted.statusCode !== 200) throw new Error(`POST: ${posted.body}`)
        check(new Map(routes.state.entries()), 'by POST')
        const answer = await routes.inject('/state/snapshot')
        check(new Map(Object.entries(JSON.parse(answer.body).state)), 'by GET')
        check(new Map(Object.entries(followed(state).snapshot())), 'in parts of a full sync')
        const commits = JSON.parse(JSON.stringify(await state.history({ epoch, revision: from })))
        const follower = new Map<string, Json | undefined>()
        for (const { ops } of commits) for (const op of ops) follower.set(op.key, op.value)
        check(follower, 'from the history')
      }),
      { numRuns: 30, seed: 13 },
    )
    if (kind === 'memory') return
    const before = new Map(state.entries())
    await close()
    const again = new Map((await testState(t, { url })).state.entries())
    t.ok([...before].every(([name, content]) => sameJson(again.get(name), content)) && again.size === before.size)
  }),
)

t.test('whoever listens hears of a deletion, an end of time and a restore alike', (t) => {
  const clock = new ManualClock()
  const run = async (t: Test, state: StateManager) => {
    const heard: [string, unknown, unknown][] = []
    state.subscribe('k', ({ key, value, previous }) => heard.push([key, value, previous]))
    await state.set('k', 1)
    await state.delete('k')
    await state.set('k', 2, { ttl: 1 })
    clock.advance(2_000)
    await until(state, () => !state.has('k'))
    await state.set('k', 3)
    await state.restore({ state: { k: 4 } })
    await state.restore({ state: {} })
    t.same(heard, [
      ['k', 1, undefined],
      ['k', undefined, 1],
      ['k', 2, undefined],
      ['k', undefined, 2],
      ['k', 3, undefined],
      ['k', 4, 3],
      ['k', undefined, 4],
    ])
  }
  return onEveryState(t, run, { clock })
})
