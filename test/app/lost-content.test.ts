import type { AddressInfo } from 'node:net'
import { Redis } from 'ioredis'
import t from 'tap'
import { loggedIn, testApp } from '../fixtures/app.ts'
import { startRedis } from '../fixtures/redis-server.ts'
import { SyncPeer } from '../fixtures/sync-peer.ts'
import { eventually } from '../plugins/cache/fixture.ts'

t.test('a Redis that loses its content while servers run gets again what they have ensured at boot', async (t) => {
  const redis = await startRedis(t)
  const admin = new Redis(redis.port)
  t.teardown(() => admin.disconnect())
  // A busy machine is no outage.
  const options = {
    storage: { url: redis.url, redis: { commandTimeout: 10_000 } },
    cache: { l2: { timeout: '10s' } },
    sync: { presenceInterval: '1s' },
    stats: { interval: '1s' },
  }
  const [app, other] = [await testApp(t, options), await testApp(t, options)]
  await Promise.all([app, other].map((one) => one.listen({ port: 0, host: '127.0.0.1' })))
  const before = await loggedIn(app)
  const account = await app.accounts.findByUsername('admin')
  await app.state.set('key', 'value')
  await app.cache.set('key', 'value', { ttl: '1h' })

  const peerOf = async (one: typeof app) => {
    const { cookie } = await loggedIn(one)
    const { port } = one.server.address() as AddressInfo
    return SyncPeer.connect(t, `ws://127.0.0.1:${port}/sync?space=app`, { headers: { cookie } })
  }
  const peers = await Promise.all([app, other].map(peerOf))
  const epochs = await Promise.all(
    peers.map(async (peer) => {
      const [first] = await peer.until(({ type }) => type === 'fullSync')
      return first?.type === 'fullSync' ? first.epoch : undefined
    }),
  )
  const since = performance.now()
  await admin.flushall()

  const [again, there] = [await loggedIn(app), await loggedIn(other)]
  t.ok(performance.now() - since < 5_000, 'the administrator logs in')
  t.same(await other.accounts.findByUsername('admin'), account, 'as the same account')
  t.equal(await app.accounts.count(), 1)
  t.equal((await before({ url: '/profile' })).statusCode, 401, 'sessions are gone')

  for (const [n, peer] of peers.entries()) {
    const synced = (await peer.until(({ type }) => type === 'fullSync')).at(-1)
    t.match(synced, { type: 'fullSync', state: {} })
    t.notSame(synced, { state: { key: 'value' } })
    t.not(synced?.type === 'fullSync' && synced.epoch, epochs[n], 'clients are told of a new epoch')
  }
  await app.state.set('key', 'anew')
  for (const peer of peers) {
    const changed = (await peer.until(({ type }) => type === 'stateChange')).at(-1)
    t.match(changed, { changes: [{ ops: [{ op: 'set', key: 'key', value: 'anew' }] }] })
  }

  await eventually(() => app.cache.get('key').then((value) => value === undefined))
  await app.cache.set('key', 'anew', { ttl: '1h' })
  await eventually(async () => (await other.cache.get('key')) === 'anew')

  const nodes = (await again({ url: '/sync/nodes?scope=cluster' })).json()
  t.equal(nodes.nodes.length, 2, 'connections of both instances are listed')
  await eventually(async () => {
    const { instances } = (await there({ url: '/stats?scope=cluster' })).json()
    return instances.length === 2
  })
  await eventually(() => other.sync.presence('app').length === 2)
})
