import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { cache } from '../../../plugins/cache/index.ts'
import type { Authorize } from '../../../plugins/security/authorize.ts'
import { storage } from '../../../plugins/storage/index.ts'
import { cacheRoutes } from '../../../routes/cache/index.ts'

async function build(t: Test, authorize?: Authorize): Promise<FastifyInstance> {
  const app = Fastify({ routerOptions: { maxParamLength: 2_048 } })
  t.teardown(() => app.close())
  await app.register(storage, { storage: 'memory:' })
  await app.register(cache)
  app.decorateRequest('session', null as never)
  await app.register(cacheRoutes, { prefix: '/api', ...(authorize ? { authorize } : {}) })
  await app.ready()
  return app
}

const anyone: Authorize = () => true
const json = { 'content-type': 'application/json' }

t.test('entries are written, read and deleted, each namespace by itself', async (t) => {
  const app = await build(t, anyone)
  const url = '/api/cache/entries/user%3A1'
  t.match(await app.inject({ url }), { statusCode: 404 })
  const put = await app.inject({ method: 'PUT', url, payload: { value: { a: [null] }, ttl: '5m', tags: ['x'] } })
  t.match(put, { statusCode: 200 })
  t.strictSame(put.json(), { key: 'user:1', value: { a: [null] } })
  t.strictSame((await app.inject({ url })).json(), { key: 'user:1', value: { a: [null] } })
  t.match(await app.inject({ url: `${url}?namespace=other` }), { statusCode: 404 })
  t.match(await app.inject({ method: 'DELETE', url }), { statusCode: 204, body: '' })
  t.match(await app.inject({ method: 'DELETE', url }), { statusCode: 204 })
  t.match((await app.inject({ url })).json(), { code: 'STATEFUL_NOT_FOUND', status: 404, requestId: String })
  await app.inject({ method: 'PUT', url, payload: { value: null } })
  t.strictSame((await app.inject({ url })).json(), { key: 'user:1', value: null })
})

t.test('invalidation by keys, tags and patterns; clear of one namespace', async (t) => {
  const app = await build(t, anyone)
  await app.cache.set('user:1', 1, { tags: ['x'] })
  await app.cache.set('user:2', 2)
  await app.cache.set('post:1', 3)
  const post = (url: string, payload?: object) => app.inject({ method: 'POST', url, ...(payload ? { payload } : {}) })
  t.strictSame((await post('/api/cache/invalidate', { keys: ['post:1', 'none'] })).json(), { invalidated: 1 })
  t.match(await post('/api/cache/invalidate', { tags: ['x'] }), { statusCode: 200 })
  t.equal(await app.cache.get('user:1'), undefined)
  t.match((await post('/api/cache/invalidate', { patterns: ['user:*'] })).json(), { invalidated: Number })
  t.equal(await app.cache.get('user:2'), undefined)

  await app.cache.set('a', 1)
  await app.cache.namespace('n').set('a', 2)
  t.strictSame((await post('/api/cache/warm', { keys: ['a', 'b'] })).json(), { warmed: 1, missing: 1, failed: 0 })
  t.match(await post('/api/cache/clear?namespace=n'), { statusCode: 204 })
  t.equal(await app.cache.get('a'), 1)
  t.equal(await app.cache.namespace('n').get('a'), undefined)
})

