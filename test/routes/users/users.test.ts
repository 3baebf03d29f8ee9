import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { accounts, type ThrottleOptions } from '../../../plugins/accounts/index.ts'
import { cache } from '../../../plugins/cache/index.ts'
import { session } from '../../../plugins/session/index.ts'
import { storage } from '../../../plugins/storage/index.ts'
import type { Clock } from '../../../plugins/support/clock.ts'
import { ManualClock } from '../../../plugins/support/manual-clock.ts'
import { authRoutes } from '../../../routes/auth/index.ts'
import { userRoutes } from '../../../routes/users/index.ts'
import { Browser, PASSWORD, SECRET } from '../../fixtures/session-app.ts'
import { onEveryStorage, storageUrl } from '../../fixtures/storages.ts'

async function usersApp(t: Test, url = 'memory:', clock?: Clock, throttle?: ThrottleOptions) {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(storage, { storage: url })
  await app.register(session, { secret: SECRET, production: false, ...(clock ? { clock } : {}) })
  await app.register(cache)
  await app.register(accounts, { bootstrap: { password: PASSWORD }, ...(throttle ? { throttle } : {}) })
  await app.register(authRoutes)
  await app.register(userRoutes)
  await app.ready()
  await app.accounts.create({ id: 'ada', username: 'ada', password: PASSWORD, role: 'user' })
  const put = (browser: Browser, id: string, payload: object) =>
    browser.inject({ method: 'PUT', url: `/users/${id}`, payload })
  const ada = new Browser(app)
  const admin = new Browser(app)
  await ada.login()
  await admin.login('admin')
  return { app, put, ada, admin }
}

t.test('a user is read once and then cached, until something changes them', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const { app, put, ada, admin } = await usersApp(t, await storageUrl(t, kind))
    let reads = 0
    const get = app.accounts.get.bind(app.accounts)
    app.accounts.get = (id) => {
      reads += 1
      return get(id)
    }
    for (let n = 0; n < 3; n++) {
      t.same((await ada.get('/users/ada')).json(), { id: 'ada', username: 'ada', role: 'user' })
    }
    t.equal(reads, 1)
    const changed = await put(ada, 'ada', { displayName: 'Ada', email: 'ada@example.org' })
    t.match(changed.json(), { displayName: 'Ada', email: 'ada@example.org' })
    t.match((await ada.get('/users/ada')).json(), { displayName: 'Ada' })

    t.equal((await ada.get('/users/grace')).statusCode, 404)
    const created = await put(admin, 'grace', { username: 'grace', password: PASSWORD })
    t.equal(created.statusCode, 201)
    t.match((await ada.get('/users/grace')).json(), { id: 'grace', username: 'grace', role: 'user' })
  }),
)

t.test('who may change what', async (t) => {
  const { put, ada, admin, app } = await usersApp(t)
  const anonymous = new Browser(app)
  t.equal((await anonymous.get('/users/ada')).statusCode, 401)
  t.equal((await put(anonymous, 'ada', { nonsense: 1 })).statusCode, 401)
  t.match((await put(ada, 'ada', { role: 'administrator' })).json(), { status: 403, code: 'STATEFUL_FORBIDDEN' })
  t.equal((await put(ada, 'ada', { username: 'eve' })).statusCode, 403)
  t.equal((await put(ada, 'grace', { displayName: 'x' })).statusCode, 403)
  t.match((await put(admin, 'grace', { displayName: 'x' })).json(), {
    status: 422,
    code: 'STATEFUL_INCOMPLETE_ACCOUNT',
  })
  t.match((await put(admin, 'grace', { username: 'ADA', password: PASSWORD })).json(), { status: 409 })
  for (const body of [{}, { displayname: 'x' }, { password: 'short' }, { role: 'root' }, { username: ' x' }]) {
    t.equal((await put(admin, 'ada', body)).statusCode, 400, JSON.stringify(body))
  }
  t.match((await put(admin, 'ada', { username: 'countess' })).json(), { username: 'countess' })
})

