import { once } from 'node:events'
import express from 'express'
import expressSession, { type SessionOptions as ExpressOptions } from 'express-session'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { ExpressStore, type ExpressStoreOptions, sessionStoreOn } from '../../express.ts'
import { type SessionOptions, session } from '../../plugins/session/index.ts'
import type { SessionStore } from '../../plugins/session/stores/contract.ts'
import { state } from '../../plugins/state/index.ts'
import { storage } from '../../plugins/storage/index.ts'
import { sync } from '../../plugins/sync/index.ts'
import { syncRoutes } from '../../routes/sync/index.ts'
import { eventually } from '../fixtures/eventually.ts'
import { openSync } from '../fixtures/frames.ts'
import { addressOf, HttpBrowser } from '../fixtures/http-browser.ts'
import { SECRET } from '../fixtures/session-app.ts'
import { onEveryStorage, openTestStorage, storageUrl } from '../fixtures/storages.ts'

declare module 'fastify' {
  interface Session {
    basket?: string[]
  }
}
declare module 'express-session' {
  interface SessionData {
    basket: string[]
  }
}

interface Options {
  express?: Partial<ExpressOptions>
  expressStore?: ExpressStoreOptions
  fastify?: Partial<SessionOptions>
}

/** An Express application and one of ours, with one store, one secret and one cookie. */
async function bothOn(t: Test, store: SessionStore, options: Options = {}) {
  const app = Fastify()
  await app.register(session, {
    ...{ secret: SECRET, production: false, store },
    ...{ cookieName: 'connect.sid', cookiePrefix: 's:' },
    ...options.fastify,
  })
  app.get('/in', async (request) => {
    await request.login({ id: 'ada' })
    request.session.basket = ['fastify']
    return 'in'
  })
  app.get('/me', async ({ session }) => ({ user: session.user?.id ?? null, basket: session.basket ?? null }))
  app.get('/add', async ({ session }) => {
    session.basket = [...(session.basket ?? []), 'fastify']
    return 'added'
  })
  app.get('/out', async (request) => {
    await request.logout()
    return 'out'
  })
  await app.listen({ port: 0, host: '127.0.0.1' })

  const other = express()
  const expressStore = new ExpressStore({ store, ...options.expressStore })
  other.use(
    expressSession({
      secret: SECRET,
      store: expressStore,
      resave: false,
      saveUninitialized: false,
      ...options.express,
    }),
  )
  other.get('/in', (req, res, next) =>
    req.session.regenerate((error) => {
      if (error) return next(error)
      Object.assign(req.session, { user: { id: 'ada' }, basket: ['express'] })
      res.send('in')
    }),
  )
  other.get('/me', ({ session }, res) => {
    const { user, basket } = session as { user?: { id: string }; basket?: string[] }
    res.json({ user: user?.id ?? null, basket: basket ?? null })
  })
  other.get('/add', ({ session }, res) => {
    session.basket = [...(session.basket ?? []), 'express']
    res.send('added')
  })
  other.get('/out', (req, res, next) => req.session.destroy((error) => (error ? next(error) : res.send('out'))))
  return {
    app,
    fastify: await addressOf(t, app.server),
    express: await addressOf(t, other.listen(0, '127.0.0.1')),
  }
}

t.test('Express and Fastify share one session', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const storage = await openTestStorage(t, await storageUrl(t, kind))
    const { app, fastify, express } = await bothOn(t, sessionStoreOn(storage))

    await t.test('that Express began', async (t) => {
      const browser = new HttpBrowser()
      await browser.get(`${express}/in`)
      const begun = browser.cookies.get('connect.sid')
      t.same((await browser.get(`${fastify}/me`)).json(), { user: 'ada', basket: ['express'] })
      t.equal(browser.cookies.get('connect.sid'), begun, 'reading it changes nothing')
      await browser.get(`${express}/add`)
      t.same((await browser.get(`${fastify}/me`)).json(), { user: 'ada', basket: ['express', 'express'] })

      const former = browser.clone()
      await browser.get(`${fastify}/add`)
      t.equal((await app.sessions.list('ada')).length, 1, 'once our plugin saves it, it is in the list of its user')
      const basket = ['express', 'express', 'fastify']
      t.same((await browser.get(`${express}/me`)).json(), { user: 'ada', basket })
      t.same((await former.get(`${express}/me`)).json(), { user: null, basket: null }, 'under a fresh id')
      await browser.get(`${express}/add`)
      t.same((await browser.get(`${fastify}/me`)).json(), { user: 'ada', basket: [...basket, 'express'] })
      const late = browser.clone()
      await browser.get(`${fastify}/out`)
      t.same((await late.get(`${express}/me`)).json(), { user: null, basket: null })
    })

    await t.test('that Fastify began', async (t) => {
      const browser = new HttpBrowser()
      await browser.get(`${fastify}/in`)
      const begun = browser.cookies.get('connect.sid')
      t.same((await browser.get(`${express}/me`)).json(), { user: 'ada', basket: ['fastify'] })
      await browser.get(`${express}/add`)
      await browser.get(`${fastify}/add`)
      const basket = ['fastify', 'express', 'fastify']
      t.same((await browser.get(`${express}/me`)).json(), { user: 'ada', basket })
      t.equal(browser.cookies.get('connect.sid'), begun)
      t.equal((await app.sessions.list('ada')).length, 1)
      const late = browser.clone()
      await browser.get(`${express}/out`)
      t.same((await late.get(`${fastify}/me`)).json(), { user: null, basket: null })
      t.equal((await app.sessions.list('ada')).length, 0)
    })

    await t.test('by whatever id Express gives it', async (t) => {
      for (let n = 0; n < 64; n++) {
        const browser = new HttpBrowser()
        await browser.get(`${express}/in`)
        t.match((await browser.get(`${fastify}/me`)).json(), { user: 'ada' })
      }
    })

    await t.test('and what revokes it in Fastify ends it in Express', async (t) => {
      const browser = new HttpBrowser()
      await browser.get(`${fastify}/in`)
      await app.sessions.revokeUser('ada')
      t.same((await browser.get(`${express}/me`)).json(), { user: null, basket: null })
    })
  }),
)

