import t from 'tap'
import { loggedIn, loggedInUser, testApp } from '../../fixtures/app.ts'
import { onEveryStorage, openTestStorage, storageUrl } from '../../fixtures/storages.ts'
import { SyncPeer } from '../../fixtures/sync-peer.ts'
import { startServer } from './server.ts'

const increment = { clientId: 'a-client-id', seq: 1, ops: [{ op: 'increment', key: 'n', value: 1 }] }

t.test('writes by POST are those of the WebSocket: numbered, applied once', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const { app } = await startServer(t, await storageUrl(t, kind))
    const write = (payload: object) => app.inject({ method: 'POST', url: '/sync/writes', payload })
    const first = await write(increment)
    t.equal(first.statusCode, 200)
    t.match(first.json(), { seq: 1, space: 'app', ops: [{ key: 'n' }] })
    t.strictSame((await write(increment)).json(), first.json())
    t.equal(app.state.get('n'), 1)
    t.equal((await write({ ...increment, extra: 1 })).statusCode, 400)
    t.equal((await write({ ...increment, seq: 2, ops: [{ op: 'append', key: 'n', value: 1 }] })).statusCode, 422)
  }),
)

t.test('who may not administer or write is refused', async (t) => {
  const app = await testApp(t)
  const user = await loggedInUser(app)
  const post = { method: 'POST', url: '/sync/writes', payload: increment } as const
  t.equal((await app.inject(post)).statusCode, 401)
  t.equal((await user(post)).statusCode, 403)
  for (const method of ['GET', 'DELETE'] as const) {
    const url = method === 'GET' ? '/sync/nodes' : '/sync/nodes/some'
    t.equal((await app.inject({ method, url })).statusCode, 401)
    t.equal((await user({ method, url })).statusCode, 403)
  }
})

t.test('an administrator ends a connection', async (t) => {
  const { app, ws } = await startServer(t, 'memory:')
  const peer = await SyncPeer.connect(t, `${ws}?space=app`)
  await peer.next()
  const [node] = app.sync.nodes()
  t.equal((await app.inject({ method: 'DELETE', url: `/sync/nodes/${node?.id}` })).statusCode, 204)
  t.equal((await peer.closed).code, 1001)
  const again = await app.inject({ method: 'DELETE', url: `/sync/nodes/${node?.id}` })
  t.equal(again.statusCode, 404)
  t.match(again.json(), { code: 'STATEFUL_NOT_FOUND' })
})

t.test('the connections of every instance can be seen and ended from each', async (t) => {
  const target = await storageUrl(t, 'redis')
  const [one, two] = await Promise.all([startServer(t, target), startServer(t, target)])
  const here = await SyncPeer.connect(t, `${one.ws}?space=app`)
  const there = await SyncPeer.connect(t, `${two.ws}?space=app`)
  await Promise.all([here.next(), there.next()])
  const listed = async ({ app }: typeof one, query = '') => (await app.inject(`/sync/nodes${query}`)).json()
  const remote = (await listed(two)).nodes
  t.match(remote, [{ instance: two.app.storage.instanceId, spaces: ['app'], lag: 0, buffered: 0 }])
  t.strictSame((await listed(one)).nodes.length, 1, 'by default those of the instance that answers')
  for (const server of [one, two]) {
    const { nodes, unanswered } = await listed(server, '?scope=cluster')
    const instances = nodes.map(({ instance }: { instance: string }) => instance)
    t.strictSame(instances.sort(), [one.app.storage.instanceId, two.app.storage.instanceId].sort())
    t.equal(unanswered, 0)
  }
  t.equal((await one.app.inject('/sync/nodes?scope=world')).statusCode, 400)

  const end = (id: string) => one.app.inject({ method: 'DELETE', url: `/sync/nodes/${id}` })
  t.equal((await end(remote[0].id)).statusCode, 204)
  t.equal((await there.closed).code, 1001)
  t.equal((await end(remote[0].id)).statusCode, 404)
  t.strictSame(two.app.sync.stats().closes, { 1001: 1 })
  t.equal(one.app.sync.stats().connections, 1)

  t.comment('an instance that hears and does not answer')
  await two.app.close()
  const frozen = await openTestStorage(t, target)
  if (frozen.kind !== 'redis') throw new Error('not Redis')
  await frozen.channels.subscribe(`${frozen.prefix}sync-nodes`, () => {})
  t.match(await listed(one, '?scope=cluster'), { nodes: [{ instance: one.app.storage.instanceId }], unanswered: 1 })
})

t.test('one instance alone is the whole cluster', async (t) => {
  const { app, ws } = await startServer(t, 'memory:')
  await SyncPeer.connect(t, ws)
  const { nodes, unanswered } = (await app.inject('/sync/nodes?scope=cluster')).json()
  t.strictSame(nodes, app.sync.nodes())
  t.equal(unanswered, 0)
})

t.test('bytes and frames are counted as they were sent', async (t) => {
  const { app, ws } = await startServer(t, 'memory:')
  const peer = await SyncPeer.connect(t, `${ws}?space=app`)
  let bytes = Buffer.byteLength(JSON.stringify(await peer.next()))
  await app.state.set('city', 'Zürich 🚋')
  bytes += Buffer.byteLength(JSON.stringify(await peer.next()))
  t.match(app.sync.stats(), { connections: 1, accepted: 1, frames: 2, bytes, changes: 1, fullSyncs: 1, lagging: 0 })
})

t.test('too many connections are told when to come back', async (t) => {
  const { url, ws } = await startServer(t, 'memory:', { maxConnections: 1, connectionRate: 2 })
  await SyncPeer.connect(t, ws)
  t.equal(await SyncPeer.refusal(ws), 429)
  const crowded = await startServer(t, 'memory:', { connectionRate: 1 })
  await SyncPeer.connect(t, crowded.ws)
  const response = await fetch(`${crowded.url}/sync/events`)
  t.equal(response.status, 503)
  t.ok(response.headers.has('retry-after'))
  t.ok(url)
})

t.test('a session that ends takes its sockets with it, on every instance, within a second', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const storage = await storageUrl(t, kind)
    const apps = [await testApp(t, { storage })]
    if (kind === 'redis') apps.push(await testApp(t, { storage }))
    const [app] = apps
    if (!app) return
    const admin = await loggedIn(app)
    const peers = await Promise.all(
      apps.map(async (one) => {
        const url = await one.listen({ host: '127.0.0.1', port: 0 })
        const headers = { cookie: admin.cookie }
        const peer = await SyncPeer.connect(t, `${url.replace('http', 'ws')}/sync?space=app`, { headers })
        t.match(await peer.next(), { type: 'fullSync' })
        return peer
      }),
    )
    const started = Date.now()
    t.ok((await admin({ method: 'POST', url: '/logout' })).statusCode < 300)
    for (const peer of peers) {
      t.match(await peer.next(), { type: 'revoked' })
      t.equal((await peer.closed).code, 4401)
    }
    t.ok(Date.now() - started < 3_000, `${Date.now() - started} ms`)
  }),
)
