import fc from 'fast-check'
import Fastify, { type FastifyInstance, type FastifyRequest, type FastifyServerOptions } from 'fastify'
import t, { type Test } from 'tap'
import { buildApp } from './fixture.ts'

/** All that a handler is told of a request, unless the route does not name it. */
const seen = (request: FastifyRequest) => ({
  method: request.method,
  url: request.url,
  originalUrl: request.originalUrl,
  query: request.query,
  entries: JSON.stringify(request.query),
  params: request.params,
  host: request.host,
  hostname: request.hostname,
  protocol: request.protocol,
  language: request.headers['accept-language'] ?? null,
  route: request.routeOptions.url,
})

function routes(app: FastifyInstance): void {
  const config = { cache: { ttl: '1m', query: ['q', 'page', 'a'], vary: ['accept-language'] } }
  app.get('/q', { config }, async (request) => ({ ...seen(request), by: 'q' }))
  app.get('/q/:id', { config }, async (request) => ({ ...seen(request), by: 'id' }))
  for (const version of ['1.0.0', '1.1.0', '2.0.0']) {
    app.get('/v', { config, constraints: { version } }, async (request) => ({ ...seen(request), by: version }))
  }
  for (const host of ['a.example', 'b.example', /^.*\.c\.example$/]) {
    app.get('/h', { config, constraints: { host } }, async (request) => ({ ...seen(request), by: `${host}` }))
  }
  app.get('/checked', {
    config,
    attachValidation: true,
    schema: { headers: { type: 'object', properties: { 'x-number': { type: 'integer' } } } },
    handler: async (request) => ({ ...seen(request), wrong: request.validationError?.message ?? null }),
  })
}

/** Few of each, so that they meet; those that a parser of queries may take for the same. */
const one = <T>(...of: T[]) => fc.constantFrom(...of)
const name = one('q', 'page', 'a', 'q', 'page', 'Q', '%71')
const value = one('', '1', 'a?evil', '1?evil=1', '%FF', '%FE', '+', '%20', '%2B', 'a%00', '&', ';', '%', 'é')
const pair = fc.tuple(name, one('=', '', '=='), value).map((parts) => parts.join(''))
const query = fc
  .tuple(one('', '?', '??', '?&', ';'), fc.array(pair, { maxLength: 3 }))
  .map(([mark, pairs]) => (mark === '' ? '' : mark + pairs.join('&')))
const target = (...paths: string[]) => fc.tuple(one(...paths), query).map((parts) => parts.join(''))
const others = {
  'accept-language': one('', 'de', 'en', 'de,en'),
  'x-number': one('1', 'one'),
  'x-forwarded-host': one('a.example', 'evil.example'),
  'x-forwarded-proto': one('http', 'https'),
}
const host = one('a.example', 'b.example', 'A.example', 'x.c.example', 'y.c.example', 'a.example:81')
const requiredKeys: ['host'] = ['host']
const version = one('1.x', '1.0.x', '2.x', '1.1.0')
const asked = fc.oneof(
  fc.record({
    url: target('/q', '/q', '/q/1', '/q/%31', '/q/a%2Fb', '/q/a', '/checked'),
    method: one('GET', 'GET', 'GET', 'HEAD'),
    headers: fc.record({ host, ...others }, { requiredKeys }),
  }),
  fc.record({ url: one('/v', '/v?q=1'), headers: fc.record({ host, 'accept-version': version, ...others }) }),
  fc.record({ url: one('/h', '/h?q=1'), headers: fc.record({ host, ...others }, { requiredKeys }) }),
)

async function sameAsUncached(t: Test, options: FastifyServerOptions): Promise<void> {
  const plain = Fastify(options)
  t.teardown(() => plain.close())
  routes(plain)
  let calls = 0
  let answers = 0
  const app = await buildApp(
    t,
    (app) => {
      app.addHook('preSerialization', async (_request, reply) => void (reply.statusCode === 200 && calls++))
      routes(app)
    },
    options,
  )
  await fc.assert(
    fc.asyncProperty(fc.array(asked, { minLength: 1, maxLength: 12 }), async (requests) => {
      // One cache for all runs: what an earlier one has left there must fit as well.
      for (const request of [...requests, ...requests]) {
        const [expected, got] = [await plain.inject(request as never), await app.inject(request as never)]
        if (got.statusCode === 200) answers++
        if (got.statusCode !== expected.statusCode || got.body !== expected.body) {
          throw new Error(`${JSON.stringify(request)}: ${got.body} instead of ${expected.body}`)
        }
      }
    }),
    { numRuns: 40 },
  )
  t.ok(answers - calls > 50, 'the cache has answered', { answers, calls })
}

