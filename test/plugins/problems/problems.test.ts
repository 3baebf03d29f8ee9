import { type Static, Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { Problem } from '../../../openapi/schemas/problem.ts'
import { problems as problemResponses } from '../../../openapi/schemas/responses.ts'
import { problems, useProblems } from '../../../plugins/problems/index.ts'
import { StorageOwnedError, StorageUnavailableError } from '../../../plugins/support/errors.ts'
import { useSchemas, useStrictValidation } from '../../../plugins/support/schemas.ts'

const Body = Type.Object(
  { name: Type.String({ minLength: 1 }), age: Type.Optional(Type.Integer()) },
  { additionalProperties: false },
)

async function start(t: Test, throws?: unknown): Promise<FastifyInstance> {
  const app = Fastify({ bodyLimit: 100, genReqId: () => 'request-7' })
  t.teardown(() => app.close())
  await app.register(problems)
  await app.register(async (scope) => {
    useSchemas(scope, Problem)
    useStrictValidation(scope)
    scope.post<{ Body: Static<typeof Body> }>(
      '/things',
      { schema: { body: Body, response: { 200: Body, ...problemResponses(400, 413, 415) } } },
      async ({ body }) => body,
    )
    scope.get('/things/:id', { schema: { params: Type.Object({ id: Type.Integer() }) } }, async () => ({}))
    scope.get('/fails', { schema: { response: problemResponses() } }, async () => {
      throw throws
    })
  })
  return app
}

const json = { 'content-type': 'application/json' }

async function refused(t: Test, app: FastifyInstance, payload: string, headers: Record<string, string> = json) {
  const response = await app.inject({ method: 'POST', url: '/things', payload, headers })
  t.match(response.headers['content-type'], /^application\/problem\+json/)
  const problem = response.json<Problem>()
  t.equal(problem.status, response.statusCode)
  t.equal(problem.requestId, 'request-7')
  t.match(problem.type, /^urn:fastify-stateful:problem:[a-z-]+$/)
  return problem
}

t.test('input that does not fit names each place, and the unknown field', async (t) => {
  const app = await start(t)
  t.match(await refused(t, app, '{"name":""}'), {
    status: 400,
    code: 'STATEFUL_INVALID_INPUT',
    type: 'urn:fastify-stateful:problem:invalid-input',
    title: 'Bad Request',
    errors: [{ path: '/body/name', message: /fewer than 1/ }],
  })
  t.match(await refused(t, app, '{"name":"a","role":"administrator"}'), {
    status: 400,
    errors: [{ path: '/body', message: "must NOT have additional properties: 'role'" }],
  })
  t.match(await refused(t, app, '{"age":1}'), { errors: [{ path: '/body', message: /name/ }] })
  t.match(await refused(t, app, '{"name":1}'), { errors: [{ path: '/body/name', message: 'must be string' }] })
  const params = await app.inject('/things/abc')
  t.match(params.json(), { status: 400, errors: [{ path: '/params/id' }] })
})

t.test('a long unknown field name is not repeated whole', async (t) => {
  const app = await start(t)
  const problem = await refused(t, app, JSON.stringify({ name: 'a', ['x'.repeat(75)]: 1 }))
  t.ok((problem.errors?.[0]?.message.length ?? 0) < 120)
})

t.test('prototype pollution is refused as input', async (t) => {
  const app = await start(t)
  for (const payload of [
    '{"name":"a","__proto__":{"role":"administrator"}}',
    '{"name":"a","constructor":{"prototype":{"role":"administrator"}}}',
    '{"name":"a","\\u005f_proto__":{}}',
  ]) {
    t.match(await refused(t, app, payload), { status: 400, code: 'STATEFUL_INVALID_INPUT' }, payload)
  }
})

t.test('bodies that cannot be read', async (t) => {
  const app = await start(t)
  t.match(await refused(t, app, '{"name":'), { status: 400, code: 'STATEFUL_INVALID_INPUT' })
  t.match(await refused(t, app, ''), { status: 400, code: 'STATEFUL_INVALID_INPUT' })
  t.match(await refused(t, app, JSON.stringify({ name: 'x'.repeat(200) })), {
    status: 413,
    code: 'STATEFUL_BODY_TOO_LARGE',
  })
})

t.test('no way of writing the content type gets past the validation', async (t) => {
  const app = await start(t)
  const invalid = '{"name":1,"role":"administrator"}'
  for (const type of [
    'text/plain',
    'application/x-www-form-urlencoded',
    'application/xml',
    'application/jsonx',
    'application/json\ta',
    'application/json a',
    ' application/json',
    'application/json;a',
    'APPLICATION/JSON',
    'application/json; charset=utf-16',
    'application/vnd.api+json',
    'text/json',
    '*/*',
    'x',
  ]) {
    const problem = await refused(t, app, invalid, { 'content-type': type })
    t.ok(problem.status === 400 || problem.status === 415, `${JSON.stringify(type)} answers ${problem.status}`)
    const code = problem.status === 400 ? 'STATEFUL_INVALID_INPUT' : 'STATEFUL_UNSUPPORTED_MEDIA_TYPE'
    t.equal(problem.code, code)
  }
})

t.test('an unknown route', async (t) => {
  const app = await start(t)
  const response = await app.inject('/nowhere?secret=1')
  t.equal(response.statusCode, 404)
  t.match(response.json(), { code: 'STATEFUL_NOT_FOUND', detail: 'There is no GET /nowhere.' })
  t.notMatch(response.body, /secret/)
})

t.test('a server error tells its code and the request id, nothing else', async (t) => {
  const secret = 'connect redis://user:password@internal:6379 failed'
  const cases: [unknown, number, string][] = [
    [new Error(secret), 500, 'STATEFUL_INTERNAL'],
    [Object.assign(new Error(secret), { statusCode: 502 }), 502, 'STATEFUL_INTERNAL'],
    [Object.assign(new Error(secret), { statusCode: 503 }), 503, 'STATEFUL_UNAVAILABLE'],
    [Object.assign(new Error(secret), { statusCode: 503, code: 'FST_UNDER_PRESSURE' }), 503, 'STATEFUL_OVERLOADED'],
    [Object.assign(new Error(secret), { statusCode: 200 }), 500, 'STATEFUL_INTERNAL'],
    [Object.assign(new Error(secret), { statusCode: 999 }), 500, 'STATEFUL_INTERNAL'],
    [Object.assign(new Error(secret), { code: 'ECONNREFUSED' }), 500, 'STATEFUL_INTERNAL'],
    [new StorageUnavailableError(secret), 503, 'STATEFUL_STORAGE_UNAVAILABLE'],
    [new StorageOwnedError('/srv/password'), 500, 'STATEFUL_STORAGE_OWNED'],
  ]
  for (const [error, status, code] of cases) {
    const response = await (await start(t, error)).inject('/fails')
    t.equal(response.statusCode, status)
    t.match(response.json(), { status, code, requestId: 'request-7' })
    t.notMatch(response.body, /password|redis:/)
    t.notOk('detail' in response.json())
    t.equal(response.headers['retry-after'], status === 503 ? '1' : undefined)
  }
})

t.test('a client error of others keeps its message under the general code', async (t) => {
  const teapot = await start(t, Object.assign(new Error('Short and stout.'), { statusCode: 418 }))
  t.match((await teapot.inject('/fails')).json(), {
    status: 418,
    code: 'STATEFUL_I_M_A_TEAPOT',
    detail: 'Short and stout.',
  })
  const nameless = await start(t, Object.assign(new Error('No.'), { statusCode: 499 }))
  t.match((await nameless.inject('/fails')).json(), { status: 499, code: 'STATEFUL_ERROR', title: 'Error' })
})

t.test('what is thrown but no error is a server error', async (t) => {
  for (const thrown of ['text', 42, null, undefined, { secret: 'password' }]) {
    const response = await (await start(t, thrown)).inject('/fails')
    t.equal(response.statusCode, 500, String(thrown))
    t.match(response.json(), { status: 500, code: 'STATEFUL_INTERNAL' })
    t.notMatch(response.body, /password/)
  }
})

t.test('in one scope only: the host keeps its own error handler', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.setErrorHandler((_error, _request, reply) => reply.code(500).send({ host: true }))
  const fail = async () => {
    throw new Error('no')
  }
  app.get('/host', fail)
  await app.register(async (scope) => {
    useProblems(scope)
    scope.get('/ours', fail)
  })
  t.same((await app.inject('/host')).json(), { host: true })
  t.match((await app.inject('/ours')).json(), { code: 'STATEFUL_INTERNAL' })
})