t.test('bad input gets a clear answer', async (t) => {
  const app = await build(t, anyone)
  const put = (payload: unknown, url = '/api/cache/entries/k') =>
    app.inject({ method: 'PUT', url, headers: json, payload: JSON.stringify(payload) })
  const refused: [answer: { statusCode: number; json(): unknown }, code: string | RegExp][] = [
    [await put({}), 'STATEFUL_INVALID_INPUT'],
    [await put({ value: 1, extra: 1 }), 'STATEFUL_INVALID_INPUT'],
    [await put({ value: 1, ttl: 'soon' }), 'STATEFUL_INVALID_TTL'],
    [await put({ value: 1, ttl: '-5m' }), 'STATEFUL_INVALID_TTL'],
    [await put({ value: 1, ttl: '1e9y' }), 'STATEFUL_INVALID_TTL'],
    [await put({ value: 1, ttl: '292000000 years' }), 'STATEFUL_INVALID_TTL'],
    [await put({ value: 1, ttl: '292 million years' }), 'STATEFUL_INVALID_TTL'],
    [await put({ value: 1, ttl: '9007199254740993ms' }), 'STATEFUL_INVALID_TTL'],
    [await put({ value: 1, ttl: 0 }), 'STATEFUL_INVALID_INPUT'],
    [await put({ value: 1, ttl: 1e308 }), /STATEFUL_INVALID_(TTL|INPUT)/],
    [await put({ value: 1, ttl: 3_153_600_000_001 }), /STATEFUL_INVALID_(TTL|INPUT)/],
    [await put({ value: 1, tags: 'x' }), 'STATEFUL_INVALID_INPUT'],
    [await put({ value: 1 }, `/api/cache/entries/${'k'.repeat(513)}`), 'STATEFUL_INVALID_INPUT'],
    [
      await put({ value: 1 }, `/api/cache/entries/${encodeURIComponent('ü'.repeat(300))}`),
      'STATEFUL_INVALID_CACHE_KEY',
    ],
    [await put({ value: 1 }, '/api/cache/entries/k?namespace=a:b'), 'STATEFUL_INVALID_INPUT'],
    [await put({ value: 1 }, '/api/cache/entries/k?other=1'), 'STATEFUL_INVALID_INPUT'],
    [
      await app.inject({ method: 'POST', url: '/api/cache/invalidate', headers: json, payload: '{}' }),
      'STATEFUL_INVALID_INPUT',
    ],
    [
      await app.inject({ method: 'POST', url: '/api/cache/warm', headers: json, payload: '{"keys":[]}' }),
      'STATEFUL_INVALID_INPUT',
    ],
  ]
  for (const [answer, code] of refused) {
    t.equal(answer.statusCode, 400)
    t.match(answer.json(), { code, status: 400 })
  }
  const text = await app.inject({
    method: 'PUT',
    url: '/api/cache/entries/k',
    payload: 'x',
    headers: { 'content-type': 'text/plain' },
  })
  t.match(text, { statusCode: 415 })
  const poisoned = await app.inject({
    method: 'PUT',
    url: '/api/cache/entries/k',
    headers: json,
    payload: '{"value":1,"__proto__":{}}',
  })
  t.equal(poisoned.statusCode, 400)
  const large = await app.inject({
    method: 'PUT',
    url: '/api/cache/entries/k',
    payload: { value: 'x'.repeat(1_100_000) },
  })
  t.match(large, { statusCode: 413 })
})

t.test('who may not is told so before the input is looked at', async (t) => {
  const requests = [
    ['GET', '/api/cache/entries/k'],
    ['PUT', '/api/cache/entries/k'],
    ['DELETE', '/api/cache/entries/k'],
    ['POST', '/api/cache/invalidate'],
    ['POST', '/api/cache/warm'],
    ['POST', '/api/cache/clear'],
    ['GET', '/api/cache/writers/w/dead-letters'],
    ['POST', '/api/cache/writers/w/dead-letters/retry'],
  ] as const
  const anonymous = await build(t)
  const asked: unknown[] = []
  const forbidden = await build(t, (request, action, resource) => {
    asked.push([action, resource])
    request.session = { user: { id: 'u' } } as never
    return false
  })
  for (const [method, url] of requests) {
    const nobody = await anonymous.inject({ method, url: `${url}?namespace=n` })
    t.match(nobody.json(), { status: 401, code: 'STATEFUL_UNAUTHENTICATED' }, `${method} ${url}`)
    const user = await forbidden.inject({ method, url: `${url}?namespace=n` })
    t.match(user.json(), { status: 403, code: 'STATEFUL_FORBIDDEN' }, `${method} ${url}`)
  }
  t.strictSame(asked, [
    ['cache:read', { namespace: 'n', key: 'k' }],
    ['cache:write', { namespace: 'n', key: 'k' }],
    ['cache:write', { namespace: 'n', key: 'k' }],
    ['cache:invalidate', { namespace: 'n', prefix: '' }],
    ['cache:warm', { namespace: 'n', prefix: '' }],
    ['cache:invalidate', { namespace: 'n', prefix: '' }],
    ['writers:read', { writer: 'w' }],
    ['writers:retry', { writer: 'w' }],
  ])
})

