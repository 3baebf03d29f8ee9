import type { AddressInfo } from 'node:net'
import type { InjectOptions } from 'fastify'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { sessionStoreOn } from '../../plugins/session/stores/on-storage.ts'
import { ownerOf } from '../../plugins/session/token.ts'
import { ADMIN_PASSWORD, loggedIn, loggedInUser, testApp } from '../fixtures/app.ts'
import { eventually } from '../fixtures/eventually.ts'
import { startRedis } from '../fixtures/redis-server.ts'
import { SyncPeer } from '../fixtures/sync-peer.ts'

const FULL = { statusCode: 507, body: /STATEFUL_STORAGE_FULL/ }

/** Two instances on one Redis, and what makes it full: it stays so however much is let go. */
async function instances(t: Test) {
  const redis = await startRedis(t)
  const admin = new Redis(redis.port)
  t.teardown(() => admin.disconnect())
  // A busy machine is no outage.
  const options = {
    storage: { url: redis.url, redis: { commandTimeout: 10_000 } },
    cache: { l2: { timeout: '10s' } },
  }
  const [app, other] = [await testApp(t, options), await testApp(t, options)]
  // Right after a boot on a busy machine the load shedder may be closed.
  for (const one of [app, other]) await eventually(async () => (await one.inject('/profile')).statusCode === 401)
  return {
    app,
    other,
    fill: () => admin.config('SET', 'maxmemory', '1mb'),
    makeRoom: () => admin.config('SET', 'maxmemory', '0'),
    /** What is in Redis, without what lives on by itself and the trail of what administrators try, which is bounded. */
    async content() {
      const keys = (await admin.keys('*')).filter((key) => !/:\{stats\}|presence|:audit$|:l:|\}:h$/.test(key)).sort()
      return Promise.all(keys.map(async (key) => [key, (await admin.dumpBuffer(key))?.toString('hex')]))
    },
  }
}

const put = (url: string, payload: object) => ({ method: 'PUT', url, payload }) as const
const post = (url: string, payload?: object): InjectOptions => ({
  method: 'POST',
  url,
  ...(payload ? { payload } : {}),
})
const get = (url: string) => ({ url })
const remove = (url: string) => ({ method: 'DELETE', url }) as const

