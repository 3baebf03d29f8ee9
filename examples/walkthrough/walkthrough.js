/**
 * One slow endpoint, and what each feature does to it, counted: docs/walkthrough.md explains the steps.
 *
 *   npm run build && node examples/walkthrough/walkthrough.js
 *   STORAGE=redis://127.0.0.1:6379 node examples/walkthrough/walkthrough.js    two instances as well
 */
import { setTimeout as delay } from 'node:timers/promises'
import Fastify from 'fastify'
import { responseCache, stateful, syncRoutes } from 'fastify-stateful'
import { createClient } from 'fastify-stateful/client'
import { WebSocket } from 'ws'
import { Shop } from './shop.js'

const storage = process.env.STORAGE ?? 'memory:'
const secret = process.env.SESSION_SECRET ?? 'for trying it out; yours comes from the environment'

/** A server on a free port, with all services; `routes` adds the endpoint as a step has it. */
async function start(routes) {
  const app = Fastify({ forceCloseConnections: true })
  await app.register(stateful, { storage, secret })
  await routes(app)
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  // Ten connections, so that what is measured later is the answers.
  await Promise.all(Array.from({ length: 10 }, () => fetch(url).then((response) => response.text())))
  return { app, url }
}

/** So many requests at once. An answer is stale when its price was not the price any more as it was asked for. */
async function visit(url, shop, count = 10) {
  const asked = shop.price
  const answers = await Promise.all(
    Array.from({ length: count }, async () => {
      const begin = performance.now()
      const response = await fetch(`${url}/products/1`)
      const { price } = await response.json()
      return { failed: !response.ok, stale: response.ok && price !== asked, took: performance.now() - begin }
    }),
  )
  const took = answers.map((answer) => answer.took).sort((a, b) => a - b)
  return {
    failed: answers.filter((answer) => answer.failed).length,
    stale: answers.filter((answer) => answer.stale).length,
    median: took[Math.floor(count / 2)],
  }
}

/** Ten visitors, a new price, ten visitors, and ten more. */
async function aDay(name, routes, reprice) {
  const shop = new Shop()
  const { app, url } = await start((app) => routes(app, shop))
  const before = await visit(url, shop)
  shop.price++
  await reprice?.(app, url)
  const after = await visit(url, shop)
  await delay(2 * Shop.SLOWNESS)
  const later = await visit(url, shop)
  await app.cache.clear()
  await app.close()
  const stale = before.stale + after.stale + later.stale
  const times = [before, after, later].map(({ median }) => `${median.toFixed(1)} ms`).join(', ')
  print(name, `30 requests, loads: ${shop.loads}, stale answers: ${stale}, medians: ${times}`)
}

function print(name, what) {
  process.stdout.write(`${name.padEnd(18)}${what}\n`)
}

const key = 'product:1'

await aDay('slow', async (app, shop) => {
  app.get('/products/:id', () => shop.load())
})

await aDay('cache', async (app, shop) => {
  app.get('/products/:id', () => app.cache.getOrSet(key, () => shop.load(), { ttl: '1m' }))
})

const tagged = async (app, shop) => {
  app.get('/products/:id', () => app.cache.getOrSet(key, () => shop.load(), { ttl: '1m', tags: ['prices'] }))
}
await aDay('tags', tagged, (app) => app.cache.invalidateTags('prices'))

const allowsStale = async (app, shop) => {
  app.get('/products/:id', () => app.cache.getOrSet(key, () => shop.load(), { ttl: '1m', stale: '1h' }))
}
await aDay('stale', allowsStale, (app) => app.cache.expire(key))

for (const [name, routes] of [
  ['broken, no stale', tagged],
  ['broken, stale', allowsStale],
]) {
  const shop = new Shop()
  const { app, url } = await start((app) => routes(app, shop))
  await visit(url, shop)
  shop.broken = true
  if (name === 'broken, stale') await app.cache.expire(key)
  else await app.cache.delete(key)
  const { failed } = await visit(url, shop)
  await app.cache.clear()
  await app.close()
  print(name, `${10 - failed} of 10 answered while the source fails`)
}

await aDay(
  'response cache',
  async (app, shop) => {
    await app.register(responseCache)
    app.get('/products/:id', { config: { cache: { ttl: '1m', tags: ['prices'] } } }, () => shop.load())
    app.put('/products/:id', { config: { cache: { invalidates: ['prices'] } } }, async () => ({ price: shop.price }))
  },
  (_app, url) => fetch(`${url}/products/1`, { method: 'PUT' }),
)

if (storage.startsWith('redis')) {
  const shop = new Shop()
  const [one, other] = await Promise.all([start((app) => tagged(app, shop)), start((app) => tagged(app, shop))])
  await Promise.all([visit(one.url, shop), visit(other.url, shop)])
  const shared = shop.loads
  shop.price++
  await one.app.cache.invalidateTags('prices')
  const here = await visit(one.url, shop)
  const begin = performance.now()
  while ((await visit(other.url, shop, 1)).stale) await delay(1)
  print('two instances', `20 requests, loads: ${shared}; invalidated on one, stale answers there: ${here.stale},`)
  print('', `on the other: none after ${(performance.now() - begin).toFixed(1)} ms (promised: 500)`)
  await one.app.cache.clear()
  await Promise.all([one.app.close(), other.app.close()])
}

{
  const routes = async (app) => {
    app.post('/login', async (request) => {
      await request.login({ id: 'ada' })
      return {}
    })
    app.post('/logout', async (request) => {
      await request.logout()
      return {}
    })
    app.get('/me', async ({ session }, reply) => session.user ?? reply.code(401).send({}))
  }
  const one = await start(routes)
  // Another instance where the storage is shared, the same one where it is not.
  const other = storage.startsWith('redis') ? await start(routes) : one
  const login = await fetch(`${one.url}/login`, { method: 'POST' })
  const cookie = login.headers.get('set-cookie').split(';')[0]
  const me = async () => (await fetch(`${other.url}/me`, { headers: { cookie } })).status
  const inside = await me()
  await fetch(`${one.url}/logout`, { method: 'POST', headers: { cookie } })
  print('sessions', `${inside} after the login, ${await me()} with the same cookie after the logout`)
  await Promise.all([...new Set([one, other])].map(({ app }) => app.close()))
}

{
  const routes = (app) => app.register(syncRoutes, { authorize: () => true })
  const one = await start(routes)
  const other = storage.startsWith('redis') ? await start(routes) : one
  await one.app.state.set('likes', 0)
  const client = createClient({ baseUrl: other.url, WebSocket })
  const page = client.replica('app')
  await page.ready()
  const all = new Promise((resolve) => page.subscribe('likes', (likes) => likes === 100 && resolve()))
  const begin = performance.now()
  await Promise.all(Array.from({ length: 100 }, () => one.app.state.increment('likes')))
  await all
  print(
    'live state',
    `100 increments at once, the page shows ${page.get('likes')} after ${(performance.now() - begin).toFixed(1)} ms`,
  )
  client.close()
  await Promise.all([...new Set([one, other])].map(({ app }) => app.close()))
}
