/** A long poll is what its session is, for as long as it waits. */
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { loggedIn, loggedInUser, testApp } from '../../fixtures/app.ts'
import { onEveryStorage, storageUrl } from '../../fixtures/storages.ts'
import { SyncPeer } from '../../fixtures/sync-peer.ts'

/** Resolves when a request waits for the next commit: it listens for one then. */
function polling(app: FastifyInstance): Promise<void> {
  const space = app.state.space('app')
  return new Promise((resolve) => {
    const onCommit = space.onCommit.bind(space)
    space.onCommit = (listener) => {
      space.onCommit = onCommit
      resolve()
      return onCommit(listener)
    }
  })
}

const POLL = '/state/changes?since=0&wait=25000'

/** An answer that waits is a promise: it must not be awaited by whoever only wants it to wait. */
const begin = async (app: FastifyInstance, cookie: string) => {
  const waits = polling(app)
  const answer = app.inject({ url: POLL, headers: { cookie } }).then((response) => response)
  await waits
  return { answer }
}

async function instances(t: Test, kind: 'memory' | 'lmdb' | 'redis') {
  const storage = await storageUrl(t, kind)
  const apps = [await testApp(t, { storage })]
  if (kind === 'redis') apps.push(await testApp(t, { storage }))
  return apps as [FastifyInstance, ...FastifyInstance[]]
}

t.test('revocation ends the long polls of the session, on every instance, and no other', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const apps = await instances(t, kind)
    const [app] = apps
    const user = await loggedInUser(app)
    const admin = await loggedIn(app)
    const polls = await Promise.all(apps.map((one) => begin(one, user.cookie)))
    const bystander = await begin(app, admin.cookie)
    const began = Date.now()
    t.equal((await user({ method: 'POST', url: '/logout' })).statusCode, 204)
    for (const { answer } of polls) {
      t.match((await answer).json(), { status: 401, code: 'STATEFUL_SESSION_REVOKED' })
    }
    t.ok(Date.now() - began < 5_000, 'long before the waiting would have ended')
    await app.state.set('a', 1)
    t.match((await bystander.answer).json(), { commits: [{ ops: [{ key: 'a' }] }] })
  }),
)

t.test('what is committed after the session ended is not told, also when its end was not heard of', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const [app] = await instances(t, kind)
    const user = await loggedInUser(app)
    const [session] = await app.sessions.list((await app.accounts.findByUsername('grace'))?.id ?? '')
    const { answer } = await begin(app, user.cookie)
    // Whoever ended it told nobody: as another process does whose message is lost.
    const get = app.sessions.get.bind(app.sessions)
    app.sessions.get = async (id) => (id === session?.handle ? undefined : get(id))
    await app.state.set('secret', 1)
    const response = await answer
    t.equal(response.statusCode, 401)
    t.notMatch(response.body, /secret/)
  }),
)

t.test('another role is told nothing by the poll of the former one, and asks again', async (t) => {
  const app = await testApp(t)
  const user = await loggedInUser(app)
  const id = (await app.accounts.findByUsername('grace'))?.id ?? ''
  const [session] = await app.sessions.list(id)
  const { answer } = await begin(app, user.cookie)
  await app.sessions.update(session?.handle ?? '', { user: { id, role: 'guest' } })
  await app.state.set('a', 1)
  t.match((await answer).json(), { revision: 0, commits: [], reset: false })
})

t.test('what a lost pub/sub connection missed is looked up as soon as it is back', async (t) => {
  const storage = await storageUrl(t, 'redis')
  // So long that all of what follows happens before it hears again.
  const slow = { url: storage, redis: { retryStrategy: () => 1_500 } }
  const [here, there] = [await testApp(t, { storage: slow }), await testApp(t, { storage })]
  if (here.storage.kind !== 'redis') throw new Error(here.storage.kind)
  const { channels } = here.storage
  const user = await loggedInUser(there)
  const bystander = await loggedIn(there)
  const url = await here.listen({ host: '127.0.0.1', port: 0 })

  const follow = async (cookie: string) => {
    const peer = await SyncPeer.connect(t, `${url.replace('http', 'ws')}/sync?space=app`, { headers: { cookie } })
    t.match(await peer.next(), { type: 'fullSync' })
    return peer
  }
  const [peer, other] = [await follow(user.cookie), await follow(bystander.cookie)]
  const stream = await fetch(`${url}/sync/events`, { headers: { cookie: user.cookie } })
  const ended = stream.text()
  const polled = await begin(here, user.cookie)
  let heard = 0
  here.sessions.on('revoked', () => heard++)

  // Those who listen look at once, and find the sessions alive: what happens after that is missed.
  const looked = lookedAt(here, 4)
  const back = new Promise<void>((resolve) => channels.onBack(resolve))
  const lost = new Promise<void>((resolve) => channels.onLost(resolve))
  await here.storage.client.servers.client.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
  await lost
  await looked
  t.equal((await user({ method: 'POST', url: '/logout' })).statusCode, 204)
  await back

  t.match(await peer.next(), { type: 'revoked' })
  t.equal((await peer.closed).code, 4401)
  t.match(await ended, /"type":"revoked"/)
  t.match((await polled.answer).json(), { status: 401, code: 'STATEFUL_SESSION_REVOKED' })
  t.equal(heard, 0, 'it was looked up, not heard')
  t.equal(other.socket.readyState, other.socket.OPEN)
})

/** Resolves when so many sessions have been looked at by those who rest on them. */
function lookedAt(app: FastifyInstance, times: number): Promise<void> {
  const get = app.sessions.get.bind(app.sessions)
  return new Promise((resolve) => {
    let left = times
    app.sessions.get = async (id) => {
      const found = await get(id)
      if (--left === 0) setImmediate(resolve)
      return found
    }
  })
}