t.test('a full Redis: over HTTP everything lets go, and nothing else is written, not even half', async (t) => {
  const { app, other, fill, makeRoom, content } = await instances(t)
  const ada = await loggedIn(app)
  const grace = await loggedInUser(app)
  const [phone, tablet] = [await loggedIn(app, 'grace'), await loggedIn(other, 'grace')]
  for (const key of ['a', 'b', 'c', 'd']) {
    await ada(put(`/state/keys/${key}`, { value: key }))
    await ada(put(`/cache/entries/${key}`, { value: key, tags: [key] }))
  }
  await other.state.freshen()
  await ada(put('/cache/entries/other', { value: 1 }))
  await other.listen({ port: 0, host: '127.0.0.1' })
  const { port } = other.server.address() as AddressInfo
  const peer = await SyncPeer.connect(t, `ws://127.0.0.1:${port}/sync?space=app`, {
    headers: { cookie: grace.cookie },
  })
  await peer.next()

  await fill()
  const before = await content()
  t.match(await ada(put('/state/keys/a', { value: 'new' })), FULL)
  t.match(await ada(put('/state/keys/new', { value: 1 })), FULL)
  t.match(await ada(post('/state/keys/n/increment', {})), FULL)
  t.match(await ada(post('/state/restore', { state: { only: 1 } })), FULL)
  t.match(await ada(put('/cache/entries/a', { value: 'new' })), FULL)
  t.match(await ada(put('/cache/entries/new', { value: 1, tags: ['new'] })), FULL)
  t.match(await grace(post('/preferences', { theme: 'dark' })), FULL)
  t.match(await app.inject(post('/login', { username: 'grace', password: ADMIN_PASSWORD })), FULL)
  t.match(await app.inject(post('/login', { username: 'grace', password: 'wrong' })), FULL, 'what cannot be counted')
  t.match(await ada(put('/users/new', { username: 'new', password: 'a long password', role: 'user' })), {
    statusCode: 507,
  })
  // The stamp of a tag that nothing carries lives for a second.
  const after = (await content()).filter(([key]) => !`${key}`.endsWith(':s:t:new'))
  t.strictSame(after, before)
  t.match((await ada(get('/audit'))).json().entries[0], { action: 'users:administer', by: 'admin', status: 507 })

  t.match(await grace(get('/profile')), { statusCode: 200 })
  t.match((await ada(get('/state/keys/a'))).json(), { value: 'a' })
  t.match((await ada(get('/cache/entries/a'))).json(), { value: 'a' })

  t.equal((await ada(remove('/state/keys/a'))).statusCode, 204)
  t.equal((await ada(get('/state/keys/a'))).statusCode, 404)
  t.equal((await ada(remove('/cache/entries/a'))).statusCode, 204)
  t.equal((await ada(get('/cache/entries/a'))).statusCode, 404)
  t.equal((await ada(post('/cache/invalidate', { keys: ['b'], tags: ['c'], patterns: ['o*r'] }))).statusCode, 200)
  for (const key of ['b', 'c', 'other']) t.equal((await ada(get(`/cache/entries/${key}`))).statusCode, 404, key)
  t.equal((await ada(get('/cache/entries/d'))).statusCode, 200)
  t.equal((await ada(post('/cache/clear'))).statusCode, 204)
  await eventually(async () => (await other.cache.get('d')) === undefined)

  t.equal((await phone(post('/logout'))).statusCode, 204)
  t.equal((await phone(get('/profile'))).statusCode, 401)
  const { current, sessions } = (await grace(get('/sessions'))).json() as {
    current: string
    sessions: { handle: string }[]
  }
  t.equal(sessions.length, 2)
  const elsewhere = sessions.find(({ handle }) => handle !== current)?.handle
  t.equal((await grace(remove(`/sessions/${elsewhere}`))).statusCode, 204)
  t.equal((await tablet(get('/profile'))).statusCode, 401)
  t.equal((await grace(remove(`/sessions/${current}`))).statusCode, 204)
  t.equal((await peer.closed).code, 4401, 'the sockets of a session end with it')

  await makeRoom()
  t.equal((await app.inject(post('/login', { username: 'grace', password: ADMIN_PASSWORD }))).statusCode, 200)
  t.equal((await ada(put('/cache/entries/a', { value: 2 }))).statusCode, 200)
  t.equal((await ada(put('/state/keys/a', { value: 2 }))).statusCode, 200)
  t.equal((await phone(get('/profile'))).statusCode, 401, 'what was ended stays so')
})

