import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import Fastify from 'fastify'
import { Server as SocketServer } from 'socket.io'
import { type WebSocket, WebSocketServer } from 'ws'
import { state } from '../../../plugins/state/index.ts'
import { storage } from '../../../plugins/storage/index.ts'
import { Frame } from '../../../plugins/sync/frame.ts'
import { sync } from '../../../plugins/sync/index.ts'
import { syncRoutes } from '../../../routes/sync/index.ts'

/** Makes a change known to all connections; the text is what each of them gets. */
type Broadcast = (change: number) => unknown

const value = 'x'.repeat(200)
const changeText = (change: number) =>
  `{"type":"stateChange","space":"app","epoch":"1:a","changes":[{"prev":${change},"revision":${change + 1},"ops":[{"op":"set","key":"hot","value":"${change} ${value}"}]}]}`

async function ours(): Promise<{ url: string; broadcast: Broadcast }> {
  const app = Fastify()
  await app.register(storage, { storage: 'memory:' })
  await app.register(state)
  await app.register(sync, { connectionRate: 100_000 })
  await app.register(syncRoutes, { authorize: () => true })
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  return {
    url: `${url.replace('http', 'ws')}/sync?space=app`,
    broadcast: (change) => app.state.set('hot', `${change} ${value}`),
  }
}

async function plain(kind: string): Promise<{ url: string; broadcast: Broadcast }> {
  const http = createServer()
  const sockets = new Set<{ raw: NodeJS.WritableStream; ws: WebSocket }>()
  let broadcast: Broadcast
  if (kind === 'socket.io') {
    const io = new SocketServer(http, { transports: ['websocket'], serveClient: false })
    broadcast = (change) => io.emit('change', changeText(change))
  } else {
    new WebSocketServer({ server: http, perMessageDeflate: false }).on('connection', (ws, { socket }) => {
      sockets.add({ raw: socket, ws })
    })
    broadcast = (change) => {
      if (kind === 'ws') for (const { ws } of sockets) ws.send(changeText(change))
      else {
        const { wire } = new Frame(changeText(change))
        for (const { raw } of sockets) raw.write(wire)
      }
    }
  }
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  const { port } = http.address() as AddressInfo
  const path = kind === 'socket.io' ? '/socket.io/?EIO=4&transport=websocket' : '/'
  return { url: `ws://127.0.0.1:${port}${path}`, broadcast }
}

const [kind = ''] = process.argv.slice(2)
const { url, broadcast } = await (kind === 'fastify-stateful' ? ours() : plain(kind))
let change = 0
// The load generator asks for the next bursts when everybody has everything of the last ones, and gets their CPU time.
const control = createServer(async (request, response) => {
  const { searchParams } = new URL(request.url ?? '/', 'http://localhost')
  const before = process.cpuUsage()
  for (let burst = 0; burst < Number(searchParams.get('bursts')); burst++) {
    await Promise.all(Array.from({ length: Number(searchParams.get('size')) }, () => broadcast(change++)))
    await new Promise((resolve) => setImmediate(resolve))
  }
  const { user, system } = process.cpuUsage(before)
  response.end(`${(user + system) / 1e6}`)
})
await new Promise<void>((resolve) => control.listen(0, '127.0.0.1', resolve))
process.send?.({ url: `${url}#${(control.address() as AddressInfo).port}` })
