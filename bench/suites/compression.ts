import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { WebSocket } from 'ws'
import type { Case, Contender, Suite } from '../harness.ts'
import { startServer } from '../tools/server-process.ts'

const CLIENTS = 100
/** Changes that are under way at once: well below what a socket holds, so that nobody counts as slow. */
const UNDER_WAY = 10

const contenders = ['fastify-stateful, compressed', 'fastify-stateful, plain', 'ws, plain', 'ws, a deflate a socket']

interface Listener {
  received: number
  socket: WebSocket
  tcp: Socket
}

async function listen(url: string): Promise<Listener> {
  const socket = new WebSocket(url)
  const upgraded = once(socket, 'upgrade') as Promise<[IncomingMessage]>
  const listener = { received: 0, socket, tcp: (await upgraded)[0].socket }
  socket.on('message', (data) => {
    listener.received += (data as Buffer).indexOf('"stateChange"') > 0 ? count(data as Buffer) : 0
  })
  return listener
}

/** Changes that come in one poll share a frame. */
function count(data: Buffer): number {
  let changes = 0
  for (let at = data.indexOf('"ops":'); at > 0; at = data.indexOf('"ops":', at + 1)) changes++
  return changes
}

function contender(name: string, rows: number, measured: 'cpu' | 'bytes'): Contender {
  return {
    name,
    role: name.endsWith(', compressed') ? 'ours' : 'peer',
    packages: ['ws'],
    async setup(context) {
      const server = await startServer(context, new URL('./compression/server.ts', import.meta.url), [name, `${rows}`])
      const [address = '', control] = server.url.split('#')
      const listeners = await Promise.all(Array.from({ length: CLIENTS }, () => listen(address)))
      context.teardown(() => {
        for (const { socket } of listeners) socket.terminate()
      })
      const changes = context.quick ? 20 : 100
      return async () => {
        for (const listener of listeners) listener.received = 0
        const bytes = () => listeners.reduce((sum, { tcp }) => sum + tcp.bytesRead, 0)
        const [cpuBefore, bytesBefore] = [await server.cpu(), bytes()]
        for (let made = UNDER_WAY; made <= changes; made += UNDER_WAY) {
          await (await fetch(`http://127.0.0.1:${control}/?changes=${UNDER_WAY}`)).text()
          const deadline = performance.now() + 5_000
          while (listeners.some(({ received }) => received < made) && performance.now() < deadline) {
            await new Promise((resolve) => setImmediate(resolve))
          }
        }
        const lost = listeners.reduce((sum, { received }) => sum + Math.abs(changes - received), 0)
        const deliveries = changes * CLIENTS
        const value =
          measured === 'bytes' ? (bytes() - bytesBefore) / deliveries : deliveries / ((await server.cpu()) - cpuBefore)
        return { value, faults: { lost } }
      }
    },
  }
}

const cases = (rows: number, size: string): Case[] => [
  {
    name: `${size}: on the wire`,
    unit: 'bytes/delivery',
    better: 'lower',
    rounds: 1,
    contenders: contenders.map((name) => contender(name, rows, 'bytes')),
  },
  {
    name: `${size}: CPU of the server`,
    unit: 'deliveries/CPU s',
    better: 'higher',
    contenders: contenders.map((name) => contender(name, rows, 'cpu')),
  },
]

const suite: Suite = {
  name: 'compression',
  rounds: 3,
  description:
    'Changes of one key, rows of a table, delivered to 100 clients that offer permessage-deflate: compressed once for all ' +
    '(`sync.compression`), not compressed, and by `ws` for each socket. Ours commits each change to a state space first.',
  cases: [...cases(28, '4 kB'), ...cases(440, '64 kB')],
}

export default suite
