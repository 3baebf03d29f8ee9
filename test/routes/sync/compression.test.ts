import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import { constants, deflateRawSync } from 'node:zlib'
import websocket from '@fastify/websocket'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import type { ClientOptions } from 'ws'
import type { StateChange } from '../../../openapi/messages/server.ts'
import { state } from '../../../plugins/state/index.ts'
import { storage } from '../../../plugins/storage/index.ts'
import { sync } from '../../../plugins/sync/index.ts'
import { openBrowser, openPage } from '../../fixtures/browser.ts'
import { SyncPeer } from '../../fixtures/sync-peer.ts'
import { startServer, type TestServer } from './server.ts'

/** What applications put into state: 20 rows, 3 kB. */
const rows = Array.from({ length: 20 }, (_, id) => ({
  id,
  title: `Order number ${id}`,
  status: 'confirmed',
  updatedAt: `2026-01-01T10:00:${10 + id}.000Z`,
  tags: ['urgent', 'export'],
}))

async function follow(t: Test, { ws }: TestServer, options: ClientOptions = {}): Promise<SyncPeer> {
  const peer = await SyncPeer.connect(t, `${ws}?space=app`, options)
  t.equal((await peer.next()).type, 'fullSync')
  return peer
}

const tcpOf = (socket: SyncPeer['socket']) => (socket as unknown as { _socket: Socket })._socket
const bytesRead = ({ socket }: SyncPeer) => tcpOf(socket).bytesRead

/** 50 MB in one compressed frame of 50 kB, masked by zeros. */
function frameOfBomb(): Buffer {
  const payload = deflateRawSync(Buffer.alloc(50_000_000, ' '), { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4)
  const header = Buffer.from([0xc1, 0x80 | 126, 0, 0, 0, 0, 0, 0])
  header.writeUInt16BE(payload.length, 2)
  return Buffer.concat([header, payload])
}

t.test('nothing is compressed unless it is asked for', async (t) => {
  const server = await startServer(t, 'memory:')
  const peer = await follow(t, server)
  t.equal(peer.socket.extensions, '')
})

t.test('who negotiated compression, and who did not, get the same', async (t) => {
  const server = await startServer(t, 'memory:', { compression: true })
  const compressed = await follow(t, server)
  const second = await follow(t, server)
  const plain = await follow(t, server, { perMessageDeflate: false })
  // It could not read a frame that looks back further than this, as one for all others does.
  const small = await follow(t, server, { perMessageDeflate: { serverMaxWindowBits: 9 } })
  t.strictSame([compressed.socket.extensions, plain.socket.extensions], ['permessage-deflate', ''])

  const peers = [compressed, second, plain, small]
  const before = peers.map(bytesRead)
  const incompressible = randomBytes(4_096).toString('latin1')
  for (const value of [rows, 1, incompressible, 'x'.repeat(200_000), rows]) {
    await server.app.state.set('orders', value)
    for (const peer of peers) {
      const { changes } = (await peer.next()) as StateChange
      t.strictSame(changes[0]?.ops, [{ op: 'set', key: 'orders', value }])
    }
  }
  const read = peers.map((peer, index) => bytesRead(peer) - (before[index] as number))
  t.equal(read[0], read[1], 'one frame for both')
  t.equal(read[2], read[3], 'a small window gets what needs none')
  t.ok((read[0] as number) < (read[2] as number) / 10, `${read[0]} bytes instead of ${read[2]}`)
})

t.test('an offer that makes no sense is a mistake of the request', async (t) => {
  const server = await startServer(t, 'memory:', { compression: true })
  const headers = { 'sec-websocket-extensions': 'permessage-deflate; server_max_window_bits=1' }
  t.equal(await SyncPeer.refusal(`${server.ws}?space=app`, { headers, perMessageDeflate: false }), 400)
})

t.test('what a client compresses is read', async (t) => {
  const server = await startServer(t, 'memory:', { compression: true })
  const peer = await follow(t, server, { perMessageDeflate: { threshold: 0 } })
  for (const seq of [1, 2, 3]) {
    peer.send({ type: 'write', seq, ops: [{ op: 'set', key: `row${seq}`, value: rows }] })
    t.match(await peer.next(), { type: 'ack', seq })
  }
  t.strictSame(server.app.state.get('row3'), rows)
})

t.test('a browser reads the frame that all get, and is read', async (t) => {
  const server = await startServer(t, 'memory:', { compression: true })
  const peer = await follow(t, server)
  const { page } = await openPage(t, await openBrowser(t))
  await page.goto(`${server.url}/nothing`)
  const wrote = page.evaluate(
    async ({ url, value }) => {
      const socket = new WebSocket(url)
      const answered = new Promise<{ extensions: string; heard: unknown[] }>((resolve) => {
        const heard: unknown[] = []
        socket.onmessage = ({ data }) => {
          const message = JSON.parse(data)
          heard.push(message.type === 'stateChange' ? message.changes[0].ops[0].value.length : message.type)
          if (message.type === 'fullSync') {
            socket.send(JSON.stringify({ type: 'write', seq: 1, ops: [{ op: 'set', key: 'page', value }] }))
          }
          if (message.type === 'stateChange') resolve({ extensions: socket.extensions, heard })
        }
      })
      return answered
    },
    { url: `${server.ws}?space=app`, value: rows },
  )
  t.match(await peer.next(), { changes: [{ ops: [{ key: 'page', value: rows }] }] })
  await server.app.state.set('orders', rows)
  const { extensions, heard } = await wrote
  t.match(extensions, /^permessage-deflate/)
  t.strictSame(heard, ['fullSync', 'ack', rows.length])
})

t.test('the bound on messages holds for what they inflate to', async (t) => {
  const server = await startServer(t, 'memory:', { compression: true, maxPayload: 64 * 1024 })
  const healthy = await follow(t, server)
  const write = (length: number) => ({
    type: 'write',
    seq: 1,
    ops: [{ op: 'set', key: 'k', value: 'x'.repeat(length) }],
  })
  healthy.send(write(60_000))
  t.match(await healthy.next(), { type: 'ack' })

  const bomb = frameOfBomb()
  const before = process.memoryUsage().rss
  const bombs = await Promise.all(Array.from({ length: 20 }, () => SyncPeer.connect(t, `${server.ws}?space=other`)))
  for (const { socket } of bombs) tcpOf(socket).write(bomb)
  for (const { closed } of bombs) t.equal((await closed).code, 1009)
  t.equal(server.app.sync.stats().closes['1009'], 20)
  t.ok(process.memoryUsage().rss - before < 100 * 1024 * 1024, 'a GB was not inflated')

  healthy.send({ ...write(10), seq: 2 })
  t.match(await healthy.next(), { type: 'ack', seq: 2 }, 'the others go on')
})

t.test('an application that has its own @fastify/websocket is told that this is not for it', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(websocket)
  await app.register(storage, { storage: 'memory:' })
  await app.register(state)
  await t.rejects(async () => app.register(sync, { compression: true }), {
    code: 'STATEFUL_INVALID_OPTION',
    message: /sync\.compression/,
  })
})
