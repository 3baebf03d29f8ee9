import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { closeCodes } from '../../../openapi/messages/close-codes.ts'
import { type Random, seededRandom } from '../../fixtures/random.ts'
import { SyncPeer } from '../../fixtures/sync-peer.ts'
import { startServer, type TestServer } from './server.ts'

const FRAMES = Number(process.env['FUZZ_FRAMES'] ?? 20_000)
const SEED = Number(process.env['FUZZ_SEED'] ?? 1)
const PER_SOCKET = 200

const good = [
  '{"type":"hello","protocols":[1],"clientId":"a-client-id"}',
  '{"type":"subscribe","space":"app"}',
  '{"type":"subscribe","space":"app","key":"a","since":{"epoch":"1:x","revision":3}}',
  '{"type":"unsubscribe","space":"app"}',
  '{"type":"syncRequest","space":"app","since":{"epoch":"1:x","revision":3}}',
  '{"type":"write","seq":1,"ops":[{"op":"set","key":"a","value":{"b":[1,null,"x"]}}]}',
  '{"type":"stateChange","ops":[{"op":"increment","key":"n","value":1}]}',
  '{"type":"presence","space":"app","data":{"name":"x"}}',
  '{"type":"heartbeat"}',
]
const hostile: unknown[] = [
  null,
  -1,
  1e308,
  2 ** 53,
  '',
  '__proto__',
  'constructor',
  '\u0000',
  '\ud800',
  [],
  {},
  [[[[]]]],
  true,
]

/** A valid message with something wrong in it, or no message at all. */
function fuzzed(random: Random): string {
  const text = random.pick(good)
  const at = random.integer(0, text.length)
  // Rarely, for the connection ends with the first frame that is no JSON.
  switch (random.chance(0.02) ? random.integer(1, 2) : random.pick([0, 3, 3, 4, 4, 5, 6, 7])) {
    case 0:
      return text
    case 1:
      return text.slice(0, at)
    case 2:
      return text.slice(0, at) + randomBytes(random.integer(1, 8)).toString('latin1') + text.slice(at)
    case 3: {
      const message = JSON.parse(text) as { [field: string]: unknown }
      message[random.pick(Object.keys(message))] = random.pick(hostile)
      return JSON.stringify(message)
    }
    case 4:
      return JSON.stringify({ ...(JSON.parse(text) as object), [`${random.pick(hostile)}`]: random.pick(hostile) })
    case 5:
      return JSON.stringify(random.pick(hostile))
    case 6:
      return text.replace('"value":', '"value":{"__proto__":{"polluted":1}},"x":')
    default: {
      const depth = random.integer(1, 3_000)
      return `{"type":"write","seq":1,"ops":[{"op":"set","key":"a","value":${'['.repeat(depth)}${']'.repeat(depth)}}]}`
    }
  }
}

t.test('random, truncated and hostile messages: answers or documented ends, and nothing else', async (t) => {
  t.setTimeout(600_000)
  const random = seededRandom(SEED)
  const server = await startServer(t, 'memory:', {
    messageRate: 1_000_000,
    userMessageRate: 1_000_000,
    connectionRate: 100_000,
    maxRefusals: 150,
    maxQueuedMessages: 10_000,
  })
  const failures: unknown[] = []
  const note = (reason: unknown) => failures.push(reason)
  process.on('unhandledRejection', note)
  t.teardown(() => process.off('unhandledRejection', note))

  const witness = await SyncPeer.connect(t, `${server.ws}?space=app&key=witness`)
  await witness.next()
  const codes = new Map<number, number>()
  while (server.app.sync.stats().messages < FRAMES) {
    const peer = await SyncPeer.connect(t, server.ws)
    for (let frame = 0; frame < PER_SOCKET; frame++) peer.send(fuzzed(random))
    peer.socket.close(1000)
    const { code } = await peer.closed
    codes.set(code, (codes.get(code) ?? 0) + 1)
  }
  await rawGarbage(t, server, random)
  for (const code of codes.keys()) t.ok(code === 1000 || code in closeCodes, `close code ${code}`)
  await server.app.state.set('witness', 'alive')
  t.match(await witness.next(), { type: 'stateChange', changes: [{ ops: [{ key: 'witness' }] }] })
  t.strictSame(failures, [])
  t.equal(({} as { polluted?: unknown }).polluted, undefined)
  t.comment(`${FRAMES} frames, seed ${SEED}, ends: ${JSON.stringify(Object.fromEntries(codes))}`)
})

/** Bytes that are no WebSocket frames, after a correct handshake. */
async function rawGarbage(t: Test, { ws }: TestServer, random: Random): Promise<void> {
  const { hostname, port, pathname } = new URL(ws)
  for (let round = 0; round < 50; round++) {
    const socket: Socket = connect(Number(port), hostname)
    socket.on('error', () => {})
    t.teardown(() => socket.destroy())
    const key = randomBytes(16).toString('base64')
    socket.write(
      `GET ${pathname}?space=app HTTP/1.1\r\nHost: ${hostname}:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
    )
    await once(socket, 'data')
    socket.write(randomBytes(random.integer(1, 2_000)))
    socket.end()
    await once(socket.resume(), 'close')
  }
}