t.test('no two requests that a handler can tell apart share an answer', async (t) => {
  await t.test('with the parser that comes along', (t) => sameAsUncached(t, {}))
  await t.test('with semicolons and other paths', (t) =>
    sameAsUncached(t, {
      trustProxy: true,
      routerOptions: { useSemicolonDelimiter: true, ignoreTrailingSlash: true, caseSensitive: false } as object,
    }),
  )
  await t.test('with a parser of its own', (t) =>
    sameAsUncached(t, {
      // Sees the order, every mark and what comes twice.
      routerOptions: { querystringParser: (text) => ({ q: text, ...(text.includes('evil') ? { page: 'evil' } : {}) }) },
    }),
  )
  await t.test('with rewritten addresses', (t) =>
    sameAsUncached(t, { rewriteUrl: ({ url = '/' }) => url.replace(/^\/q\/a/, '/q/1') }),
  )
})

t.test('known confusions', async (t) => {
  let calls = 0
  const app = await buildApp(t, (app) =>
    app.get('/q', { config: { cache: { ttl: '1m', query: ['q', 'page'] } } }, async ({ query }) => ({
      query,
      call: ++calls,
    })),
  )
  const urls = [
    '/q',
    '/q?q=a',
    '/q?q=a?evil',
    '/q?page=1',
    '/q?page=1?evil=1',
    '/q?q=%FF',
    '/q?q=%FE',
    '/q?q=%EF%BF%BD',
  ]
  const others = [
    '/q?q=a&q=b',
    '/q?q=b&q=a',
    '/q?q=a+b',
    '/q?q=a%2Bb',
    '/q?q=a&page=1',
    '/q?page=1&q=a',
    '/q?q',
    '/q?q=',
  ]
  for (const url of [...urls, ...others]) {
    const before = calls
    const first = await app.inject(url)
    t.equal(calls, before + 1, url)
    t.equal((await app.inject(url)).body, first.body, `${url} again`)
  }
})

t.test('each host has answers of its own', async (t) => {
  let calls = 0
  const app = await buildApp(t, (app) => app.get('/', { config: { cache: { ttl: '1m' } } }, async () => `${++calls}`))
  const ask = async (host: string) => (await app.inject({ url: '/', headers: { host } })).body
  const hosts = ['a.example', 'b.example', 'a.example:81', 'A.example']
  const answers = []
  for (const host of hosts) answers.push(await ask(host))
  t.equal(new Set(answers).size, hosts.length)
  for (const [i, host] of hosts.entries()) t.equal(await ask(host), answers[i])
})

t.test('a parameter that is not declared is not cached, as the application parses it', async (t) => {
  let calls = 0
  const app = await buildApp(
    t,
    (app) => {
      const config = { cache: { ttl: '1m', query: ['page'] } }
      const querystring = {
        type: 'object',
        properties: { page: { type: 'integer', default: 1 } },
        additionalProperties: false,
      }
      app.get('/list', { config, schema: { querystring } }, async ({ query }) => ({ query, call: ++calls }))
    },
    { ajv: { customOptions: { removeAdditional: true } } },
  )
  const call = async (url: string) => (await app.inject(url)).json().call
  t.equal(await call('/list'), await call('/list'), 'a default is no parameter')
  t.equal(await call('/list?page=2'), await call('/list?page=2'))
  t.not(await call('/list?x=1'), await call('/list?x=1'), 'also where validation takes it away')
  t.not(await call('/list?page=2&x=1'), await call('/list?page=2&x=1'))
})

t.test('a request with a body is not cached', async (t) => {
  let calls = 0
  const app = await buildApp(t, (app) => {
    app.addHttpMethod('GET', { hasBody: true, overrideExisting: true } as object)
    app.get('/search', { config: { cache: { ttl: '1m' } } }, async ({ body }) => ({
      body: body ?? null,
      call: ++calls,
    }))
  })
  const ask = async (body?: object) => (await app.inject({ url: '/search', ...(body ? { body } : {}) })).json()
  t.match(await ask(), { body: null, call: 1 })
  t.match(await ask({ q: 1 }), { body: { q: 1 }, call: 2 })
  t.match(await ask({ q: 2 }), { body: { q: 2 }, call: 3 })
})
