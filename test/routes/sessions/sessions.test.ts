import t from 'tap'
import { Browser, sessionApp } from '../../fixtures/session-app.ts'
import { onEveryStorage, storageUrl } from '../../fixtures/storages.ts'

t.test('a user sees and ends their sessions', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const app = await sessionApp(t, { storage: await storageUrl(t, kind) })
    const laptop = new Browser(app, { 'user-agent': 'laptop' })
    const phone = new Browser(app, { 'user-agent': 'phone' })
    const tablet = new Browser(app, { 'user-agent': 'tablet' })
    for (const browser of [laptop, phone, tablet]) await browser.login()
    await new Browser(app).login('admin')

    const list = (await phone.get('/sessions')).json()
    t.equal(list.loginCount, 2)
    t.same(list.sessions.map(({ userAgent }: { userAgent: string }) => userAgent).sort(), ['laptop', 'phone', 'tablet'])
    const current = list.sessions.find((one: { current: boolean }) => one.current)
    t.match(current, {
      handle: list.current,
      userAgent: 'phone',
      ip: '127.0.0.1',
      createdAt: String,
      lastActivity: String,
    })
    const [name, value] = [...phone.cookies][0] as [string, string]
    t.equal(name, 'sid')
    t.notMatch(JSON.stringify(list), value.split('.')[0] as string, 'the token is in no list')

    const of = (agent: string) => list.sessions.find((one: { userAgent: string }) => one.userAgent === agent).handle
    t.equal((await phone.delete(`/sessions/${of('tablet')}`)).statusCode, 204)
    t.equal((await tablet.get('/profile')).statusCode, 401)
    t.equal((await phone.delete(`/sessions/${of('tablet')}`)).statusCode, 404)
    t.equal((await laptop.get('/profile')).statusCode, 200)

    t.same((await phone.delete('/sessions')).json(), { revoked: 1 })
    t.equal((await laptop.get('/profile')).statusCode, 401)
    t.equal((await phone.get('/profile')).statusCode, 200)

    const own = await phone.delete(`/sessions/${of('phone')}`)
    t.equal(own.statusCode, 204)
    t.match(own.cookies, [{ name: 'sid', value: '' }], 'ending the own session is a logout')
    t.equal((await phone.get('/profile')).statusCode, 401)
  }),
)

t.test("others' sessions are for administrators", async (t) => {
  const app = await sessionApp(t)
  const ada = new Browser(app)
  const admin = new Browser(app)
  for (const method of ['GET', 'DELETE'] as const) {
    t.match((await ada.inject({ method, url: '/sessions' })).json(), { status: 401 })
  }
  t.equal((await ada.delete('/sessions/x')).statusCode, 401)
  await ada.login()
  await admin.login('admin')
  const { id } = (await admin.get('/profile')).json().user
  t.match((await ada.get(`/sessions?userId=${id}`)).json(), { status: 403, code: 'STATEFUL_FORBIDDEN' })
  t.equal((await ada.delete(`/sessions?userId=${id}`)).statusCode, 403)
  const { current: handle } = (await admin.get('/sessions')).json()
  t.equal((await ada.delete(`/sessions/${handle}?userId=${id}`)).statusCode, 403)
  t.equal((await ada.delete(`/sessions/${handle}`)).statusCode, 404, "another's handle is none of hers")
  t.equal((await ada.get('/sessions?user=x')).statusCode, 400)
  t.equal((await ada.get('/sessions?userId=ada')).statusCode, 200, 'naming oneself is fine')

  const list = (await admin.get('/sessions?userId=ada')).json()
  t.equal(list.sessions.length, 1)
  t.equal(list.current, handle)
  t.equal((await admin.delete(`/sessions/${list.sessions[0].handle}?userId=ada`)).statusCode, 204)
  t.equal((await ada.get('/profile')).statusCode, 401)
  await ada.login()
  t.same((await admin.delete('/sessions?userId=ada')).json(), { revoked: 1 })
  t.equal((await ada.get('/profile')).statusCode, 401)
  t.equal((await admin.get('/profile')).statusCode, 200)
})
