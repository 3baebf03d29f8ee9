import t from 'tap'
import { ADMIN_PASSWORD, SECRET } from '../fixtures/credentials.ts'
import { eventually } from '../fixtures/eventually.ts'
import { openSync } from '../fixtures/frames.ts'
import { HttpClient } from '../fixtures/http-client.ts'
import { startRedis } from '../fixtures/redis-server.ts'
import { type ServerProcess, startServer } from '../fixtures/server-process.ts'

/** On a busy machine the load shedder is closed right after a boot. */
const ready = ({ url }: ServerProcess) => {
  const client = new HttpClient(url)
  return eventually(async () => (await client.get('/health/ready')).status === 200)
}

t.test('two instances on one Redis are one application', async (t) => {
  const environment = { STORAGE: (await startRedis(t)).url, SESSION_SECRET: SECRET }
  const [one, two] = await Promise.all([startServer(t, environment), startServer(t, environment)])
  await Promise.all([one, two].map(ready))
  const client = new HttpClient(one.url)
  await client.login('admin', ADMIN_PASSWORD)
  const other = Object.assign(new HttpClient(two.url), {})
  // The same browser, routed to the other instance by a load balancer.
  const asOther = (method: string, path: string, body?: unknown) =>
    other.request(method, path, body, { cookie: client.cookie })

  await t.test('sessions', async (t) => {
    t.match(await asOther('GET', '/profile'), { status: 200, body: { user: { username: 'admin' } } })
    t.match(await asOther('POST', '/preferences', { theme: 'dark' }), { status: 200 })
    t.match(await client.get('/profile'), { body: { preferences: { theme: 'dark' } } })
  })

  await t.test('a state change reaches the clients of the other', async (t) => {
    const watcher = await openSync(t, two.url, client.cookie, '?space=app')
    await watcher.next('fullSync')
    t.match(await client.put('/state/keys/color', { value: 'blue' }), { status: 200 })
    t.match(await watcher.next('stateChange'), { changes: [{ ops: [{ op: 'set', key: 'color', value: 'blue' }] }] })
    t.match(await asOther('GET', '/state/keys/color'), { status: 200, body: { value: 'blue' } })
  })

  await t.test('increments of both are all counted', async (t) => {
    const writes = Array.from({ length: 20 }, (_, index) =>
      index % 2 ? client.post('/state/keys/hits/increment', {}) : asOther('POST', '/state/keys/hits/increment', {}),
    )
    t.ok((await Promise.all(writes)).every(({ status }) => status === 200))
    t.match(await client.get('/state/keys/hits'), { body: { value: 20 } })
  })

  await t.test('L2 is shared and an invalidation reaches the L1 of the other', async (t) => {
    t.match(await client.put('/cache/entries/answer', { value: 42 }), { status: 200 })
    t.match(await asOther('GET', '/cache/entries/answer'), { status: 200, body: { value: 42 } })
    t.match(await client.post('/cache/invalidate', { keys: ['answer'] }), { status: 200 })
    // The promise is "within 500 ms"; what is asked after that must miss.
    const deadline = Date.now() + 500
    let status = 200
    while (status !== 404 && Date.now() < deadline) status = (await asOther('GET', '/cache/entries/answer')).status
    t.equal((await asOther('GET', '/cache/entries/answer')).status, 404)
  })

  await t.test('a user changed on one is fresh on the other', async (t) => {
    const { id } = (await client.get('/profile')).body.user
    t.match(await asOther('GET', `/users/${id}`), { status: 200 })
    t.match(await client.put(`/users/${id}`, { displayName: 'Ada' }), { status: 200 })
    const deadline = Date.now() + 500
    let name: unknown
    while (name !== 'Ada' && Date.now() < deadline) name = (await asOther('GET', `/users/${id}`)).body.displayName
    t.equal((await asOther('GET', `/users/${id}`)).body.displayName, 'Ada')
  })

  await t.test('log out on one: the other refuses, and its socket closes', async (t) => {
    const watcher = await openSync(t, two.url, client.cookie)
    await watcher.next('fullSync')
    const closed = new Promise<number>((resolve) => watcher.socket.once('close', resolve))
    const cookie = client.cookie
    t.match(await client.post('/logout'), { status: 204 })
    t.equal((await other.get('/profile', { cookie })).status, 401)
    t.equal(await closed, 4401)
  })
})

t.test(
  'two that start at the same moment on an empty Redis are both ready, and one of them tells the password',
  async (t) => {
    const { url } = await startRedis(t)
    const environment = { STORAGE: url, SESSION_SECRET: SECRET, ADMIN_PASSWORD: '' }
    const servers = await Promise.all([startServer(t, environment), startServer(t, environment)])
    const told = servers.flatMap((server) => /password (\S+) \(shown this once\)/.exec(server.output())?.[1] ?? [])
    t.equal(told.length, 1)
    for (const server of servers) {
      const client = new HttpClient(server.url)
      await ready(server)
      t.match(await client.login('admin', told[0] as string), { status: 200 })
      t.match(await client.put('/state/keys/started', { value: true }), { status: 200 })
    }
  },
)
