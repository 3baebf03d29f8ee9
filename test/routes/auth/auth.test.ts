import t from 'tap'
import { Browser, PASSWORD, sessionApp } from '../../fixtures/session-app.ts'
import { onEveryStorage, storageUrl } from '../../fixtures/storages.ts'

t.test('log in, prefer, log out', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const app = await sessionApp(t, { storage: await storageUrl(t, kind) })
    const browser = new Browser(app)
    t.match(await browser.get('/profile'), { statusCode: 401 })

    const login = await browser.login('admin')
    t.equal(login.statusCode, 200)
    t.match(login.json(), { user: { username: 'admin', role: 'administrator', id: String }, loginCount: 1 })
    t.equal(new Date(login.json().loginTime).toISOString(), login.json().loginTime)
    t.match(login.cookies, [{ name: 'sid', httpOnly: true, sameSite: 'Lax', path: '/' }])
    t.notOk(login.cookies[0]?.secure, 'plain HTTP works in development')
    t.ok(Math.abs((login.cookies[0]?.expires?.getTime() ?? 0) - Date.now() - 86_400_000) < 60_000)
    t.equal(login.headers['cache-control'], 'private, no-store')

    const profile = await browser.get('/profile')
    t.match(profile.json(), { user: login.json().user, loginCount: 1, lastActivity: String, preferences: {} })
    t.equal(profile.headers['set-cookie'], undefined)

    t.same((await browser.post('/preferences', { theme: 'dark', size: 3 })).json(), {
      preferences: { theme: 'dark', size: 3 },
    })
    t.same((await browser.post('/preferences', { size: null, on: true })).json(), {
      preferences: { theme: 'dark', size: null, on: true },
    })
    t.match((await browser.get('/profile')).json(), { preferences: { theme: 'dark', size: null, on: true } })

    const stolen = browser.clone()
    const logout = await browser.post('/logout')
    t.equal(logout.statusCode, 204)
    t.match(logout.cookies, [{ name: 'sid', value: '', httpOnly: true, sameSite: 'Lax', path: '/' }])
    t.match(logout.headers['clear-site-data'], /"cache"/)
    t.same([...browser.cookies.keys()], ['device'], 'which opens nothing')
    t.equal((await stolen.get('/profile')).statusCode, 401, 'the record is gone, not only the cookie')
    t.equal((await browser.post('/logout')).statusCode, 204, 'without a session, too')

    t.match((await browser.login('admin')).json(), { loginCount: 2 })
  }),
)

t.test('what is refused, and how', async (t) => {
  const app = await sessionApp(t)
  const browser = new Browser(app)
  const bodies: [object, number][] = [
    [{ username: 'ada' }, 400],
    [{ username: 'ada', password: '' }, 400],
    [{ username: 'ada', password: 'x'.repeat(129) }, 400],
    [{ username: 'ada', password: 7 }, 400],
    [{ username: 'ada', password: PASSWORD, admin: true }, 400],
    [{ username: 'ada', password: 'wrong' }, 401],
    [{ username: 'nobody', password: PASSWORD }, 401],
  ]
  for (const [body, status] of bodies) {
    const response = await browser.post('/login', body)
    t.equal(response.statusCode, status, JSON.stringify(body))
    t.match(response.headers['content-type'], /^application\/problem\+json/)
    t.equal(response.headers['set-cookie'], undefined)
  }
  t.match((await browser.login('ada', 'wrong')).json(), { code: 'STATEFUL_INVALID_CREDENTIALS' })
  t.match((await browser.post('/preferences', { a: 1 })).json(), { status: 401, code: 'STATEFUL_UNAUTHENTICATED' })
  t.match((await browser.post('/preferences', { a: { b: 1 } })).json(), { status: 401 }, 'before its body is looked at')

  await browser.login()
  for (const body of [{ a: { b: 1 } }, { a: [1] }, { ['x'.repeat(65)]: 1 }, { '': 1 }, [1]]) {
    t.equal((await browser.post('/preferences', body)).statusCode, 400, JSON.stringify(body))
  }
  const fifty = Object.fromEntries(Array.from({ length: 50 }, (_, n) => [`n${n}`, n]))
  t.equal((await browser.post('/preferences', { ...fifty, more: 1 })).statusCode, 400)
  t.equal((await browser.post('/preferences', fifty)).statusCode, 200)
  t.match((await browser.post('/preferences', { more: 1 })).json(), { status: 422 })
  t.equal((await browser.get('/profile')).json().preferences.more, undefined)
  const text = {
    method: 'POST' as const,
    url: '/login',
    payload: 'a=b',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
  }
  t.equal((await browser.inject(text)).statusCode, 415)
})

t.test('too many failed logins are refused for a while, successful ones never count', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const app = await sessionApp(t, {
      storage: await storageUrl(t, kind),
      throttle: { perAccount: 3, perAddress: 6, window: '15m' },
    })
    const browser = new Browser(app)
    for (let n = 0; n < 5; n++) t.equal((await browser.login()).statusCode, 200)
    const guesses = await Promise.all(Array.from({ length: 8 }, () => new Browser(app).login('ada', 'wrong')))
    t.same(guesses.map(({ statusCode }) => statusCode).sort(), [401, 401, 401, 429, 429, 429, 429, 429])
    const refused = await new Browser(app).login()
    t.match(refused.json(), { status: 429, code: 'STATEFUL_TOO_MANY_ATTEMPTS' })
    t.ok(Number(refused.headers['retry-after']) > 800)
    t.equal((await browser.login()).statusCode, 200, 'its device is known')
    t.equal((await new Browser(app).login('admin')).statusCode, 200, 'another account')
    for (const name of ['x', 'y', 'z']) t.equal((await browser.login(name, 'wrong')).statusCode, 401)
    t.equal((await new Browser(app).login('admin')).statusCode, 429, 'the address, whatever the account')
    t.equal((await browser.get('/profile')).statusCode, 200, 'who is logged in stays so')
  }),
)

t.test('a wrong throttle option stops the boot', async (t) => {
  await t.rejects(sessionApp(t, { throttle: { perAccount: 0 } }), { code: 'STATEFUL_INVALID_OPTION' })
  await t.rejects(sessionApp(t, { throttle: { window: 'soon' } }), { code: 'STATEFUL_INVALID_DURATION' })
  await t.rejects(sessionApp(t, { throttle: { window: '40000d' } }), { code: 'STATEFUL_INVALID_DURATION' })
})