t.test('what Express ends is told to every instance of ours, and closes its sockets', async (t) => {
  const target = await storageUrl(t, 'redis')
  // Two connections as of two processes, and a third beside Express on Express's own.
  const opened = await openTestStorage(t, target)
  const { app: beside, express } = await bothOn(t, sessionStoreOn(opened))
  const other = Fastify()
  t.teardown(() => other.close())
  await other.register(storage, { storage: target })
  await other.register(session, { secret: SECRET, production: false, cookieName: 'connect.sid', cookiePrefix: 's:' })
  await other.register(state)
  await other.register(sync)
  await other.register(syncRoutes)
  await other.listen({ port: 0, host: '127.0.0.1' })
  const url = await addressOf(t, other.server)

  const told = [beside, other].map((app) => {
    const events: object[] = []
    app.sessions.on('revoked', (event) => events.push(event))
    return events
  })
  const browser = new HttpBrowser()
  await browser.get(`${express}/in`)
  const cookie = `connect.sid=${browser.cookies.get('connect.sid')}`
  const watcher = await openSync(t, url, cookie)
  await watcher.next('fullSync')
  for (const events of told) events.length = 0
  const closed = once(watcher.socket, 'close')
  await browser.get(`${express}/out`)
  t.equal((await closed)[0], 4401)
  await eventually(() => told.every(({ length }) => length === 1))
  for (const [event] of told) t.match(event, { handle: String, reason: 'logout' })
})

t.test('each keeps its lifetime: a use in one is no less of a use than one in the other', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const storage = await openTestStorage(t, await storageUrl(t, kind))
    const store = sessionStoreOn(storage)
    const idle = 30 * 60_000
    const { app, fastify, express } = await bothOn(t, store, { fastify: { idle, touch: 0 } })
    const browser = new HttpBrowser()
    await browser.get(`${fastify}/in`)
    const [begun] = await app.sessions.list('ada')
    const expiry = async () => (await app.sessions.get(begun?.handle as string))?.expiresAt.getTime() ?? 0
    const first = await expiry()
    await browser.get(`${express}/me`)
    await browser.get(`${express}/add`)
    const second = await expiry()
    t.ok(second >= first && second < first + 60_000, 'Express prolongs it as Fastify does, not by its own day')
    await browser.get(`${fastify}/me`)
    t.match((await browser.get(`${fastify}/me`)).json(), { user: 'ada' })
  }),
)

t.test('encrypted by both', async (t) => {
  const storage = await openTestStorage(t, 'memory:')
  const encryption = `${SECRET}-encryption`
  const options = { expressStore: { encryption }, fastify: { encryption } }
  const { fastify, express } = await bothOn(t, sessionStoreOn(storage), options)
  const browser = new HttpBrowser()
  await browser.get(`${express}/in`)
  await browser.get(`${fastify}/add`)
  t.same((await browser.get(`${express}/me`)).json(), { user: 'ada', basket: ['express', 'fastify'] })
})

t.test('a cookie of Express with an end of its own', async (t) => {
  const storage = await openTestStorage(t, 'memory:')
  const maxAge = 3_600_000
  const { fastify, express } = await bothOn(t, sessionStoreOn(storage), { express: { cookie: { maxAge } } })
  const browser = new HttpBrowser()
  await browser.get(`${express}/in`)
  await browser.get(`${fastify}/add`)
  await browser.get(`${express}/add`)
  t.same((await browser.get(`${fastify}/me`)).json(), { user: 'ada', basket: ['express', 'fastify', 'express'] })
})
