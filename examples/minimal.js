/**
 * All services on one embedded storage, and a route that uses three of them.
 *
 *   npm run build && node examples/minimal.js && curl -i localhost:3000
 */
import Fastify from 'fastify'
import { serverOptions, stateful } from 'fastify-stateful'

const app = Fastify({ ...serverOptions(), logger: true })

await app.register(stateful, {
  storage: process.env.STORAGE ?? 'lmdb:./data',
  secret: process.env.SESSION_SECRET ?? 'for trying it out; yours comes from the environment',
})

app.get('/', async (request) => {
  // The session belongs to this visitor and is loaded and saved around the request.
  request.session.visits = (request.session.visits ?? 0) + 1
  // The state belongs to all instances; the write is durable when it resolves, and reads are synchronous.
  await app.state.increment('visits')
  // The cache computes once, however many requests ask at the same time.
  const greeting = await app.cache.getOrSet('greeting', () => composeGreeting(), { ttl: '5m' })
  return { greeting, yours: request.session.visits, all: app.state.get('visits') }
})

async function composeGreeting() {
  return `Composed at ${new Date().toISOString()}`
}

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => app.close())
await app.listen({ port: Number(process.env.PORT ?? 3000) })
