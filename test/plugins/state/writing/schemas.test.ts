import { Type } from '@sinclair/typebox'
import t from 'tap'
import { onEveryState } from '../../../fixtures/state.ts'

t.test('a schema is checked on the result, by key and by prefix', (t) =>
  onEveryState(t, async (t, state) => {
    state.define('user:*', Type.Object({ name: Type.String(), age: Type.Optional(Type.Number()) }))
    state.define('n', Type.Integer({ maximum: 2 }))
    await state.set('user:1', { name: 'a' })
    await state.merge('user:1', { age: 1 })
    await t.rejects(state.merge('user:1', { age: 'x' }), { code: 'STATEFUL_STATE_SCHEMA', message: /user:1.*age/ })
    await state.increment('n', 2)
    await t.rejects(state.increment('n'), { code: 'STATEFUL_STATE_SCHEMA' })
    await t.rejects(
      state.update('n', () => 'x'),
      { code: 'STATEFUL_STATE_SCHEMA' },
    )
    t.equal(state.get('n'), 2)
  }),
)

t.test('whatever the way of writing, its result is checked', (t) =>
  onEveryState(t, async (t, state) => {
    state.define('*', Type.Union([Type.Number(), Type.Array(Type.Number(), { maxItems: 2 }), Type.Object({})]))
    await state.set('list', [1, 2])
    await state.set('o', {})
    const writes: Record<string, () => Promise<unknown>> = {
      set: () => state.set('n', 'x'),
      update: () => state.update('n', () => null),
      compareAndSet: () => state.compareAndSet('n', 0, 'x'),
      append: () => state.append('list', 3),
      setAdd: () => state.commit([{ op: 'setAdd', key: 'list', value: 3 }]),
      transaction: () => state.transaction((tx) => tx.set('n', true)),
      restore: () => state.restore({ state: { n: 'x' } }),
    }
    const { revision } = state
    for (const [name, write] of Object.entries(writes)) {
      await t.rejects(write(), { code: 'STATEFUL_STATE_SCHEMA', statusCode: 422 }, name)
    }
    t.same(state.snapshot(), { epoch: state.epoch, revision, state: { list: [1, 2], o: {} } })
  }),
)

t.test('a schema means what it means in a route: formats hold, and two of one $id do not meet', (t) =>
  onEveryState(t, async (t, state) => {
    state.define('at', Type.String({ format: 'date-time', $id: 'Value' }))
    state.define('to', Type.String({ format: 'email', $id: 'Value' }))
    await state.set('at', '2026-01-01T00:00:00Z')
    await state.set('to', 'ada@example.com')
    await t.rejects(state.set('at', 'yesterday'), { code: 'STATEFUL_STATE_SCHEMA' })
    await t.rejects(state.set('to', '2026-01-01T00:00:00Z'), { code: 'STATEFUL_STATE_SCHEMA' })
  }),
)
