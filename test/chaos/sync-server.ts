import Fastify from 'fastify'
import { problems } from '../../plugins/problems/index.ts'
import { state } from '../../plugins/state/index.ts'
import { storage } from '../../plugins/storage/index.ts'
import { sync } from '../../plugins/sync/index.ts'
import { syncRoutes } from '../../routes/sync/index.ts'

/** State and sync alone, open to everybody, with heartbeats quick enough for a test of half-open connections. */
const [port, target] = process.argv.slice(2)
const app = Fastify({ forceCloseConnections: true })
await app.register(problems)
await app.register(storage, { storage: target ?? 'memory:' })
await app.register(state)
await app.register(sync, {
  heartbeatInterval: '400ms',
  closeTimeout: '500ms',
  messageRate: 10_000,
  userMessageRate: 10_000,
})
await app.register(syncRoutes, { authorize: () => true })
app.get('/snapshot/:space', async (request) => {
  const space = app.state.space((request.params as { space: string }).space)
  await space.freshen()
  return space.snapshot()
})
process.on('message', (question) => {
  if (question !== 'heap') return
  globalThis.gc?.()
  process.send?.({ heap: process.memoryUsage().heapUsed })
})
process.on('SIGTERM', () => app.close().then(() => process.exit(0)))
await app.listen({ host: '127.0.0.1', port: Number(port) })
process.send?.('listening')
