import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import fastifyCookie from '@fastify/cookie'
import fastifySession, { type FastifySessionOptions } from '@fastify/session'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { problems } from '../../../plugins/problems/index.ts'
import { type SessionOptions, session } from '../../../plugins/session/index.ts'
import type { CallbackStore } from '../../../plugins/session/stores/callback.ts'
import { eventually } from '../../fixtures/eventually.ts'
import { Gates } from '../../fixtures/gates.ts'
import { Browser } from '../../fixtures/session-app.ts'

declare module 'fastify' {
  interface Session {
    mark?: string
    other?: string
  }
}

const A = randomBytes(32).toString('base64url')
const B = randomBytes(32).toString('base64url')

/** What is told of both sides: a fault of plain @fastify/session, and its absence here. */
type Side = 'plain' | 'ours'
const sides: Side[] = ['plain', 'ours']

/** An asynchronous store of JSON, as those on a network are. */
class Store implements CallbackStore {
  readonly kept = new Map<string, string>()
  calls = { get: 0, set: 0, destroy: 0 }
  /** Instead of an answer. */
  trouble: Error | 'silence' | undefined

  get(sid: string, callback: (error: unknown, session?: unknown) => void) {
    this.calls.get++
    this.#answer(callback, () => JSON.parse(this.kept.get(sid) ?? 'null'))
  }

  set(sid: string, value: object, callback: (error?: unknown) => void) {
    this.calls.set++
    const text = JSON.stringify(value)
    this.#answer(callback, () => void this.kept.set(sid, text))
  }

  destroy(sid: string, callback: (error?: unknown) => void) {
    this.calls.destroy++
    this.#answer(callback, () => void this.kept.delete(sid))
  }

  #answer(callback: (error: unknown, result?: unknown) => void, act: () => unknown) {
    if (this.trouble === 'silence') return
    const { trouble } = this
    setTimeout(() => (trouble ? callback(trouble) : callback(null, act())), 2)
  }
}

interface Settings {
  secret?: string | string[]
  store?: Store
  saveUninitialized?: boolean
  rolling?: boolean
  maxAge?: number
}

/** The same application on either side; ours with `login` and `logout` as they are meant. */
async function appOf(t: Test, side: Side, { maxAge = 3_600_000, ...settings }: Settings = {}) {
  const app = Fastify()
  t.teardown(() => app.close())
  const store = settings.store ?? new Store()
  const options = { secret: A, saveUninitialized: false, ...settings, store, cookieName: 'sid' }
  const cookie = { secure: false, maxAge }
  await app.register(fastifyCookie)
  if (side === 'plain') await app.register(fastifySession, { ...options, cookie } as unknown as FastifySessionOptions)
  else {
    await app.register(problems)
    await app.register(session, { ...options, cookie, production: false, deadline: '300ms' } as SessionOptions)
  }
  app.get('/login', async (request) => {
    if (side === 'ours') await request.login({ id: 'ada' })
    else request.session.user = { id: 'ada' }
    return 'in'
  })
  app.get('/logout', async (request) => {
    if (side === 'ours') await request.logout()
    else await request.session.destroy()
    return 'out'
  })
  const gates = new Gates()
  app.get<{ Querystring: { gate?: string } }>('/read', async ({ session, query }) => {
    await gates.pass(query.gate)
    return { user: session.user?.id ?? null, mark: session.mark ?? null, other: session.other ?? null }
  })
  app.get<{ Params: { key: 'mark' | 'other' }; Querystring: { gate?: string } }>('/set/:key', async (request) => {
    request.session[request.params.key] = 'set'
    await gates.pass(request.query.gate)
    return 'set'
  })
  app.get('/regenerate', async ({ session }) => {
    await session.regenerate(['user'])
    return 'regenerated'
  })
  app.get('/boom', async ({ session }) => {
    session.mark = 'partial'
    throw new Error('boom')
  })
  app.get('/unreturned', async (_request, reply) => {
    reply.send('hello')
  })
  await app.ready()
  return { app, store, gates }
}

async function loggedIn(app: FastifyInstance): Promise<Browser> {
  const browser = new Browser(app)
  await browser.get('/login')
  return browser
}

const user = async (browser: Browser) => (await browser.get('/read')).json().user as string | null

