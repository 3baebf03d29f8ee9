import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { type SessionOptions, session } from '../../../../plugins/session/index.ts'
import { storage } from '../../../../plugins/storage/index.ts'
import { ManualClock } from '../../../../plugins/support/manual-clock.ts'
import { Browser, SECRET } from '../../../fixtures/session-app.ts'
import { onEveryStorage, type StorageKind, storageUrl } from '../../../fixtures/storages.ts'

type Handler = (request: FastifyRequest, reply: FastifyReply) => unknown
type Loose = Record<string, unknown>
const loose = (request: FastifyRequest) => request.session as unknown as Loose
const DAY = 24 * 3_600_000

interface Setup {
  kind?: StorageKind
  options?: Partial<SessionOptions>
  before?: (app: FastifyInstance) => void
}

async function serve(t: Test, handlers: Record<string, Handler>, { kind = 'memory', options, before }: Setup = {}) {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(storage, { storage: await storageUrl(t, kind) })
  before?.(app)
  await app.register(session, { secret: SECRET, production: false, ...options })
  const all: Record<string, Handler> = {
    read: async (request) => ({ ...(request.session as object) }),
    id: async ({ session }) => session.sessionId,
    login: async (request) => {
      await request.login({ id: 'ada' })
      return 'in'
    },
    count: async (request) => {
      loose(request)['n'] = ((loose(request)['n'] as number | undefined) ?? 0) + 1
      return 'counted'
    },
    ...handlers,
  }
  for (const [name, handler] of Object.entries(all)) app.get(`/${name}`, handler as never)
  await app.ready()
  return app
}

t.test('what ended before the request came is no session, and no obstacle', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const app = await serve(t, {}, { kind })
    for (const next of ['/count', '/login', '/read']) {
      const browser = new Browser(app)
      await browser.get('/login')
      await app.sessions.revokeUser('ada')
      const response = await browser.get(next)
      t.equal(response.statusCode, 200, next)
      t.match(response.cookies, [{ name: 'sid', value: next === '/read' ? '' : /./ }], next)
      const values = (await browser.get('/read')).json()
      t.same(values, { '/count': { n: 1 }, '/login': { user: { id: 'ada' } }, '/read': {} }[next], next)
    }
  }),
)

t.test('what was replaced is no session; a login may follow, and a count does not cost the newer cookie', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const app = await serve(t, {}, { kind })
    const browser = new Browser(app)
    await browser.get('/count')
    const [counting, again] = [browser.clone(), browser.clone()]
    await browser.get('/login')
    const counted = await counting.get('/count')
    t.match([counted.statusCode, counted.headers['set-cookie']], [200, undefined])
    await again.get('/login')
    t.same((await again.get('/read')).json(), { user: { id: 'ada' } })
    t.same((await browser.get('/read')).json(), { n: 1, user: { id: 'ada' } })
    t.equal((await app.sessions.list('ada')).length, 2)
  }),
)

t.test('ends of a session, and what may follow in the same request', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const ends: Record<string, Handler> = {
      null: async (request) => {
        request.session = null as never
      },
      undefined: async (request) => {
        request.session = undefined as never
      },
      destroy: (request) => request.session.destroy(),
      'destroy that nobody waits for': async (request) => {
        request.session.destroy()
      },
      logout: (request) => request.logout(),
      'logout that nobody waits for': async (request) => {
        request.logout()
      },
    }
    const handlers: Record<string, Handler> = {}
    for (const [name, end] of Object.entries(ends)) {
      handlers[name] = async (request) => {
        await end(request, undefined as never)
        return 'ended'
      }
      handlers[`${name} and a login`] = async (request) => {
        await end(request, undefined as never)
        await request.login('grace')
        return 'in again'
      }
    }
    const app = await serve(t, handlers, { kind })
    for (const name of Object.keys(handlers)) {
      const browser = new Browser(app)
      await browser.get('/login')
      const before = browser.clone()
      const response = await browser.get(`/${encodeURIComponent(name)}`)
      t.equal(response.statusCode, 200, name)
      t.same((await before.get('/read')).json(), {}, `${name}: the old cookie is worth nothing`)
      const again = name.endsWith('login')
      t.equal(browser.cookies.size, again ? 1 : 0, name)
      t.same((await browser.get('/read')).json(), again ? { user: 'grace' } : {}, name)
      const clears = response.headers['clear-site-data'] !== undefined
      t.equal(clears, name.startsWith('logout') && !again, `${name}: only a logout clears what the browser keeps`)
    }
    t.same(await app.sessions.list('ada'), [])
  }),
)

