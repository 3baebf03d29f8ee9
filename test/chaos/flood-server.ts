import { setImmediate as turn } from 'node:timers/promises'
import Fastify from 'fastify'
import { problems } from '../../plugins/problems/index.ts'
import { state } from '../../plugins/state/index.ts'
import { storage } from '../../plugins/storage/index.ts'
import { sync } from '../../plugins/sync/index.ts'
import { syncRoutes } from '../../routes/sync/index.ts'

/**
 * Floods whoever follows it, when it is told to, and tells how much memory that took at the most. Run with `--expose-gc`:
 * how much garbage lies about at a time is a matter of how busy the machine is.
 */
const [target = 'memory:', history = '', size = '', count = ''] = process.argv.slice(2)
const app = Fastify({ forceCloseConnections: true })
await app.register(problems)
await app.register(storage, { storage: target })
await app.register(state, { history: { bytes: Number(history) } })
await app.register(sync)
await app.register(syncRoutes, { authorize: () => true })
const url = await app.listen({ host: '127.0.0.1', port: 0 })
/** Changes between two looks. */
const LOOK_EVERY = 50

function retained(): number {
  ;(globalThis as { gc?: () => void }).gc?.()
  const { heapUsed, external } = process.memoryUsage()
  return (heapUsed + external) / 2 ** 20
}

process.on('message', async () => {
  const before = retained()
  let most = before
  for (let change = 1; change <= Number(count); change++) {
    await app.state.set('hot', `${change} `.padEnd(Number(size), 'x'))
    await turn()
    if (change % LOOK_EVERY === 0) most = Math.max(most, retained())
  }
  process.send?.({ before, most })
})
process.send?.({ url })
