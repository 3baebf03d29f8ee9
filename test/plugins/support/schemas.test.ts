import { type Static, Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { reference } from '../../../openapi/schemas/responses.ts'
import { strictAjv, useSchemas, useStrictValidation } from '../../../plugins/support/schemas.ts'

const Item = Type.Object(
  {
    name: Type.String(),
    count: Type.Optional(Type.Integer({ default: 1 })),
    email: Type.Optional(Type.String({ format: 'email' })),
  },
  { $id: 'Item', additionalProperties: false, examples: [{ name: 'nail' }] },
)
type Item = Static<typeof Item>
const Query = Type.Object({
  limit: Type.Optional(Type.Integer({ minimum: 1, default: 10 })),
  all: Type.Optional(Type.Boolean()),
})

async function start(t: Test) {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(async (scope) => {
    useSchemas(scope, Item, Item)
    useStrictValidation(scope)
    scope.post<{ Body: Item }>('/items', { schema: { body: reference(Item) } }, async ({ body }) => body)
    scope.get('/items', { schema: { querystring: Query } }, async ({ query }) => query)
    scope.get('/items/:id', { schema: { params: Type.Object({ id: Type.Integer() }) } }, async ({ params }) => params)
  })
  app.post(
    '/host',
    { schema: { body: { type: 'object', properties: { a: { type: 'integer' } } } } },
    async ({ body }) => body,
  )
  return app
}

t.test('a body is taken as it is or refused: nothing converted, nothing dropped', async (t) => {
  const app = await start(t)
  const post = (payload: object) => app.inject({ method: 'POST', url: '/items', payload })
  t.same((await post({ name: 'nail', count: 2 })).json(), { name: 'nail', count: 2 })
  t.same((await post({ name: 'nail' })).json(), { name: 'nail', count: 1 }, 'defaults are filled in')
  for (const payload of [
    { name: 1 },
    { name: null },
    { name: 'nail', count: '2' },
    { name: 'nail', count: 1.5 },
    { name: 'nail', unknown: 1 },
    { name: 'nail', email: 'nobody' },
    [{ name: 'nail' }],
    {},
  ]) {
    t.equal((await post(payload)).statusCode, 400, JSON.stringify(payload))
  }
})

t.test('a number is one that JSON can say, wherever it stands', async (t) => {
  t.equal(strictAjv().compile(Type.Number())(Number.POSITIVE_INFINITY), false)
  t.equal(strictAjv().compile(Type.Integer())(Number.NaN), false)
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(async (scope) => {
    useStrictValidation(scope)
    const schema = {
      body: Type.Object({ any: Type.Unknown() }),
      querystring: Type.Object({ n: Type.Optional(Type.Integer()) }),
      headers: Type.Object({ 'x-n': Type.Optional(Type.Number()) }),
    }
    scope.post('/any/:n', { schema: { ...schema, params: Type.Object({ n: Type.Number() }) } }, async () => 'taken')
  })
  const post = (url: string, payload: string, headers = {}) =>
    app.inject({ method: 'POST', url, payload, headers: { 'content-type': 'application/json', ...headers } })
  t.equal((await post('/any/1?n=1', '{"any":[1e308]}', { 'x-n': '1' })).statusCode, 200)
  t.equal((await post('/any/1', '{"any":[1e309]}')).statusCode, 400)
  t.equal((await post(`/any/1`, `{"any":${'['.repeat(50_000)}1e999${']'.repeat(50_000)}}`)).statusCode, 400)
  t.equal((await post('/any/1e999', '{"any":1}')).statusCode, 400)
  t.equal((await post('/any/1?n=1e999', '{"any":1}')).statusCode, 400)
  t.equal((await post('/any/1', '{"any":1}', { 'x-n': 'Infinity' })).statusCode, 400)
})

t.test('query strings and parameters are text and are converted', async (t) => {
  const app = await start(t)
  t.same((await app.inject('/items?limit=3&all=true')).json(), { limit: 3, all: true })
  t.same((await app.inject('/items')).json(), { limit: 10 })
  t.same((await app.inject('/items/7')).json(), { id: 7 })
  for (const url of ['/items?limit=0', '/items?limit=x', '/items?limit=1&limit=2', '/items/seven']) {
    t.equal((await app.inject(url)).statusCode, 400, url)
  }
})

t.test('the host application keeps its own validation', async (t) => {
  const app = await start(t)
  t.same((await app.inject({ method: 'POST', url: '/host', payload: { a: '1' } })).json(), { a: 1 })
})

t.test('only a schema with a name can be referred to', async (t) => {
  t.throws(() => reference(Type.String()), TypeError)
})