t.test('a regenerate that nobody waits for keeps what is written after it', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const app = await serve(
      t,
      {
        regenerate: async (request) => {
          request.session.regenerate()
          loose(request)['fresh'] = true
          return request.session.sessionId
        },
        twice: async (request) => {
          request.session.regenerate(['n'])
          request.session.regenerate(['n'])
          return 'twice'
        },
      },
      { kind },
    )
    const browser = new Browser(app)
    await browser.get('/count')
    const before = browser.clone()
    await browser.get('/regenerate')
    t.not(browser.cookie, before.cookie)
    t.same((await browser.get('/read')).json(), { fresh: true })
    t.same((await before.get('/read')).json(), {})
    await browser.get('/count')
    await browser.get('/twice')
    t.same((await browser.get('/read')).json(), { n: 1 })
    t.equal(await app.sessions.count(), 1)
  }),
)

t.test('a login that nobody waits for and that fails, fails the request', async (t) => {
  const app = await serve(
    t,
    {
      lost: async (request) => {
        // Not done yet when the reply is sent: another one stands before it.
        request.session.save()
        request.login({ name: 'without an id' })
        return 'in'
      },
    },
    {},
  )
  t.match(await app.inject('/lost'), { statusCode: 500 })
})

t.test('what an error handler writes is kept, what the failed handler changed is not', async (t) => {
  for (const kind of ['memory', 'redis'] as const) {
    const fails: Record<string, Handler> = {
      throws: async (request) => {
        Object.assign(request.session, { half: 1, n: 99 })
        delete loose(request)['kept']
        throw new Error('no')
      },
      sends: async (request, reply) => {
        loose(request)['half'] = 1
        return reply.send(new Error('no'))
      },
      'saves before': async (request) => {
        loose(request)['saved'] = 1
        await request.session.save()
        loose(request)['half'] = 1
        throw new Error('no')
      },
    }
    for (const saveOnError of [false, true]) {
      const app = await serve(t, {}, { kind, options: { saveOnError } })
      await app.close()
      const again = Fastify()
      t.teardown(() => again.close())
      await again.register(storage, { storage: await storageUrl(t, kind) })
      await again.register(session, { secret: SECRET, production: false, saveOnError })
      again.setErrorHandler((error, request, reply) => {
        const failures = (loose(request)['failures'] as number | undefined) ?? 0
        Object.assign(request.session, { failures: failures + 1, flash: (error as Error).message })
        return reply.redirect('/form')
      })
      again.get('/begin', async (request) => {
        Object.assign(request.session, { kept: { a: 1 }, n: 1 })
        return 'begun'
      })
      again.get('/read', async (request) => ({ ...(request.session as object) }))
      for (const [name, handler] of Object.entries(fails)) again.get(`/${name}`, handler as never)
      for (const name of Object.keys(fails)) {
        for (const begun of [true, false]) {
          const browser = new Browser(again)
          if (begun) await browser.get('/begin')
          for (const failures of [1, 2]) {
            t.equal((await browser.get(`/${encodeURIComponent(name)}`)).statusCode, 302)
            const found = (await browser.get('/read')).json()
            t.match(found, { failures, flash: 'no' }, `${kind}: ${name}`)
            t.equal('half' in found, saveOnError, `${kind}: ${name}`)
            if (name === 'saves before') t.equal(found.saved, 1)
            if (begun && !saveOnError) t.match(found, { kept: { a: 1 }, n: 1 })
          }
        }
      }
    }
  }
})