/** Runs on both sides: `fault` says whether the fault was seen. */
function reproduce(name: string, fault: (t: Test, side: Side) => Promise<boolean>): void {
  t.test(name, async (t) => {
    for (const side of sides) t.equal(await fault(t, side), side === 'plain', side)
  })
}

reproduce('a change of secrets by a restart logs out who only reads', async (t, side) => {
  const { app, store } = await appOf(t, side)
  const before = await loggedIn(app)
  const { app: again } = await appOf(t, side, { store, secret: [B, A], rolling: false })
  const browser = new Browser(again)
  browser.cookies = before.cookies
  await browser.get('/read')
  return (await user(browser)) === null
})

reproduce('a secret put before the others while running does not sign', async (t, side) => {
  const secret = [A]
  const { app } = await appOf(t, side, { secret })
  secret.unshift(B)
  const browser = await loggedIn(app)
  secret.pop()
  return (await user(browser)) === null
})

reproduce('a request in flight brings a session back that was logged out', async (t, side) => {
  const { app, gates } = await appOf(t, side)
  const browser = await loggedIn(app)
  const [slow, thief] = [browser.clone(), browser.clone()]
  const gate = gates.close('slow')
  const running = slow.get('/read?gate=slow')
  await gate.reached()
  await browser.get('/logout')
  gate.open()
  await running
  return (await user(thief)) !== null
})

reproduce('and does so with rolling: false, when it changes something', async (t, side) => {
  const { app, gates } = await appOf(t, side, { rolling: false })
  const browser = await loggedIn(app)
  const [slow, thief] = [browser.clone(), browser.clone()]
  const gate = gates.close('slow')
  const running = slow.get('/set/mark?gate=slow')
  await gate.reached()
  await browser.get('/logout')
  gate.open()
  await running
  return (await user(thief)) !== null
})

reproduce('a request in flight brings the id from before a rotation back', async (t, side) => {
  const { app, gates } = await appOf(t, side)
  const browser = await loggedIn(app)
  const [slow, thief] = [browser.clone(), browser.clone()]
  const gate = gates.close('slow')
  const running = slow.get('/read?gate=slow')
  await gate.reached()
  await browser.get('/regenerate')
  gate.open()
  await running
  return (await user(thief)) !== null
})

reproduce('of two parallel requests one loses what it changed', async (t, side) => {
  const { app, gates } = await appOf(t, side)
  const browser = await loggedIn(app)
  const gate = gates.close('both')
  const both = [browser.clone().get('/set/mark?gate=both'), browser.clone().get('/set/other?gate=both')]
  await gate.reached(2)
  gate.open()
  await Promise.all(both)
  const { mark, other } = (await browser.get('/read')).json()
  return !(mark === 'set' && other === 'set')
})

for (const saveUninitialized of [false, true]) {
  const how = saveUninitialized ? 'overwrites' : 'clears'
  reproduce(`a parallel request with the cookie from before ${how} the new one`, async (t, side) => {
    const { app } = await appOf(t, side, { saveUninitialized })
    const browser = await loggedIn(app)
    const parallel = browser.clone()
    await browser.get('/regenerate')
    return (await parallel.get('/read')).headers['set-cookie'] !== undefined
  })
}

reproduce('a logout leaves the cookie where it is', async (t, side) => {
  const { app } = await appOf(t, side)
  const browser = await loggedIn(app)
  return (await browser.get('/logout')).headers['set-cookie'] === undefined
})

reproduce('a handler that throws saves half of a change', async (t, side) => {
  const { app } = await appOf(t, side)
  const browser = await loggedIn(app)
  await browser.get('/boom')
  return (await browser.get('/read')).json().mark === 'partial'
})

reproduce('ten reads are ten writes', async (t, side) => {
  // As each is by default.
  const { app, store } = await appOf(t, side)
  const browser = await loggedIn(app)
  store.calls.set = 0
  for (let n = 0; n < 10; n++) await browser.get('/read')
  return store.calls.set === 10
})

t.test('with rolling: false neither writes; here the session lives on nevertheless', async (t) => {
  const { app, store } = await appOf(t, 'ours')
  const browser = await loggedIn(app)
  store.calls.set = 0
  for (let n = 0; n < 10; n++) await browser.get('/read')
  t.equal(store.calls.set, 0)
})

