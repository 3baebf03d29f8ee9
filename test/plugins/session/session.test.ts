import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { ManualClock } from '../../../plugins/support/manual-clock.ts'
import { eventually } from '../../fixtures/eventually.ts'
import { Gates } from '../../fixtures/gates.ts'
import { Browser, PASSWORD, SECRET, sessionApp } from '../../fixtures/session-app.ts'
import { onEveryStorage, storageUrl } from '../../fixtures/storages.ts'

declare module 'fastify' {
  interface Session {
    a?: unknown
    b?: unknown
    cart?: unknown
  }
}

const OTHER_SECRET = 'another secret for the test, also long!'
const MINUTE = 60_000
const gates = new Gates()

/** Routes that do to a session what an application does. */
function routes(app: FastifyInstance) {
  app.get('/read', async ({ session }) => ({ ...(session as object), cookie: undefined }))
  app.get<{ Querystring: { key: 'a' | 'b' | 'cart'; gate?: string } }>('/set', async ({ session, query }) => {
    session[query.key] = 1
    await gates.pass(query.gate)
    return 'set'
  })
  app.get('/remove', async ({ session }) => {
    delete session.a
    return 'removed'
  })
  app.get<{ Querystring: { gate?: string } }>('/user', async ({ session, query }) => {
    await gates.pass(query.gate)
    return { user: session.user ?? null }
  })
  app.get('/boom', async ({ session }) => {
    session.a = 'partial'
    throw new Error('boom')
  })
  app.get('/regenerate', async ({ session }) => {
    await session.regenerate(['user'])
    return 'regenerated'
  })
  app.get('/fresh', async (request) => {
    request.requireFresh('5m')
    return 'fresh'
  })
}

t.test('a login takes a fresh id; the one from before is worth nothing, what it held stays', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const app = await sessionApp(t, { storage: await storageUrl(t, kind), routes })
    const victim = new Browser(app)
    await victim.get('/set?key=cart')
    const attacker = victim.clone()
    await victim.login()
    t.not(victim.cookie, attacker.cookie)
    t.equal((await attacker.get('/profile')).statusCode, 401)
    t.match((await victim.get('/read')).json(), { cart: 1, user: { id: 'ada' } })
    const before = victim.clone()
    await victim.login('admin')
    t.equal((await before.get('/profile')).statusCode, 401)
    t.notOk((await victim.get('/read')).json().cart, "another user's values are not taken over")
  }),
)

t.test('a slow request does not bring a session back after its logout, nor after a rotation', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const app = await sessionApp(t, { storage: await storageUrl(t, kind), routes, session: { touch: 0 } })
    for (const end of ['/logout', '/regenerate'] as const) {
      const browser = new Browser(app)
      await browser.login()
      const reading = browser.clone()
      const writing = browser.clone()
      const gate = gates.close('slow')
      const slow = [reading.get('/user?gate=slow'), writing.get('/set?key=a&gate=slow')] as const
      await gate.reached(2)
      await (end === '/logout' ? browser.post(end) : browser.get(end))
      gate.open()
      const before = await app.sessions.count()
      const [read, write] = await Promise.all(slow)
      t.equal(read.statusCode, 200)
      t.match(write.json(), { status: 401, code: 'STATEFUL_SESSION_REVOKED' })
      t.equal(read.headers['set-cookie'], undefined, 'the cookie of the new session is left alone')
      t.equal(write.headers['set-cookie'], undefined)
      t.equal(await app.sessions.count(), before)
      const late = await reading.get('/read')
      t.same(late.json(), {})
      // After a rotation the browser has another cookie by now.
      t.equal(late.cookies[0]?.value, end === '/logout' ? '' : undefined)
    }
  }),
)

t.test('parallel requests keep what each of them changes', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const app = await sessionApp(t, { storage: await storageUrl(t, kind), routes })
    const browser = new Browser(app)
    await browser.login()
    const parallel = gates.close('parallel')
    const both = [browser.get('/set?key=a&gate=parallel'), browser.get('/set?key=b&gate=parallel')]
    await parallel.reached(2)
    parallel.open()
    await Promise.all(both)
    t.match((await browser.get('/read')).json(), { a: 1, b: 1 })
    const gate = gates.close('stale')
    const stale = browser.clone().get('/set?key=b&gate=stale')
    await gate.reached()
    await browser.get('/remove')
    gate.open()
    await stale
    t.notOk('a' in (await browser.get('/read')).json(), 'a stale request does not restore a deleted key')
    t.equal((await browser.get('/boom')).statusCode, 500)
    t.notOk('a' in (await browser.get('/read')).json(), 'a handler that throws saves nothing')
  }),
)