t.test('whoever becomes someone else gets a fresh id, whatever an identity looks like', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const shapes: [name: string, values: Loose, userId: string][] = [
      ['an object', { user: { id: 'ada' } }, 'ada'],
      ['a number', { user: { id: 42 } }, '42'],
      ['text', { user: 'grace' }, 'grace'],
      ['an id of a document', { user: { _id: 'abc' } }, 'abc'],
      ['an id of a driver', { user: { _id: { toJSON: () => '507f' } } }, '507f'],
      ["passport's", { passport: { user: 7 } }, '7'],
      ["passport's object", { passport: { user: { id: 'x' } } }, 'x'],
    ]
    const handlers: Record<string, Handler> = {}
    for (const [name, values] of shapes) {
      handlers[name] = async (request) => {
        Object.assign(request.session, values)
        return 'in'
      }
    }
    const app = await serve(t, handlers, { kind })
    for (const [name, , userId] of shapes) {
      const browser = new Browser(app)
      await browser.get('/count')
      const known = browser.clone()
      await browser.get(`/${encodeURIComponent(name)}`)
      t.not(browser.cookie, known.cookie, name)
      t.same((await known.get('/read')).json(), {}, `${name}: the id from before is worth nothing`)
      t.equal((await app.sessions.list(userId)).length, 1, name)
      await app.sessions.revokeUser(userId)
      t.same((await browser.get('/read')).json(), {}, `${name}: and the user can be logged out`)
    }
    for (const user of [{ id: 42 }, 'ada', { _id: 'm' }, { id: 0 }]) {
      const login = await serve(t, { in: (request) => request.login(user).then(() => 'in') }, { kind })
      t.equal((await login.inject('/in')).statusCode, 200)
    }
  }),
)

t.test('an identity of the application', async (t) => {
  const options: Partial<SessionOptions> = { user: ({ account }) => (account as { no?: number } | undefined)?.no }
  const app = await serve(
    t,
    {
      in: async (request) => {
        loose(request)['account'] = { no: 7 }
        return 'in'
      },
      user: async (request) => {
        loose(request)['user'] = { id: 'no identity here' }
        return 'set'
      },
    },
    { options },
  )
  const browser = new Browser(app)
  await browser.get('/user')
  const before = browser.clone()
  await browser.get('/in')
  t.not(browser.cookie, before.cookie)
  t.equal((await app.sessions.list('7')).length, 1)
  const { statusCode, body } = await new Browser(app).get('/login')
  t.match([statusCode, body], [500, /login\(\) found no identity/])
})

t.test('names of the request methods give way, or are others', async (t) => {
  const own = await serve(
    t,
    { whose: async (request) => (request as unknown as { login: () => string }).login() },
    { before: (app) => app.decorateRequest('login', (() => 'mine') as never) },
  )
  t.equal((await own.inject('/whose')).body, 'mine')

  const later = Fastify()
  t.teardown(() => later.close())
  await later.register(session, {
    secret: SECRET,
    production: false,
    decorators: { logout: 'endSession', requireFresh: false },
  })
  later.decorateRequest('login', (() => 'theirs') as never)
  later.get('/', async (request) => {
    const { login, logout, requireFresh, endSession } = request as unknown as Record<string, (() => string) | undefined>
    return [login?.(), typeof logout, typeof requireFresh, typeof endSession]
  })
  t.same((await later.inject('/')).json(), ['theirs', 'undefined', 'undefined', 'function'])
})

