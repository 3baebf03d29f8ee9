import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { cache } from '../../../../plugins/cache/index.ts'
import { responseCache } from '../../../../plugins/response-cache/index.ts'
import { csrf } from '../../../../plugins/security/csrf.ts'
import { type SessionOptions, session } from '../../../../plugins/session/index.ts'
import { newToken } from '../../../../plugins/session/token.ts'
import { storage } from '../../../../plugins/storage/index.ts'
import { Browser, SECRET, sessionApp } from '../../../fixtures/session-app.ts'
import { onEveryStorage, storageUrl } from '../../../fixtures/storages.ts'

async function appWith(t: Test, options: Partial<SessionOptions> = {}): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(session, { secret: SECRET, production: false, ...options })
  await app.register(csrf)
  app.post<{ Body: { user: string } }>('/login', async (request) => {
    await request.login({ id: request.body.user })
    return 'in'
  })
  app.post('/logout', async (request) => {
    await request.logout()
    return 'out'
  })
  app.get('/me', async ({ session }) => ({ user: session.user?.id ?? null }))
  await app.ready()
  return app
}

/** The attributes of a Set-Cookie line but those that say for how long. */
function attributesOf(line: string | string[] | undefined): { name: string; value: string; attributes: string[] } {
  const [pair = '', ...attributes] = String(line).split('; ')
  const [name = '', value = ''] = pair.split('=')
  return { name, value, attributes: attributes.filter((one) => !/^(Max-Age|Expires)=/.test(one)).sort() }
}

t.test('a cookie is taken away with the very attributes it was set with', async (t) => {
  const cases: [Partial<SessionOptions>, string, string[]][] = [
    [{}, 'sid', ['HttpOnly', 'Path=/', 'SameSite=Lax']],
    [{ production: true }, '__Host-sid', ['HttpOnly', 'Path=/', 'SameSite=Lax', 'Secure']],
    [
      { production: true, cookie: { sameSite: 'none', partitioned: true } as SessionOptions['cookie'] & object },
      '__Host-sid',
      ['HttpOnly', 'Partitioned', 'Path=/', 'SameSite=None', 'Secure'],
    ],
  ]
  for (const [options, name, attributes] of cases) {
    const app = await appWith(t, options)
    const browser = new Browser(app)
    const set = attributesOf((await browser.post('/login', { user: 'ada' })).headers['set-cookie'])
    t.match(set, { name, attributes })
    const cleared = attributesOf((await browser.post('/logout')).headers['set-cookie'])
    t.same(cleared, { name, value: '', attributes }, 'logout')
    const forged = await app.inject({ url: '/me', headers: { cookie: `${name}=forged.signature` } })
    t.same(attributesOf(forged.headers['set-cookie']), { name, value: '', attributes }, 'a cookie that is none of ours')
  }
})

t.test('a cookie that no browser takes is refused, or set right where it is clear what is meant', async (t) => {
  const useless = [{ sameSite: 'none' }, { sameSite: 'None' }, { partitioned: true }] as SessionOptions['cookie'][]
  for (const cookie of useless) {
    const what = JSON.stringify(cookie)
    await t.rejects(
      appWith(t, { cookie: { ...cookie, secure: false } }),
      { code: 'STATEFUL_INVALID_OPTION', message: /session\.cookie\.secure/ },
      `${what}, said to be insecure`,
    )
    const log: string[] = []
    const write = (line: string) => {
      log.push(line)
    }
    const app = Fastify({ logger: { level: 'warn', stream: { write } } })
    t.teardown(() => app.close())
    await app.register(session, { secret: SECRET, production: false, cookie: cookie as object })
    t.match(log.join(''), /so it is Secure here as well/, what)
    app.get('/', async (request) => request.login({ id: 'ada' }))
    t.match((await app.inject('/')).headers['set-cookie'], /^__Host-sid=.*; Secure/, what)

    const auto = await appWith(t, {
      cookie: { ...cookie, secure: 'auto' },
      user: ({ user }) => (user as { id: string })?.id,
    })
    const login = await auto.inject({ method: 'POST', url: '/login', payload: { user: 'ada' } })
    t.match(
      attributesOf(login.headers['set-cookie']).attributes,
      ['HttpOnly', 'Path=/', 'SameSite=Lax'],
      `${what}, auto`,
    )
    const [pair] = String(login.headers['set-cookie']).split(';')
    const logout = await auto.inject({ method: 'POST', url: '/logout', headers: { cookie: pair } })
    t.match(
      attributesOf(logout.headers['set-cookie']).attributes,
      ['HttpOnly', 'Path=/', 'SameSite=Lax'],
      'and its end',
    )
  }

  const app = Fastify({ trustProxy: true })
  t.teardown(() => app.close())
  await app.register(session, { secret: SECRET, production: false })
  const later: Record<string, (cookie: Record<string, unknown>, options: (given: object) => void) => unknown> = {
    sameSite: (cookie) => (cookie['sameSite'] = 'none'),
    partitioned: (cookie) => (cookie['partitioned'] = true),
    options: (_cookie, options) => options({ sameSite: 'none' }),
    secure: (_cookie, options) => options({ sameSite: 'none', secure: true }),
  }
  for (const [name, change] of Object.entries(later)) {
    app.get(`/${name}`, async ({ session }) => {
      ;(session as never as Record<string, unknown>)['seen'] = true
      change(session.cookie as never, (given) => session.options(given))
      return 'x'
    })
  }
  await app.ready()
  for (const name of ['sameSite', 'partitioned', 'options']) {
    const answer = await app.inject(`/${name}`)
    t.match(
      { status: answer.statusCode, ...answer.json() },
      { status: 500, code: 'STATEFUL_INVALID_SESSION_COOKIE' },
      name,
    )
    t.equal(answer.headers['set-cookie'], undefined, name)
  }
  const secure = await app.inject({ url: '/secure', headers: { 'x-forwarded-proto': 'https' } })
  t.match(secure.headers['set-cookie'], /; Secure; SameSite=None/)
})

