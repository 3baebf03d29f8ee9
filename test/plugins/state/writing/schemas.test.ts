import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import t from 'tap'
import * as TypeBox from 'typebox'
import * as v from 'valibot'
import { z } from 'zod'
import { state as statePlugin } from '../../../../plugins/state/index.ts'
import { storage } from '../../../../plugins/storage/index.ts'
import { onEveryState } from '../../../fixtures/state.ts'

t.test('a schema is checked on the result, by key and by prefix', (t) =>
  onEveryState(t, async (t, state) => {
    state.define('user:*', Type.Object({ name: Type.String(), age: Type.Optional(Type.Number()) }))
    state.define('n', Type.Integer({ maximum: 2 }))
    await state.set('user:1', { name: 'a' })
    await state.merge('user:1', { age: 1 })
    const misfit = { errors: [{ path: '/value/age', message: 'must be number' }] }
    await t.rejects(state.merge('user:1', { age: 'x' }), {
      ...{ code: 'STATEFUL_STATE_SCHEMA', message: /user:1.*age/ },
      ...misfit,
    })
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

const kinds = {
  'TypeBox 0.34': Type.Object({ at: Type.String({ format: 'date-time' }), n: Type.Integer({ minimum: 1 }) }),
  'TypeBox 1': TypeBox.Object({ at: TypeBox.String({ format: 'date-time' }), n: TypeBox.Integer({ minimum: 1 }) }),
  'JSON Schema': {
    $schema: 'http://json-schema.org/draft-07/schema#',
    type: 'object',
    required: ['at', 'n'],
    properties: { at: { type: 'string', format: 'date-time' }, n: { $ref: '#/definitions/count' } },
    definitions: { count: { type: 'integer', minimum: 1 } },
  },
  zod: z.object({ at: z.iso.datetime(), n: z.int().min(1) }),
  valibot: v.object({ at: v.pipe(v.string(), v.isoTimestamp()), n: v.pipe(v.number(), v.integer(), v.minValue(1)) }),
}

for (const [kind, schema] of Object.entries(kinds)) {
  t.test(`a schema of ${kind}, with the place of a misfit`, (t) =>
    onEveryState(t, async (t, state) => {
      state.define('visit:*', schema)
      await state.set('visit:1', { at: '2026-01-01T00:00:00Z', n: 1 })
      for (const [place, value] of Object.entries({
        at: { at: 'soon', n: 1 },
        n: { at: '2026-01-01T00:00:00Z', n: 0 },
      })) {
        const error = { code: 'STATEFUL_STATE_SCHEMA', statusCode: 422, message: new RegExp(`visit:1.*/${place}: `) }
        await t.rejects(state.set('visit:1', value), error, place)
      }
      t.equal((state.get('visit:1') as { n: number }).n, 1)
    }),
  )
}

t.test('a schema that transforms judges, and changes nothing', (t) =>
  onEveryState(t, async (t, state) => {
    state.define('n', z.coerce.number())
    await state.set('n', '7')
    t.equal(state.get('n'), '7')
  }),
)

t.test('a $ref names what was added to the application', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.addSchema({ $id: 'Name', type: 'string', maxLength: 3 })
  await app.register(storage, { storage: 'memory:' })
  await app.register(statePlugin)
  app.state.define('user', Type.Object({ name: Type.Ref('Name') }))
  await app.state.set('user', { name: 'ada' })
  await t.rejects(app.state.set('user', { name: 'grace' }), { message: /user.*\/name/ })
})

t.test('what cannot be used is refused where it is defined, with the key and the reason', (t) =>
  onEveryState(t, async (t, state) => {
    const bad: [unknown, RegExp][] = [
      [undefined, /no schema/],
      [{ type: 'strin' }, /define\('k'\)/],
      [{ $ref: 'Nobody' }, /Nobody/],
      [{ type: 'string', format: 'nonsense' }, /nonsense/],
      [{ type: 'array', prefixItems: [{ type: 'string' }] }, /prefixItems.*draft 7/],
    ]
    for (const [schema, message] of bad) {
      t.throws(() => state.define('k', schema as object), { code: 'STATEFUL_INVALID_OPTION', message }, `${message}`)
    }
    t.throws(() => state.define('', Type.Any()), { code: 'STATEFUL_STATE_INVALID_KEY' })
    state.define(
      'slow',
      z.string().refine(async () => true),
    )
    await t.rejects(state.set('slow', 'x'), { code: 'STATEFUL_INVALID_OPTION', message: /asynchronously/ })
    state.define('tuple', {
      type: 'object',
      properties: { prefixItems: { type: 'string' }, format: { type: 'string' } },
    })
  }),
)
