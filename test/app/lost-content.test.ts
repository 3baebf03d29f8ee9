import type { AddressInfo } from 'node:net'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { loggedIn, testApp } from '../fixtures/app.ts'
import { eventually } from '../fixtures/eventually.ts'
import { type RedisServer, startRedis } from '../fixtures/redis-server.ts'
import { SyncPeer } from '../fixtures/sync-peer.ts'

/** The next one, of another history than `epoch`. */
async function fullSync(peer: SyncPeer, epoch?: string) {
  for (;;) {
    const message = await peer.next()
    if (message.type === 'fullSync' && message.epoch !== epoch) return message
  }
}

async function lose(t: Test, loss: (redis: RedisServer) => Promise<void>) {
  const redis = await startRedis(t)
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
  const epochs = await Promise.all(peers.map(async (peer) => (await fullSync(peer)).epoch))
  await loss(redis)

  const login = (one: typeof app) => loggedIn(one).catch(() => undefined)
  await eventually(async () => (await login(app)) && login(other))
  const [again, there] = [await loggedIn(app), await loggedIn(other)]
  t.same(await other.accounts.findByUsername('admin'), account, 'as the same account')
  t.equal(await app.accounts.count(), 1)
  t.equal((await before({ url: '/profile' })).statusCode, 401, 'sessions are gone')

  for (const [n, one] of [app, other].entries()) {
    // Sockets are closed whose sessions are seen to be gone: with the connection, revocations may have been missed.
    // Who comes back before the instance has looked at the log is told a moment later.
    const synced = await fullSync(peers[n] as SyncPeer, epochs[n]).catch(async () => {
      peers[n] = await peerOf(one)
      return fullSync(peers[n], epochs[n])
    })
    t.strictSame(synced.state, {}, 'clients are told of a new epoch')
  }
  await app.state.set('key', 'anew')
  for (const [n, one] of [app, other].entries()) {
    const told = await (peers[n] as SyncPeer).until(({ type }) => type === 'stateChange').catch(() => undefined)
    if (told) {
      t.match(told.at(-1), { changes: [{ ops: [{ op: 'set', key: 'key', value: 'anew' }] }] })
    } else {
      // Its session was seen to be gone only now.
      peers[n] = await peerOf(one)
      t.strictSame((await fullSync(peers[n])).state, { key: 'anew' })
    }
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
}

t.test('a Redis that loses its content while servers run gets again what they have ensured at boot', async (t) => {
  await t.test('by FLUSHALL', (t) =>
    lose(t, async ({ port }) => {
      const admin = new Redis(port)
      await admin.flushall().finally(() => admin.disconnect())
    }),
  )
  await t.test('because another server took its place', (t) => lose(t, (redis) => redis.restart()))
})
