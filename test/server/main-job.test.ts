import t from 'tap'
import { ADMIN_PASSWORD, SECRET } from '../fixtures/credentials.ts'
import { openSync } from '../fixtures/frames.ts'
import { HttpClient } from '../fixtures/http-client.ts'
import { startServer } from '../fixtures/server-process.ts'
import { storageUrl } from '../fixtures/storages.ts'

for (const kind of ['lmdb', 'redis'] as const) {
  t.test(`the whole story on ${kind}: log in, prefer, write, watch, cache, restart`, async (t) => {
    const environment = { STORAGE: await storageUrl(t, kind), SESSION_SECRET: SECRET }
    const first = await startServer(t, environment)
    const admin = new HttpClient(first.url)

    t.match(await admin.get('/profile'), { status: 401, body: { code: 'STATEFUL_UNAUTHENTICATED' } })
    t.match(await admin.login('admin', 'not the password'), { status: 401 })
    t.match(await admin.login('admin', ADMIN_PASSWORD), {
      status: 200,
      body: { user: { username: 'admin', role: 'administrator' }, loginCount: 1, loginTime: String },
    })
    t.match(await admin.post('/preferences', { theme: 'dark' }), {
      status: 200,
      body: { preferences: { theme: 'dark' } },
    })
    t.match(await admin.get('/profile'), { status: 200, body: { preferences: { theme: 'dark' } } })

    const watcher = await openSync(t, first.url, admin.cookie, '?space=app')
    const full = await watcher.next('fullSync')
    t.match(full, { space: 'app', epoch: String, revision: Number, state: {} })
    const written = await admin.put('/state/keys/greeting', { value: 'hello' })
    t.match(written, { status: 200, body: { key: 'greeting', value: 'hello', revision: Number } })
    t.match(await watcher.next('stateChange'), {
      space: 'app',
      epoch: full.epoch,
      changes: [
        { prev: full.revision, revision: written.body.revision, ops: [{ op: 'set', key: 'greeting', value: 'hello' }] },
      ],
    })

    const id = (await admin.get('/profile')).body.user.id
    const before = (await admin.get('/stats')).body.cache.loads
    t.match(await admin.get(`/users/${id}`), { status: 200, body: { username: 'admin' } })
    t.match(await admin.get(`/users/${id}`), { status: 200, body: { username: 'admin' } })
    t.equal((await admin.get('/stats')).body.cache.loads - before, 1, 'read twice, loaded once')

    const { code, took } = await first.stop('SIGTERM')
    t.equal(code, 0)
    t.ok(took < 10_000, `closed in ${Math.round(took)} ms`)

    const second = await startServer(t, environment)
    const returning = Object.assign(admin, { url: second.url })
    t.match(await returning.get('/profile'), { status: 200, body: { user: { id }, preferences: { theme: 'dark' } } })
    t.match(await returning.get('/state/keys/greeting'), { status: 200, body: { value: 'hello' } })
    t.match(await new HttpClient(second.url).login('admin', ADMIN_PASSWORD), { status: 200, body: { loginCount: 2 } })
    t.equal((await second.stop()).code, 0)
  })
}

t.test('the generated password is printed at the first boot only, and never logged', async (t) => {
  const environment = { STORAGE: await storageUrl(t, 'lmdb'), ADMIN_PASSWORD: '', LOG_LEVEL: 'trace' }
  const first = await startServer(t, environment)
  const password = /admin, password (\S+)/.exec(first.output())?.[1] ?? ''
  t.ok(password.length >= 20, 'a password is shown')
  t.match(first.output(), /\/docs\n.*\/dashboard/s)
  t.match(await new HttpClient(first.url).login('admin', password), { status: 200 })
  t.equal(first.output().split(password).length, 2, 'exactly once')
  await first.stop()
  const second = await startServer(t, environment)
  t.notMatch(second.output(), /password/)
  t.match(await new HttpClient(second.url).login('admin', password), { status: 200 })
})