t.test('ten anonymous requests leave ten records behind, by default', async (t) => {
  for (const side of sides) {
    const { app, store } = await appOf(t, side, side === 'plain' ? { saveUninitialized: true } : {})
    for (let n = 0; n < 10; n++) await new Browser(app).get('/read')
    t.equal(store.kept.size, side === 'plain' ? 10 : 0, side)
  }
})

reproduce('a Redis socket that is not there makes everybody anonymous, without a word', async (t, side) => {
  const { app, store } = await appOf(t, side)
  const browser = await loggedIn(app)
  store.trouble = Object.assign(new Error('connect ENOENT /run/redis.sock'), { code: 'ENOENT', syscall: 'connect' })
  const response = await browser.get('/read')
  if (side === 'ours') t.match(response, { statusCode: 503, headers: { 'retry-after': '1', 'set-cookie': undefined } })
  return response.statusCode === 200
})

t.test('a store that fails is a 500 there and a 503 here', async (t) => {
  for (const side of sides) {
    const { app, store } = await appOf(t, side)
    const browser = await loggedIn(app)
    store.trouble = new Error('ECONNREFUSED')
    t.equal((await browser.get('/read')).statusCode, side === 'plain' ? 500 : 503, side)
  }
})

t.test('a store that never answers keeps requests waiting for ever', async (t) => {
  for (const side of sides) {
    const { app, store } = await appOf(t, side)
    await app.listen({ port: 0, host: '127.0.0.1' })
    const browser = await loggedIn(app)
    store.trouble = 'silence'
    const asked = browser.get('/read').then(({ statusCode }) => statusCode)
    // Three times the deadline of ours.
    if (side === 'plain') t.equal(await Promise.race([asked, delay(900, 'waits')]), 'waits')
    else t.equal(await asked, 503)
  }
})

reproduce('a visit after the end leaves an empty record behind', async (t, side) => {
  const { app, store } = await appOf(t, side, { rolling: false, maxAge: 50 })
  const [cookie] = String((await app.inject('/login')).headers['set-cookie']).split(';')
  const before = [...store.kept.keys()]
  await delay(80)
  await app.inject({ url: '/read', headers: { cookie } })
  return [...store.kept.keys()].some((sid) => !before.includes(sid))
})

reproduce('a store that refuses is asked twice', async (t, side) => {
  const { app, store } = await appOf(t, side)
  store.trouble = new Error('gone')
  const response = await new Browser(app).get('/set/mark')
  t.equal(response.statusCode, side === 'plain' ? 500 : 503)
  return store.calls.set === 2
})

t.test('an async handler that sends and returns nothing ends the process', async (t) => {
  for (const side of sides) {
    const { app } = await appOf(t, side)
    await app.listen({ port: 0, host: '127.0.0.1' })
    const browser = await loggedIn(app)
    const failures: NodeJS.ErrnoException[] = []
    const onFailure = (error: NodeJS.ErrnoException) => failures.push(error)
    process.on('uncaughtException', onFailure)
    const url = `http://127.0.0.1:${(app.server.address() as { port: number }).port}/unreturned`
    const response = await fetch(url, { headers: { cookie: browser.cookie } })
    t.equal(await response.text(), 'hello', side)
    if (side === 'plain') await eventually(() => failures.length > 0)
    else await delay(50)
    process.off('uncaughtException', onFailure)
    t.same(
      failures.map(({ code }) => code),
      side === 'plain' ? ['ERR_HTTP_HEADERS_SENT'] : [],
      side,
    )
  }
})

t.test('the removal of a __Host- cookie is none that a browser takes', async (t) => {
  for (const side of sides) {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(fastifyCookie)
    const options = { secret: A, cookieName: '__Host-sid', saveUninitialized: false }
    if (side === 'plain') await app.register(fastifySession, { ...options, cookie: { secure: true, path: '/' } })
    else await app.register(session, { ...options, production: true })
    app.get('/', async () => 'hello')
    const cookie = `__Host-sid=${encodeURIComponent('forged.signature')}`
    const line = String((await app.inject({ url: '/', headers: { cookie } })).headers['set-cookie'])
    t.match(line, /^__Host-sid=; Max-Age=0/)
    t.equal(/; Secure/.test(line) && /; HttpOnly/.test(line), side === 'ours', side)
  }
})
