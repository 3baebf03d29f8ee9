/** undici's cache interceptor, keeping what it fetches in the cache. */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { Agent, interceptors, request } from 'undici'
import { UndiciCacheStore, type UndiciCacheStoreOptions } from '../../plugins/cache/adapters/index.ts'
import { eventually } from '../fixtures/eventually.ts'
import { startRedis } from '../fixtures/redis-server.ts'
import { onEveryStorage, storageUrl } from '../fixtures/storages.ts'
import { freshCache, startCache } from '../plugins/cache/fixture.ts'

/** An origin that counts what reaches it. */
async function origin(t: Test, answer: (request: IncomingMessage, response: ServerResponse) => void) {
  const asked: string[] = []
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`)
    answer(request, response)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    return new Promise((resolve) => server.close(resolve))
  })
  return { asked, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

type Cache = Awaited<ReturnType<typeof freshCache>>

function client(t: Test, cache: Cache, options: UndiciCacheStoreOptions = {}) {
  const store = new UndiciCacheStore(cache.namespace('fetched'), options)
  const agent = new Agent()
  t.teardown(() => agent.destroy())
  const dispatcher = agent.compose(interceptors.cache({ store, methods: ['GET', 'HEAD'] }))
  return async (url: string, init: { method?: 'GET' | 'HEAD' | 'POST'; headers?: Record<string, string> } = {}) => {
    const { statusCode, headers, body } = await request(url, { ...init, dispatcher })
    return { status: statusCode, headers, body: await body.text() }
  }
}

t.test('answers are kept, told apart by Vary, and gone after an unsafe method', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const { asked, url } = await origin(t, (request, response) => {
      response.setHeader('cache-control', 'max-age=60')
      if (request.url === '/vary') response.setHeader('vary', 'accept-language, x-other')
      response.end(`${request.headers['accept-language'] ?? ''} ${asked.length}`)
    })
    const ask = client(t, await freshCache(t, kind))
    const first = await ask(`${url}/a`)
    t.strictSame([first.body, (await ask(`${url}/a`)).body, asked.length], [' 1', ' 1', 1])
    t.ok((await ask(`${url}/a`)).headers.age !== undefined, 'it tells how old it is')
    await ask(`${url}/a?b`)
    t.equal(asked.length, 2, 'the query is part of the URL')

    const german = { headers: { 'accept-language': 'de' } }
    const french = { headers: { 'accept-language': 'fr' } }
    t.strictSame([(await ask(`${url}/vary`, german)).body, (await ask(`${url}/vary`, french)).body], ['de 3', 'fr 4'])
    t.strictSame([(await ask(`${url}/vary`, german)).body, (await ask(`${url}/vary`, french)).body], ['de 3', 'fr 4'])
    t.equal((await ask(`${url}/vary`)).body, ' 5', 'without the header it is another answer')
    t.equal((await ask(`${url}/vary`)).body, ' 5')

    await ask(`${url}/vary`, { method: 'POST' })
    t.equal(asked.length, 6)
    for (const init of [german, french]) t.notMatch((await ask(`${url}/vary`, init)).body, /[34]$/)
    t.equal((await ask(`${url}/a`)).body, ' 1', 'other URLs are kept')
  }),
)

t.test('bytes come back as they were, also of 304s and of what is stale', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const bytes = Buffer.from(Array.from({ length: 100_000 }, (_, i) => (i * 7) % 256))
    const { asked, url } = await origin(t, (request, response) => {
      response.setHeader('cache-control', 'max-age=0')
      response.setHeader('etag', '"v1"')
      if (request.headers['if-none-match'] === '"v1"') response.writeHead(304).end()
      else response.writeHead(200, { 'content-type': 'application/octet-stream' }).end(bytes)
    })
    const cache = await freshCache(t, kind)
    const store = new UndiciCacheStore(cache.namespace('fetched'))
    const agent = new Agent()
    t.teardown(() => agent.destroy())
    const dispatcher = agent.compose(interceptors.cache({ store }))
    for (let i = 0; i < 3; i++) {
      const { statusCode, headers, body } = await request(`${url}/bytes`, { dispatcher })
      t.equal(statusCode, 200)
      t.equal(headers['content-type'], 'application/octet-stream')
      t.ok(Buffer.from(await body.arrayBuffer()).equals(bytes))
    }
    t.equal(asked.length, 3, 'asked each time')
  }),
)

t.test('what is too large is not kept, and what breaks off neither', async (t) => {
  const { asked, url } = await origin(t, (request, response) => {
    response.setHeader('cache-control', 'max-age=60')
    if (request.url === '/broken') {
      response.setHeader('content-length', '100')
      response.write('half')
      setImmediate(() => response.destroy())
    } else response.end('x'.repeat(Number(request.url?.slice(1))))
  })
  const ask = client(t, await freshCache(t, 'memory'), { maxEntrySize: 1_000 })
  for (const size of [1_000, 1_000, 1_001, 1_001]) t.equal((await ask(`${url}/${size}`)).body.length, size)
  t.strictSame(asked, ['GET /1000', 'GET /1001', 'GET /1001'])
  for (let i = 0; i < 2; i++) await t.rejects(ask(`${url}/broken`))
  t.equal(asked.length, 5)
})

t.test('what one instance has fetched another one need not, and an invalidation is for both', async (t) => {
  const { asked, url } = await origin(t, (_request, response) => {
    response.setHeader('cache-control', 'max-age=60')
    response.end(`${asked.length}`)
  })
  const target = await storageUrl(t, 'redis')
  const caches = [await startCache(t, target), await startCache(t, target)] as const
  const [one, two] = caches.map((cache) => client(t, cache)) as [ReturnType<typeof client>, ReturnType<typeof client>]
  t.equal((await one(url)).body, '1')
  // undici gives the answer to who asked without waiting until it is kept.
  const other = new UndiciCacheStore(caches[1].namespace('fetched'))
  await eventually(async () => (await other.get({ origin: url, method: 'GET', path: '/' })) !== undefined)
  t.equal((await two(url)).body, '1')
  await two(url, { method: 'POST' })
  await eventually(async () => (await one(url)).body !== '1')
  t.strictSame(asked, ['GET /', 'POST /', 'GET /'])
})

t.test('an answer that was under way at an invalidation is not kept', async (t) => {
  const store = new UndiciCacheStore((await freshCache(t, 'memory')).namespace('fetched'))
  const key = { origin: 'http://localhost', path: '/', method: 'GET' }
  const [cachedAt, staleAt, deleteAt] = [Date.now(), Date.now() + 30_000, Date.now() + 60_000]
  const begun = store.createWriteStream(key, {
    ...{ statusCode: 200, statusMessage: '', headers: {} },
    ...{ cachedAt, staleAt, deleteAt },
  })
  begun.write(Buffer.from('old'))
  await store.delete({ ...key, method: 'POST' })
  begun.end()
  await once(begun, 'close')
  t.equal(await store.get(key), undefined)
})

t.test('without Redis it fetches, and nothing rejects that nobody catches', async (t) => {
  const redis = await startRedis(t)
  const { asked, url } = await origin(t, (_request, response) => {
    response.setHeader('cache-control', 'max-age=60')
    response.end('ok')
  })
  const errors: unknown[] = []
  const ask = client(t, await startCache(t, redis.url), { onError: (error) => errors.push(error) })
  await redis.kill()
  t.equal((await ask(url)).body, 'ok')
  t.equal((await ask(url)).body, 'ok')
  t.equal(asked.length, 2)
  await ask(url, { method: 'POST' })
  t.match(errors, [{ code: 'STATEFUL_CACHE_STORE_UNAVAILABLE' }])
})

t.test('the store gives exactly the newest answer that fits, as a model of it does', async (t) => {
  const cache = await freshCache(t, 'memory')
  const value = fc.constantFrom('a', 'b', null)
  const write = fc.record({
    path: fc.constantFrom('/x', '/y'),
    method: fc.constantFrom('GET', 'HEAD'),
    vary: fc.option(fc.dictionary(fc.constantFrom('p', 'q'), value), { nil: undefined }),
    body: fc.uint8Array({ maxLength: 20 }),
  })
  const step = fc.oneof({ weight: 4, arbitrary: write }, { weight: 1, arbitrary: fc.constantFrom('/x', '/y') })
  let run = 0
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
      const store = new UndiciCacheStore(cache.namespace('model'))
      const origin = `http://${run++}`
      let model: { path: string; method: string; vary: Record<string, string | null>; body: Buffer }[] = []
      let cachedAt = Date.now() - 1_000
      for (const each of steps) {
        if (typeof each === 'string') {
          await store.delete({ origin, path: each, method: 'POST' })
          model = model.filter(({ path }) => path !== each)
          continue
        }
        const { path, method, vary, body } = each
        cachedAt++
        const [staleAt, deleteAt] = [Date.now() + 30_000, Date.now() + 60_000]
        const about = { statusCode: 200, statusMessage: '', headers: {}, cachedAt, staleAt, deleteAt }
        const stream = store.createWriteStream({ origin, path, method }, vary ? { ...about, vary } : about)
        stream.end(Buffer.from(body))
        const same = JSON.stringify([path, method, Object.entries(vary ?? {}).sort()])
        model = model.filter(
          (other) => JSON.stringify([other.path, other.method, Object.entries(other.vary).sort()]) !== same,
        )
        model.push({ path, method, vary: vary ?? {}, body: Buffer.from(body) })
        for (const p of ['a', 'b', undefined]) {
          for (const q of ['a', undefined]) {
            const headers = { ...(p && { p }), ...(q && { q }) } as Record<string, string>
            const fits = model.filter(
              (one) =>
                one.path === path &&
                one.method === method &&
                Object.entries(one.vary).every(([name, wanted]) => (headers[name] ?? null) === wanted),
            )
            const found = await store.get({ origin, path, method, headers })
            t.strictSame(found?.body[0], fits.at(-1)?.body)
          }
        }
      }
    }),
    { numRuns: 60 },
  )
})