t.test('lifetimes: what is said of one login goes before the options', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const clock = new ManualClock()
    const handlers: Record<string, Handler> = {
      remember: (request) => request.login('ada', { lifetime: '14d' }).then(() => 'in'),
      'remember while used': (request) => request.login('ada', { lifetime: '14d', idle: '1h' }).then(() => 'in'),
      short: (request) => request.login('ada', { idle: '1m' }).then(() => 'in'),
      cookie: async (request) => {
        await request.login('ada')
        request.session.cookie.maxAge = 14 * DAY
        return 'in'
      },
      'strict cookie': async (request) => {
        await request.login('ada')
        request.session.cookie.sameSite = 'strict'
        return 'in'
      },
      'no login': async (request) => {
        Object.assign(request.session, { user: 'ada' })
        request.session.options({ maxAge: 14 * DAY })
        return 'in'
      },
    }
    const app = await serve(t, handlers, { kind, options: { clock, idle: '30m', absolute: '12h' } })
    const isIn = async (browser: Browser) => (await browser.get('/read')).body.includes('ada')
    /** Milliseconds without a use that it lives through, and those that it does not. */
    const lives: [name: string, through: number[], ends: number][] = [
      ['remember', [13 * DAY], DAY],
      ['remember while used', [3_599_999, 3_599_999], 3_600_000],
      ['short', [59_999, 59_999], 60_000],
      ['cookie', [13 * DAY], 2 * DAY],
      ['no login', [13 * DAY], 14 * DAY],
      ['login', [1_799_999, 1_799_999], 1_800_000],
      ['strict cookie', [1_799_999, 1_799_999], 1_800_000],
    ]
    for (const [name, through, ends] of lives) {
      const browser = new Browser(app)
      const [cookie] = (await browser.get(`/${encodeURIComponent(name)}`)).cookies
      const kept = ((cookie?.expires?.getTime() ?? 0) - Date.now()) / DAY
      const expected = /remember|^cookie|no login/.test(name) ? 14 : 1
      t.ok(Math.abs(kept - expected) < 0.01, `${name}: the browser keeps its cookie for ${expected} days`)
      for (const ms of through) {
        clock.advance(ms)
        t.equal(await isIn(browser.clone()), true, `${name} after ${ms}`)
      }
      clock.advance(ends)
      t.equal(await isIn(browser.clone()), false, `${name} after ${ends} more`)
    }
  }),
)

t.test('options do not shorten what another option asks for without a word', async (t) => {
  const lines: string[] = []
  const policyOf = async (options: Partial<SessionOptions>) => {
    const stream = { write: (line: string) => void lines.push(line) }
    const app = Fastify({ logger: { level: 'warn', stream } })
    t.teardown(() => app.close())
    await app.register(session, { secret: SECRET, production: false, ...options })
    await app.ready()
    const { idle, absolute } = app.sessions.policy
    return [idle / DAY, absolute / DAY]
  }
  t.same(await policyOf({ cookie: { maxAge: '14d' } }), [14, 14])
  t.same(await policyOf({ idle: '14d' }), [14, 14])
  t.same(await policyOf({ idle: '14d', absolute: '30d', cookie: { maxAge: '14d' } }), [14, 30])
  t.same(await policyOf({}), [30 / 1440, 0.5])
  t.same(lines, [])
  t.same(await policyOf({ cookie: { maxAge: '14d' }, idle: '30m' }), [30 / 1440, 0.5])
  t.match(lines, [/cookie\.maxAge keeps the cookie for 1209600 s.*ends after 1800 s by session\.idle/])
})

t.test('sessions of several names are apart on every storage', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(storage, { storage: await storageUrl(t, kind) })
    const scopes: FastifyInstance[] = []
    for (const name of ['shop', 'office']) {
      await app.register(
        async (scope) => {
          await scope.register(session, { secret: SECRET, production: false, name })
          scope.get('/login', (request) => request.login('ada').then(() => 'in'))
          scope.get('/me', async (request) => ({ user: loose(request)['user'] ?? null }))
          scopes.push(scope)
        },
        { prefix: `/${name}` },
      )
    }
    await app.ready()
    const [shop, office] = scopes as [FastifyInstance, FastifyInstance]
    const browser = new Browser(app)
    t.match((await browser.get('/shop/login')).cookies, [{ name: 'shop-sid' }])
    t.same([await shop.sessions.count(), await office.sessions.count()], [1, 0])
    await browser.get('/office/login')
    t.equal(await shop.sessions.revokeUser('ada'), 1)
    t.same((await browser.get('/shop/me')).json(), { user: null })
    t.same((await browser.get('/office/me')).json(), { user: 'ada' })
    // Nor does the cookie of one open the other.
    const stolen = new Browser(app)
    stolen.cookies.set('shop-sid', browser.cookies.get('office-sid') ?? '')
    t.same((await stolen.get('/shop/me')).json(), { user: null })
    const misnamed = Fastify()
    t.teardown(() => misnamed.close().catch(() => {}))
    misnamed.register(session, { secret: SECRET, name: 'no such name!' })
    await t.rejects(async () => void (await misnamed.ready()), {
      code: 'STATEFUL_INVALID_OPTION',
    })
  }),
)

