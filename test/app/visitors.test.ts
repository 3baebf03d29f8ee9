/** What a visitor, a user or a machine takes to the last, others and the application still have. */
import t from 'tap'
import { loggedIn, testApp } from '../fixtures/app.ts'
import { SyncPeer } from '../fixtures/sync-peer.ts'

const everybody = { authorize: () => true }
const VISITOR = '192.0.2.1'
const OTHER = '192.0.2.2'

t.test('keys and bytes: clients fill their part of a space, the rest is the application’s', async (t) => {
  const app = await testApp(t, { ...everybody, state: { limits: { keys: 20, bytes: 10_000, clientPercent: 80 } } })
  const put = (key: string, value: unknown) =>
    app.inject({ method: 'PUT', url: `/state/keys/${key}`, payload: { value } })
  for (let n = 0; n < 16; n++) t.equal((await put(`k${n}`, n)).statusCode, 200)
  t.match((await put('k16', 1)).json(), { status: 413, code: 'STATEFUL_STATE_LIMIT' })
  const increment = await app.inject({ method: 'POST', url: '/state/keys/n/increment', payload: {} })
  t.equal(increment.statusCode, 413, 'by whatever operation')
  const guarded = { method: 'PUT' as const, url: '/state/keys/new', headers: { 'if-none-match': '*' } }
  t.equal((await app.inject({ ...guarded, payload: { value: 1 } })).statusCode, 413, 'under conditions, too')
  t.equal((await put('k1', 2)).statusCode, 200, 'what is there may change')

  const ops = [{ op: 'set', key: 'live', value: 1 }]
  const write = { method: 'POST' as const, url: '/sync/writes', payload: { clientId: 'a-client-id', seq: 1, ops } }
  t.equal((await app.inject(write)).statusCode, 413)
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  const peer = await SyncPeer.connect(t, `${url.replace('http', 'ws')}/sync`)
  peer.send({ type: 'write', seq: 1, ops })
  t.match(await peer.next(), { type: 'reject', code: 'STATEFUL_STATE_LIMIT', outcome: 'refused' })

  for (let n = 0; n < 4; n++) await app.state.set(`own-${n}`, n)
  await t.rejects(app.state.set('too much', 1), { code: 'STATEFUL_STATE_LIMIT' })
  await app.state.clear()
  t.equal((await put('large', 'x'.repeat(7_900))).statusCode, 200)
  t.equal((await put('larger', 'x'.repeat(200))).statusCode, 413)
  await app.state.set('larger', 'x'.repeat(200))
})

t.test('keys: one client has a quarter, by whatever way it writes them', async (t) => {
  const app = await testApp(t, { ...everybody, state: { limits: { keys: 5_000 } } })
  const space = await app.state.space('app').ready.then(() => app.state.space('app'))
  const put = (key: string, remoteAddress = VISITOR) =>
    app.inject({ method: 'PUT', url: `/state/keys/${key}`, payload: { value: 1 }, remoteAddress })
  for (let start = 0; start < 1_250; start += 125) {
    const ops = Array.from({ length: 125 }, (_, n) => ({ op: 'set' as const, key: `k${start + n}`, value: n }))
    await space.commit(ops, { forClient: `address:${VISITOR}` })
  }
  t.match((await put('more')).json(), { status: 413, code: 'STATEFUL_STATE_LIMIT' })
  const ops = [{ op: 'set', key: 'more', value: 1 }]
  const payload = { clientId: 'a-client-id', seq: 1, ops }
  const frame = await app.inject({ method: 'POST', url: '/sync/writes', payload, remoteAddress: VISITOR })
  t.equal(frame.statusCode, 413)
  t.equal((await put('k1')).statusCode, 200, 'what is theirs may change')
  t.equal((await put('other', OTHER)).statusCode, 200, 'others have a share of their own')
  t.equal((await put('other')).statusCode, 413, 'and what is theirs cannot be taken over')
  await app.state.delete('k1')
  t.equal((await put('more')).statusCode, 200, 'whoever makes it, room is room')
  await app.state.clear()
  t.equal((await put('again')).statusCode, 200)
})

t.test('spaces: of a visitor by the address, of a user and of a machine by themselves', async (t) => {
  const app = await testApp(t, { ...everybody, state: { clients: { spaces: 100, spacesPerUser: 3 } } })
  const admin = await loggedIn(app)
  const machine = async () => {
    const { token } = await app.accessTokens.create({ name: 'm', scopes: ['sync:read'] })
    return { authorization: `Bearer ${token}` }
  }
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  const ws = `${url.replace('http', 'ws')}/sync`
  const follow = async (headers: { [name: string]: string }, mark: string) => {
    const peer = await SyncPeer.connect(t, ws, { headers })
    const told: string[] = []
    for (let n = 0; n < 4; n++) {
      peer.send({ type: 'subscribe', space: `${mark}-${n}` })
      const message = await peer.next()
      told.push(message.type === 'error' ? message.code : message.type)
    }
    return told
  }
  const expected = ['fullSync', 'fullSync', 'fullSync', 'STATEFUL_TOO_MANY_AT_ONCE']
  t.same(await follow({}, 'visitor'), expected)
  t.same(await follow({ cookie: admin.cookie }, 'user'), expected, 'a user has a count of their own')
  t.same(await follow(await machine(), 'one'), expected, 'a machine, too')
  t.same(await follow(await machine(), 'two'), expected, 'each')
  await app.state.space('own').set('a', 1)
})

t.test('connections: of a visitor by the address, of a user and of a machine by themselves', async (t) => {
  const sync = { maxConnectionsPerUser: 2, maxAnonymousPerAddress: 2 }
  const app = await testApp(t, { ...everybody, sync, trustProxy: ['127.0.0.1'] })
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  const ws = `${url.replace('http', 'ws')}/sync`
  const admin = await loggedIn(app)
  const { token } = await app.accessTokens.create({ name: 'm', scopes: ['sync:read'] })
  const from = (address: string, more = {}) => ({ headers: { 'x-forwarded-for': address, ...more } })
  const cookie = { cookie: admin.cookie }
  const bearer = { authorization: `Bearer ${token}` }
  for (const who of [{}, cookie, bearer]) {
    for (let n = 0; n < 2; n++) await SyncPeer.connect(t, ws, from(VISITOR, who))
    t.equal(await SyncPeer.refusal(ws, from(VISITOR, who)), 429)
  }
  await SyncPeer.connect(t, ws, from(OTHER))
  t.equal(await SyncPeer.refusal(ws, from(OTHER, cookie)), 429, 'a user has one count, wherever they are')
  t.equal(await SyncPeer.refusal(ws, from(OTHER, bearer)), 429, 'and so has a machine')
})

t.test('requests that wait: of a visitor by the address, of a machine by itself', async (t) => {
  const app = await testApp(t, { ...everybody, state: { clients: { pollsPerUser: 1, pollsPerSession: 1 } } })
  const { token } = await app.accessTokens.create({ name: 'm', scopes: ['state:history'] })
  await app.listen({ host: '127.0.0.1', port: 0 })
  for (const headers of [{}, { authorization: `Bearer ${token}` }]) {
    const url = `/state/changes?since=${app.state.revision}&wait=20000`
    const both = [app.inject({ url, headers }), app.inject({ url, headers })]
    t.match((await Promise.race(both)).json(), { status: 429, code: 'STATEFUL_TOO_MANY_AT_ONCE' })
    await app.state.increment('n')
    t.same((await Promise.all(both)).map(({ statusCode }) => statusCode).sort(), [200, 429])
  }
})
