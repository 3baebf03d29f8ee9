import { once } from 'node:events'
import { WebSocket } from 'ws'
import type { Contender, Measurement, Suite } from '../harness.ts'
import { startServer } from '../tools/server-process.ts'

const servers = new URL('./sync/server.ts', import.meta.url)
const CLIENTS = 200

/** Counts how often each change arrives: each must, once. */
class Listener {
  readonly socket: WebSocket
  received = 0
  #waiting: { count: number; resolve(): void } | undefined

  constructor(url: string) {
    this.socket = new WebSocket(url, { perMessageDeflate: false })
    this.socket.on('message', (data) => {
      const text = data.toString()
      // Socket.IO's handshake: joins the default namespace.
      if (text.startsWith('0{')) this.socket.send('40')
      if (text === '2') this.socket.send('3')
      // Each change says once what it continues; Socket.IO escapes the text that it carries.
      this.received += text.split(/\\?"prev\\?":/).length - 1
      if (this.#waiting && this.received >= this.#waiting.count) this.#waiting.resolve()
    })
  }

  async reached(count: number): Promise<void> {
    if (this.received >= count) return
    await new Promise<void>((resolve) => {
      this.#waiting = { count, resolve }
      setTimeout(resolve, 5_000).unref()
    })
    this.#waiting = undefined
  }
}

function contender(kind: string, role: Contender['role'], packages: string[], size: number): Contender {
  return {
    name: kind,
    role,
    packages,
    async setup(context) {
      const { url } = await startServer(context, servers, [kind])
      const [address = '', control] = url.split('#')
      const listeners = Array.from({ length: CLIENTS }, () => new Listener(address))
      context.teardown(() => {
        for (const { socket } of listeners) socket.terminate()
      })
      await Promise.all(listeners.map(({ socket }) => once(socket, 'open')))
      // The full sync, or the namespace of Socket.IO.
      await new Promise((resolve) => setTimeout(resolve, 500))
      const bursts = Math.ceil((context.quick ? 100 : 1_000) / size)
      return async (): Promise<Measurement> => {
        for (const listener of listeners) listener.received = 0
        const changes = bursts * size
        const response = await fetch(`http://127.0.0.1:${control}/?bursts=${bursts}&size=${size}`)
        const cpu = Number(await response.text())
        await Promise.all(listeners.map((listener) => listener.reached(changes)))
        const counts = listeners.map(({ received }) => received - changes)
        return {
          value: (changes * CLIENTS) / cpu,
          faults: {
            lost: -counts.filter((count) => count < 0).reduce((sum, count) => sum + count, 0),
            duplicated: counts.filter((count) => count > 0).reduce((sum, count) => sum + count, 0),
          },
        }
      }
    },
  }
}

const contenders = (size: number): Contender[] => [
  contender('one prebuilt frame', 'limit', ['ws'], size),
  contender('fastify-stateful', 'ours', [], size),
  contender('ws', 'peer', ['ws'], size),
  contender('socket.io', 'peer', ['socket.io'], size),
]

const suite: Suite = {
  name: 'sync',
  description:
    'Changes of one key with 200 bytes, delivered to 200 WebSockets, for each second of CPU time of the server. Ours ' +
    'commits each change to a state space first; the limit writes one frame that was built once to all sockets.',
  cases: [
    { name: 'single changes', unit: 'deliveries/CPU s', better: 'higher', contenders: contenders(1) },
    { name: 'bursts of 20 changes', unit: 'deliveries/CPU s', better: 'higher', contenders: contenders(20) },
  ],
}

export default suite