t.test('writes that wait are seen, and keys are warmed by the loaders of the application', async (t) => {
  const app = await build(t, anyone)
  let go = () => {}
  const goes = new Promise<void>((resolve) => {
    go = resolve
  })
  app.cache.writeBehind('orders', () => goes)
  for (const n of [1, 2, 3]) await app.cache.setWithDelayedPersist(`order:${n}`, n, { writer: 'orders' })
  const url = '/api/cache/writers/orders/waiting'
  const { writes } = (await app.inject(url)).json()
  t.match(writes, [{ key: 'order:1', namespace: 'default', id: String, since: Number, attempts: 0 }, {}, {}])
  t.equal((await app.inject(`${url}?limit=2`)).json().writes.length, 2)
  for (const query of ['limit=0', 'limit=1001', 'most=1']) {
    t.match(await app.inject(`${url}?${query}`), { statusCode: 400 }, query)
  }
  t.match(await app.inject('/api/cache/writers/none/waiting'), { statusCode: 404 })
  go()
  await app.cache.writers.flush()
  t.strictSame((await app.inject(url)).json(), { writes: [] })

  app.cache.warmFrom('user:*', ({ key }) => key)
  const warm = (payload: object) => app.inject({ method: 'POST', url: '/api/cache/warm', payload })
  t.strictSame((await warm({ keys: ['user:1', 'none'] })).json(), { warmed: 1, missing: 1, failed: 0 })
  t.equal(await app.cache.get('user:1'), 'user:1')
  await app.cache.namespace('hot-keys').set('default', ['user:2'])
  t.strictSame((await warm({})).json(), { warmed: 1, missing: 0, failed: 0 }, 'without keys: what was hot')
})

t.test('dead letters are seen and handed over again', async (t) => {
  const app = await build(t, anyone)
  let refuse = true
  const written: string[] = []
  app.cache.writeBehind('orders', (writes) => {
    if (refuse) throw new Error('no such customer')
    written.push(...writes.map(({ key }) => key))
  })
  await app.cache.setWithDelayedPersist('order:1', { sum: 5 }, { writer: 'orders' })
  await app.cache.setWithDelayedPersist('order:2', null, { writer: 'orders' })
  const url = '/api/cache/writers/orders/dead-letters'
  while (app.cache.stats().writeBehind.dead < 2) await app.cache.writers.flush()
  const { letters } = (await app.inject(url)).json()
  t.match(letters, [
    { key: 'order:1', namespace: 'default', value: { sum: 5 }, reason: 'no such customer', at: Number, id: String },
    { key: 'order:2', value: null },
  ])
  refuse = false
  const retry = (payload: object) => app.inject({ method: 'POST', url: `${url}/retry`, payload })
  t.strictSame((await retry({ ids: [letters[1].id, 'none'] })).json(), { retried: 1 })
  t.strictSame((await retry({})).json(), { retried: 1 })
  await app.cache.writers.flush()
  t.strictSame(written, ['order:2', 'order:1'])
  t.strictSame((await app.inject(url)).json(), { letters: [] })
  t.match(await app.inject('/api/cache/writers/none/dead-letters'), { statusCode: 404 })
  t.match(await retry({ all: true }), { statusCode: 400 })
})
