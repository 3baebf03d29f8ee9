import { join } from 'node:path'
import { RedisStore } from 'connect-redis'
import Fastify from 'fastify'
import { createClient } from 'redis'
import t, { type Test } from 'tap'
import { type SessionOptions, session } from '../../plugins/session/index.ts'
import type { CallbackStore } from '../../plugins/session/stores/callback.ts'
import { neighbourStores } from '../fixtures/neighbour-stores.ts'
import { Browser, SECRET } from '../fixtures/session-app.ts'
import { temporaryFolder } from '../fixtures/storages.ts'

declare module 'fastify' {
  interface Session {
    n?: number
  }
}

async function appOn(t: Test, store: CallbackStore, options: Partial<SessionOptions> = {}) {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(session, { secret: SECRET, production: false, store, ...options })
  app.get('/count', async ({ session }) => {
    session.n = (session.n ?? 0) + 1
    return { n: session.n }
  })
  app.get('/login', async (request) => request.login({ id: 'ada' }))
  app.get('/logout', async (request) => request.logout())
  app.get('/me', async ({ session }) => ({ user: session.user?.id ?? null, n: session.n ?? null }))
  app.get('/destroy', async ({ session }) => session.destroy())
  await app.ready()
  return app
}

for (const [name, open] of Object.entries(neighbourStores)) {
  t.test(`${name} as the store of our sessions`, async (t) => {
    const app = await appOn(t, await open(t))
    const browser = new Browser(app)
    t.same((await browser.get('/count')).json(), { n: 1 })
    t.same((await browser.get('/count')).json(), { n: 2 })
    const anonymous = browser.clone()
    t.equal((await browser.get('/login')).statusCode, 200)
    t.same((await browser.get('/me')).json(), { user: 'ada', n: 2 })
    t.same((await anonymous.get('/me')).json(), { user: null, n: null }, 'the id from before is worth nothing')

    const other = new Browser(app)
    await other.get('/login')
    t.equal((await app.sessions.list('ada')).length, 2)
    const former = browser.clone()
    await browser.get('/logout')
    t.same((await former.get('/me')).json(), { user: null, n: null })
    t.equal((await app.sessions.list('ada')).length, 1)
    await app.sessions.revokeUser('ada')
    t.same((await other.get('/me')).json(), { user: null, n: null })

    const stranger = new Browser(app)
    await stranger.get('/count')
    const gone = stranger.clone()
    await stranger.get('/destroy')
    t.equal((await gone.get('/count')).statusCode, 200, 'what the store does not know is no session, and no failure')
  })

  t.test(`${name} keeps a session for two weeks if it is to last so long`, async (t) => {
    const store = await open(t)
    let kept: { cookie: { expires: string | Date; originalMaxAge: number } } | undefined
    const app = await appOn(
      t,
      {
        get: (sid, callback) => store.get(sid, callback),
        destroy: (sid, callback) => store.destroy(sid, callback),
        set(sid, session, callback) {
          kept = session as typeof kept
          store.set(sid, session, callback)
        },
      },
      { cookie: { maxAge: '14d' } },
    )
    const browser = new Browser(app)
    await browser.get('/count')
    t.same((await browser.get('/count')).json(), { n: 2 })
    t.ok(new Date(kept?.cookie.expires ?? 0).getTime() - Date.now() > 13 * 86_400_000)
    t.match(kept?.cookie, { maxAge: kept?.cookie.originalMaxAge }, 'memorystore looks at maxAge')
  })
}

t.test('a store whose server is away is a 503, also when the socket of it does not exist', async (t) => {
  const path = join(await temporaryFolder(t), 'nobody.sock')
  const client = createClient({ socket: { path, reconnectStrategy: false }, disableOfflineQueue: true })
  client.on('error', () => {})
  await t.rejects(client.connect(), { code: 'ENOENT', syscall: 'connect' })
  const store = new RedisStore({ client: client as unknown as ReturnType<typeof createClient> })
  const failing: CallbackStore = {
    get: (_sid, callback) => void client.connect().then(() => {}, callback),
    set: (sid, value, callback) => void store.set(sid, value as never, callback),
    destroy: (sid, callback) => void store.destroy(sid, callback),
  }
  for (const away of [failing, store]) {
    const app = await appOn(t, away)
    const signed = await signedCookie(t)
    const response = await app.inject({ url: '/me', cookies: { sid: signed } })
    t.equal(response.statusCode, 503)
    t.match(response.json(), { code: 'STATEFUL_STORAGE_UNAVAILABLE' })
    t.notOk(response.headers['set-cookie'])
  }
})

/** A cookie of a session that another process has begun. */
async function signedCookie(t: Test): Promise<string> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(session, { secret: SECRET, production: false })
  app.get('/login', async (request) => request.login({ id: 'ada' }))
  const browser = new Browser(app)
  await browser.get('/login')
  return browser.cookies.get('sid') as string
}