t.test('a full Redis: each service lets go', async (t) => {
  const { app, other, fill, makeRoom } = await instances(t)
  const { sessions, state, cache, accounts } = app

  await t.test('sessions', async (t) => {
    await makeRoom()
    const make = () => sessions.create('ada', { cart: 1 })
    const [kept, first, second, gone] = [await make(), await make(), await make(), await make()] as const
    await fill()
    const full = { code: 'STATEFUL_STORAGE_FULL', statusCode: 507 }
    await t.rejects(sessions.create('ada', {}), full)
    await t.rejects(sessions.update(kept.id, { cart: 2 }), full)
    t.match(await sessions.get(kept.id), { data: { cart: 1 } })
    const store = sessionStoreOn(app.storage)
    const now = Date.now()
    const use = { seen: now, expires: now + 60_000, set: {}, remove: [] }
    t.equal(await store.save(kept.id, ownerOf('ada'), use, now), 'saved', 'a use is recorded')
    t.equal(await store.save(kept.id, ownerOf('ada'), { ...use, remove: ['cart'] }, now), 'saved')
    t.equal(await sessions.revoke(gone.id, 'test'), true)
    t.equal(await sessions.destroy(first.id), true)
    t.equal(await sessions.revokeUser('ada'), 2)
    await makeRoom()
    for (const { id } of [kept, first, second, gone]) {
      t.equal(await other.sessions.get(id), undefined)
      t.equal(await sessions.update(id, { cart: 2 }), undefined, 'nor does it come back')
    }
    t.same(await sessions.list('ada'), [])
  })

  await t.test('state', async (t) => {
    await makeRoom()
    for (const key of ['a', 'b', 'c']) await state.set(key, key)
    await fill()
    const outcomes = await Promise.allSettled([
      state.set('n', 1),
      state.delete('a'),
      state.set('b', 2),
      state.delete('c'),
    ])
    t.match(outcomes, [
      { status: 'rejected', reason: { code: 'STATEFUL_STORAGE_FULL' } },
      { status: 'fulfilled', value: true },
      { status: 'rejected', reason: { code: 'STATEFUL_STORAGE_FULL' } },
      { status: 'fulfilled', value: true },
    ])
    await other.state.freshen()
    t.strictSame([...other.state.keys()], ['b'])
    t.equal(other.state.get('b'), 'b')
    await t.rejects(state.restore({ state: { x: 1 } } as never), { code: 'STATEFUL_STORAGE_FULL' })
    await state.clear()
    await other.state.freshen()
    t.equal(other.state.size, 0)
  })

  await t.test('cache', async (t) => {
    await makeRoom()
    const [here, there] = [cache.namespace('full'), other.cache.namespace('full')]
    for (const key of ['a', 'b', 'user:1', 'user:2', 'tagged', 'expired', 'persisted', 'rest']) {
      await here.set(key, 1, { tags: [`t-${key}`] })
      t.equal(await there.get(key), 1)
    }
    const written: unknown[] = []
    cache.writeBehind('full', async (writes) => void written.push(...writes.map(({ key }) => key)))
    await here.setWithDelayedPersist('later', 1, { writer: 'full' })
    await fill()
    const full = { code: 'STATEFUL_STORAGE_FULL', statusCode: 507 }
    for (let n = 0; n < 20; n++) await t.rejects(here.set('a', 2), full)
    await t.rejects(here.setWithDelayedPersist('a', 2, { writer: 'full' }), full)
    t.equal(await here.get('a'), 1, 'what was there before')
    t.equal(await here.getOrSet('loaded', () => 'source'), 'source')
    t.equal(await here.delete('b'), 1)
    t.equal(await here.deleteMatching('user:*'), 2)
    await here.invalidateTags('t-tagged')
    t.equal(await here.expire('expired'), 1)
    await t.rejects(
      here.setAndPersist('persisted', 2, () => {}),
      full,
    )
    for (const key of ['b', 'user:1', 'user:2', 'tagged', 'expired', 'persisted']) {
      await eventually(async () => (await there.get(key)) === undefined)
      t.equal(await here.get(key), undefined, key)
    }
    t.equal(await there.get('rest'), 1)
    await here.clear()
    await eventually(async () => (await there.get('rest')) === undefined)
    await cache.writers.flush()
    t.ok(written.includes('later'), 'the journal empties')
    t.equal(cache.stats().writeBehind.pending, 0)
  })

  await t.test('accounts', async (t) => {
    await makeRoom()
    const { id } = await accounts.create({ username: 'bob', password: ADMIN_PASSWORD, role: 'user' })
    await fill()
    const full = { code: 'STATEFUL_STORAGE_FULL', statusCode: 507 }
    t.match(await accounts.verify('bob', ADMIN_PASSWORD), { username: 'bob' })
    await t.rejects(accounts.update(id, { username: 'robert', displayName: 'R' }), full)
    await t.rejects(accounts.create({ username: 'eve', password: ADMIN_PASSWORD, role: 'user' }), full)
    t.match(await accounts.findByUsername('bob'), { id, username: 'bob' })
    t.equal(await accounts.findByUsername('robert'), undefined)
    t.equal(await accounts.findByUsername('eve'), undefined)
    await makeRoom()
    t.match(await accounts.update(id, { username: 'robert' }), { username: 'robert' })
    t.equal(await accounts.findByUsername('bob'), undefined)
  })

  await t.test('presence and statistics', async (t) => {
    await makeRoom()
    const ada = await loggedIn(app)
    const urls = []
    for (const one of [app, other]) {
      await one.listen({ port: 0, host: '127.0.0.1' })
      urls.push(`ws://127.0.0.1:${(one.server.address() as AddressInfo).port}/sync?space=app`)
    }
    const options = { headers: { cookie: ada.cookie } }
    const [stays, leaves] = await Promise.all(
      [urls[0], urls[0]].map((url) => SyncPeer.connect(t, url as string, options)),
    )
    const watcher = await SyncPeer.connect(t, urls[1] as string, options)
    watcher.send({ type: 'presence', space: 'app' })
    await eventually(() => other.sync.presence('app').length === 3)
    await fill()
    leaves?.socket.close()
    await eventually(() => other.sync.presence('app').length === 2)
    stays?.socket.close()
    await eventually(() => other.sync.presence('app').length === 1)
    t.match(await app.stats.collect({ scope: 'cluster' }), { instances: { length: 2 } })
  })
})