t.test('an update may ask more of its session, and the reply waits for one that nobody waits for', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const app = await serve(
      t,
      {
        nested: async (request) => {
          const session = request.session as unknown as {
            update(key: string, change: (value: unknown) => unknown): Promise<unknown>
          }
          await session.update('n', async (n) => {
            loose(request)['beside'] = 1
            await request.session.save()
            return (n as number) + 1
          })
          return 'updated'
        },
        left: async (request) => {
          const session = request.session as unknown as {
            update(key: string, change: (value: unknown) => unknown): Promise<unknown>
          }
          session.update('n', async (n) => (n as number) + 1)
          return 'left'
        },
      },
      { kind },
    )
    const browser = new Browser(app)
    await browser.get('/count')
    t.equal((await browser.get('/nested')).statusCode, 200)
    t.same((await browser.get('/read')).json(), { n: 2, beside: 1 })
    await browser.get('/left')
    t.same((await browser.get('/read')).json(), { n: 3, beside: 1 })
  }),
)

t.test('a login that asks for nothing is not remembered because the one before it was', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const clock = new ManualClock()
    const handlers: Record<string, Handler> = {
      remember: (request) => request.login('ada', { lifetime: '14d' }).then(() => 'in'),
      again: (request) => request.login('ada').then(() => 'in'),
      other: (request) => request.login('grace').then(() => 'in'),
      set: async (request) => {
        Object.assign(request.session, { user: 'grace' })
        return 'in'
      },
      chosen: async (request) => {
        request.session.cookie.maxAge = 2 * DAY
        await request.login('ada')
        return 'in'
      },
    }
    const app = await serve(t, handlers, { kind, options: { clock, idle: '30m', absolute: '12h' } })
    for (const [name, days] of Object.entries({ again: 1, other: 1, set: 1, chosen: 2 })) {
      const browser = new Browser(app)
      await browser.get('/remember')
      const [cookie] = (await browser.get(`/${name}`)).cookies
      t.ok(Math.abs(((cookie?.expires?.getTime() ?? 0) - Date.now()) / DAY - days) < 0.01, `${name}: ${days} days`)
      const idle = name === 'chosen' ? 2 * DAY : 1_800_000
      clock.advance(idle - 1)
      t.ok('user' in (await browser.clone().get('/read')).json(), `${name}: until then`)
      clock.advance(idle)
      t.notOk('user' in (await browser.clone().get('/read')).json(), `${name}: and no longer`)
    }
  }),
)

t.test('a session ends with its cookie, a refused login leaves the cookie as it was', async (t) => {
  const clock = new ManualClock()
  const app = await serve(
    t,
    {
      refused: async (request) => {
        loose(request)['n'] = 1
        request.session.cookie.maxAge = 50_000
        const refusal = await request.login({ name: 'nobody' }, { lifetime: '14d' }).catch((error) => error.code)
        return [refusal, request.session.cookie.originalMaxAge, Object.keys(request.session)]
      },
    },
    { options: { clock, idle: '30m', cookie: { maxAge: '1m' } } },
  )
  const browser = new Browser(app)
  await browser.get('/count')
  clock.advance(59_999)
  t.same((await browser.clone().get('/read')).json(), { n: 1 })
  clock.advance(60_000)
  t.same((await browser.clone().get('/read')).json(), {})
  t.same((await app.inject('/refused')).json(), ['STATEFUL_UNIDENTIFIED_USER', 50_000, ['n']])
})
