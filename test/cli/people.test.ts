/** `users` and `sessions`: on a storage, and on a running server. */
import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { loggedIn, testApp } from '../fixtures/app.ts'
import { command, jsonOf } from '../fixtures/command.ts'
import { storageUrl, temporaryFolder } from '../fixtures/storages.ts'

t.test('lmdb: accounts, with the server stopped', async (t) => {
  const env = { STORAGE: await storageUrl(t, 'lmdb') }
  const run = (...args: string[]) => command([...args], { env })
  const { password, ...made } = jsonOf(await run('users', 'create', 'Ada', '--json'))
  t.match(made, { username: 'Ada', role: 'user' })
  t.match(await run('users', 'create', 'ada'), { code: 1, stderr: /STATEFUL_USERNAME_TAKEN/ })
  t.match(await run('users', 'create', 'root', '--role', 'administrator'), { code: 0 })
  t.match(await run('users', 'list', 'a'), {
    code: 0,
    stdout: /^USERNAME +ROLE +STATUS +ID\nAda +user +active +\S+\n$/,
  })
  t.match(await run('users', 'disable', 'ADA'), { code: 0, stdout: 'disabled: Ada\n' })
  t.match(jsonOf(await run('users', 'list', '--json')), [{ username: 'Ada', disabled: true }, { username: 'root' }])
  t.match(await run('users', 'disable', 'nobody'), { code: 1, stderr: /STATEFUL_NOT_FOUND/ })
  t.match(await run('users', 'delete', 'root'), { code: 1, stderr: /STATEFUL_LAST_ADMINISTRATOR/ })
  t.match(await run('users', 'enable', 'ada'), { code: 0, stdout: 'enabled: Ada\n' })
  const reset = jsonOf(await run('users', 'reset', 'ada', '--json'))
  t.not(reset.password, password)
  t.match(jsonOf(await run('users', 'create', 'eye', '--role', 'observer', '--json')), { role: 'observer' })
  t.match(jsonOf(await run('users', 'list', '--role', 'observer', '--json')), [{ username: 'eye' }])

  const app = await testApp(t, { storage: env.STORAGE })
  await loggedIn(app, 'ada', reset.password)
  t.equal(await app.accounts.verify('ada', password), undefined)
  await app.close()
  t.match(await run('users', 'delete', 'ada'), { code: 0 })
  t.match(jsonOf(await run('users', 'list', '--json')), [{ username: 'eye' }, { username: 'root' }])
})

t.test('redis: sessions, beside the server', async (t) => {
  const storage = await storageUrl(t, 'redis')
  const env = { STORAGE: storage }
  const app = await testApp(t, { storage })
  const admin = await loggedIn(app)
  await loggedIn(app)
  await loggedIn(app)
  const listed = jsonOf(await command(['sessions', 'list', 'admin', '--json'], { env }))
  t.equal(listed.length, 3)
  t.match(await command(['sessions', 'revoke', listed[0].handle], { env }), { code: 0, stdout: 'ended sessions: 1\n' })
  t.match(await command(['sessions', 'revoke', listed[0].handle], { env }), { code: 1, stderr: /STATEFUL_NOT_FOUND/ })
  t.equal((await admin({ url: '/profile' })).statusCode, 200)
  t.match(jsonOf(await command(['sessions', 'revoke', '--user', 'admin', '--json'], { env })), { ended: 2 })
  t.equal((await admin({ url: '/profile' })).statusCode, 401)
  t.match(await command(['sessions', 'revoke'], { env }), { code: 1, stderr: /--user/ })
  t.match(await command(['sessions', 'list', 'admin'], { env }), { code: 0, stdout: /^HANDLE .*\n$/ })
})

t.test('encrypted sessions are listed, revoked and moved without their secret', async (t) => {
  const [from, to] = [await storageUrl(t, 'redis'), await storageUrl(t, 'lmdb')]
  const session = { encryption: randomBytes(32).toString('base64url') }
  const app = await testApp(t, { storage: from, session })
  const admin = await loggedIn(app)
  await loggedIn(app)
  const listed = await command(['sessions', 'list', 'admin'], { env: { STORAGE: from } })
  t.match(listed, { code: 0, stdout: /^HANDLE .*(\n\S+ +\S+ +\S+ +\? +\?){2}\n$/, stderr: /encrypted.*--url/ })
  const [one, two] = jsonOf(await command(['sessions', 'list', 'admin', '--json'], { env: { STORAGE: from } }))
  t.match(one, { handle: String, createdAt: String, unreadable: true })
  const own = (await admin({ url: '/sessions' })).json().current
  const other = own === one.handle ? two.handle : one.handle

  const file = join(await temporaryFolder(t), 'all.ndjson')
  t.match(jsonOf(await command(['export', file, '--storage', from, '--json'])), { session: 2 })
  t.notMatch(await readFile(file, 'utf8'), /userAgent|"loginTime/)
  t.match(await command(['sessions', 'revoke', other], { env: { STORAGE: from } }), { code: 0 })
  t.match(await command(['sessions', 'revoke', other], { env: { STORAGE: from } }), { code: 1, stderr: /NOT_FOUND/ })
  t.match(jsonOf(await command(['sessions', 'list', 'admin', '--json'], { env: { STORAGE: from } })), [{ handle: own }])
  t.match(await command(['import', file, '--storage', to]), { code: 0 })
  const moved = await testApp(t, { storage: to, session })
  t.equal((await moved.inject({ url: '/profile', headers: { cookie: admin.cookie } })).statusCode, 200)
})

t.test('the same of a running server, with a token', async (t) => {
  const app = await testApp(t, { storage: await storageUrl(t, 'lmdb') })
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  const scopes = [
    ...(['users:list', 'users:read', 'users:write', 'users:administer'] as const),
    ...(['sessions:list', 'sessions:revoke'] as const),
  ]
  const { token } = await app.accessTokens.create({ name: 'cli', scopes })
  const env = { STATEFUL_URL: url, STATEFUL_TOKEN: token }
  const { password } = jsonOf(await command(['users', 'create', 'ada', '--json'], { env }))
  const ada = await loggedIn(app, 'ada', password)
  const [session] = jsonOf(await command(['sessions', 'list', 'ada', '--json'], { env }))
  t.match(await command(['sessions', 'revoke', session.handle, '--user', 'ada'], { env }), { code: 0 })
  t.equal((await ada({ url: '/profile' })).statusCode, 401)
  const again = await loggedIn(app, 'ada', password)
  t.match(await command(['sessions', 'revoke', '--user', 'ada'], { env }), { code: 0, stdout: 'ended sessions: 1\n' })
  t.equal((await again({ url: '/profile' })).statusCode, 401)
  const third = await loggedIn(app, 'ada', password)
  t.match(await command(['users', 'disable', 'ada'], { env }), { code: 0 })
  t.equal((await third({ url: '/profile' })).statusCode, 401)
  t.match(
    jsonOf(await command(['users', 'list', '--json'], { env })),
    [{ username: 'ada', disabled: true }, { username: 'admin' }].slice(0, 1),
  )
  t.match(await command(['users', 'enable', 'ada'], { env }), { code: 0 })
  const reset = jsonOf(await command(['users', 'reset', 'ada', '--json'], { env }))
  await loggedIn(app, 'ada', reset.password)
  t.match(await command(['users', 'delete', 'ada'], { env }), { code: 0, stdout: 'deleted: ada\n' })
  t.equal(await app.accounts.findByUsername('ada'), undefined)
})
