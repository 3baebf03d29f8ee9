import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type WebSocket, WebSocketServer } from 'ws'
import { Frame } from '../../../plugins/sync/transports/frame.ts'

/** TinyBase's `Persists.MergeableStoreOnly`, an enum of types alone. */
const MERGEABLE_STORE_ONLY = 2

// Each contender is loaded by its own server alone: it would not be fair to let one carry the others' memory.
export interface Broadcaster {
  /** Where clients connect. */
  url: string
  /** Makes the value known to all of them. */
  broadcast(change: number, value: string): unknown
}

const entry = (change: number, value: string) =>
  `{"prev":${change},"revision":${change + 1},"ops":[{"op":"set","key":"hot","value":"${value}"}]}`
const frame = (changes: string) => `{"type":"stateChange","space":"app","epoch":"1:a","changes":[${changes}]}`
const text = (change: number, value: string) => frame(entry(change, value))

/** @param redis Unix socket of the Redis that connects this node to another one */
async function ours(redis: string | undefined): Promise<Broadcaster> {
  const { default: Fastify } = await import('fastify')
  const { state } = await import('../../../plugins/state/index.ts')
  const { storage } = await import('../../../plugins/storage/index.ts')
  const { sync } = await import('../../../plugins/sync/index.ts')
  const { syncRoutes } = await import('../../../routes/sync/index.ts')
  const app = Fastify()
  await app.register(storage, {
    storage: redis ? { url: 'redis://localhost', redis: { path: redis } } : 'memory:',
  })
  await app.register(state)
  await app.register(sync, { connectionRate: 100_000, messageRate: 1_000_000, userMessageRate: 1_000_000 })
  await app.register(syncRoutes, { authorize: () => true })
  // What a client catches up on in the case of the resume.
  for (let key = 0; key < 1_000; key++) await app.state.space('large').set(`key${key}`, 'x'.repeat(200))
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  const large = app.state.space('large')
  return {
    url: url.replace('http', 'ws'),
    broadcast: (change, value) =>
      change < 0 ? large.set(`key${-change % 1_000}`, value) : app.state.set('hot', value),
  }
}

async function webSockets(send: (sockets: Iterable<Peer>, text: string) => void): Promise<Broadcaster> {
  const http = createServer()
  const sockets = new Set<Peer>()
  new WebSocketServer({ server: http, perMessageDeflate: false }).on('connection', (ws, { socket }) => {
    sockets.add({ raw: socket, ws })
  })
  return { url: await listening(http), broadcast: (change, value) => send(sockets, text(change, value)) }
}

/** What is changed in one tick goes out as one frame: less than that nobody can send. */
async function prebuiltBursts(): Promise<Broadcaster> {
  let entries: string[] = []
  let sent: Promise<void> | undefined
  const { url, broadcast: send } = await webSockets((sockets) => {
    const { wire } = new Frame(frame(entries.join(',')))
    for (const { raw } of sockets) raw.write(wire)
  })
  return {
    url,
    broadcast(change, value) {
      entries.push(entry(change, value))
      sent ??= Promise.resolve().then(() => {
        send(change, value)
        entries = []
        sent = undefined
      })
      return sent
    },
  }
}

interface Peer {
  raw: NodeJS.WritableStream
  ws: WebSocket
}

async function socketIo(recovery: boolean, redis: string | undefined): Promise<Broadcaster> {
  const http = createServer()
  const { Server } = await import('socket.io')
  const { createAdapter } = await import('@socket.io/redis-streams-adapter')
  const { Redis } = await import('ioredis')
  const io = new Server(http, {
    transports: ['websocket'],
    serveClient: false,
    ...(recovery ? { connectionStateRecovery: {} } : {}),
    ...(redis ? { adapter: createAdapter(new Redis({ path: redis })) } : {}),
  })
  return {
    url: `${await listening(http)}/socket.io/?EIO=4&transport=websocket`,
    broadcast: (change, value) => io.emit('change', text(change, value)),
  }
}

async function hocuspocus(): Promise<Broadcaster> {
  const { Server } = await import('@hocuspocus/server')
  const server = new Server({ port: 0, address: '127.0.0.1', quiet: true, stopOnSignals: false })
  await server.listen()
  const direct = await server.hocuspocus.openDirectConnection('app')
  return {
    url: `ws://127.0.0.1:${server.address.port}`,
    broadcast: (_change, value) => direct.transact((document) => document.getMap('state').set('hot', value)),
  }
}

async function tinybase(): Promise<Broadcaster> {
  const http = createServer()
  const { createMergeableStore } = await import('tinybase')
  const { createCustomPersister } = await import('tinybase/persisters')
  const { createWsServer } = await import('tinybase/synchronizers/synchronizer-ws-server')
  const store = createMergeableStore()
  const nothing = async () => undefined
  createWsServer(new WebSocketServer({ server: http, perMessageDeflate: false }), () =>
    createCustomPersister(
      store,
      nothing,
      nothing,
      () => 0,
      () => {},
      undefined,
      MERGEABLE_STORE_ONLY,
    ),
  )
  return {
    url: `${await listening(http)}/app`,
    broadcast: (_change, value) => store.setCell('state', 'row', 'hot', value),
  }
}

async function listening(http: ReturnType<typeof createServer>): Promise<string> {
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  return `ws://127.0.0.1:${(http.address() as AddressInfo).port}`
}

export function startBroadcaster(kind: string, redis: string | undefined): Promise<Broadcaster> {
  switch (kind) {
    case 'fastify-stateful':
      return ours(redis)
    case 'one prebuilt frame':
      return webSockets((sockets, text) => {
        const { wire } = new Frame(text)
        for (const { raw } of sockets) raw.write(wire)
      })
    case 'one prebuilt frame a burst':
      return prebuiltBursts()
    case 'ws':
      return webSockets((sockets, text) => {
        for (const { ws } of sockets) ws.send(text)
      })
    case 'socket.io':
      return socketIo(false, redis)
    case 'socket.io with recovery':
      return socketIo(true, redis)
    case 'hocuspocus':
      return hocuspocus()
    case 'tinybase':
      return tinybase()
    default:
      throw new Error(`no broadcaster is called ${kind}`)
  }
}
