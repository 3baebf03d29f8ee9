import { createRequire } from 'node:module'
import formbody from '@fastify/formbody'
import type { FastifyInstance, FastifyPluginAsync, FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { Browser } from '../fixtures/session-app.ts'
import { onEveryStorage, storageUrl } from '../fixtures/storages.ts'
import { type NeighbourOptions, neighbourApp } from './neighbour-app.ts'

interface Passport {
  use(name: string, strategy: object): void
  initialize(): FastifyPluginAsync
  secureSession(): FastifyPluginAsync
  authenticate(name: string, options?: object): never
  registerUserSerializer(serialize: (user: User) => Promise<unknown>): void
  registerUserDeserializer(deserialize: (kept: never) => Promise<User | null>): void
}
interface User {
  id: number
  name: string
}
/** Its methods of a request have the names of ours, and its types theirs. */
type PassportRequest = Omit<FastifyRequest, 'login' | 'logout'> & {
  user?: User
  isAuthenticated(): boolean
  login(user: User, options?: object): Promise<void>
  logout(): Promise<void>
}

const require = createRequire(import.meta.url)
const { Authenticator } = require('@fastify/passport') as { Authenticator: new (options?: object) => Passport }
const { Strategy: Local } = require('passport-local') as {
  Strategy: new (
    verify: (name: string, password: string, done: (error: unknown, user: User | false) => void) => void,
  ) => object
}

const ada: User = { id: 1, name: 'ada' }

/** As the README of @fastify/passport sets it up. */
async function withPassport(app: FastifyInstance, passport: Passport) {
  passport.use('local', new Local((_name, password, done) => done(null, password === 'right' ? ada : false)))
  passport.registerUserSerializer(async ({ id }) => id)
  passport.registerUserDeserializer(async (id) => (id === ada.id ? ada : null))
  await app.register(formbody)
  await app.register(passport.initialize())
  await app.register(passport.secureSession())
}

function routes(app: FastifyInstance, passport: Passport) {
  const preValidation = passport.authenticate('local', {
    successRedirect: '/me',
    failureRedirect: '/login',
    failureFlash: 'wrong',
    authInfo: false,
  })
  app.post('/login', { preValidation }, async () => {})
  app.get('/login', async (_request, reply) => ({ flash: (reply as never as Flash).flash('error') }))
  app.get('/me', async (request) => {
    const { user, isAuthenticated } = request as never as PassportRequest
    return { name: user?.name ?? null, authenticated: isAuthenticated.call(request) }
  })
  app.get('/cart', async ({ session }) => {
    ;(session as never as Record<string, unknown>)['cart'] = ['tea']
    return 'kept'
  })
  app.post('/logout', async (request) => {
    await (request as never as PassportRequest).logout()
    return 'out'
  })
  let transfers = 0
  app.post('/transfer', { preValidation: passport.authenticate('local', { failureMessage: 'no' }) }, async () => {
    transfers++
    return { transfers }
  })
  app.get('/transfers', async () => ({ transfers }))
}
interface Flash {
  flash(name: string): string[]
}

const form = (browser: Browser, url: string, values: Record<string, string>) =>
  browser.inject({
    method: 'POST',
    url,
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    payload: new URLSearchParams(values).toString(),
  })

async function withBoth(t: Test, order: 'before' | 'after', options: NeighbourOptions = {}, passportOptions = {}) {
  const passport = new Authenticator(passportOptions)
  const register = (app: FastifyInstance) => withPassport(app, passport)
  return neighbourApp(t, {
    ...options,
    [order]: register,
    after: async (app) => {
      if (order === 'after') await register(app)
      routes(app, passport)
    },
  })
}

t.test('login, logout and messages', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const app = await withBoth(t, 'after', { storage: await storageUrl(t, kind) })
    const browser = new Browser(app)
    await browser.get('/cart')
    const anonymous = browser.clone()

    t.match(await form(browser, '/login', { username: 'ada', password: 'wrong' }), { headers: { location: '/login' } })
    t.same((await browser.get('/login')).json(), { flash: ['wrong'] })
    t.same((await browser.get('/login')).json(), { flash: [] }, 'a message is told once')

    t.match(await form(browser, '/login', { username: 'ada', password: 'right' }), { headers: { location: '/me' } })
    t.same((await browser.get('/me')).json(), { name: 'ada', authenticated: true })
    t.same(
      (await anonymous.get('/me')).json(),
      { name: null, authenticated: false },
      'the id from before is worth nothing',
    )
    t.match(await app.sessions.list('1'), [{ handle: String }], 'the session is listed as the user’s')

    const thief = browser.clone()
    t.equal((await browser.post('/logout')).body, 'out')
    t.same((await thief.get('/me')).json(), { name: null, authenticated: false }, 'and so is the cookie of a logout')
    t.same(await app.sessions.list('1'), [])

    await form(browser, '/login', { username: 'ada', password: 'right' })
    await app.sessions.revokeUser('1')
    t.same((await browser.get('/me')).json(), { name: null, authenticated: false }, 'revoked by the user’s id')
  }),
)

t.test('whoever is refused does not get to the handler', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const app = await withBoth(t, 'after', { storage: await storageUrl(t, kind) })
    const browser = new Browser(app)
    const refused = await form(browser, '/transfer', { username: 'ada', password: 'wrong' })
    t.match({ status: refused.statusCode, body: refused.body }, { status: 401, body: 'Unauthorized' })
    t.same((await browser.get('/transfers')).json(), { transfers: 0 })
  }),
)

t.test('what a login keeps is said to @fastify/passport', async (t) => {
  const app = await withBoth(t, 'after', {}, { clearSessionIgnoreFields: ['cart'] })
  app.log.level = 'silent'
  const browser = new Browser(app)
  await browser.get('/cart')
  await form(browser, '/login', { username: 'ada', password: 'right' })
  const [kept] = await app.sessions.list('1')
  t.match(await app.sessions.get(kept?.handle as string), { data: { cart: ['tea'], passport: 1 }, userId: '1' })
})

t.test('@fastify/passport needs the sessions first, and says so', async (t) => {
  // Its hooks would run before there is a session; @fastify/session has the same order.
  await t.rejects(withBoth(t, 'before'), /session/)
})

t.test('an application with a login of its own', async (t) => {
  const own = async () => 'its own'
  for (const order of ['before', 'after'] as const) {
    const app = await neighbourApp(t, {
      [order]: (app: FastifyInstance) => app.decorateRequest('login', own as never),
    })
    t.ok(app.hasRequestDecorator('logout'), `${order}: the other methods are there`)
  }
  const app = await neighbourApp(t, {
    before: (app) => app.decorateRequest('login', own as never),
    session: { decorators: { login: 'signIn' } },
    after: (app) => {
      app.get('/', async (request) => {
        await (request as never as { signIn(user: unknown): Promise<void> }).signIn({ id: 'ada' })
        return (request as never as { login(): Promise<string> }).login()
      })
    },
  })
  const answer = await app.inject('/')
  t.match({ body: answer.body, cookies: answer.cookies }, { body: 'its own', cookies: [{ name: 'sid' }] })
})
