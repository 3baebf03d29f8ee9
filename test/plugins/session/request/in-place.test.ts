import { randomBytes, randomUUID } from 'node:crypto'
import fastifyCookie from '@fastify/cookie'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { type SessionOptions, session } from '../../../../plugins/session/index.ts'
import type { CallbackStore } from '../../../../plugins/session/stores/callback.ts'
import { idOf } from '../../../../plugins/session/token.ts'
import { ManualClock } from '../../../../plugins/support/manual-clock.ts'
import { Browser, SECRET } from '../../../fixtures/session-app.ts'

declare module 'fastify' {
  interface Session {
    visits?: number
    kept?: string
  }
}

/** Our plugin as one registers @fastify/session: with @fastify/cookie, and nothing else of ours. */
async function plainApp(
  t: Test,
  options: Partial<SessionOptions> = {},
  routes: (app: FastifyInstance) => void = () => {},
): Promise<FastifyInstance> {
  const app = Fastify({ trustProxy: true })
  t.teardown(() => app.close())
  await app.register(fastifyCookie)
  await app.register(session, { secret: SECRET, production: false, ...options })
  app.get('/count', async ({ session }) => {
    session.set('visits', (session.get('visits') ?? 0) + 1)
    return { visits: session.visits, id: session.sessionId }
  })
  app.get('/read', async ({ session }) => ({ visits: session.visits ?? null, kept: session.kept ?? null }))
  routes(app)
  await app.ready()
  return app
}

/** A store as express-session and @fastify/session want one; counts what it is asked. */
function callbackStore() {
  const kept = new Map<string, string>()
  const calls = { get: 0, set: 0, destroy: 0 }
  const store: CallbackStore = {
    get(sid, callback) {
      calls.get++
      setImmediate(() => callback(null, JSON.parse(kept.get(sid) ?? 'null')))
    },
    set(sid, value, callback) {
      calls.set++
      kept.set(sid, JSON.stringify(value))
      setImmediate(callback)
    },
    destroy(sid, callback) {
      calls.destroy++
      kept.delete(sid)
      setImmediate(callback)
    },
  }
  return { store, kept, calls }
}

t.test('it needs nothing but @fastify/cookie, and not even that', async (t) => {
  const browser = new Browser(await plainApp(t))
  t.match((await browser.get('/count')).json(), { visits: 1 })
  t.match((await browser.get('/count')).json(), { visits: 2 })
  const alone = Fastify()
  t.teardown(() => alone.close())
  await alone.register(session, { secret: [SECRET] })
  await alone.ready()
})

t.test('the API of request.session, by promise and by callback', async (t) => {
  const done = (run: (callback: (error?: unknown) => void) => void) =>
    new Promise<void>((resolve, reject) => run((error) => (error ? reject(error) : resolve())))
  const app = await plainApp(t, {}, (app) => {
    app.get('/save', async ({ session }) => {
      session.kept = 'saved'
      t.equal(session.isModified(), true)
      t.equal(session.isSaved(), false)
      await session.save()
      t.equal(session.isSaved(), true)
      t.equal(session.isModified(), false)
      session.kept = 'never mind'
      await session.reload()
      return 'ok'
    })
    app.get('/reload', async (request) => {
      request.session.kept = 'lost'
      await done((callback) => request.session.reload(callback as () => void))
      return { kept: request.session.kept }
    })
    app.get('/regenerate', async (request) => {
      const before = request.session.sessionId
      await request.session.regenerate(['kept'])
      const between = request.session.sessionId
      await done((callback) => request.session.regenerate(['kept'], callback as () => void))
      t.equal(new Set([before, between, request.session.sessionId]).size, 3)
      return { kept: request.session.kept, visits: request.session.visits ?? null }
    })
    app.get('/touch', async ({ session }) => {
      session.touch()
      await session.save()
      return { expires: session.cookie.expires, encrypted: session.encryptedSessionId.startsWith(session.sessionId) }
    })
    app.get('/destroy', async ({ session }) => {
      await done((callback) => session.destroy(callback as () => void))
      return 'gone'
    })
  })
  const browser = new Browser(app)
  await browser.get('/save')
  t.same((await browser.get('/read')).json(), { visits: null, kept: 'saved' })
  t.same((await browser.get('/reload')).json(), { kept: 'saved' })
  await browser.get('/count')
  const old = browser.clone()
  t.same((await browser.get('/regenerate')).json(), { kept: 'saved', visits: null })
  t.same((await old.get('/read')).json(), { visits: null, kept: null }, 'the former is no more')
  t.match((await browser.get('/touch')).json(), { expires: String, encrypted: true })
  await browser.get('/destroy')
  t.equal(browser.cookies.size, 0)
})