t.test('a path and a domain of the cookie', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  const cookie = { domain: 'example.org', path: '/app', sameSite: 'strict' as const }
  await app.register(session, { secret: SECRET, production: true, cookie })
  app.get('/app/login', async (request) => {
    await request.login({ id: 'ada' })
    return 'in'
  })
  app.get('/app/logout', async (request) => {
    await request.logout()
    return 'out'
  })
  const attributes = ['Domain=example.org', 'HttpOnly', 'Path=/app', 'SameSite=Strict', 'Secure']
  const login = await app.inject('/app/login')
  t.match(attributesOf(login.headers['set-cookie']), { name: '__Secure-sid', attributes })
  const [pair] = String(login.headers['set-cookie']).split(';')
  const logout = await app.inject({ url: '/app/logout', headers: { cookie: pair } })
  t.same(attributesOf(logout.headers['set-cookie']), { name: '__Secure-sid', value: '', attributes })
})

t.test('no cache keeps an answer that is for one person, unless its handler says how', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(storage, { storage: 'memory:' })
  await app.register(session, { secret: SECRET, production: false })
  await app.register(cache)
  await app.register(responseCache)
  app.get('/login', (request) => request.login({ id: 'ada' }).then(() => 'in'))
  app.get('/logout', (request) => request.logout().then(() => 'out'))
  app.get('/me', async ({ session }) => ({ user: session.user?.id ?? null }))
  app.get('/fails', async () => {
    throw new Error('no')
  })
  app.get('/own', async (_request, reply) => reply.header('cache-control', 'private, max-age=60').send('own'))
  app.get('/theme', async (_request, reply) => reply.setCookie('theme', 'dark').send('dark'))
  app.get('/shared', { config: { cache: { ttl: '1m', shared: true } } }, async () => 'the same for everybody')
  const browser = new Browser(app)
  const of = async (url: string) => (await browser.get(url)).headers['cache-control']
  t.equal(await of('/me'), undefined, 'nobody in particular')
  t.equal(await of('/theme'), 'private, no-store', 'a cookie of the application')
  t.equal(await of('/login'), 'private, no-store', 'the cookie of the session')
  const { headers } = await browser.get('/me')
  t.equal(headers['set-cookie'], undefined)
  for (const url of ['/me', '/fails', '/nowhere']) t.equal(await of(url), 'private, no-store', url)
  t.equal((await browser.inject({ method: 'HEAD', url: '/me' })).headers['cache-control'], 'private, no-store')
  t.equal(await of('/own'), 'private, max-age=60')
  t.match(await of('/shared'), /no-cache|max-age/, 'the response cache says it')
  t.match((await browser.get('/shared')).headers, { age: '0' })
  const ended = browser.clone()
  t.equal(await of('/logout'), 'private, no-store')
  t.equal((await ended.get('/me')).headers['cache-control'], 'private, no-store', 'a session that has just ended')
})

