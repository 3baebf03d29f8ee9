import { setImmediate as turn } from 'node:timers/promises'
import Fastify from 'fastify'
import { problems } from '../../plugins/problems/index.ts'
import { state } from '../../plugins/state/index.ts'
import { storage } from '../../plugins/storage/index.ts'
import { sync } from '../../plugins/sync/index.ts'
import { syncRoutes } from '../../routes/sync/index.ts'

/** Floods whoever follows it, when it is told to, and tells how much memory that took at the most. */
const [target = 'memory:', history = '', size = '', count = ''] = process.argv.slice(2)
const app = Fastify({ forceCloseConnections: true })
await app.register(problems)
await app.register(storage, { storage: target })
await app.register(state, { history: { bytes: Number(history) } })
await app.register(sync)
await app.register(syncRoutes, { authorize: () => true })
const url = await app.listen({ host: '127.0.0.1', port: 0 })
const resident = () => process.memoryUsage().rss / 2 ** 20

process.on('message', async () => {
  const before = resident()
  let most = before
  for (let change = 1; change <= Number(count); change++) {
    await app.state.set('hot', `${change} `.padEnd(Number(size), 'x'))
    await turn()
    most = Math.max(most, resident())
  }
  process.send?.({ before, most })
})
process.send?.({ url })
