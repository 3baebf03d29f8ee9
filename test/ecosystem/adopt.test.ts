import fastifyCookie from '@fastify/cookie'
import fastifySession from '@fastify/session'
import express from 'express'
import expressSession from 'express-session'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { MemorySessionStore, type SessionOptions, session } from '../../plugins/session/index.ts'
import type { CallbackStore } from '../../plugins/session/stores/callback.ts'
import { storage } from '../../plugins/storage/index.ts'
import { addressOf, HttpBrowser } from '../fixtures/http-browser.ts'
import { redisStore } from '../fixtures/neighbour-stores.ts'
import { SECRET } from '../fixtures/session-app.ts'
import { storageUrl } from '../fixtures/storages.ts'

declare module 'fastify' {
  interface Session {
    basket?: string[]
    x?: number
    y?: number
  }
}

const OTHER_SECRET = `${SECRET}-of-the-other`

interface Former {
  store: Awaited<ReturnType<typeof redisStore>>
  cookieName: string
  secret: string
  /** Has a session with a user and a basket. */
  browser: HttpBrowser
}

async function ofExpress(t: Test, secret = OTHER_SECRET, cookieName = 'connect.sid'): Promise<Former> {
  const store = await redisStore(t)
  const app = express()
  app.use(expressSession({ secret, store, name: cookieName, resave: false, saveUninitialized: false }))
  app.get('/in', ({ session }, res) => {
    Object.assign(session, { user: { id: 'ada' }, basket: ['x'] })
    res.send('in')
  })
  return withSession({ store, cookieName, secret }, await addressOf(t, app.listen(0, '127.0.0.1')))
}

