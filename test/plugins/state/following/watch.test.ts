import t from 'tap'
import type { Commit, Json } from '../../../../openapi/schemas/state.ts'
import { watchCommits } from '../../../../plugins/state/following/watch.ts'
import { ManualClock } from '../../../../plugins/support/manual-clock.ts'
import { onEveryState, testState } from '../../../fixtures/state.ts'

t.test('history continues a position or says that it does not', (t) =>
  onEveryState(
    t,
    async (t, state) => {
      const { epoch } = state
      const commits = []
      for (let n = 1; n <= 4; n++) commits.push(await state.set('k', n))
      t.same(await state.history({ epoch, revision: 1 }), commits.slice(1))
      t.same(await state.history({ epoch, revision: 4 }), [])
      t.equal(await state.history({ epoch, revision: 5 }), undefined)
      t.equal(await state.history({ epoch: '1:other', revision: 1 }), undefined)
      for (let n = 5; n <= 12; n++) await state.set('k', n)
      t.equal(await state.history({ epoch, revision: 1 }), undefined, 'trimmed')
    },
    { history: { commits: 4 } },
  ),
)

t.test('watch continues from a position without gap or repetition', (t) =>
  onEveryState(t, async (t, state) => {
    await state.set('a:1', 1)
    const since = { epoch: state.epoch, revision: state.revision }
    await state.set('a:1', 2)
    await state.set('b:1', 3)
    const stop = new AbortController()
    const seen: Json[] = []
    const watching = (async () => {
      for await (const event of state.watch('a:', { since, signal: stop.signal })) {
        if (event.type === 'commit') seen.push(event.ops[0]?.value as Json)
        if (seen.length === 3) stop.abort()
      }
    })()
    await state.set('a:1', 4)
    await state.set('a:2', 5)
    await watching
    t.same(seen, [2, 4, 5])
  }),
)

t.test('watch begins at its call, not when its first event is asked for', (t) =>
  onEveryState(t, async (t, state) => {
    await state.set('k', 1)
    const events = state.watch('k')
    await state.set('k', 2)
    t.match((await events.next()).value, { type: 'commit', prev: 1, ops: [{ op: 'set', key: 'k', value: 2 }] })
    await events.return?.()
    t.equal(state.observed, false, 'nothing is left behind')
  }),
)

t.test('watch says clearly when it cannot continue: history gone, another history, content replaced', (t) =>
  onEveryState(
    t,
    async (t, state) => {
      const { epoch } = state
      for (let n = 1; n <= 12; n++) await state.set('k', n)
      const trimmed = state.watch('k', { since: { epoch, revision: 2 } })
      const reset = { type: 'reset', reason: 'resync', position: { epoch, revision: 12 } }
      t.same((await trimmed.next()).value, reset)
      await state.set('k', 13)
      t.match((await trimmed.next()).value, { type: 'commit', position: { revision: 13 } }, 'and goes on from there')
      const next = trimmed.next()
      await state.restore({ state: { r: 1 } })
      t.match((await next).value, { type: 'reset', reason: 'restore', position: { epoch: state.epoch, revision: 14 } })
      await trimmed.return?.()
      const other = state.watch('k', { since: { epoch: '7:elsewhere', revision: 1 } })
      t.match((await other.next()).value, { type: 'reset', reason: 'resync' })
      await other.return?.()
    },
    { history: { commits: 4 } },
  ),
)

t.test('a watch that nothing concerns tells how far it is, and only when that is news', async (t) => {
  const clock = new ManualClock()
  const { state } = await testState(t, { clock, history: { commits: 4 } })
  const { epoch } = state
  const events = state.watch('mine', { progress: 1_000 })
  const first = events.next()
  await new Promise(setImmediate)
  clock.advance(1_000)
  for (let n = 1; n <= 10; n++) await state.set('other', n)
  clock.advance(1_000)
  t.same((await first).value, { type: 'progress', position: { epoch, revision: 10 } })
  await state.set('mine', 11)
  await state.set('other', 12)
  clock.advance(1_000)
  clock.advance(1_000)
  t.match((await events.next()).value, { type: 'commit', position: { revision: 11 } }, 'never before what it covers')
  const last = events.next()
  await new Promise(setImmediate)
  clock.advance(1_000)
  t.same((await last).value, { type: 'progress', position: { epoch, revision: 12 } })
  await events.return?.()
  clock.advance(10_000)
  t.equal(clock.timers, 0, 'its timer ends with it')
  const resumed = state.watch('mine', { since: { epoch, revision: 12 } })
  const next = resumed.next()
  await state.set('mine', 13)
  t.match((await next).value, { type: 'commit', prev: 12 }, 'where its reader can come back to')
  await resumed.return?.()
})

t.test('a reader that is too slow gets an error instead of a gap', async (t) => {
  const { state } = await testState(t)
  const events = state.watch('k', { buffer: 2 })
  const first = events.next()
  await state.set('k', 1)
  await first
  for (let n = 2; n <= 4; n++) await state.set('k', n)
  t.match((await events.next()).value, { position: { revision: 2 } })
  t.match((await events.next()).value, { position: { revision: 3 } })
  await t.rejects(events.next(), { code: 'STATEFUL_STATE_OVERLOADED' })
  t.equal(state.observed, false)
})

t.test('what is committed while history is read is told once, and in its place', async (t) => {
  const commit = (revision: number): Commit => ({
    space: 's',
    epoch: '1:e',
    prev: revision - 1,
    revision,
    ops: [{ op: 'set', key: 'k', value: revision }],
    at: 0,
  })
  let tell: (commit: Commit) => void = () => {}
  const space = {
    name: 's',
    ready: Promise.resolve(),
    epoch: '1:e',
    revision: 3,
    onCommit(listener: (commit: Commit) => void) {
      tell = listener
      return () => {}
    },
    onReset: () => () => {},
    async history() {
      // The second is made before history was read, the third after it.
      tell(commit(2))
      queueMicrotask(() => tell(commit(3)))
      return [commit(1), commit(2)]
    },
  }
  const told: number[] = []
  for await (const { position } of watchCommits(space, 'k', new ManualClock(), {
    since: { epoch: '1:e', revision: 0 },
  })) {
    told.push(position.revision)
    if (position.revision === 3) break
  }
  t.same(told, [1, 2, 3])
})
