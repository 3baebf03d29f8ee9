import fc from 'fast-check'
import t from 'tap'
import type { Commit, Json, Op } from '../../../../openapi/schemas/state.ts'
import type { StateManager } from '../../../../plugins/state/index.ts'
import { sameJson } from '../../../../plugins/state/values/reducer.ts'
import { onEveryState, testState } from '../../../fixtures/state.ts'

const cycle: Record<string, unknown> = {}
cycle['self'] = cycle
const deep = JSON.parse(`${'['.repeat(5_000)}${']'.repeat(5_000)}`)

/** What is no JSON, or not the same JSON afterwards. */
const strange: [string, unknown][] = [
  ['Infinity', Number.POSITIVE_INFINITY],
  ['-Infinity', Number.NEGATIVE_INFINITY],
  ['NaN', Number.NaN],
  ['a bigint', 1n],
  ['a function', () => 1],
  ['a symbol', Symbol('s')],
  ['a cycle', cycle],
  ['5,000 levels', deep],
  ['a Date', new Date(0)],
  ['a Map', new Map([['a', 1]])],
  ['a Set', new Set([1])],
  ['bytes', Buffer.from('a')],
  ['half a character', '\ud800'],
  ['a list with a hole', [1, undefined, 2]],
  ['something with toJSON', { toJSON: () => 'other' }],
]

/** Every way from a value to the log. */
const ways: Record<string, (state: StateManager, value: never) => Promise<unknown>> = {
  set: (state, value) => state.set('k', value),
  update: (state, value) => state.update('k', () => value),
  'update, later': (state, value) => state.update('k', async () => value),
  compareAndSet: (state, value) => state.compareAndSet('new', 0, value),
  merge: (state, value) => state.merge('fields', { field: value }),
  append: (state, value) => state.append('list', value),
  setAdd: (state, value) => state.commit([{ op: 'setAdd', key: 'list', value }]),
  transaction: (state, value) => state.transaction((tx) => tx.set('k', value)),
  restore: (state, value) => state.restore({ state: { k: value } }),
  'restore of a field': (state, value) => state.restore({ state: { k: { field: [value] } } }),
  middleware: (state, value) => state.set('rewrite', value),
}

t.test('what cannot be written as it is goes into no log, by whatever way', async (t) => {
  await onEveryState(t, async (t, state) => {
    await state.set('k', 'kept')
    await state.set('list', [])
    state.use((ctx, next) => {
      if (ctx.key === 'rewrite') ctx.value = [ctx.value as Json]
      return next()
    })
    const before = state.snapshot()
    for (const [what, value] of strange) {
      for (const [way, write] of Object.entries(ways)) {
        await t.rejects(write(state, value as never), { code: 'STATEFUL_STATE_INVALID_VALUE' }, `${way} of ${what}`)
      }
    }
    t.same(state.snapshot(), before)
  })
})

t.test('numbers, authors and operations are checked before the log', async (t) => {
  await onEveryState(t, async (t, state, { url, kind, close }) => {
    const refused = 'STATEFUL_STATE_INVALID_OPERATION'
    const op: Op = { op: 'set', key: 'k', value: 1 }
    const numbers = [Number.POSITIVE_INFINITY, Number.NaN, -1, 1.5, 2 ** 53, 1e300, '1', 1n, null]
    for (const number of numbers as number[]) {
      const what = `${typeof number} ${number}`
      // Text may be a duration.
      if (typeof number === 'number')
        await t.rejects(state.set('k', 1, { ttl: number }), { code: refused }, `ttl ${what}`)
      const author = { clientId: 'client', seq: number }
      await t.rejects(state.commit([op], author), { code: refused }, `seq ${what}`)
      await t.rejects(state.apply(op, author), { code: refused }, `seq of one operation ${what}`)
    }
    for (const clientId of ['', 'x'.repeat(129), '\ud800', 5, null, {}] as string[]) {
      await t.rejects(state.commit([op], { clientId, seq: 1 }), { code: refused }, `clientId ${clientId}`)
    }
    await t.rejects(state.set('k', 1, { ttl: 101 * 365 * 24 * 3_600_000 }), { code: refused })
    await t.rejects(state.commit([{ op: 'nothing' as 'set', key: 'k', value: 1 }]), { code: refused })
    await t.rejects(state.restore({ state: new Map([['k', 1]]) as never }), { code: refused })
    await t.rejects(state.restore({ state: [1] as never }), { code: refused })
    await state.set('n', Number.MAX_VALUE)
    await t.rejects(state.increment('n', Number.MAX_VALUE), { code: 'STATEFUL_STATE_TYPE_MISMATCH' })
    for (const by of [Number.POSITIVE_INFINITY, Number.NaN]) {
      await t.rejects(state.increment('n', by), { code: 'STATEFUL_STATE_INVALID_VALUE' })
    }
    if (kind === 'memory') return
    const snapshot = state.snapshot()
    await close()
    const again = await testState(t, { url })
    t.same([again.state.snapshot().state, again.errors], [snapshot.state, []], 'the next boot is an ordinary one')
  })
})

