import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { type DocumentationOptions, documentation } from '../../../plugins/documentation/index.ts'
import type { SessionUser } from '../../../plugins/session/user.ts'

const CLOSED = ['/docs', '/docs/', '/docs/json', '/docs/yaml', '/docs/static/logo.svg', '/docs/static/index.html']

async function start(t: Test, options: DocumentationOptions, user?: SessionUser): Promise<FastifyInstance> {
  const app = Fastify({ routerOptions: { ignoreDuplicateSlashes: true, ignoreTrailingSlash: true } })
  t.teardown(() => app.close())
  app.decorateRequest('session')
  app.addHook('onRequest', async (request) => {
    if (user) request.session = { user } as typeof request.session
  })
  await app.register(documentation, options)
  // As `syncRoutes` does it: without a WebSocket there is nothing for /asyncapi.json to describe.
  app.get('/sync', { schema: { operationId: 'openSync' } as object }, async () => 'socket')
  app.get('/thing', { schema: { operationId: 'getThing', tags: ['stats'], summary: 'A thing' } }, async () => 'thing')
  await app.ready()
  return app
}

t.test('outside production everybody reads it, offline and under a strict policy', async (t) => {
  const app = await start(t, { production: false })
  const page = await app.inject('/docs')
  t.equal(page.statusCode, 200)
  t.match(page.headers['content-type'], /text\/html/)
  const policy = String(page.headers['content-security-policy'])
  t.match(policy, /default-src 'none'.*script-src 'self'.*frame-ancestors 'none'/)
  t.notMatch(policy, /script-src[^;]*unsafe/)
  t.notMatch(page.body, /https?:\/\//, 'the page loads nothing from elsewhere')
  t.notMatch(page.body, /<script>[^<]/, 'no inline script')
  t.equal((await app.inject('/docs/static/swagger-ui-bundle.js')).statusCode, 200)

  const openapi = await app.inject('/openapi.json')
  t.match(openapi.headers['content-type'], /application\/json/)
  t.match(openapi.json(), {
    openapi: '3.1.0',
    info: { title: 'API' },
    paths: { '/thing': { get: { operationId: 'getThing' } } },
  })
})

t.test('in production it needs the administrator, whatever way a path is written', async (t) => {
  const app = await start(t, { production: true })
  for (const url of [
    ...CLOSED,
    '/openapi.json',
    '/asyncapi.json',
    '//docs//static//logo.svg',
    '/docs//static/logo.svg',
  ]) {
    for (const method of ['GET', 'HEAD'] as const) {
      const response = await app.inject({ url, method })
      t.equal(response.statusCode, 401, `${method} ${url}`)
    }
  }
  const refused = await app.inject('/docs/static/logo.svg')
  t.match(refused.headers['content-type'], /application\/problem\+json/)
  t.match(refused.json(), { code: 'STATEFUL_UNAUTHENTICATED' })
  const disguised = [
    '/docs%2Fstatic%2Flogo.svg',
    '/docs%2fstatic/logo.svg',
    '/docs/static%2Flogo.svg',
    '/docs/./static/logo.svg',
    '/docs/static/../static/logo.svg',
    '/docs/static/%2e%2e/static/logo.svg',
    '/%64ocs/static/logo.svg',
    '/docs/static/;/logo.svg',
    '/DOCS/static/logo.svg',
    '/docs/static/logo.svg/',
    '/docs\\static\\logo.svg',
  ]
  for (const url of disguised) {
    const { statusCode } = await app.inject(url)
    t.ok(statusCode === 401 || statusCode === 404, `${url} answers ${statusCode}`)
  }
})

t.test('in production a user may not, an administrator may', async (t) => {
  const forUser = await start(t, { production: true }, { id: 'u', role: 'user' })
  t.match((await forUser.inject('/docs')).json(), { status: 403, code: 'STATEFUL_FORBIDDEN' })
  const forAdministrator = await start(t, { production: true }, { id: 'a', role: 'administrator' })
  for (const url of [...CLOSED.slice(0, 5), '/openapi.json', '/asyncapi.json']) {
    t.equal((await forAdministrator.inject(url)).statusCode, 200, url)
  }
})

t.test('the application can decide who may', async (t) => {
  const app = await start(t, {
    production: true,
    authorize: (request, action) => action === 'docs:read' && request.headers['x-team'] === 'api',
  })
  t.equal((await app.inject({ url: '/docs/static/logo.svg', headers: { 'x-team': 'api' } })).statusCode, 200)
  t.equal((await app.inject('/docs/static/logo.svg')).statusCode, 401)
})

t.test('it can be open in production, or absent', async (t) => {
  const open = await start(t, { production: true, expose: 'always' })
  t.equal((await open.inject('/docs')).statusCode, 200)
  const absent = await start(t, { expose: 'never' })
  for (const url of [...CLOSED, '/openapi.json', '/asyncapi.json']) t.equal((await absent.inject(url)).statusCode, 404)
  t.match(absent.swagger(), { openapi: '3.1.0' }, 'the application itself still has the document')
})

t.test('without its page there are the documents alone', async (t) => {
  const app = await start(t, { production: false, ui: false })
  t.equal((await app.inject('/openapi.json')).statusCode, 200)
  t.match((await app.inject('/asyncapi.json')).json(), { asyncapi: /^3\./, channels: { sync: { address: '/sync' } } })
  t.equal((await app.inject('/docs')).statusCode, 404)
})

t.test('without a WebSocket there is no document of it', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(documentation)
  t.match((await app.inject('/asyncapi.json')).json(), { status: 404, code: 'STATEFUL_NOT_FOUND' })
  t.notOk(app.swagger().paths?.['/asyncapi.json'])
})

t.test('a prefix stands before all its paths', async (t) => {
  const app = await start(t, { production: false, prefix: '/api' })
  for (const url of ['/api/docs', '/api/docs/static/logo.svg', '/api/openapi.json', '/api/asyncapi.json']) {
    t.equal((await app.inject(url)).statusCode, 200, url)
  }
  t.equal((await app.inject('/docs')).statusCode, 404)
})