t.test('a session lives through a restart and a change of secrets', async (t) => {
  for (const kind of ['lmdb', 'redis'] as const) {
    const url = await storageUrl(t, kind)
    const first = await sessionApp(t, { storage: url, routes })
    const browser = new Browser(first)
    await browser.login()
    await browser.get('/set?key=a')
    await first.close()
    const secrets = [OTHER_SECRET, SECRET]
    const second = await sessionApp(t, { storage: url, routes, session: { secret: secrets } })
    const returning = new Browser(second)
    returning.cookies = browser.cookies
    const read = await returning.get('/read')
    t.match(read.json(), { a: 1, user: { id: 'ada' } })
    t.equal(read.cookies.length, 1, 'the cookie is signed anew')
    t.equal((await returning.get('/read')).headers['set-cookie'], undefined, 'once')
    secrets.pop()
    t.equal((await returning.get('/profile')).statusCode, 200)
    secrets.unshift('a third secret for the test, as long as the others')
    t.equal((await returning.get('/profile')).statusCode, 200)
    secrets.pop()
    t.equal((await returning.get('/profile')).statusCode, 200)
    t.equal((await returning.login()).json().loginCount, 2)
    await second.close()
  }
})

t.test('two instances on one Redis share sessions and hear of revocations', async (t) => {
  const url = await storageUrl(t, 'redis')
  const one = await sessionApp(t, { storage: url, routes })
  const two = await sessionApp(t, { storage: url, routes })
  const heard = [one, two].map((app) => {
    const events: unknown[] = []
    app.sessions.on('revoked', (event) => events.push(event))
    return events
  })
  const onOne = new Browser(one)
  await onOne.login()
  const onTwo = new Browser(two)
  onTwo.cookies = onOne.cookies
  t.equal((await onTwo.get('/profile')).statusCode, 200)
  const { current: handle } = (await onTwo.get('/sessions')).json()
  await onTwo.post('/logout')
  // What is told twice would stand before what is told of the next.
  await onOne.login()
  const { current: next } = (await onOne.get('/sessions')).json()
  await onOne.post('/logout')
  await eventually(() => heard.every((events) => events.length > 1))
  const events = [handle, next].map((handle) => ({ handle, userId: 'ada', reason: 'logout' }))
  for (const told of heard) t.same(told, events)
})

t.test('idle and absolute timeouts, to the millisecond', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const clock = new ManualClock()
    const app = await sessionApp(t, {
      storage: await storageUrl(t, kind),
      routes,
      session: { clock, idle: '30m', absolute: '1h', touch: '1m' },
    })
    const expired: unknown[] = []
    app.sessions.on('expired', (event) => expired.push(event))
    const browser = new Browser(app)
    await browser.login()
    clock.advance(30 * MINUTE - 1)
    t.equal((await browser.clone().get('/profile')).statusCode, 200)
    clock.advance(30 * MINUTE - 1)
    t.equal((await browser.get('/profile')).statusCode, 200, 'kept alive by use')
    await browser.get('/regenerate')
    t.equal((await browser.get('/profile')).statusCode, 200)
    clock.advance(1)
    t.equal((await browser.get('/profile')).statusCode, 200, 'one millisecond before the end')
    clock.advance(1)
    t.equal((await browser.get('/profile')).statusCode, 401, 'neither use nor rotation moves the absolute end')

    await browser.login()
    clock.advance(30 * MINUTE)
    t.equal((await browser.get('/profile')).statusCode, 401)
    await app.sessions.sweep()
    t.equal(await app.sessions.count(), 0)
    t.match(expired, [{ userId: 'ada' }, { userId: 'ada' }])
  }),
)

