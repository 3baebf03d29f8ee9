import { fork } from 'node:child_process'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { SyncPeer } from '../fixtures/sync-peer.ts'
import { untrackedFork } from '../fixtures/untracked.ts'
import { startServer, type TestServer } from '../routes/sync/server.ts'

const CLIENTS = 100
/** One in a hundred. */
const STALLED = 1
const HIGH_WATER_MARK = 64 * 1024
const VALUE = 'x'.repeat(32 * 1024)
/** More than what the kernel takes for a peer that does not read. */
const CHANGES = 600
const WIRE_HEADER = 4

/** A follower that only takes bytes from the network, or does not even do that. */
async function follow(t: Test, { ws }: Pick<TestServer, 'ws'>): Promise<Socket> {
  const { hostname, port } = new URL(ws)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => {})
  t.teardown(() => socket.destroy())
  const key = Buffer.alloc(16).toString('base64')
  socket.write(
    `GET /sync?space=app HTTP/1.1\r\nHost: ${hostname}:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
  )
  await once(socket, 'data')
  return socket
}

t.test('a stalled reader holds the high-water mark and one frame, and nobody else notices', async (t) => {
  t.setTimeout(120_000)
  const server = await startServer(t, 'memory:', { highWaterMark: HIGH_WATER_MARK, slowDeadline: '5m' })
  const { app } = server
  const witness = await SyncPeer.connect(t, `${server.ws}?space=app`)
  await witness.next()
  const sockets: Socket[] = []
  for (let index = 0; index < CLIENTS; index++) sockets.push((await follow(t, server)).resume())
  const stalled = sockets.slice(0, STALLED)
  for (const socket of stalled) socket.pause()

  let frame = 0
  for (let change = 1; change <= CHANGES; change++) {
    await app.state.set('hot', `${change} ${VALUE}`)
    frame = Math.max(frame, Buffer.byteLength(JSON.stringify(await witness.next())))
    await turn()
  }
  const full = app.sync.nodes().filter(({ lag }) => lag > 0)
  t.equal(full.length, STALLED)
  t.match(app.sync.stats(), { lagging: STALLED, dropped: 0 })
  for (const { buffered } of full) {
    t.ok(buffered > HIGH_WATER_MARK, 'it is full')
    t.ok(buffered <= HIGH_WATER_MARK + frame + WIRE_HEADER, `${buffered} bytes, of which a frame has ${frame}`)
  }

  t.comment('and is caught up by one range when it reads again')
  for (const socket of stalled) socket.resume()
  for (const deadline = Date.now() + 10_000; Date.now() < deadline && app.sync.stats().lagging > 0; ) await turn()
  t.match(app.sync.stats(), { lagging: 0, conflations: STALLED, fullSyncs: CLIENTS + 1 })
})

t.test('a flood of 200 MB through readers that read costs what its history may have, and little more', async (t) => {
  t.setTimeout(120_000)
  const history = 2 ** 20
  const args = ['memory:', `${history}`, '65536', `${(200 * 2 ** 20) / 65_536}`]
  const server = fork(fileURLToPath(new URL('./flood-server.ts', import.meta.url)), args, untrackedFork('--expose-gc'))
  t.teardown(() => server.kill('SIGKILL'))
  const [{ url }] = (await once(server, 'message')) as [{ url: string }]
  let received = 0
  for (let reader = 0; reader < 2; reader++) {
    const socket = await follow(t, { ws: `${url.replace('http', 'ws')}/sync` })
    socket.on('data', ({ length }) => {
      received += length
    })
  }
  server.send('go')
  const [{ before, most }] = (await once(server, 'message')) as [{ before: number; most: number }]
  t.ok(received > 300 * 2 ** 20, `${Math.round(received / 2 ** 20)} MiB arrived`)
  t.ok(most - before <= 30, `${Math.round(most - before)} MiB more`)
})
