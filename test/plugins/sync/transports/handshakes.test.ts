import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { ManualClock } from '../../../../plugins/support/manual-clock.ts'
import { SyncPeer } from '../../../fixtures/sync-peer.ts'
import { startServer, type TestServer } from '../../../routes/sync/server.ts'

/** No route and no hook sees this one: the router answers that the URL cannot be decoded. */
const UNDECODABLE = '/%'

/** Asks for an upgrade, hears the answer, and goes away. Resolves to the server's end of it. */
async function upgradeAndLeave(t: Test, { app, url }: TestServer, path: string): Promise<Socket> {
  const upgraded = once(app.server, 'upgrade') as Promise<[unknown, Socket]>
  const { port, host } = new URL(url)
  const socket = connect(Number(port), '127.0.0.1')
  socket.on('error', () => {})
  t.teardown(() => socket.destroy())
  const key = Buffer.alloc(16).toString('base64')
  socket.write(
    `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
  )
  await once(socket, 'data')
  socket.destroy()
  await once(socket, 'close')
  return (await upgraded)[1]
}

t.test('an upgrade that comes to nothing keeps no socket; one that succeeded is left alone', async (t) => {
  const clock = new ManualClock()
  const server = await startServer(t, 'memory:', { clock, heartbeatInterval: '1h' })
  const peer = await SyncPeer.connect(t, `${server.ws}?space=app`)
  await peer.next()
  const socket = await upgradeAndLeave(t, server, UNDECODABLE)
  t.notOk(socket.destroyed, 'nobody else ends it')
  clock.advance(10_000)
  t.ok(socket.destroyed)
  await server.app.state.set('a', 1)
  t.match(await peer.next(), { type: 'stateChange' })
})

t.test('and does not hold up the close', async (t) => {
  const server = await startServer(t, 'memory:', { clock: new ManualClock() })
  const socket = await upgradeAndLeave(t, server, UNDECODABLE)
  await server.app.close()
  t.ok(socket.destroyed)
})

t.test('nor does one that comes while the instance closes', async (t) => {
  const clock = new ManualClock()
  let late: Socket | undefined
  const before = async (app: FastifyInstance) => {
    // Of an inner scope: it runs when those of the whole instance, among them the one of `sync`, have run.
    await app.register(async (scope) => {
      scope.addHook('preClose', async () => {
        late = await upgradeAndLeave(t, server, UNDECODABLE)
        t.notOk(late.destroyed)
        clock.advance(1_000)
      })
    })
  }
  const server = await startServer(t, 'memory:', { clock, before })
  await server.app.close()
  t.ok(late?.destroyed)
})

t.test('one that a hook refuses ends with its answer', async (t) => {
  const before = async (app: FastifyInstance) => {
    app.addHook('onRequest', async (request, reply) => {
      if (request.url.startsWith('/sync')) return reply.code(503).send('not now')
    })
  }
  const server = await startServer(t, 'memory:', { clock: new ManualClock(), before })
  const socket = await upgradeAndLeave(t, server, '/sync')
  if (!socket.destroyed) await once(socket, 'close')
  t.ok(socket.destroyed, 'though @fastify/websocket, whose hook comes later, has not heard of it')
})

t.test('one that cannot be understood is answered by a problem document', async (t) => {
  const { url } = await startServer(t, 'memory:', { clock: new ManualClock() })
  const { port, host } = new URL(url)
  const good = {
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': Buffer.alloc(16).toString('base64'),
    'Sec-WebSocket-Protocol': 'a',
  }
  const refused = async (wrong: Record<string, string>, target = 'GET /sync') => {
    const socket = connect(Number(port), '127.0.0.1')
    t.teardown(() => socket.destroy())
    const headers = Object.entries({ ...good, ...wrong }).map(([name, value]) => `${name}: ${value}`)
    const lines = [`${target} HTTP/1.1`, `Host: ${host}`, 'Connection: Upgrade', 'Upgrade: websocket', ...headers]
    socket.write([...lines, '', ''].join('\r\n'))
    let answer = ''
    for await (const chunk of socket) answer += chunk
    return answer.split('\r\n\r\n')
  }
  for (const wrong of [
    { 'Sec-WebSocket-Key': 'short' },
    { 'Sec-WebSocket-Version': '7' },
    { 'Sec-WebSocket-Protocol': 'a,,b' },
  ]) {
    const [head = '', body = ''] = await refused(wrong)
    t.match(head, /^HTTP\/1\.1 400 .*content-type: application\/problem\+json.*sec-websocket-version: 13/s)
    t.match(JSON.parse(body), { status: 400, code: 'STATEFUL_INVALID_HANDSHAKE' })
  }
  const [head = '', body] = await refused({ 'Sec-WebSocket-Key': 'short' }, 'HEAD /sync/nodes')
  t.match(head, /^HTTP\/1\.1 400 /)
  t.equal(body, '', 'the answer to a HEAD has no body')
})