t.test('decryptSession and request.sessionStore', async (t) => {
  const app = await plainApp(t, {}, (app) => {
    app.get('/put', async ({ sessionStore }) => {
      const put = { kept: 'put', cookie: { originalMaxAge: 60_000 } }
      await new Promise((resolve) => sessionStore.set('an-id-of-its-own', put as never, resolve))
      await new Promise((resolve) => sessionStore.set('over', { cookie: { expires: new Date(0) } } as never, resolve))
      return 'put'
    })
  })
  const browser = new Browser(app)
  await browser.get('/count')
  const [, signed] = [...browser.cookies][0] as [string, string]
  const decrypt = (cookie: string) =>
    new Promise<FastifyRequest['session']>((resolve, reject) => {
      const request = {} as FastifyRequest
      app.decryptSession(cookie, request, (error?: Error) => (error ? reject(error) : resolve(request.session)))
    })
  const found = await decrypt(signed)
  t.equal(found.visits, 1)
  t.same(
    Object.keys(found).filter((key) => key !== 'cookie'),
    ['visits'],
  )
  found.visits = 7
  await found.save()
  t.match((await browser.get('/read')).json(), { visits: 7 }, 'and saved')
  t.equal((await decrypt(`${signed}x`)).visits, undefined)

  const ended = new Browser(app)
  await ended.get('/count')
  const late = await decrypt(([...ended.cookies][0] as [string, string])[1])
  await app.sessions.revoke(idOf(late.sessionId))
  late.visits = 8
  await t.rejects(late.save(), { code: 'STATEFUL_SESSION_REVOKED' }, 'nor is an ended one brought back')
  t.match((await ended.get('/read')).json(), { visits: null })

  await browser.get('/put')
  t.equal(await app.sessions.count(), 2, 'what has expired was not stored')
})

t.test('a store of express-session: one read, and a write when something changed', async (t) => {
  const { store, kept, calls } = callbackStore()
  const app = await plainApp(t, { store })
  const browser = new Browser(app)
  t.match((await browser.get('/count')).json(), { visits: 1 })
  t.same(calls, { get: 0, set: 1, destroy: 0 })
  const [[key, record]] = [...kept] as [[string, string]]
  t.notMatch(browser.cookie, key, 'it knows the hash of the id only')
  t.match(JSON.parse(record), { cookie: { expires: String, originalMaxAge: Number } }, 'and how long to keep it')
  t.match((await browser.get('/count')).json(), { visits: 2 })
  t.same(calls, { get: 2, set: 2, destroy: 0 })
  await browser.get('/read')
  t.same(calls, { get: 3, set: 2, destroy: 0 })

  const slow = browser.clone()
  await app.sessions.revoke((await app.sessions.list('nobody'))[0]?.handle ?? key)
  t.equal(kept.size, 0)
  t.match((await slow.get('/count')).json(), { visits: 1 }, 'what has ended is no session, and no obstacle')
  t.notOk(kept.has(key))
})

t.test('what is no store is refused', async (t) => {
  const store = { get() {}, set() {} } as unknown as CallbackStore
  await t.rejects(plainApp(t, { store }), { code: 'STATEFUL_INVALID_OPTION' })
})

t.test('rolling sends the cookie with each answer, and writes once', async (t) => {
  const { store, calls } = callbackStore()
  const browser = new Browser(await plainApp(t, { store, rolling: true }))
  await browser.get('/count')
  const answer = await browser.get('/read')
  t.ok(answer.headers['set-cookie'])
  t.equal(calls.set, 2)
  await browser.get('/count')
  t.equal(calls.set, 3)
})

t.test('an id generator of the application', async (t) => {
  let serial = 0
  const idGenerator = (request?: FastifyRequest) => `custom-${request?.ip ?? ''}-${serial++}`
  const app = await plainApp(t, { idGenerator }, (app) => {
    app.get('/login', async (request) => {
      await request.login({ id: 'ada' })
      return { id: request.session.sessionId }
    })
  })
  const browser = new Browser(app)
  const { id } = (await browser.get('/count')).json()
  t.match(id, /^custom-127\.0\.0\.1-\d+$/)
  t.match((await browser.get('/count')).json(), { visits: 2, id })
  const after = (await browser.get('/login')).json().id
  t.match(after, /^[0-9a-f]{2}custom-/, 'with the bucket of the user before it')
  t.match((await browser.get('/count')).json(), { visits: 3, id: after })
  t.equal((await app.sessions.list('ada')).length, 1)
})