t.test('a new password ends the other sessions, a new role all of them', async (t) => {
  const { put, ada, admin, app } = await usersApp(t)
  const other = new Browser(app)
  await other.login()
  t.equal((await put(ada, 'ada', { password: 'battery staple' })).statusCode, 200)
  t.equal((await other.get('/profile')).statusCode, 401)
  t.equal((await ada.get('/profile')).statusCode, 200)
  t.equal((await other.login()).statusCode, 401)
  t.equal((await other.login('ada', 'battery staple')).statusCode, 200)
  await put(admin, 'ada', { role: 'administrator' })
  t.equal((await ada.get('/profile')).statusCode, 401)
  await ada.login('ada', 'battery staple')
  t.match((await ada.get('/profile')).json(), { user: { role: 'administrator' } })
})

const MINUTE = 60_000

t.test('what an account is taken over by needs a fresh login or the current password', async (t) => {
  const clock = new ManualClock(Date.now())
  const { put, ada, admin, app } = await usersApp(t, 'memory:', clock)
  const sensitive = [{ password: 'battery staple' }, { email: 'eve@example.org' }]
  clock.advance(11 * MINUTE)
  for (const body of sensitive) {
    t.match((await put(ada, 'ada', body)).json(), { status: 401, code: 'STATEFUL_FRESH_LOGIN_REQUIRED' })
  }
  for (const body of [...sensitive, { username: 'eve' }, { role: 'administrator' }]) {
    t.match((await put(admin, 'ada', body)).json(), { status: 401, code: 'STATEFUL_FRESH_LOGIN_REQUIRED' })
  }
  const created = { username: 'grace', password: PASSWORD, role: 'administrator' }
  t.equal((await put(admin, 'grace', created)).statusCode, 401, 'an account that is left behind, too')
  t.same(await app.accounts.get('ada'), { id: 'ada', username: 'ada', role: 'user' })
  t.ok(await app.accounts.verify('ada', PASSWORD))
  t.equal((await put(ada, 'ada', { displayName: 'Ada' })).statusCode, 200, 'anything else does not')

  const wrong = await put(ada, 'ada', { email: 'a@b.c', currentPassword: 'wrong' })
  t.match(wrong.json(), { status: 401, code: 'STATEFUL_INVALID_CREDENTIALS' })
  t.match((await put(ada, 'ada', { email: 'a@b.c', currentPassword: PASSWORD })).json(), { email: 'a@b.c' })
  t.equal((await put(admin, 'ada', { role: 'user', currentPassword: 'battery staple' })).statusCode, 401)
  t.equal(
    (await put(admin, 'ada', { email: 'x@y.z', currentPassword: PASSWORD })).statusCode,
    200,
    "the administrator's",
  )
  t.notOk(JSON.stringify(await app.accounts.get('ada')).includes('currentPassword'))

  await ada.login()
  for (const body of sensitive) t.equal((await put(ada, 'ada', body)).statusCode, 200, 'logged in a moment ago')
})

t.test('guesses of the current password are counted as failed logins', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const { put, ada, admin, app } = await usersApp(t, await storageUrl(t, kind), undefined, { perAccount: 3 })
    const guess = async () => (await put(ada, 'ada', { email: 'a@b.c', currentPassword: 'wrong' })).statusCode
    t.same([await guess(), await guess(), await guess(), await guess()], [401, 401, 401, 429])
    const right = await put(ada, 'ada', { email: 'a@b.c', currentPassword: PASSWORD })
    t.equal(right.statusCode, 429)
    t.ok(Number(right.headers['retry-after']) > 800)
    t.equal((await new Browser(app).login()).statusCode, 429, 'by whatever way')
    t.equal((await put(admin, 'ada', { email: 'a@b.c', currentPassword: PASSWORD })).statusCode, 200)
  }),
)

t.test('a role that is set once more ends the sessions that have another', async (t) => {
  const { put, ada, admin, app } = await usersApp(t)
  // As if the process had ended between the change of the account and that of its sessions.
  await app.accounts.update('ada', { role: 'administrator' })
  t.match((await ada.get('/profile')).json(), { user: { role: 'user' } })
  t.equal((await put(admin, 'ada', { role: 'administrator' })).statusCode, 200)
  t.equal((await ada.get('/profile')).statusCode, 401)
  await ada.login()
  t.equal((await put(admin, 'ada', { role: 'administrator', displayName: 'Ada' })).statusCode, 200)
  t.equal((await ada.get('/profile')).statusCode, 200, 'but none that has this one')
})
