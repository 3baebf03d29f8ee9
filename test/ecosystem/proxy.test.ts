import { once } from 'node:events'
import httpProxy from '@fastify/http-proxy'
import websocket from '@fastify/websocket'
import Fastify from 'fastify'
import t from 'tap'
import { WebSocket } from 'ws'
import { HttpClient } from '../fixtures/http-client.ts'
import { Browser } from '../fixtures/session-app.ts'
import { neighbourApp, valuesOf } from './neighbour-app.ts'

t.test('@fastify/http-proxy: only who is logged in gets through, and the upstream sees who', async (t) => {
  const upstream = Fastify({ forceCloseConnections: true })
  t.teardown(() => upstream.close())
  await upstream.register(websocket)
  upstream.all('/echo', async ({ headers, body }, reply) => {
    reply.header('set-cookie', ['upstream=1; Path=/', 'second=2; Path=/'])
    return { cookie: headers.cookie ?? null, user: headers['x-user'] ?? null, body: body ?? null }
  })
  upstream.get('/socket', { websocket: true }, (socket, { headers }) => {
    socket.on('message', (message) => socket.send(`${headers.cookie?.includes('sid=')} ${message}`))
  })
  const host = await upstream.listen({ port: 0, host: '127.0.0.1' })

  const app = await neighbourApp(t, {
    after: async (app) => {
      await app.register(httpProxy, {
        upstream: host,
        prefix: '/up',
        websocket: true,
        preHandler: async (request, reply) => {
          if (!request.session.user) return reply.code(401).send({ error: 'log in first' })
          valuesOf(request)['proxied'] = Number(valuesOf(request)['proxied'] ?? 0) + 1
        },
        replyOptions: {
          rewriteRequestHeaders: (request, headers) => ({
            ...headers,
            'x-user': (request as { session?: { user?: { id: string } } }).session?.user?.id ?? '',
          }),
        },
      })
      app.post('/in', async (request) => request.login({ id: 'ada' }))
      app.get('/count', async (request) => ({ proxied: valuesOf(request)['proxied'] ?? 0 }))
    },
  })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  const browser = new HttpClient(url)
  t.equal((await browser.get('/up/echo')).status, 401)
  await browser.post('/in')
  const before = browser.cookie
  const answer = await browser.post('/up/echo', { some: 'body' })
  t.same(answer.body, { cookie: before, user: 'ada', body: { some: 'body' } })
  t.match(browser.cookie, /upstream=1/, 'cookies of the upstream come through')
  t.match(browser.cookie, before, 'beside the session’s')
  t.same(
    (await browser.get('/count')).body,
    { proxied: 1 },
    'what a guard changed is saved, though the answer is a stream',
  )

  const connect = (cookie?: string) =>
    new WebSocket(`${url.replace('http', 'ws')}/up/socket`, cookie === undefined ? {} : { headers: { cookie } })
  const stranger = connect()
  const [, refused] = (await once(stranger, 'unexpected-response')) as [unknown, { statusCode: number }]
  t.equal(refused.statusCode, 401)
  stranger.on('error', () => {}).terminate()
  const socket = connect(browser.cookie)
  await once(socket, 'open')
  socket.send('hello')
  t.equal(String((await once(socket, 'message'))[0]), 'true hello')
  const closed = once(socket, 'close')
  socket.close()
  await closed
})

t.test('behind a proxy that ends TLS', async (t) => {
  const app = await neighbourApp(t, {
    server: { trustProxy: '127.0.0.1' },
    session: { cookie: { secure: 'auto' } },
    after: (app) => {
      app.post('/in', async (request) => request.login({ id: 'ada' }))
      app.post('/out', async (request) => request.logout())
      app.get('/me', async ({ session, ip }) => ({ user: session.user?.id ?? null, ip }))
    },
  })
  const proxied = { 'x-forwarded-proto': 'https', 'x-forwarded-for': '203.0.113.7' }
  const browser = new Browser(app, proxied)
  t.match((await browser.post('/in')).headers['set-cookie'], /; Secure/)
  t.same((await browser.get('/me')).json(), { user: 'ada', ip: '203.0.113.7' })
  t.match(await app.sessions.list('ada'), [{ ip: '203.0.113.7' }], 'the device is the browser, not the proxy')
  t.match((await browser.post('/out')).headers['set-cookie'], /Max-Age=0;.*; Secure/)
  const direct = await new Browser(app).post('/in')
  t.notMatch(direct.headers['set-cookie'], /Secure/, 'plain HTTP')
  const untrusted = await app.inject({ method: 'POST', url: '/in', headers: proxied, remoteAddress: '198.51.100.1' })
  t.notMatch(untrusted.headers['set-cookie'], /Secure/, 'nobody else says what the protocol was')
})

t.test('applications under prefixes: a cookie each, and neither sees the other’s', async (t) => {
  const app = await neighbourApp(t, {
    after: async (app) => {
      app.get('/me', async (request) => ({ values: { ...valuesOf(request) } }))
    },
    session: { cookie: { path: '/shop' }, name: 'shop' },
  })
  t.same((await app.inject('/me')).json(), { values: {} }, 'outside of its path a request has no session')

  const both = Fastify()
  t.teardown(() => both.close())
  for (const prefix of ['/shop', '/shopkeepers']) {
    await both.register(
      async (scope) => {
        const { session } = await import('../../plugins/session/index.ts')
        const { SECRET } = await import('../fixtures/session-app.ts')
        await scope.register(session, {
          secret: SECRET,
          production: false,
          name: prefix.slice(1),
          cookie: { path: prefix },
        })
        scope.post('/in', async (request) => request.login({ id: prefix }))
        scope.get('/me', async (request) => ({ user: request.session.user?.id ?? null }))
      },
      { prefix },
    )
  }
  const browser = new Browser(both)
  t.match((await browser.post('/shop/in')).headers['set-cookie'], /^shop-sid=.*; Path=\/shop;/)
  t.same((await browser.get('/shopkeepers/me')).json(), { user: null })
  t.match((await browser.post('/shopkeepers/in')).headers['set-cookie'], /^shopkeepers-sid=/)
  t.same((await browser.get('/shop/me')).json(), { user: '/shop' })
  t.same((await browser.get('/shopkeepers/me')).json(), { user: '/shopkeepers' })
})