t.test('options of one session stay with it, and with no other', async (t) => {
  const clock = new ManualClock()
  const app = await plainApp(t, { clock, idle: '30m', touch: '1m' }, (app) => {
    app.get('/remember', async ({ session }) => {
      session.kept = 'x'
      session.cookie.maxAge = 7 * 24 * 3_600_000
      session.cookie.sameSite = 'strict'
      return 'ok'
    })
    app.get('/short', async ({ session }) => {
      session.kept = 'x'
      session.options({ maxAge: 60_000 })
      return 'ok'
    })
    app.get('/only', async ({ session }) => {
      session.cookie.maxAge = 5
      return 'ok'
    })
  })
  const browser = new Browser(app)
  await browser.get('/remember')
  clock.advance(120_000)
  const [cookie] = (await browser.get('/count')).cookies
  t.match(cookie, { sameSite: 'Strict' })
  t.ok(Math.abs((cookie?.expires?.getTime() ?? 0) - Date.now() - 7 * 24 * 3_600_000) < 60_000)
  const [other] = (await new Browser(app).get('/count')).cookies
  t.match(other, { sameSite: 'Lax' })

  const short = new Browser(app)
  await short.get('/short')
  clock.advance(59_999)
  t.match((await short.clone().get('/read')).json(), { kept: 'x' })
  clock.advance(60_000)
  t.match((await short.clone().get('/read')).json(), { kept: null }, 'a session lives no longer than its cookie')
  t.equal((await new Browser(app).get('/only')).headers['set-cookie'], undefined, 'options alone begin no session')
})

t.test('a cookie until the browser closes, one until a date, and a partitioned one', async (t) => {
  const lineOf = async (cookie: SessionOptions['cookie']) => {
    const app = await plainApp(t, { cookie: cookie ?? {} })
    const headers = { 'x-forwarded-proto': 'https' }
    return String((await app.inject({ url: '/count', headers })).headers['set-cookie'])
  }
  t.notMatch(await lineOf({ maxAge: null }), /Expires|Max-Age/)
  t.match(await lineOf({ expires: new Date(Date.UTC(2099, 0, 1)) }), /Expires=Thu, 01 Jan 2099/)
  t.match(
    await lineOf({ secure: true, sameSite: 'none', partitioned: true } as SessionOptions['cookie']),
    /Partitioned/,
  )
})

t.test('a cookie whose end lies in the past makes the browser drop what it has', async (t) => {
  const ended: string[] = []
  const app = await plainApp(t, {}, (app) => {
    app.sessions.on('revoked', ({ reason }) => ended.push(`${reason}`))
    app.get('/drop', async ({ session }) => {
      session.visits = 1
      session.cookie.expires = new Date(0)
      session.cookie.originalMaxAge = null
      return 'dropped'
    })
    app.get('/twice', async ({ session }) => {
      session.visits = 1
      session.options({ expires: new Date(0), maxAge: undefined as never })
      await session.save()
      await session.regenerate(['visits'])
      return 'dropped'
    })
    app.get('/login', async (request) => {
      request.session.cookie.maxAge = -1
      await request.login({ id: 'ada' })
      return 'in'
    })
  })
  t.match((await app.inject('/drop')).headers['set-cookie'], /^sid=[^;]+; .*Expires=Thu, 01 Jan 1970/)
  t.match((await app.inject('/twice')).headers['set-cookie'], /^sid=[^;]+; .*Expires=Thu, 01 Jan 1970/)
  t.equal(await app.sessions.count(), 0, 'nobody could come back with it')

  for (const url of ['/drop', '/login']) {
    const browser = new Browser(app)
    await browser.get('/count')
    const former = browser.clone()
    t.equal((await browser.get(url)).statusCode, 200)
    t.equal(browser.cookies.size, 0, url)
    t.match((await former.get('/read')).json(), { visits: null }, url)
  }
  t.same(ended, ['expired', 'expired'])
})

