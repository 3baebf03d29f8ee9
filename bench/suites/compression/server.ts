import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { WebSocketServer } from 'ws'

/** What is sent: ours commits it to a space first. */
type Broadcast = (value: unknown) => unknown

const [kind, rows] = process.argv.slice(2)
const started = kind?.startsWith('fastify-stateful')
  ? await ours(kind.endsWith('compressed'))
  : await plainWs(kind !== 'ws, plain')
let change = 0

const control = createServer(async (request, response) => {
  const { searchParams } = new URL(request.url ?? '/', 'http://localhost')
  for (let left = Number(searchParams.get('changes')); left > 0; left--) await started.broadcast(content(++change))
  response.end(`${change}`)
})
// As in the suite `sync`: a measurement may take longer.
control.keepAliveTimeout = 0
process.send?.({ url: `${started.url}#${await listening(control)}` })

/** Rows of a table, as applications put them into state; another one each time, so that nothing can be kept of it. */
function content(change: number) {
  return Array.from({ length: Number(rows) }, (_, index) => ({
    id: `order-${change * 7919 + index * 104_729}`,
    customer: `Customer number ${(change + index * 31) % 1_000}`,
    status: ['open', 'paid', 'sent', 'returned'][(change + index) % 4],
    total: ((change * 37 + index * 101) % 100_000) / 100,
    updatedAt: new Date(1_770_000_000_000 + change * 1_000 + index).toISOString(),
  }))
}

async function ours(compression: boolean): Promise<{ url: string; broadcast: Broadcast }> {
  const { default: Fastify } = await import('fastify')
  const { state } = await import('../../../plugins/state/index.ts')
  const { storage } = await import('../../../plugins/storage/index.ts')
  const { sync } = await import('../../../plugins/sync/index.ts')
  const { syncRoutes } = await import('../../../routes/sync/index.ts')
  const app = Fastify()
  await app.register(storage, { storage: 'memory:' })
  await app.register(state)
  // One change of the largest kind is more than a socket holds by default.
  await app.register(sync, { compression, highWaterMark: 8 * 1024 * 1024 })
  await app.register(syncRoutes, { authorize: () => true })
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  return {
    url: `${url.replace('http', 'ws')}/sync?space=app`,
    broadcast: (value) => app.state.set('rows', value as []),
  }
}

async function plainWs(compression: boolean): Promise<{ url: string; broadcast: Broadcast }> {
  const http = createServer()
  const server = new WebSocketServer({
    server: http,
    perMessageDeflate: compression && { zlibDeflateOptions: { level: 1 } },
  })
  return {
    url: `ws://127.0.0.1:${await listening(http)}`,
    broadcast(value) {
      const text = JSON.stringify({
        type: 'stateChange',
        changes: [{ revision: change, ops: [{ op: 'set', key: 'rows', value }] }],
      })
      for (const socket of server.clients) socket.send(text)
    },
  }
}

async function listening(http: ReturnType<typeof createServer>): Promise<number> {
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  return (http.address() as AddressInfo).port
}
