/** A connection is what its session is, for as long as it lives. */
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { ManualClock } from '../../../plugins/support/manual-clock.ts'
import { ADMIN_PASSWORD, loggedIn, loggedInUser, testApp } from '../../fixtures/app.ts'
import { eventually } from '../../fixtures/eventually.ts'
import { onEveryStorage, storageUrl } from '../../fixtures/storages.ts'
import { SyncPeer } from '../../fixtures/sync-peer.ts'

async function follow(t: Test, app: FastifyInstance, cookie: string): Promise<SyncPeer> {
  const url = app.server.listening ? app.listeningOrigin : await listen(app)
  const peer = await SyncPeer.connect(t, `${url.replace('http', 'ws')}/sync?space=app`, { headers: { cookie } })
  t.match(await peer.next(), { type: 'fullSync' })
  return peer
}

const listen = (app: FastifyInstance) => app.listen({ host: '127.0.0.1', port: 0 })

t.test('without a session, and with a forged one, nobody connects', async (t) => {
  const app = await testApp(t)
  const ws = `${(await listen(app)).replace('http', 'ws')}/sync?space=app`
  const { cookie } = await loggedInUser(app)
  t.equal(await SyncPeer.refusal(ws), 401)
  t.equal(await SyncPeer.refusal(ws, { headers: { cookie: `${cookie.slice(0, -4)}AAAA` } }), 401)
  await follow(t, app, cookie)
})

t.test('a session that expires ends its connections, also of those who only listen', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const app = await testApp(t, {
      storage: await storageUrl(t, kind),
      session: { idle: '500ms', sweep: '200ms' },
      sync: { heartbeatInterval: '200ms', verifyInterval: '200ms' },
    })
    const { cookie } = await loggedInUser(app)
    const peer = await follow(t, app, cookie)
    const began = Date.now()
    t.match((await peer.until(({ type }) => type === 'revoked')).at(-1), { type: 'revoked' })
    t.equal((await peer.closed).code, 4401)
    t.ok(Date.now() - began < 5_000)
  }),
)

t.test('a new role ends the connections of the old one, on every instance, within a second', async (t) => {
  const storage = await storageUrl(t, 'redis')
  const [one, two] = [await testApp(t, { storage }), await testApp(t, { storage })]
  const admin = await loggedIn(one)
  const created = { username: 'grace', password: 'a password of Grace' }
  t.equal((await admin({ method: 'PUT', url: '/users/grace', payload: created })).statusCode, 201)
  const { cookie } = await loggedIn(one, created.username, created.password)
  const peers = [await follow(t, one, cookie), await follow(t, two, cookie)]
  const bystander = await follow(t, two, admin.cookie)
  const began = Date.now()
  const changed = await admin({ method: 'PUT', url: '/users/grace', payload: { role: 'administrator' } })
  t.equal(changed.statusCode, 200)
  for (const peer of peers) t.equal((await peer.closed).code, 4401)
  t.ok(Date.now() - began < 3_000, `${Date.now() - began} ms`)
  t.equal(bystander.socket.readyState, bystander.socket.OPEN)
})

t.test('a session that is given another role has to connect again', async (t) => {
  const app = await testApp(t, { sync: { heartbeatInterval: '100ms', verifyInterval: '100ms' } })
  const { cookie } = await loggedInUser(app)
  const peer = await follow(t, app, cookie)
  const { id = '' } = (await app.accounts.verify('grace', ADMIN_PASSWORD)) ?? {}
  const [session] = await app.sessions.list(id)
  await app.sessions.update(session?.handle ?? '', { user: { id, role: 'administrator' } })
  t.equal((await peer.closed).code, 4403)
})

t.test('whoever works over a connection stays logged in; a page that is only open does not', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const clock = new ManualClock()
    const options = { clock, idle: '30m', touch: '1m' }
    const app = await testApp(t, { storage: await storageUrl(t, kind), session: options })
    const [working, idling] = [await loggedIn(app), await loggedInUser(app)]
    const [worker, idler] = [await follow(t, app, working.cookie), await follow(t, app, idling.cookie)]
    const admin = (await app.accounts.findByUsername('admin'))?.id ?? ''
    for (let minutes = 0; minutes < 40; minutes += 8) {
      clock.advance(8 * 60_000)
      idler.send({ type: 'heartbeat' })
      worker.send({ type: 'syncRequest', space: 'app' })
      await eventually(async () => (await app.sessions.list(admin))[0]?.lastActivity.getTime() === clock.now())
    }
    t.equal((await working({ url: '/profile' })).statusCode, 200)
    t.equal((await idling({ url: '/profile' })).statusCode, 401)
  }),
)