t.test('a store of the application speaks to it in its own words, and to nobody else', async (t) => {
  let failing = true
  const failure = Object.assign(new Error('tenant 7 is over its quota'), { code: 'QUOTA' })
  const fail = (callback: (error?: unknown) => void) => setImmediate(callback, failing ? failure : undefined)
  const store: CallbackStore = {
    get: (_sid, callback) => fail(callback),
    set: (_sid, _session, callback) => fail(callback),
    destroy: (_sid, callback) => fail(callback),
  }
  const calls = ['save', 'reload', 'regenerate', 'destroy'] as const
  const app = await plainApp(t, { store, saveUninitialized: true }, (app) => {
    app.get<{ Querystring: { call: (typeof calls)[number] } }>('/caught', async ({ session, query }) => {
      const error = await session[query.call]().then(
        () => undefined,
        (error: Error & { code: string; statusCode: number }) => error,
      )
      failing = false
      return { message: error?.message, code: error?.code, status: error?.statusCode, cause: error?.cause === failure }
    })
    app.get<{ Querystring: { call: (typeof calls)[number] } }>('/let-go', async ({ session, query }) => {
      await session[query.call]()
    })
  })
  for (const call of calls) {
    failing = true
    const { message } = failure
    const caught = await app.inject({ url: '/caught', query: { call } })
    t.same(caught.json(), { message, code: 'STATEFUL_STORAGE_UNAVAILABLE', status: 503, cause: true }, call)
    failing = true
    const letGo = await app.inject({ url: '/let-go', query: { call } })
    t.equal(letGo.statusCode, 503, call)
    t.match(letGo.json().message, /^The storage did not answer \(sessions\)/, "Fastify's own handler sends messages")
    t.notMatch(letGo.body, /quota/, call)
  }
})

t.test('what was put into the store under the id of a session is found and ended by it', async (t) => {
  const app = await plainApp(t, {}, (app) => {
    app.get<{ Querystring: { then: 'reload' | 'destroy' } }>('/put', async (request) => {
      const { session, sessionStore } = request
      const { sessionId } = session
      const put = { visits: 5, cookie: { originalMaxAge: 60_000 } }
      await new Promise((resolve) => sessionStore.set(sessionId, put as never, resolve))
      await session[request.query.then]()
      return { visits: request.session?.visits ?? null }
    })
  })
  t.same((await app.inject('/put?then=reload')).json(), { visits: 5 })
  t.equal(await app.sessions.count(), 1)
  t.same((await app.inject('/put?then=destroy')).json(), { visits: null })
  t.equal(await app.sessions.count(), 1)

  const { store, calls } = callbackStore()
  const asked = await plainApp(t, { store }, (app) => {
    app.get('/untold', async (request) => {
      await request.session.reload()
      await request.session.destroy()
      return { session: request.session }
    })
  })
  t.same((await asked.inject('/untold')).json(), { session: null })
  t.same(calls, { get: 0, set: 0, destroy: 0 }, 'an id that nobody was told asks nothing')
})

t.test('a reply that is sent and then returned from has its cookie', async (t) => {
  const app = await plainApp(t, {}, (app) => {
    app.get('/sent', async ({ session }, reply) => {
      session.visits = 1
      reply.send('sent')
    })
  })
  const browser = new Browser(app)
  t.equal((await browser.get('/sent')).body, 'sent')
  t.match((await browser.get('/count')).json(), { visits: 2 })
})

t.test('a regenerate of a session that is not stored yet gives another id, by a generator that sees it', async (t) => {
  const idGenerator = ({ session }: Pick<FastifyRequest, 'session'>) => `${session?.visits ?? 'new'}-${randomUUID()}`
  const options = { saveUninitialized: true, idGenerator } as Partial<SessionOptions>
  const app = await plainApp(t, options, (app) => {
    app.get('/regenerate', async ({ session }) => {
      const { sessionId } = session
      session.visits = 7
      await session.regenerate()
      return { before: sessionId, after: session.sessionId }
    })
  })
  const { before, after } = (await app.inject('/regenerate')).json()
  t.match(before, /^new-/)
  t.match(after, /^7-/)
})

t.test('what neither signs nor is a secret is refused', async (t) => {
  for (const secret of [randomBytes(32), { sign: () => '' }, { unsign: () => ({}) }, {}, undefined]) {
    await t.rejects(plainApp(t, { secret } as object), {
      code: 'STATEFUL_INVALID_OPTION',
      message:
        'the secret option is required, and must be a String, Array of Strings, or a signer object with .sign and .unsign methods',
    })
  }
  await t.rejects(plainApp(t, { secret: [] }), {
    code: 'STATEFUL_INVALID_OPTION',
    message: 'at least one secret is required',
  })
})
