import { once } from 'node:events'
import { connect } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { ManualClock } from '../../fixtures/manual-clock.ts'
import { SyncPeer } from '../../fixtures/sync-peer.ts'
import { startServer, type TestServer } from '../../routes/sync/server.ts'

/** No route and no hook sees this one: the router answers that the URL cannot be decoded. */
const UNDECODABLE = '/%'

/** Asks for an upgrade, hears the answer, and goes away. */
async function upgradeAndLeave(t: Test, { url }: TestServer, path: string): Promise<void> {
  const { port, host } = new URL(url)
  const socket = connect(Number(port), '127.0.0.1')
  t.teardown(() => socket.destroy())
  const key = Buffer.alloc(16).toString('base64')
  socket.write(
    `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
  )
  await once(socket, 'data')
  socket.destroy()
  await once(socket, 'close')
}

const open = ({ app }: TestServer) =>
  new Promise<number>((resolve, reject) =>
    app.server.getConnections((error, count) => (error ? reject(error) : resolve(count))),
  )

t.test('an upgrade that comes to nothing keeps no socket; one that succeeded is left alone', async (t) => {
  const clock = new ManualClock()
  const server = await startServer(t, 'memory:', { clock, heartbeatInterval: '1h' })
  const peer = await SyncPeer.connect(t, `${server.ws}?space=app`)
  await peer.next()
  await upgradeAndLeave(t, server, UNDECODABLE)
  clock.advance(10_000)
  for (let turns = 0; turns < 1_000 && (await open(server)) > 1; turns++) await turn()
  t.equal(await open(server), 1)
  await server.app.state.set('a', 1)
  t.match(await peer.next(), { type: 'stateChange' })
})

t.test('and does not hold up the close', async (t) => {
  const server = await startServer(t, 'memory:', { clock: new ManualClock() })
  await upgradeAndLeave(t, server, UNDECODABLE)
  await server.app.close()
  t.equal(await open(server).catch(() => 0), 0)
})