t.test('cookies that a sibling domain tossed in', async (t) => {
  const cookieOf = async (app: FastifyInstance, user: string) => {
    const browser = new Browser(app)
    await browser.post('/login', { user })
    return browser.cookie
  }
  const userOf = async (app: FastifyInstance, ...cookies: string[]) =>
    (await app.inject({ url: '/me', headers: { cookie: cookies.join('; ') } })).json().user as string | null

  t.test('in production they have another name, because no browser lets them have ours', async (t) => {
    const app = await appWith(t, { production: true })
    const own = await cookieOf(app, 'ada')
    const stolen = (await cookieOf(app, 'eve')).slice('__Host-sid='.length)
    for (const name of ['sid', '__Secure-sid', '__host-sid', 'Host-sid', ' __Host-sid2']) {
      t.equal(await userOf(app, `${name}=${stolen}`, own), 'ada', `${name} first`)
      t.equal(await userOf(app, own, `${name}=${stolen}`), 'ada', `${name} last`)
      t.equal(await userOf(app, `${name}=${stolen}`), null, `${name} alone`)
    }
  })

  t.test('with the same name one of the two is taken whole, and a login leaves both behind', async (t) => {
    const app = await appWith(t)
    const [own, tossed] = [await cookieOf(app, 'ada'), await cookieOf(app, 'eve')]
    t.equal(await userOf(app, own, tossed), 'ada')
    t.equal(await userOf(app, tossed, own), 'eve', 'the one that the browser sends first, as RFC 6265 has it')
    for (const cookie of [`${own}; ${tossed}`, `${tossed}; ${own}`]) {
      const login = await app.inject({ method: 'POST', url: '/login', payload: { user: 'ada' }, headers: { cookie } })
      const [fresh = ''] = String(login.headers['set-cookie']).split(';')
      t.notOk([own, tossed].includes(fresh))
      t.equal(await userOf(app, fresh), 'ada')
    }
    t.equal(await userOf(app, tossed), null, 'who tossed it has no session of the victim')
  })

  t.test('what is no session does not hide the one that is, wherever the browser puts it', async (t) => {
    const app = await appWith(t)
    const live = await cookieOf(app, 'ada')
    const ended = new Browser(app)
    await ended.post('/login', { user: 'ada' })
    const old = ended.cookie
    await ended.post('/logout')
    // Longer paths come first, then older cookies (RFC 6265, 5.4): what was tossed in may be before or behind.
    const useless = [old, 'sid=forged.signature', 'sid=', 'sid=%', 'sid="quoted"']
    for (const other of useless) {
      t.equal(await userOf(app, other, live), 'ada', `${other} before it`)
      t.equal(await userOf(app, live, other), 'ada', `${other} behind it`)
    }
    t.equal(await userOf(app, ...useless.slice(0, 3), live), 'ada', 'behind three')
    t.equal(await userOf(app, ...useless), null, 'and without it nobody is logged in')
    const answer = await app.inject({ url: '/me', headers: { cookie: [old, live].join('; ') } })
    t.equal(answer.headers['set-cookie'], undefined, 'the live one is not taken away')
  })
})

t.test('nobody is logged in as somebody else by a page of another site', async (t) => {
  const app = await appWith(t)
  const victim = new Browser(app)
  const attacks = [{ 'sec-fetch-site': 'cross-site' }, { origin: 'https://evil.example' }]
  for (const headers of attacks) {
    const response = await victim.inject({ method: 'POST', url: '/login', payload: { user: 'eve' }, headers })
    t.equal(response.statusCode, 403)
    t.equal(response.headers['set-cookie'], undefined)
  }
  t.equal((await victim.get('/me')).json().user, null)
})

t.test('a cookie that was changed, or is of another secret, authenticates nobody', async (t) => {
  const app = await appWith(t)
  const browser = new Browser(app)
  await browser.post('/login', { user: 'ada' })
  const [, signed] = [...browser.cookies][0] as [string, string]
  const dot = signed.indexOf('.')
  const flip = (text: string, at: number) => `${text.slice(0, at)}${text[at] === 'A' ? 'B' : 'A'}${text.slice(at + 1)}`
  const changed = [
    flip(signed, 5),
    flip(signed, dot - 1),
    flip(signed, dot + 2),
    signed.slice(0, dot),
    `${signed}=`,
    '.',
  ]
  for (const cookie of [...changed, `${newToken()}${signed.slice(dot)}`]) {
    const thief = new Browser(app)
    thief.cookies.set('sid', cookie)
    t.equal((await thief.get('/me')).json().user, null, cookie)
  }
  const elsewhere = new Browser(await appWith(t, { secret: 'a secret of another application, long enough' }))
  elsewhere.cookies = new Map(browser.cookies)
  t.equal((await elsewhere.get('/me')).json().user, null)
})

t.test('a hundred thousand tokens are as many, each of 256 bits in the alphabet of cookies', async (t) => {
  const tokens = new Set<string>()
  for (let n = 0; n < 100_000; n++) tokens.add(newToken())
  t.equal(tokens.size, 100_000)
  let long = 0
  for (const token of tokens) if (/^[0-9a-f]{2}[\w-]{43}$/.test(token)) long++
  t.equal(long, 100_000)
})

t.test('all sessions of an account end, those that are being logged in as well', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const app = await sessionApp(t, { storage: await storageUrl(t, kind) })
    const [before, racing] = [new Browser(app), new Browser(app)]
    await before.login()
    const login = racing.login()
    await app.sessions.revokeUser('ada')
    await login
    await app.sessions.revokeUser('ada')
    for (const browser of [before, racing]) t.equal((await browser.get('/profile')).statusCode, 401)
    t.same(await app.sessions.list('ada'), [])
  }),
)
