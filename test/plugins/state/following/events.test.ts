import { Type } from '@sinclair/typebox'
import t from 'tap'
import { onEveryState, testState } from '../../../fixtures/state.ts'
import { onEveryStorage, storageUrl } from '../../../fixtures/storages.ts'

t.test('events and subscriptions', (t) =>
  onEveryState(t, async (t, state) => {
    const heard: unknown[] = []
    for (const name of ['change', 'delete', 'clear', 'restore'] as const)
      state.on(name, (event) => heard.push([name, event]))
    state.on('change:a', ({ value }) => heard.push(['change:a', value]))
    state.on('delete:a', ({ previous }) => heard.push(['delete:a', previous]))
    const stop = state.subscribe('a', ({ value, previous }) => heard.push(['a', value, previous]))
    state.subscribe('user:*', ({ key }) => heard.push(['user:*', key]))
    const { epoch } = state
    await state.set('a', 1, 'why')
    t.same(heard.splice(0), [
      ['change', { key: 'a', value: 1, previous: undefined, epoch, revision: 1, context: 'why' }],
      ['change:a', 1],
      ['a', 1, undefined],
    ])
    await state.set('user:1', 1)
    t.same(heard.splice(0).at(-1), ['user:*', 'user:1'])
    await state.delete('a')
    t.same(heard.splice(0).slice(1), [
      ['delete:a', 1],
      ['a', undefined, 1],
    ])
    stop()
    await state.set('a', 2)
    t.notOk(heard.splice(0).some((event) => (event as unknown[])[0] === 'a'))
    await state.clear('away')
    t.same(
      heard.splice(0).map((event) => (event as unknown[])[0]),
      ['delete', 'user:*', 'delete', 'delete:a', 'clear'],
    )
  }),
)

t.test('a listener that throws or rejects is reported and disturbs nobody', (t) =>
  onEveryState(t, async (t, state, { errors }) => {
    const heard: unknown[] = []
    state.on('change', () => {
      throw new Error('sync')
    })
    state.subscribe('k', async () => {
      throw new Error('async')
    })
    state.onCommit(() => {
      throw new Error('commit')
    })
    state.subscribe('*', ({ value }) => heard.push(value))
    await state.set('k', 1)
    t.same(heard, [1])
    t.same(errors.map((error) => (error as Error).message).sort(), ['async', 'commit', 'sync'])
  }),
)

t.test('snapshot and restore: a new epoch, and each key that differs is told', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const { state } = await testState(t, { url: await storageUrl(t, kind) })
    await state.set('same', { a: 1 })
    await state.set('other', 1)
    const saved = state.snapshot()
    t.same(saved.state, { same: { a: 1 }, other: 1 })
    await state.set('other', 2)
    await state.set('new', 3)
    const heard: unknown[] = []
    const resets: string[] = []
    state.on('change', ({ key, value, previous }) => heard.push(['change', key, value, previous]))
    state.on('delete', ({ key, previous }) => heard.push(['delete', key, previous]))
    state.on('restore', ({ state, context }) => heard.push(['restore', state, context]))
    state.onReset((reason) => resets.push(reason))
    const { epoch, revision } = state
    await state.restore(saved, 'undo')
    t.same(state.snapshot().state, saved.state)
    t.not(state.epoch, epoch)
    t.equal(state.revision, revision + 1)
    t.same(heard, [
      ['change', 'other', 1, 2],
      ['delete', 'new', 3],
      ['restore', saved.state, 'undo'],
    ])
    t.same(resets, ['restore'])
    t.equal(await state.history({ epoch, revision }), undefined, 'the old history does not continue')
    await state.set('after', 1)
    t.equal(state.revision, revision + 2)
  }),
)

t.test('restore refuses all of what it cannot take', (t) =>
  onEveryState(
    t,
    async (t, state) => {
      await state.set('a', 1)
      state.define('n:*', Type.Number())
      await t.rejects(state.restore({ state: { '': 1 } }), { code: 'STATEFUL_STATE_INVALID_KEY' })
      await t.rejects(state.restore({ state: { a: Number.NaN } }), { code: 'STATEFUL_STATE_INVALID_VALUE' })
      await t.rejects(state.restore({ state: { 'n:1': 'x' } }), { code: 'STATEFUL_STATE_SCHEMA' })
      await t.rejects(state.restore({ state: { a: 1, b: 1, c: 1 } }), { code: 'STATEFUL_STATE_LIMIT' })
      await t.rejects(state.restore({ state: { a: 'x'.repeat(61) } }), { code: 'STATEFUL_STATE_LIMIT' })
      await t.rejects(state.restore({ state: { a: 'x'.repeat(50), b: 'x'.repeat(50) } }), {
        code: 'STATEFUL_STATE_LIMIT',
      })
      t.same(state.snapshot().state, { a: 1 })
    },
    { limits: { keys: 2, bytes: 100, valueBytes: 60 } },
  ),
)

t.test('clearing more keys than a commit holds empties all of them at once', (t) =>
  onEveryState(
    t,
    async (t, state) => {
      const heard: string[] = []
      state.on('delete', ({ key }) => heard.push(key))
      state.on('clear', () => heard.push('clear'))
      for (let n = 0; n < 5; n++) await state.set(`k${n}`, n)
      await state.clear()
      t.equal(state.size, 0)
      t.same(heard, ['k0', 'k1', 'k2', 'k3', 'k4', 'clear'])
    },
    { limits: { opsPerCommit: 4 } },
  ),
)
