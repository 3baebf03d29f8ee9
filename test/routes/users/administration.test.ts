/** Accounts as administrators operate them, and as users help themselves, from outside and on each storage. */
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { ADMIN_PASSWORD, loggedIn, testApp } from '../../fixtures/app.ts'
import { storageKinds, storageUrl } from '../../fixtures/storages.ts'
import { SyncPeer } from '../../fixtures/sync-peer.ts'

const PASSWORD = ADMIN_PASSWORD
const NEW = 'another good password'

type Client = Awaited<ReturnType<typeof loggedIn>>

async function follow(t: Test, app: FastifyInstance, { cookie }: Client): Promise<SyncPeer> {
  const { port } = app.server.address() as { port: number }
  const peer = await SyncPeer.connect(t, `ws://127.0.0.1:${port}/sync?space=app`, { headers: { cookie } })
  await peer.next()
  return peer
}

const login = async (app: FastifyInstance, username: string, password: string) =>
  (await app.inject({ method: 'POST', url: '/login', payload: { username, password } })).json()

for (const kind of storageKinds) {
  t.test(kind, async (t) => {
    const app = await testApp(t, { storage: await storageUrl(t, kind), tokens: {} })
    await app.listen({ host: '127.0.0.1', port: 0 })
    const admin = await loggedIn(app)
    const create = async (username: string, role = 'user') => {
      const response = await admin({ method: 'POST', url: '/users', payload: { username, password: PASSWORD, role } })
      t.equal(response.statusCode, 201, response.body)
      t.equal(response.headers.location, `/users/${response.json().id}`)
      return response.json() as { id: string }
    }
    const patch = (client: Client, id: string, payload: object) =>
      client({ method: 'PATCH', url: `/users/${id}`, payload })

    await t.test('created, listed by pages and by prefix', async (t) => {
      for (const name of ['ada', 'Adam', 'bob']) await create(name)
      const list = async (query = '') => (await admin({ url: `/users${query}` })).json()
      t.match((await list()).users, [
        { username: 'ada' },
        { username: 'Adam' },
        { username: 'admin' },
        { username: 'bob' },
      ])
      t.notMatch(JSON.stringify(await list()), /hash|argon|nameKey/i)
      t.match((await list('?prefix=ADA')).users, [{ username: 'ada' }, { username: 'Adam' }])
      const first = await list('?limit=3')
      t.equal(first.users.length, 3)
      t.match(await list(`?limit=3&cursor=${first.cursor}`), { users: [{ username: 'bob' }], cursor: undefined })
      const again = await admin({ method: 'POST', url: '/users', payload: { username: 'ADA', password: PASSWORD } })
      t.match(again.json(), { status: 409, code: 'STATEFUL_USERNAME_TAKEN' })
    })

    await t.test('disabled: sessions and sockets end at once, and nobody logs in until it is enabled', async (t) => {
      const { id } = await create('grace')
      const grace = await loggedIn(app, 'grace')
      const peer = await follow(t, app, grace)
      t.match((await patch(admin, id, { disabled: true })).json(), { id, disabled: true })
      t.match(await peer.next(), { type: 'revoked', reason: 'account disabled' })
      t.equal((await grace({ url: '/profile' })).statusCode, 401)
      t.match(await login(app, 'grace', PASSWORD), { status: 403, code: 'STATEFUL_ACCOUNT_DISABLED' })
      t.match(await login(app, 'grace', 'wrong password'), { status: 401, code: 'STATEFUL_INVALID_CREDENTIALS' })
      t.match((await admin({ url: `/users/${id}` })).json(), { disabled: true }, 'not from the cache')
      t.notMatch((await patch(admin, id, { disabled: false })).json(), { disabled: true })
      await loggedIn(app, 'grace')
    })

    await t.test('deleted: as disabled, and the name is free', async (t) => {
      const { id } = await create('heidi')
      const heidi = await loggedIn(app, 'heidi')
      const peer = await follow(t, app, heidi)
      t.equal((await admin({ method: 'DELETE', url: `/users/${id}` })).statusCode, 204)
      t.match(await peer.next(), { type: 'revoked', reason: 'account deleted' })
      t.equal((await heidi({ url: '/profile' })).statusCode, 401)
      t.equal((await admin({ url: `/users/${id}` })).statusCode, 404)
      t.equal((await admin({ method: 'DELETE', url: `/users/${id}` })).statusCode, 404)
      t.match(await login(app, 'heidi', PASSWORD), { code: 'STATEFUL_INVALID_CREDENTIALS' })
      t.not((await create('heidi')).id, id)
    })

    await t.test('a password that an administrator sets ends all sessions of the user', async (t) => {
      const { id } = await create('ivan')
      const ivan = await loggedIn(app, 'ivan')
      const peer = await follow(t, app, ivan)
      t.equal((await patch(admin, id, { password: NEW })).statusCode, 200)
      t.match(await peer.next(), { type: 'revoked', reason: 'password changed' })
      t.equal((await ivan({ url: '/profile' })).statusCode, 401)
      t.match(await login(app, 'ivan', PASSWORD), { code: 'STATEFUL_INVALID_CREDENTIALS' })
      await loggedIn(app, 'ivan', NEW)
    })

    await t.test('a password that users set themselves keeps this session and ends the others', async (t) => {
      await create('judy')
      const judy = await loggedIn(app, 'judy')
      const elsewhere = await loggedIn(app, 'judy')
      const peer = await follow(t, app, elsewhere)
      const change = (client: Client, payload: object) => client({ method: 'POST', url: '/password', payload })
      t.match((await change(judy, { password: 'short' })).json(), { code: 'STATEFUL_INVALID_INPUT' })
      t.match((await change(judy, { password: NEW, currentPassword: 'wrong password' })).json(), {
        code: 'STATEFUL_INVALID_CREDENTIALS',
      })
      t.equal((await change(judy, { password: NEW })).statusCode, 204)
      t.match(await peer.next(), { type: 'revoked', reason: 'password changed' })
      t.equal((await elsewhere({ url: '/profile' })).statusCode, 401)
      t.equal((await judy({ url: '/profile' })).statusCode, 200)
      await loggedIn(app, 'judy', NEW)
      t.equal((await app.inject({ method: 'POST', url: '/password', payload: { password: NEW } })).statusCode, 401)
    })

    await t.test('what users may not: each other, and their own role', async (t) => {
      const { id } = await create('kim')
      const kim = await loggedIn(app, 'kim')
      const [other] = (await admin({ url: '/users?prefix=bob' })).json().users
      t.match((await patch(kim, id, { role: 'administrator' })).json(), { status: 403, action: 'users:administer' })
      t.match((await patch(kim, id, { disabled: true })).json(), { status: 403, action: 'users:administer' })
      t.match((await patch(kim, other.id, { displayName: 'x' })).json(), { status: 403, action: 'users:write' })
      t.equal((await patch(kim, id, { displayName: 'Kim', email: 'k@example.org' })).statusCode, 200)
      t.match((await kim({ url: '/users' })).json(), { status: 403, action: 'users:list' })
      t.equal((await kim({ method: 'DELETE', url: `/users/${id}` })).statusCode, 403)
      t.equal((await patch(admin, 'nobody', { displayName: 'x', role: 'user' })).statusCode, 404)
    })

    await t.test(
      'the last administrator is neither disabled, deleted nor degraded, whatever comes at once',
      async (t) => {
        const [own] = (await admin({ url: '/users?prefix=admin' })).json().users
        const refusal = { status: 409, code: 'STATEFUL_LAST_ADMINISTRATOR' }
        t.match((await patch(admin, own.id, { disabled: true })).json(), refusal)
        t.match((await patch(admin, own.id, { role: 'user' })).json(), refusal)
        t.match((await admin({ method: 'DELETE', url: `/users/${own.id}` })).json(), refusal)
        t.equal((await admin({ url: '/profile' })).statusCode, 200)

        const second = await create('second', 'administrator')
        const client = await loggedIn(app, 'second')
        const answers = await Promise.all([
          patch(admin, second.id, { role: 'user' }),
          patch(client, own.id, { role: 'user' }),
          admin({ method: 'DELETE', url: `/users/${second.id}` }),
          client({ method: 'DELETE', url: `/users/${own.id}` }),
        ])
        t.ok(answers.every(({ statusCode }) => [200, 204, 401, 403, 404, 409].includes(statusCode)))
        const { users } = await app.accounts.list({ limit: 1_000 })
        t.equal(users.filter(({ role, disabled }) => role === 'administrator' && !disabled).length, 1)
      },
    )
  })
}

t.test('machines: a token administers by its scope, without a login', async (t) => {
  const app = await testApp(t)
  const { token } = await app.accessTokens.create({ name: 'hr', scopes: ['users:administer', 'users:write'] })
  const headers = { authorization: `Bearer ${token}` }
  const payload = { username: 'mallory', password: PASSWORD }
  const made = await app.inject({ method: 'POST', url: '/users', headers, payload })
  t.equal(made.statusCode, 201)
  const url = `/users/${made.json().id}`
  t.equal((await app.inject({ method: 'PATCH', url, headers, payload: { disabled: true } })).statusCode, 200)
  t.match((await app.inject({ url: '/users', headers })).json(), {
    code: 'STATEFUL_MISSING_SCOPE',
    action: 'users:list',
  })
})
