import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { documentation } from '../../../plugins/documentation/index.ts'
import { type CsrfOptions, csrf } from '../../../plugins/security/csrf.ts'
import { session } from '../../../plugins/session/index.ts'
import { storage } from '../../../plugins/storage/index.ts'
import { sessionRoutes } from '../../../routes/sessions/index.ts'
import { Browser, SECRET } from '../../fixtures/session-app.ts'

async function csrfApp(t: Test, options: CsrfOptions = {}) {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(storage, { storage: 'memory:' })
  await app.register(session, { secret: SECRET, production: false })
  await app.register(csrf, options)
  app.post('/login', async (request) => {
    await request.login({ id: 'ada' })
    return 'in'
  })
  app.post('/change', async ({ session }) => session.user?.id ?? 'nobody')
  app.post('/hook', { config: { csrf: false } }, async () => 'heard')
  app.get('/token', async (request) => request.csrfToken())
  await app.ready()
  return app
}

t.test('what browsers say of the sender decides; who says nothing passes', async (t) => {
  const app = await csrfApp(t, { allowedOrigins: ['https://app.example.com'] })
  const browser = new Browser(app)
  await browser.post('/login')
  const cases: [Record<string, string>, number][] = [
    [{}, 200],
    [{ 'sec-fetch-site': 'same-origin' }, 200],
    [{ 'sec-fetch-site': 'none' }, 200],
    [{ 'sec-fetch-site': 'same-site' }, 403],
    [{ 'sec-fetch-site': 'cross-site' }, 403],
    [{ 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' }, 403],
    [{ 'sec-fetch-site': 'cross-site', origin: 'https://app.example.com' }, 200],
    [{ 'sec-fetch-site': 'cross-site', origin: 'http://localhost:80' }, 403],
    [{ origin: 'http://localhost:80' }, 200],
    [{ origin: 'https://localhost' }, 200],
    [{ origin: 'https://evil.example' }, 403],
    [{ origin: 'https://localhost.evil.example' }, 403],
    [{ origin: 'null' }, 403],
    [{ origin: '' }, 403],
  ]
  for (const [headers, status] of cases) {
    const host =
      headers['origin'] === 'http://localhost:80' || headers['origin'] === 'https://localhost'
        ? { host: 'localhost' }
        : {}
    const response = await browser.inject({ method: 'POST', url: '/change', headers: { ...headers, ...host } })
    t.equal(response.statusCode, status, JSON.stringify(headers))
    if (status === 403) t.match(response.json(), { code: 'STATEFUL_CROSS_SITE_REQUEST' })
  }
  const cross = { 'sec-fetch-site': 'cross-site' }
  t.equal((await browser.inject({ url: '/token', headers: cross })).statusCode, 200, 'a safe method')
  t.equal((await browser.inject({ method: 'POST', url: '/hook', headers: cross })).statusCode, 200, 'opted out')
})

t.test('nobody is logged in as somebody else from another site', async (t) => {
  const app = await csrfApp(t)
  const victim = new Browser(app)
  const response = await victim.inject({ method: 'POST', url: '/login', headers: { 'sec-fetch-site': 'cross-site' } })
  t.equal(response.statusCode, 403)
  t.equal(response.headers['set-cookie'], undefined)
})

t.test('a token is good for its session only, and not beyond a rotation', async (t) => {
  const app = await csrfApp(t, { token: true })
  const ada = new Browser(app)
  const eve = new Browser(app)
  t.equal((await ada.post('/change')).statusCode, 200, 'without a session there is nothing to protect')
  await ada.post('/login')
  await eve.post('/login')
  const token = (await ada.get('/token')).body
  const send = (browser: Browser, value: string) =>
    browser.inject({ method: 'POST', url: '/change', headers: { 'x-csrf-token': value } })
  t.equal((await ada.post('/change')).statusCode, 403)
  t.equal((await send(ada, token)).statusCode, 200)
  t.match((await send(ada, `${token}x`)).json(), { code: 'STATEFUL_INVALID_CSRF_TOKEN' })
  t.equal((await send(eve, token)).statusCode, 403)
  await ada.inject({ method: 'POST', url: '/login', headers: { 'x-csrf-token': token } })
  t.equal((await send(ada, token)).statusCode, 403)
})

t.test('operations tell in their document what is refused here', async (t) => {
  for (const token of [true, false]) {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(storage, { storage: 'memory:' })
    await app.register(session, { secret: SECRET })
    await app.register(csrf, { token })
    await app.register(documentation)
    await app.register(sessionRoutes)
    await app.ready()
    const { paths } = app.swagger() as unknown as { paths: Record<string, Record<string, object>> }
    const told = (method: string) => JSON.stringify(paths['/sessions']?.[method])
    t.match(told('delete'), 'STATEFUL_CROSS_SITE_REQUEST')
    t.equal(told('delete').includes('STATEFUL_INVALID_CSRF_TOKEN'), token)
    t.notMatch(told('get'), 'CSRF', 'what changes nothing needs no token')
  }
})

t.test('wrong options stop the boot', async (t) => {
  await t.rejects(csrfApp(t, { allowedOrigins: ['app.example.com'] }), { code: 'STATEFUL_INVALID_OPTION' })
  const bare = Fastify()
  t.teardown(() => bare.close())
  await t.rejects(async () => bare.register(csrf, { token: true }), { code: 'STATEFUL_INVALID_OPTION' })
})