/** Fields that an operation has no use for; what they were meant to do would not happen. */
const stray = [
  { op: 'delete', key: 'n', value: 1 },
  { op: 'delete', key: 'n', ttl: 5 },
  { op: 'increment', key: 'n', by: 2 },
  { op: 'set', key: 'n', value: 2, context: 'x' },
  { op: 'append', key: 'list', value: 2, index: 0 },
  { op: 'merge', key: 'fields', value: {}, deep: true },
  { op: 'setAdd', key: 'list', value: 2, extra: 1n },
  { op: 'setRemove', key: 'list', value: 1, prev: 0 },
] as Op[]

t.test('what is given to a write that has no use for it is refused, not left out', async (t) => {
  await onEveryState(t, async (t, state) => {
    await state.restore({ state: { n: 1, list: [1], fields: {} } })
    const before = state.snapshot()
    const refused = { code: 'STATEFUL_STATE_INVALID_OPERATION' }
    for (const op of stray) {
      await t.rejects(
        state.commit([{ op: 'set', key: 'other', value: 1 }, op]),
        refused,
        JSON.stringify(Object.keys(op)),
      )
      await t.rejects(state.apply(op), refused)
    }
    const lease = { name: 'job', token: { epoch: state.epoch, revision: 1 } }
    const useless: (() => Promise<unknown>)[] = [
      () => state.delete('n', { ttl: 5 }),
      () => state.clear({ compareLease: lease }),
      () => state.restore({ state: {} }, { compareLease: lease }),
      () => state.transaction((tx) => tx.set('n', 2), { ttl: 5 }),
      () => state.transaction((tx) => tx.set('n', 2, { compareLease: lease } as object)),
      () => state.transaction((tx) => tx.set('n', 2, { by: 'ada' } as object)),
    ]
    for (const write of useless) await t.rejects(write(), refused, `${write}`)
    await t.rejects(state.apply({ op: 'increment', key: 'n', value: null }), { code: 'STATEFUL_STATE_TYPE_MISMATCH' })
    state.use((ctx, next) => {
      if (ctx.key === 'n') ctx.value = 2
      return next()
    })
    await t.rejects(state.delete('n'), refused, 'a middleware that rewrites a deletion')
    t.same(state.snapshot(), before)
    await state.commit([{ op: 'delete', key: 'list', value: undefined, ttl: undefined } as unknown as Op])
  })
})

t.test('whatever is accepted reads back as it is: from the log, after a boot, and by a restore', async (t) => {
  await onEveryState(t, async (t, state, { url, kind, close }) => {
    const commits: Commit[] = []
    state.onCommit((commit) => commits.push(commit))
    const anything = fc.anything({
      withBigInt: true,
      withDate: true,
      withMap: true,
      withNullPrototype: true,
      maxDepth: 3,
    })
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...Object.keys(ways).filter((way) => !way.startsWith('restore'))),
        anything,
        async (way, value) => {
          try {
            await (ways[way] as (state: StateManager, value: unknown) => Promise<unknown>)(state, value)
          } catch (error) {
            if (!/^STATEFUL_STATE_/.test((error as { code?: string }).code ?? '')) throw error
          }
          for (const commit of commits.splice(0)) {
            if (!sameJson(JSON.parse(JSON.stringify(commit)), commit as unknown as Json))
              throw new Error('another commit')
          }
        },
      ),
      { numRuns: 150 },
    )
    const held = state.snapshot()
    await state.restore(held)
    t.same(state.snapshot().state, held.state)
    if (kind === 'memory') return
    await close()
    const { state: again } = await testState(t, { url })
    t.same(again.snapshot().state, held.state)
  })
})

t.test('a list of values at the limit of depth can be restored', async (t) => {
  const { state } = await testState(t)
  const nested = (levels: number) => JSON.parse(`${'['.repeat(levels)}${']'.repeat(levels)}`) as Json
  await t.rejects(state.append('list', nested(64)), { code: 'STATEFUL_STATE_INVALID_VALUE' })
  await state.append('list', nested(63))
  await state.restore(state.snapshot())
})
