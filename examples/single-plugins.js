/**
 * Only what is needed: a cache without sessions or state, its decorators' work done by hand, and its administration
 * under a prefix of the host's own, guarded by the host's own rule.
 *
 *   npm run build && node examples/single-plugins.js
 *   curl localhost:3000/products/1
 *   curl -H 'authorization: Bearer letmein' -X POST -H 'content-type: application/json' \
 *     -d '{"patterns":["product:*"]}' localhost:3000/internal/cache/invalidate
 */
import Fastify from 'fastify'
import { cache, cacheRoutes, storage } from 'fastify-stateful'

const app = Fastify({ logger: true })

await app.register(storage, { storage: process.env.STORAGE ?? 'memory:' })
await app.register(cache, { l1: { maxEntries: 10_000, ttl: '5m' }, l2: { ttl: '1h' } })

let queries = 0
async function queryProduct(id) {
  queries++
  return { id, name: `Product ${id}` }
}

app.get('/products/:id', async (request) => {
  const { id } = request.params
  const product = await app.cache.getOrSet(`product:${id}`, () => queryProduct(id), { ttl: '10m', tags: ['products'] })
  return { ...product, queries }
})

// Routes are encapsulated: prefix, hooks and the rule below stay inside.
const token = process.env.ADMIN_TOKEN ?? 'letmein'
await app.register(cacheRoutes, {
  prefix: '/internal',
  authorize: (request) => request.headers.authorization === `Bearer ${token}`,
})

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => app.close())
await app.listen({ port: Number(process.env.PORT ?? 3000) })
