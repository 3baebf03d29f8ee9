import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { cache } from '../../../plugins/cache/index.ts'
import { responseCache } from '../../../plugins/response-cache/index.ts'
import { storage } from '../../../plugins/storage/index.ts'

async function build(t: Test): Promise<{ app: FastifyInstance; calls: () => number }> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(storage, { storage: 'memory:' })
  await app.register(cache)
  await app.register(responseCache)
  let calls = 0
  app.get<{ Params: { id: string }; Querystring: { page?: string } }>(
    '/items/:id',
    {
      config: {
        cache: {
          ttl: '1m',
          query: ['page'],
          vary: ['Accept-Language'],
          tags: ({ params }) => [`item:${(params as { id: string }).id}`],
        },
      },
    },
    async ({ params, query, headers }) => {
      calls++
      await new Promise((resolve) => setImmediate(resolve))
      return { id: params.id, page: query.page ?? null, language: headers['accept-language'] ?? null, call: calls }
    },
  )
  app.put<{ Params: { id: string } }>(
    '/items/:id',
    { config: { cache: { invalidates: ({ params }) => [`item:${(params as { id: string }).id}`] } } },
    async (request, reply) => (request.headers['x-fail'] ? reply.code(409).send({}) : { ok: true }),
  )
  for (const [path, make] of [
    ['/cookie', (reply: { header(name: string, value: string): unknown }) => reply.header('set-cookie', 'a=b')],
    ['/private', (reply: { header(name: string, value: string): unknown }) => reply.header('cache-control', 'private')],
    ['/error', (reply: { code(status: number): unknown }) => reply.code(404)],
  ] as const) {
    app.get(path, { config: { cache: { ttl: '1m' } } }, async (_request, reply) => {
      calls++
      make(reply)
      return { calls }
    })
  }
  app.get('/throws', { config: { cache: { ttl: '1m' } } }, async () => {
    calls++
    throw new Error('x')
  })
  await app.ready()
  return { app, calls: () => calls }
}

t.test('an answer is made once and then served with ETag, Age and Cache-Control', async (t) => {
  const { app, calls } = await build(t)
  const all = await Promise.all(Array.from({ length: 20 }, () => app.inject('/items/1')))
  t.equal(calls(), 1)
  const [first] = all
  t.ok(all.every(({ body, headers }) => body === first?.body && headers.etag === first.headers.etag))
  const hit = await app.inject('/items/1')
  t.match(hit, {
    statusCode: 200,
    headers: { age: '0', 'cache-control': 'no-cache', vary: 'accept-language' },
  })
  t.match(hit.headers['content-type'], 'application/json')
  const known = await app.inject({ url: '/items/1', headers: { 'if-none-match': `W/"x", ${hit.headers.etag}` } })
  t.match(known, { statusCode: 304, body: '' })
  t.equal(calls(), 1)
})

t.test('whatever the key holds makes another answer; what it does not hold is not cached', async (t) => {
  const { app, calls } = await build(t)
  const ask = async (url: string, headers = {}) => (await app.inject({ url, headers })).json()
  await ask('/items/1')
  t.match(await ask('/items/1?page=2'), { page: '2', call: 2 })
  t.match(await ask('/items/1?page=2'), { call: 2 })
  t.match(await ask('/items/1', { 'accept-language': 'de' }), { language: 'de', call: 3 })
  t.match(await ask('/items/2'), { id: '2', call: 4 })
  await ask('/items/1?other=1')
  await ask('/items/1?other=1')
  t.equal(calls(), 6, 'an undeclared parameter')
  await ask('/items/1', { cookie: 'session=1' })
  await ask('/items/1', { authorization: 'x' })
  t.equal(calls(), 8, 'somebody in particular')
})

t.test('errors, cookies and private answers are never cached, and hold nobody up', async (t) => {
  const { app, calls } = await build(t)
  let before = 0
  for (const url of ['/cookie', '/private', '/error', '/throws']) {
    await Promise.all([app.inject(url), app.inject(url), app.inject(url)])
    t.equal(calls() - before, 3, url)
    before = calls()
  }
})

t.test('a successful unsafe method invalidates before its client hears', async (t) => {
  const { app } = await build(t)
  const call = async () => (await app.inject('/items/1')).json().call
  t.equal(await call(), 1)
  await app.inject('/items/2')
  await app.inject({ method: 'PUT', url: '/items/1', headers: { 'x-fail': '1' } })
  t.equal(await call(), 1)
  await app.inject({ method: 'PUT', url: '/items/1' })
  t.equal(await call(), 3)
  t.match((await app.inject('/items/2')).json(), { call: 2 })
})
