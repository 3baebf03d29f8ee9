import fastifyCookie from '@fastify/cookie'
import fastifySession, { type FastifySessionOptions } from '@fastify/session'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { problems } from '../../plugins/problems/index.ts'
import { type SessionStoreOptions, sessionStore } from '../../plugins/session/index.ts'
import { storage } from '../../plugins/storage/index.ts'
import { ManualClock } from '../../plugins/support/manual-clock.ts'
import { Gates } from '../fixtures/gates.ts'
import { Browser, SECRET } from '../fixtures/session-app.ts'
import { onEveryStorage, storageUrl } from '../fixtures/storages.ts'

declare module 'fastify' {
  interface Session {
    n?: number
    x?: number
    y?: number
  }
}

/** @fastify/session as its documents register it, on our engine. */
async function appOn(
  t: Test,
  target: string,
  { store = {}, ...options }: { store?: SessionStoreOptions } & Partial<Omit<FastifySessionOptions, 'store'>> = {},
): Promise<{ app: FastifyInstance; gates: Gates }> {
  const app = Fastify()
  const gates = new Gates()
  t.teardown(() => app.close())
  await app.register(problems)
  await app.register(storage, { storage: target })
  await app.register(fastifyCookie)
  await app.register(fastifySession, {
    secret: SECRET,
    store: sessionStore(app, store),
    saveUninitialized: false,
    cookie: { secure: false },
    ...options,
  })
  app.get('/count', async ({ session }) => {
    session.n = (session.n ?? 0) + 1
    return { n: session.n }
  })
  app.get('/me', async ({ session }) => ({ n: session.n ?? null, x: session.x ?? null, y: session.y ?? null }))
  app.get<{ Querystring: { key: 'x' | 'y'; gate: string } }>('/set', async ({ session, query }) => {
    session[query.key] = 1
    await gates.pass(query.gate)
    return 'set'
  })
  app.get('/regenerate', async ({ session }) => {
    await session.regenerate(['n'])
    return 'regenerated'
  })
  app.get('/destroy', async ({ session }) => {
    await session.destroy()
    return 'destroyed'
  })
  await app.ready()
  return { app, gates }
}

t.test('@fastify/session keeps its sessions in our engine', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const { app, gates } = await appOn(t, await storageUrl(t, kind))
    const browser = new Browser(app)
    t.same((await browser.get('/count')).json(), { n: 1 })
    t.same((await browser.get('/count')).json(), { n: 2 })
    const former = browser.clone()
    await browser.get('/regenerate')
    t.match((await browser.get('/me')).json(), { n: 2 })
    t.match((await former.get('/me')).json(), { n: null }, 'the former id is worth nothing')

    const [gateX, gateY] = [gates.close('x'), gates.close('y')]
    const x = browser.clone().get('/set?key=x&gate=x')
    const y = browser.clone().get('/set?key=y&gate=y')
    await Promise.all([gateX.reached(), gateY.reached()])
    gateX.open()
    await x
    gateY.open()
    await y
    const { x: setX, y: setY } = (await browser.get('/me')).json()
    t.ok(setY, 'the last one to save')
    t.equal(setX, null, 'each hands over all of its session: that is the contract')

    const late = browser.clone()
    const gate = gates.close('late')
    const saving = late.get('/set?key=x&gate=late')
    await gate.reached()
    await browser.get('/destroy')
    gate.open()
    t.equal((await saving).statusCode, 401, 'a slow request does not bring it back')
    t.match((await late.get('/me')).json(), { n: null })
  }),
)

t.test('how long a session lives', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const clock = new ManualClock()
    const url = await storageUrl(t, kind)
    const { app } = await appOn(t, url, { store: { clock, idle: '1h', absolute: '90m' }, rolling: false })
    const browser = new Browser(app)
    await browser.get('/count')
    clock.advance(59 * 60_000)
    t.same((await browser.get('/count')).json(), { n: 2 }, 'a use counts')
    clock.advance(31 * 60_000)
    t.same((await browser.get('/count')).json(), { n: 1 }, 'and cannot move the absolute end')
    clock.advance(60 * 60_000)
    t.same((await browser.get('/count')).json(), { n: 1 })
  }),
)

t.test('its cookie goes before the options of the store', async (t) => {
  const { app } = await appOn(t, 'memory:', {
    store: { idle: '1s', absolute: '1s' },
    cookie: { secure: false, maxAge: 60_000 },
  })
  const browser = new Browser(app)
  await browser.get('/count')
  t.same((await browser.get('/count')).json(), { n: 2 })
  t.throws(() => sessionStore(app, { idel: '1m' } as object), { code: 'STATEFUL_INVALID_OPTION' })
})

t.test('without a storage it is in memory', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(fastifyCookie)
  await app.register(fastifySession, { secret: SECRET, store: sessionStore(app), cookie: { secure: false } })
  app.get('/count', async ({ session }) => {
    session.n = (session.n ?? 0) + 1
    return { n: session.n }
  })
  const browser = new Browser(app)
  await browser.get('/count')
  t.same((await browser.get('/count')).json(), { n: 2 })
})

t.test('in memory it answers before the next turn, so that little comes between a session and its reply', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(storage, { storage: 'memory:' })
  const store = sessionStore(app)
  const session = { n: 1, cookie: { originalMaxAge: null } } as unknown as Parameters<typeof store.set>[1]
  const first = (ask: (callback: () => void) => void) =>
    new Promise((resolve) => {
      setImmediate(resolve, 'the next turn')
      ask(() => resolve('the answer'))
    })
  t.equal(await first((callback) => store.set('id', session, callback)), 'the answer', 'begun')
  t.equal(await first((callback) => store.set('id', session, callback)), 'the answer', 'saved again')
  t.equal(await first((callback) => store.get('id', callback)), 'the answer')
  t.equal(await first((callback) => store.destroy('id', callback)), 'the answer')
})
