import Fastify from 'fastify'
import t from 'tap'
import { session } from '../../plugins/session/index.ts'
import { storage } from '../../plugins/storage/index.ts'
import { cookieFor, ManualClock, MemorySessionStore } from '../../testing.ts'
import { SECRET } from '../fixtures/session-app.ts'
import { onEveryStorage, storageUrl } from '../fixtures/storages.ts'

t.test('a cookie for a user opens a session as a login would', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const clock = new ManualClock()
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(storage, { storage: await storageUrl(t, kind) })
    await app.register(session, { secret: SECRET, production: true, clock })
    app.get('/me', async (request) => ({ user: request.session.user ?? null, logins: request.session.loginCount }))
    app.get('/fresh', async (request) => {
      request.requireFresh('5m')
      return 'fresh'
    })
    const cookie = await cookieFor(app, { id: 'ada', role: 'administrator' })
    t.match(cookie, /^__Host-sid=/)
    const get = (url: string, cookie: string) => app.inject({ url, headers: { cookie } })
    t.same((await get('/me', cookie)).json(), { user: { id: 'ada', role: 'administrator' }, logins: 1 })
    t.equal((await get('/fresh', cookie)).statusCode, 200)
    t.equal((await app.sessions.list('ada')).length, 1)
    const remembered = await cookieFor(app, { id: 7 }, { lifetime: '14d' })
    clock.advance(13 * 24 * 3_600_000)
    t.same((await get('/me', cookie)).json(), { user: null, logins: 0 })
    t.same((await get('/me', remembered)).json(), { user: { id: 7 }, logins: 1 })
    await t.rejects(cookieFor(app, { name: 'nobody' }), { code: 'STATEFUL_UNIDENTIFIED_USER' })
  }),
)

t.test('a store in memory, for an application without a storage', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(session, { secret: SECRET, production: false, store: new MemorySessionStore() })
  app.get('/me', async ({ session }) => session.user ?? null)
  const cookie = await cookieFor(app, 'ada')
  t.equal((await app.inject({ url: '/me', headers: { cookie } })).body, 'ada')
})
