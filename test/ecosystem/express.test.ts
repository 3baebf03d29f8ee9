import express, { type ErrorRequestHandler } from 'express'
import expressSession, { type SessionOptions } from 'express-session'
import t, { type Test } from 'tap'
import { ExpressStore, type ExpressStoreOptions, sessionStoreOn } from '../../express.ts'
import { MemorySessionStore } from '../../plugins/session/index.ts'
import { addressOf, HttpBrowser } from '../fixtures/http-browser.ts'
import { SECRET } from '../fixtures/session-app.ts'
import { onEveryStorage, openTestStorage, storageUrl } from '../fixtures/storages.ts'

declare module 'express-session' {
  interface SessionData {
    n: number
    user: { id: string }
  }
}

async function expressOn(t: Test, store: ExpressStore, options: Partial<SessionOptions> = {}): Promise<string> {
  const app = express()
  app.use(expressSession({ secret: SECRET, store, resave: false, saveUninitialized: false, ...options }))
  app.get('/count', ({ session }, res) => {
    session.n = (session.n ?? 0) + 1
    res.json({ n: session.n })
  })
  app.get('/me', ({ session }, res) => void res.json({ n: session.n ?? null, maxAge: session.cookie.originalMaxAge }))
  app.get('/regenerate', (req, res, next) =>
    req.session.regenerate((error) => {
      if (error) return next(error)
      req.session.n = 100
      res.json({ id: req.sessionID })
    }),
  )
  app.get('/reload', (req, res, next) => {
    req.session.n = -1
    req.session.reload((error) => (error ? next(error) : res.json({ n: req.session.n })))
  })
  app.get('/save', (req, res, next) => {
    req.session.n = 7
    req.session.save((error) => (error ? next(error) : res.json({ n: 7 })))
  })
  app.get('/destroy', (req, res, next) => req.session.destroy((error) => (error ? next(error) : res.json({}))))
  const failed: ErrorRequestHandler = (error, _req, res, _next) => {
    res.status(error.statusCode ?? 500).json({ message: error.message })
  }
  app.use(failed)
  return addressOf(t, app.listen(0, '127.0.0.1'))
}

t.test('an Express application keeps its sessions in our store', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const storage = await openTestStorage(t, await storageUrl(t, kind))
    const store = new ExpressStore({ store: sessionStoreOn(storage) })
    const url = await expressOn(t, store)
    const browser = new HttpBrowser()
    t.same((await browser.get(`${url}/count`)).json(), { n: 1 })
    t.same((await browser.get(`${url}/count`)).json(), { n: 2 })
    t.same((await browser.get(`${url}/reload`)).json(), { n: 2 })
    t.same((await browser.get(`${url}/save`)).json(), { n: 7 })
    const former = browser.clone()
    await browser.get(`${url}/regenerate`)
    t.not(browser.cookies.get('connect.sid'), former.cookies.get('connect.sid'))
    t.same((await browser.get(`${url}/count`)).json(), { n: 101 })
    t.same((await former.get(`${url}/me`)).json(), { n: null, maxAge: null }, 'the former id is worth nothing')

    t.equal(await store.length(), 1)
    const window = browser.clone()
    await browser.get(`${url}/destroy`)
    t.equal(await store.length(), 0)
    t.same((await window.get(`${url}/me`)).json(), { n: null, maxAge: null })
  }),
)

t.test('a restart of the application ends no session, whatever class it is made of', async (t) => {
  const store = new MemorySessionStore()
  const cookie = { maxAge: 60_000, httpOnly: true }
  const browser = new HttpBrowser()
  await browser.get(`${await expressOn(t, new ExpressStore({ store }), { cookie })}/count`)
  let generated = 0
  const genid = () => `id-${generated++}`
  const url = await expressOn(t, new ExpressStore({ store }), { cookie, genid })
  t.same((await browser.get(`${url}/me`)).json(), { n: 1, maxAge: 60_000 })
  await browser.get(`${url}/count`)
  t.same((await browser.get(`${url}/me`)).json(), { n: 2, maxAge: 60_000 })
  t.equal(generated, 1, 'an id is made once to learn what express-session makes sessions of')
})

t.test('a session by its id, for a socket or a script', async (t) => {
  const store = new ExpressStore()
  await store.set('of-a-socket', { n: 1, cookie: { originalMaxAge: null, expires: null } })
  await t.rejects(load(store, 'of-a-socket'), /express-session/, 'nobody knows yet what it is made of')
  expressSession({ secret: SECRET, store, resave: false, saveUninitialized: false })
  const session = await load(store, 'of-a-socket')
  t.match(session, { n: 1, id: 'of-a-socket' })
  t.equal(typeof session?.touch, 'function')
  t.equal(await load(store, 'unknown'), undefined)
})

function load(store: ExpressStore, sid: string) {
  return new Promise<(expressSession.Session & Record<string, unknown>) | undefined>((resolve, reject) => {
    store.load<expressSession.Session & Record<string, unknown>>(sid, (error, session) =>
      error ? reject(error) : resolve(session),
    )
  })
}

t.test('what cannot be kept, and a store that is away, fail the request and nothing else', async (t) => {
  const memory = new MemorySessionStore()
  const store = new ExpressStore({ store: memory })
  const url = await expressOn(t, store)
  const browser = new HttpBrowser()
  await browser.get(`${url}/count`)
  memory.load = () => Promise.reject(new Error('away'))
  t.equal((await browser.get(`${url}/me`)).status, 503)
  t.equal((await new HttpBrowser().get(`${url}/me`)).status, 200)
})

t.test('sessions that have expired do not stay in memory', async (t) => {
  const memory = new MemorySessionStore()
  const options: ExpressStoreOptions = { store: memory }
  const swept: number[] = []
  const sweep = memory.sweep.bind(memory)
  memory.sweep = async (now, limit) => {
    const gone = await sweep(now, limit)
    swept.push(gone.length)
    return gone
  }
  const store = new ExpressStore(options)
  await store.set('a', { cookie: {} })
  await store.set('b', { cookie: {} })
  t.same(swept, [0], 'at most once a minute')
})

t.test('what is kept can be encrypted', async (t) => {
  const memory = new MemorySessionStore()
  const store = new ExpressStore({ store: memory, encryption: SECRET })
  await store.set('a', { secretly: 'hidden', cookie: {} })
  t.match(await store.get('a'), { secretly: 'hidden' })
  t.notMatch(JSON.stringify(await memory.all(Date.now())), /hidden/)
  t.equal(await new ExpressStore({ store: memory }).get('a'), null)
  t.throws(() => new ExpressStore({ encryption: 'short' }), { code: 'STATEFUL_INVALID_OPTION' })
})