async function ofFastify(t: Test, secret = OTHER_SECRET, cookieName = 'sessionId'): Promise<Former> {
  const store = await redisStore(t)
  const app = Fastify()
  await app.register(fastifyCookie)
  await app.register(fastifySession, { secret, cookieName, store: store as never, cookie: { secure: false } })
  app.get('/in', async ({ session }) => {
    Object.assign(session, { user: { id: 'ada' }, basket: ['x'] })
    return 'in'
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  return withSession({ store, cookieName, secret }, await addressOf(t, app.server))
}

async function withSession(former: Omit<Former, 'browser'>, url: string): Promise<Former> {
  const browser = new HttpBrowser()
  await browser.get(`${url}/in`)
  return { ...former, browser }
}

/** Our plugin, as it was registered after theirs. */
async function ours(t: Test, options: Partial<SessionOptions>) {
  const app = Fastify()
  await app.register(session, { secret: SECRET, production: false, ...options })
  app.get('/me', async ({ session }) => ({ user: session.user?.id ?? null, basket: session.basket ?? null }))
  app.get('/fail', async ({ session }) => {
    session.basket = []
    throw new Error('the handler fails')
  })
  app.get('/logout', async (request) => {
    await request.logout()
    return 'out'
  })
  app.get('/fresh', async (request) => {
    request.requireFresh()
    return 'fresh'
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  return { app, url: await addressOf(t, app.server) }
}

for (const [name, begin] of Object.entries({ 'express-session': ofExpress, '@fastify/session': ofFastify })) {
  const adopt = ({ store, secret }: Former) => ({ adopt: { store, secret } })

  t.test(`a session of ${name} lives on as ours`, async (t) => {
    const former = await begin(t)
    const { app, url } = await ours(t, adopt(former))
    const { browser } = former
    const copied = browser.clone()
    t.same((await browser.get(`${url}/me`)).json(), { user: 'ada', basket: ['x'] })
    t.ok(browser.cookies.has('sid'))
    browser.cookies.delete(former.cookieName)
    t.same((await browser.get(`${url}/me`)).json(), { user: 'ada', basket: ['x'] }, 'by our cookie alone')
    const sessions = await app.sessions.list('ada')
    t.equal(sessions.length, 1, 'it is in the list of its user')
    t.equal((await browser.get(`${url}/fresh`)).status, 401, 'being taken over is no login')
    t.notMatch(JSON.stringify(await former.store.all()), /ada/, 'and gone from where it was')

    await browser.get(`${url}/logout`)
    t.same((await copied.get(`${url}/me`)).json(), { user: null, basket: null }, 'the former cookie does not revive it')
  })

  t.test(`parallel requests with a cookie of ${name} get one session, on one instance or on two`, async (t) => {
    const former = await begin(t)
    const one = await ours(t, adopt(former))
    const two = await ours(t, { ...adopt(former) })
    const windows = Array.from({ length: 8 }, () => former.browser.clone())
    const answers = await Promise.all(windows.map((window) => window.get(`${one.url}/me`)))
    for (const answer of answers) t.same(answer.json(), { user: 'ada', basket: ['x'] })
    t.equal(new Set(windows.map(({ cookies }) => cookies.get('sid'))).size, 1)
    t.equal(await one.app.sessions.count(), 1)
    t.same((await former.browser.clone().get(`${one.url}/me`)).json(), { user: 'ada', basket: ['x'] }, 'a bit later')
    t.equal(await one.app.sessions.count(), 1)
    t.equal((await former.browser.clone().get(`${two.url}/me`)).status, 200)
    t.equal(await two.app.sessions.count(), 0, 'one whose sessions are elsewhere does not take it again')
  })

  t.test(`a session of ${name} is not lost by the failure of the first request`, async (t) => {
    const former = await begin(t)
    const { url } = await ours(t, adopt(former))
    t.equal((await former.browser.get(`${url}/fail`)).status, 500)
    t.same((await former.browser.get(`${url}/me`)).json(), { user: 'ada', basket: ['x'] })
  })

  t.test(`our plugin in the place of ${name}, with its store, secret and cookie name`, async (t) => {
    const former = await begin(t, SECRET)
    const { app, url } = await ours(t, { store: former.store, cookieName: former.cookieName })
    const theirs = former.browser.cookies.get(former.cookieName)
    const windows = Array.from({ length: 4 }, () => former.browser.clone())
    for (const answer of await Promise.all(windows.map((window) => window.get(`${url}/me`)))) {
      t.same(answer.json(), { user: 'ada', basket: ['x'] })
    }
    t.same((await former.browser.get(`${url}/me`)).json(), { user: 'ada', basket: ['x'] })
    t.not(former.browser.cookies.get(former.cookieName), theirs)
    t.same((await former.browser.get(`${url}/me`)).json(), { user: 'ada', basket: ['x'] })
    t.equal((await app.sessions.list('ada')).length, 1)
  })
}

t.test('a cookie that nobody signed, or of a session that has expired or holds nothing, is no session', async (t) => {
  const former = await ofExpress(t)
  const { app, url } = await ours(t, { adopt: { store: former.store, secret: former.secret } })
  const [cookie = ''] = former.browser.cookies.values()
  former.browser.cookies.set('connect.sid', `${cookie.slice(0, -2)}xx`)
  t.same((await former.browser.get(`${url}/me`)).json(), { user: null, basket: null })
  former.browser.cookies.set('connect.sid', cookie)
  const [kept] = (await former.store.all()) as { id: string }[]
  await former.store.set(kept?.id as string, { cookie: { originalMaxAge: null } } as never)
  t.same((await former.browser.get(`${url}/me`)).json(), { user: null, basket: null })
  t.equal(await app.sessions.count(), 0)

  const expired = { ...kept, cookie: { originalMaxAge: 1_000, expires: new Date(Date.now() - 1).toISOString() } }
  const forgetful: CallbackStore = {
    get: (_sid, callback) => callback(null, expired),
    set: () => t.fail('it is not taken over'),
    destroy: () => {},
  }
  const later = await ours(t, { adopt: { store: forgetful, secret: former.secret } })
  t.same((await former.browser.get(`${later.url}/me`)).json(), { user: null, basket: null })
})

t.test('when the former store is away, the request says so and the session is not lost', async (t) => {
  const former = await ofExpress(t)
  let away: keyof CallbackStore | undefined = 'get'
  const store: CallbackStore = {
    get: (sid, callback) => (away === 'get' ? callback(new Error('away')) : void former.store.get(sid, callback)),
    set: (sid, value, callback) =>
      away === 'set' ? callback(new Error('away')) : void former.store.set(sid, value as never, callback),
    destroy: (sid, callback) => void former.store.destroy(sid, callback),
  }
  const { app, url } = await ours(t, { adopt: { store, secret: former.secret } })
  t.equal((await former.browser.get(`${url}/me`)).status, 503)
  away = 'set'
  t.equal((await former.browser.get(`${url}/me`)).status, 503)
  away = undefined
  t.same((await former.browser.get(`${url}/me`)).json(), { user: 'ada', basket: ['x'] })
  t.equal(await app.sessions.count(), 1, 'the one that had begun')
})

t.test('two instances that take over one session at the same moment take it over once', async (t) => {
  const ROUNDS = 20
  const target = await storageUrl(t, 'redis')
  for (let round = 0; round < ROUNDS; round++) {
    const former = await (round % 2 === 0 ? ofExpress : ofFastify)(t)
    // Both have read it before either has begun one of its own.
    let waiting: (() => void)[] = []
    const store: CallbackStore = {
      get: (sid, callback) =>
        void former.store.get(sid, (error?: unknown, found?: unknown) => {
          waiting.push(() => callback(error, found))
          if (waiting.length < 2) return
          for (const go of waiting) go()
          waiting = []
        }),
      set: (sid, value, callback) => void former.store.set(sid, value as never, callback),
      destroy: (sid, callback) => void former.store.destroy(sid, callback),
    }
    const name = `round-${round}`
    const created: string[] = []
    const urls: string[] = []
    const apps: FastifyInstance[] = []
    for (const key of ['x', 'y'] as const) {
      const app = Fastify()
      await app.register(storage, { storage: target })
      await app.register(session, { secret: SECRET, production: false, name, adopt: { store, secret: former.secret } })
      app.sessions.on('created', ({ handle }) => created.push(handle))
      app.get('/write', async ({ session }) => {
        session[key] = 1
        await session.save()
        return { user: session.user?.id ?? null, basket: session.basket ?? null }
      })
      app.get('/read', async ({ session }) => ({ user: session.user?.id ?? null, x: session.x, y: session.y }))
      await app.listen({ port: 0, host: '127.0.0.1' })
      urls.push(await addressOf(t, app.server))
      apps.push(app)
    }
    const windows = [former.browser.clone(), former.browser.clone()] as const
    const answers = await Promise.all(windows.map((window, n) => window.get(`${urls[n]}/write`)))
    for (const answer of answers) t.same(answer.json(), { user: 'ada', basket: ['x'] }, 'both are logged in')
    t.equal(new Set(windows.map(({ cookies }) => cookies.get(`${name}-sid`))).size, 1, 'in one session')
    t.equal(created.length, 1, 'which began once')
    t.same((await windows[0].get(`${urls[1]}/read`)).json(), { user: 'ada', x: 1, y: 1 }, 'and nothing is lost')
    const [app] = apps as [FastifyInstance]
    t.same(await app.sessions.list('ada').then(({ length }) => length), 1)
    t.equal(await app.sessions.count(), 1)

    await app.sessions.revokeUser('ada')
    const late = former.browser.clone()
    const reads = [late.get(`${urls[0]}/read`), former.browser.clone().get(`${urls[1]}/read`)]
    for (const read of await Promise.all(reads))
      t.match(read.json(), { user: null }, 'what was ended is not taken again')
    for (const one of apps) await one.close()
  }
})

t.test('one that another instance has taken over and ended meanwhile is no session', async (t) => {
  const former = await ofExpress(t)
  let read: (() => void) | undefined
  const slow: CallbackStore = {
    get: (sid, callback) =>
      void former.store.get(sid, (error?: unknown, found?: unknown) => (read = () => callback(error, found))),
    set: (sid, value, callback) => void former.store.set(sid, value as never, callback),
    destroy: (sid, callback) => void former.store.destroy(sid, callback),
  }
  const shared = new MemorySessionStore()
  const adopt = { secret: former.secret }
  const late = await ours(t, { store: shared, adopt: { ...adopt, store: slow } })
  const early = await ours(t, { store: shared, adopt: { ...adopt, store: former.store } })
  const pending = former.browser.clone().get(`${late.url}/me`)
  while (!read) await new Promise(setImmediate)
  const first = former.browser.clone()
  t.same((await first.get(`${early.url}/me`)).json(), { user: 'ada', basket: ['x'] })
  await first.get(`${early.url}/logout`)
  read()
  t.same((await pending).json(), { user: null, basket: null })
  t.equal(await early.app.sessions.count(), 0)
})

t.test('what to adopt from is checked at boot', async (t) => {
  for (const adopt of [
    { store: {}, secret: 'x' },
    { store: await redisStore(t) },
    { store: await redisStore(t), secret: [] },
  ]) {
    await t.rejects(ours(t, { adopt } as object), { code: 'STATEFUL_INVALID_OPTION' })
  }
})
