import { once } from 'node:events'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { setTimeout as later } from 'node:timers/promises'
import Fastify, { type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { problems } from '../../../plugins/problems/index.ts'
import { type StateOptions, state } from '../../../plugins/state/index.ts'
import { storage } from '../../../plugins/storage/index.ts'
import { ManualClock } from '../../../plugins/support/manual-clock.ts'
import { stateRoutes } from '../../../routes/state/index.ts'
import { eventually } from '../../fixtures/eventually.ts'
import { onEveryStorage, storageUrl } from '../../fixtures/storages.ts'

const MB = 1024 * 1024

async function serve(t: Test, options: StateOptions & { url?: string } = {}) {
  const { url = 'memory:', ...rest } = options
  const clock = new ManualClock()
  const app = Fastify({ forceCloseConnections: true })
  t.teardown(() => app.close())
  app.decorateRequest('session', null as unknown as FastifyRequest['session'])
  app.addHook('onRequest', async (request) => {
    const id = request.headers['x-user']
    if (typeof id === 'string') request.session = { user: { id, role: 'reader' } } as FastifyRequest['session']
  })
  await app.register(problems)
  await app.register(storage, { storage: url })
  await app.register(state, rest)
  await app.register(stateRoutes, { clock })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  const get = (user: string, url: string) => app.inject({ url, headers: { 'x-user': user } })
  /** Sends the request and reads nothing. */
  const unread = async (user: string, path: string): Promise<Socket> => {
    const socket = connect(port, '127.0.0.1')
    t.teardown(() => socket.destroy())
    socket.on('error', () => {})
    socket.pause()
    await once(socket, 'connect')
    socket.write(`GET ${path} HTTP/1.1\r\nhost: localhost\r\nx-user: ${user}\r\n\r\n`)
    return socket
  }
  return { app, clock, get, unread }
}

async function fill(app: Awaited<ReturnType<typeof serve>>['app'], megabytes: number): Promise<void> {
  const value = 'x'.repeat(200_000)
  for (let n = 0; n * 200_000 < megabytes * MB; n++) await app.state.set(`k${n}`, value)
}

t.test('63 spaces that nobody has written to leave the application its own, on every storage', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const { app, get } = await serve(t, { url: await storageUrl(t, kind) })
    for (let n = 0; n < 70; n++) {
      for (const path of ['', '/keys', '/snapshot', '/changes']) {
        const since = path === '/changes' ? '&since=oldest' : ''
        const response = await get('mallory', `/state${path}?space=junk${n}${since}`)
        t.equal(response.statusCode, 200, response.body)
      }
    }
    t.equal((await get('mallory', '/state/keys/k?space=junk')).statusCode, 404)
    t.equal(app.state.spaces().length, 1)
    const own = app.state.space('own')
    await own.set('k', 1)
    t.same((await get('grace', '/state/snapshot?space=own')).json().state, { k: 1 })
  }),
)

t.test('who waits too often is told so, and others wait', async (t) => {
  const { app, get, unread } = await serve(t, { clients: { pollsPerUser: 2 } })
  const poll = '/state/changes?since=0&wait=20000'
  const waiting = [await unread('mallory', poll), await unread('mallory', poll)]
  let refused = await get('mallory', '/state/changes?since=0')
  await eventually(async () => {
    refused = await Promise.race([get('mallory', poll), later(200).then(() => refused)])
    return refused.statusCode === 429
  }, 20_000)
  t.match(refused.json(), { code: 'STATEFUL_TOO_MANY_AT_ONCE' })
  t.ok(refused.headers['retry-after'])
  const grace = get('grace', poll)
  await app.state.set('k', 1)
  t.equal((await grace).json().commits.length, 1)
  for (const socket of waiting) socket.destroy()
})

t.test('20 readers of 10 MB who do not read cost no more than one snapshot, and are cut', async (t) => {
  const { app, clock, get, unread } = await serve(t)
  await fill(app, 10)
  globalThis.gc?.()
  const before = process.memoryUsage().rss
  const sockets: Socket[] = []
  for (let n = 0; n < 20; n++) sockets.push(await unread(`u${n}`, '/state/snapshot'))
  const arrived = sockets.map((socket) => once(socket, 'readable'))
  await Promise.all(arrived)
  const grown = process.memoryUsage().rss - before
  t.ok(grown < 30 * MB, `${Math.round(grown / MB)} MB for 20 × 10 MB`)
  const whole = await get('grace', '/state/snapshot')
  t.equal(Object.keys(whole.json().state).length, app.state.size, 'others read it whole meanwhile')
  const closed = sockets.map((socket) => once(socket, 'close'))
  clock.advance(30_000)
  for (const socket of sockets) socket.resume()
  await Promise.all(closed)
  t.pass('who takes nothing for half a minute is cut')
})

t.test('downloads of one user are bounded, and different revisions by their bytes', async (t) => {
  const { app, get, unread } = await serve(t, { clients: { downloadsPerUser: 2, downloadBytes: 12 * MB } })
  await fill(app, 5)
  const first = [await unread('mallory', '/state/snapshot'), await unread('mallory', '/state/snapshot')]
  await Promise.all(first.map((socket) => once(socket, 'readable')))
  t.match((await get('mallory', '/state/snapshot')).json(), { code: 'STATEFUL_TOO_MANY_AT_ONCE', status: 429 })
  t.equal((await get('grace', '/state/snapshot')).statusCode, 200)
  await app.state.set('k0', 2)
  const second = await unread('heidi', '/state/snapshot')
  await once(second, 'readable')
  await app.state.set('k0', 3)
  const response = await get('grace', '/state/snapshot')
  t.match(response.json(), { code: 'STATEFUL_OVERLOADED', status: 503 })
  t.ok(response.headers['retry-after'])
  second.destroy()
  await eventually(async () => (await get('grace', '/state/snapshot')).statusCode === 200, 20_000)
})
