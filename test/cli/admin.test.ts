/** The way back in for an administrator, as a process of its own, out of the build as it is shipped. */
import t from 'tap'
import { loggedIn, loggedInUser, testApp } from '../fixtures/app.ts'
import { command, type Outcome } from '../fixtures/command.ts'
import { storageUrl } from '../fixtures/storages.ts'
import { SyncPeer } from '../fixtures/sync-peer.ts'

const reset = (storage: string, ...args: string[]) =>
  command(['admin', 'reset', ...args], { env: { STORAGE: storage } })
const administrators = async (storage: string) => {
  const { stdout } = await command(['users', 'list', '--role', 'administrator', '--json'], {
    env: { STORAGE: storage },
  })
  return JSON.parse(stdout)
}
const passwordIn = ({ stdout }: Outcome) => /password (\S{32}) \(shown this once\)/.exec(stdout)?.[1] as string

t.test('lmdb: with the server stopped; the disabled administrator is one again', async (t) => {
  const storage = await storageUrl(t, 'lmdb')
  const first = await testApp(t, { storage })
  const refused = await reset(storage)
  t.match(refused, { code: 1, stderr: /STATEFUL_STORAGE_OWNED/, stdout: '' }, 'while the server has the folder')
  t.match(refused.stderr, /--url/, 'and what to do is said')
  const { id } = (await first.accounts.findByUsername('admin')) as { id: string }
  await first.accounts.create({ username: 'second', password: 'a good password', role: 'administrator' })
  await first.accounts.update(id, { disabled: true })
  const before = await loggedIn(first, 'second', 'a good password')
  await first.close()

  t.match(await administrators(storage), [{ username: 'admin', disabled: true }, { username: 'second' }])
  const outcome = await reset(storage)
  t.match(outcome, { code: 0, stdout: /^reset: administrator admin/ })
  const made = await reset(storage, 'third')
  t.match(made, { code: 0, stdout: /^created: administrator third/ })

  const again = await testApp(t, { storage })
  await loggedIn(again, 'admin', passwordIn(outcome))
  await loggedIn(again, 'third', passwordIn(made))
  t.match(await again.accounts.get(id), { role: 'administrator', disabled: undefined })
  const still = await again.inject({ url: '/profile', headers: { cookie: before.cookie } })
  t.equal(still.statusCode, 200, "others' sessions go on")
})

t.test('redis: beside servers that run; whoever was logged in to the account is out at once', async (t) => {
  const storage = await storageUrl(t, 'redis')
  const app = await testApp(t, { storage })
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  const thief = await loggedIn(app)
  const user = await loggedInUser(app)
  const headers = { cookie: thief.cookie }
  const peer = await SyncPeer.connect(t, `${url.replace('http', 'ws')}/sync?space=app`, { headers })
  await peer.next()
  const outcome = await reset(storage, 'ADMIN')
  t.match(outcome, { code: 0, stdout: /^reset: administrator admin, .*\nended sessions: 1\n$/ })
  t.match(await peer.next(), { type: 'revoked' })
  t.equal((await thief({ url: '/profile' })).statusCode, 401)
  t.equal((await user({ url: '/profile' })).statusCode, 200)
  await loggedIn(app, 'admin', passwordIn(outcome))
})

t.test('what it cannot do is said in a line', async (t) => {
  t.match(await reset('memory:'), {
    code: 1,
    stderr: /^fastify-stateful: Configuration: STORAGE is 'memory:'.*\[STATEFUL_INVALID_CONFIGURATION\]\n$/,
  })
  t.match(await reset('memory:', 'one', 'too many'), { code: 2, stderr: /too many arguments/ })
})
