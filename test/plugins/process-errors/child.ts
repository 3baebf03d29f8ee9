/** A server whose routes fail where nobody catches it. */
import Fastify from 'fastify'
import { draining } from '../../../plugins/draining/index.ts'
import { problems } from '../../../plugins/problems/index.ts'
import { processErrors } from '../../../plugins/process-errors/index.ts'
import { systemClock } from '../../../plugins/support/clock.ts'

const app = Fastify({ logger: { level: 'error' }, forceCloseConnections: true })
await app.register(problems)
await app.register(draining)
// Ten seconds pass in 50 ms.
const clock = { ...systemClock, after: (ms: number, run: () => void) => systemClock.after(ms / 200, run) }
if (process.argv[2] !== 'without') await app.register(processErrors, { clock })
app.get('/fine', async () => app.processErrors)
app.get('/exception', (_request, reply) => {
  setImmediate(() => {
    throw new Error('in a timer')
  })
  void reply
})
app.get('/rejection', (_request, reply) => {
  Promise.reject(new Error('held by nobody'))
  void reply
})
app.get('/answered', async () => {
  Promise.reject(new Error('held by nobody'))
  return 'answered'
})
app.addHook('onSend', (request, _reply, _payload, done) => {
  if (request.url === '/hook') setImmediate(done)
  else done()
})
app.get('/hook', async (_request, reply) => reply.redirect('/Ω'))
process.send?.(await app.listen({ port: 0 }))
process.on('disconnect', () => process.exit())