t.test('uses are written at most once in the touch interval', async (t) => {
  const clock = new ManualClock()
  const app = await sessionApp(t, { routes, session: { clock, touch: '1m' } })
  const browser = new Browser(app)
  await browser.login()
  for (let n = 0; n < 10; n++) t.equal((await browser.get('/read')).headers['set-cookie'], undefined)
  t.match(await app.sessions.stats(), { touches: 0, touchesSkipped: 10, saves: 0 })
  clock.advance(MINUTE)
  t.equal((await browser.get('/read')).cookies.length, 1, 'the cookie lives on')
  for (let n = 0; n < 10; n++) await browser.get('/read')
  t.match(await app.sessions.stats(), { touches: 1, total: 1, activeUsers: 1, averagePerUser: 1, created: 1 })
})

t.test('who has no session costs nothing', async (t) => {
  const app = await sessionApp(t, { routes })
  const browser = new Browser(app)
  const read = await browser.get('/read')
  t.equal(read.headers['set-cookie'], undefined)
  t.equal(await app.sessions.count(), 0)
  const forged = new Browser(app)
  forged.cookies.set('sid', `${'a'.repeat(45)}.forged`)
  const answer = await forged.get('/read')
  t.same(answer.json(), {})
  t.match(answer.cookies, [{ name: 'sid', value: '', path: '/', httpOnly: true, sameSite: 'Lax' }])
})

t.test('in production the cookie is Secure and bound to the host, and so is its removal', async (t) => {
  const app = await sessionApp(t, { routes, session: { production: true } })
  const browser = new Browser(app)
  const login = await browser.login()
  t.match(login.headers['set-cookie'], /^__Host-sid=[^;]+; .*Path=\/; .*HttpOnly; Secure; SameSite=Lax/)
  t.notMatch(login.headers['set-cookie'], /Domain/)
  t.equal((await browser.get('/profile')).statusCode, 200)
  const logout = await browser.post('/logout')
  t.match(logout.headers['set-cookie'], /^__Host-sid=; Max-Age=0; Path=\/; .*HttpOnly; Secure; SameSite=Lax/)
})

t.test('a store that fails is a 503 that leaves the cookie alone', async (t) => {
  const app = await sessionApp(t, { storage: await storageUrl(t, 'redis'), routes })
  const browser = new Browser(app)
  await browser.login()
  if (app.storage.kind !== 'redis') return t.fail()
  app.storage.client.servers.client.disconnect()
  for (const url of ['/read', '/set?key=a', '/profile']) {
    const response = await browser.get(url)
    t.match(response.json(), { status: 503, code: 'STATEFUL_STORAGE_UNAVAILABLE' })
    t.equal(response.headers['retry-after'], '1')
    t.equal(response.headers['set-cookie'], undefined)
  }
  t.equal((await new Browser(app).get('/read')).statusCode, 200, 'no cookie, no question')
})

t.test('a recent login can be required', async (t) => {
  const clock = new ManualClock()
  const app = await sessionApp(t, { routes, session: { clock } })
  const browser = new Browser(app)
  t.match((await browser.get('/fresh')).json(), { status: 401, code: 'STATEFUL_UNAUTHENTICATED' })
  await browser.login()
  t.equal((await browser.get('/fresh')).statusCode, 200)
  clock.advance(5 * MINUTE + 1)
  t.match((await browser.get('/fresh')).json(), { status: 401, code: 'STATEFUL_FRESH_LOGIN_REQUIRED' })
  await browser.login()
  t.equal((await browser.get('/fresh')).statusCode, 200)
})

t.test('options that cannot work stop the boot', async (t) => {
  for (const session of [
    { secret: 'short' },
    { secret: [] },
    { secret: 'x'.repeat(40) },
    { secret: [SECRET, 'changeme changeme changeme changeme!'], production: true },
    { encryption: 'short' },
    { encryption: 'changeme changeme changeme changeme!', production: true },
    { idle: '1m', touch: '1m' },
    { maxSessions: 0 },
    { cookieName: '__Host-sid' },
    { production: true, cookieName: '__Host-sid', cookie: { domain: 'example.org' } },
  ]) {
    await t.rejects(sessionApp(t, { session }), { code: 'STATEFUL_INVALID_OPTION' }, JSON.stringify(session))
  }
  await t.rejects(sessionApp(t, { session: { secret: 'short' } }), {
    message: /^Option 'secret' must be .*32 characters.*placeholder.*randomBytes/,
  })
  for (const idle of ['soon', '101y', 1e308]) {
    await t.rejects(sessionApp(t, { session: { idle } }), { code: 'STATEFUL_INVALID_DURATION' })
  }
  t.ok(PASSWORD)
})
