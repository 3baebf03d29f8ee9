import { request as httpRequest } from 'node:http'
import type { AddressInfo } from 'node:net'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import t, { type Test } from 'tap'
import { type SessionOptions, session } from '../../../../plugins/session/index.ts'
import { Browser, SECRET } from '../../../fixtures/session-app.ts'

declare module 'fastify' {
  interface Session {
    n?: number
  }
}

const BY_TLS = { 'x-forwarded-proto': 'https' }

async function start(t: Test, options: Partial<SessionOptions>, server: FastifyServerOptions = { trustProxy: true }) {
  const log: string[] = []
  const stream = { write: (line: string) => void log.push(JSON.parse(line).msg) }
  const app = Fastify({ ...server, logger: { level: 'warn', stream } })
  t.teardown(() => app.close())
  await app.register(session, { secret: SECRET, production: false, ...options })
  app.get('/count', async ({ session }) => {
    session.n = (session.n ?? 0) + 1
    return { n: session.n }
  })
  app.get('/read', async ({ session }) => ({ n: session.n ?? null }))
  app.get('/login', async (request) => request.login({ id: 'ada' }))
  app.get('/device', async (_request, reply) => {
    app.sessionCookies.set(reply, 'device', 'mine', 60_000)
    return reply.send('set')
  })
  app.get('/secure', async ({ session }) => {
    session.n = 1
    session.options({ secure: true })
    return 'x'
  })
  await app.ready()
  return { app, log, warned: () => log.filter((line) => line.includes('was not sent')) }
}

/** What the answer says of the session's cookie, without its value and its end. */
async function lineOf(app: FastifyInstance, url: string, headers: Record<string, string> = {}): Promise<string | null> {
  const line = (await app.inject({ url, headers })).headers['set-cookie']
  return line === undefined
    ? null
    : String(line)
        .replace(/=[^;]*/, '')
        .replace(/ (Expires|Max-Age)=[^;]*;/g, '')
}

t.test('secure: true keeps the cookie off a plain connection, and one line in the log says so', async (t) => {
  const { app, warned } = await start(t, { cookie: { secure: true } })
  t.equal(await lineOf(app, '/count'), null)
  t.equal(await app.sessions.count(), 0, 'nothing is stored that nobody can come back with')
  t.equal(await lineOf(app, '/login'), null)
  t.equal(await lineOf(app, '/device'), null, 'nor a cookie beside it')
  t.equal(await lineOf(app, '/count', { 'x-forwarded-proto': 'http' }), null)
  t.match(warned(), [/the cookie __Host-sid was not sent: .*GET \/count.*plain HTTP.*trustProxy.*'auto'/])
  t.equal(warned().length, 1, 'once')

  t.match(await lineOf(app, '/count', BY_TLS), /^__Host-sid; .*Secure/)
  t.match(await lineOf(app, '/login', BY_TLS), /^__Host-sid; .*Secure/)
  t.match(await lineOf(app, '/device', BY_TLS), /^__Host-device; .*Secure/)
})

t.test('what a live session changes is kept, over whatever it comes', async (t) => {
  const { app, warned } = await start(t, { cookie: { secure: true }, rolling: true })
  const browser = new Browser(app, BY_TLS)
  await browser.get('/count')
  const plain = new Browser(app)
  plain.cookies = new Map(browser.cookies)
  const answer = await plain.get('/count')
  t.same(answer.json(), { n: 2 })
  t.equal(answer.headers['set-cookie'], undefined)
  t.equal(warned().length, 1)
  t.same((await browser.get('/read')).json(), { n: 2 })
})

t.test('a proxy is believed as far as trustProxy says', async (t) => {
  const untrusted = await start(t, { cookie: { secure: true } }, {})
  t.equal(await lineOf(untrusted.app, '/count', BY_TLS), null)
  t.equal(untrusted.warned().length, 1)
})

t.test('over plain HTTP a cookie is taken away without what a browser would not take there', async (t) => {
  const cookie = { secure: true, path: '/read', domain: 'example.org' }
  const { app } = await start(t, { cookie, cookieName: 'sessionId' })
  const forged = { cookie: 'sessionId=forged.signature' }
  t.equal(await lineOf(app, '/read', forged), 'sessionId; Domain=example.org; Path=/read; SameSite=Lax')
  t.match(await lineOf(app, '/read', { ...forged, ...BY_TLS }), /HttpOnly; Secure/)
})

t.test('a session may ask for it by itself', async (t) => {
  const { app, warned } = await start(t, {})
  t.equal(await lineOf(app, '/secure'), null)
  t.equal(warned().length, 1)
  t.match(await lineOf(app, '/secure', BY_TLS), /Secure/)
  t.match(await lineOf(app, '/count'), /^sid; Path=\/; HttpOnly; SameSite=Lax$/, 'the others are as they were')
})

t.test('our defaults work everywhere, and say nothing', async (t) => {
  const development = await start(t, {}, {})
  const production = await start(t, { production: true }, {})
  for (const [{ app, log }, secure] of [
    [development, false],
    [production, true],
  ] as const) {
    await app.listen({ port: 0, host: '127.0.0.1' })
    const { port } = app.server.address() as AddressInfo
    // A proxy that ends TLS and says nothing of it is, to the application, a plain connection.
    const line = await new Promise<string>((resolve, reject) => {
      const request = httpRequest({ port, host: '127.0.0.1', path: '/login' }, (response) => {
        response.resume()
        resolve(String(response.headers['set-cookie']))
      })
      request.on('error', reject).end()
    })
    t.equal(line.includes('Secure'), secure)
    t.match(line, secure ? /^__Host-sid=/ : /^sid=/)
    const [pair = ''] = line.split(';')
    await app.inject({ url: '/count', headers: { cookie: pair } })
    t.same((await app.inject({ url: '/read', headers: { cookie: pair } })).json(), { n: 1 })
    t.same(
      log.filter((text) => text.includes('was not sent')),
      [],
    )
  }
})

t.test("'auto' is Secure over TLS alone", async (t) => {
  const { app, warned } = await start(t, { cookie: { secure: 'auto' } })
  t.notMatch(await lineOf(app, '/login'), /Secure/)
  t.match(await lineOf(app, '/login', BY_TLS), /Secure/)
  t.same(warned(), [])
})

t.test('secure as the environment writes it', async (t) => {
  const { app } = await start(t, { cookie: { secure: 'true' as never } })
  t.match(await lineOf(app, '/login', BY_TLS), /Secure/)
  const open = await start(t, { production: true, cookie: { secure: 'false' as never } })
  t.match(await lineOf(open.app, '/login'), /^sid; Path=\/; HttpOnly; SameSite=Lax$/)
  for (const secure of ['yes', 1, null]) {
    await t.rejects(
      start(t, { cookie: { secure: secure as never } }),
      { code: 'STATEFUL_INVALID_OPTION', message: /'session\.cookie\.secure' must be true, false or 'auto'/ },
      String(secure),
    )
  }
})
