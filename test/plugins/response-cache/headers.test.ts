import rateLimit from '@fastify/rate-limit'
import Fastify from 'fastify'
import t from 'tap'
import { cache } from '../../../plugins/cache/index.ts'
import { type ResponseCacheOptions, type RouteCache, responseCache } from '../../../plugins/response-cache/index.ts'
import { storage } from '../../../plugins/storage/index.ts'
import { type Answering, counting, says, timed } from './fixture.ts'

t.test('headers of hooks are made anew with each answer, whenever they are set', async (t) => {
  let visits = 0
  const { app } = await timed(t, async (app) => {
    await app.register(rateLimit, { max: 10 })
    app.addHook('onRequest', async (request, reply) => void reply.header('x-request-id', request.id))
    await app.register(async (scope) => {
      scope.get('/', { config: { cache: { ttl: '1m' } } }, async (_request, reply) =>
        reply.header('x-own', '1').send('x'),
      )
      scope.addHook('onSend', async (request, reply) => {
        reply.header('x-sent', request.id)
        if (++visits === 1) reply.header('x-first', 'for him alone')
      })
    })
  })
  const [miss, hit] = [await app.inject('/'), await app.inject('/')]
  t.match(hit.headers['cache-status'], /; hit/)
  for (const name of ['x-request-id', 'x-sent', 'x-ratelimit-remaining'])
    t.not(hit.headers[name], miss.headers[name], name)
  t.match(miss.headers, { 'x-first': 'for him alone', 'x-own': '1' })
  t.equal(hit.headers['x-own'], '1')
  t.equal(hit.headers['x-first'], undefined)
})

t.test('a hook of before that sets something when it is sent', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  let visits = 0
  app.addHook('onSend', async (_request, reply) => void (++visits === 1 && reply.header('x-first', 'for him alone')))
  await app.register(storage, { storage: 'memory:' })
  await app.register(cache)
  await app.register(responseCache)
  app.get('/', { config: { cache: { ttl: '1m' } } }, async () => 'x')
  t.match((await app.inject('/')).headers, { 'x-first': 'for him alone' })
  const hit = await app.inject('/')
  t.match(hit.headers['cache-status'], /; hit/)
  t.equal(hit.headers['x-first'], undefined)
})

t.test('cookies are nobody else’s', async (t) => {
  const cookie =
    (value: string): Answering =>
    (reply) =>
      void reply.headers({ 'set-cookie': value, 'cache-control': 'max-age=60' })
  for (const [value, cache, cached] of [
    ['theme=dark', { ttl: '1m' }, false],
    ['theme=dark', { ttl: '1m', shared: true }, false],
    ['theme=dark', { ttl: 'headers' }, false],
    ['theme=dark', { ttl: 'headers', shared: true }, true],
    ['connect.sid=s%3Aabcdefghijklmnop.qrstuv; Path=/; HttpOnly', { ttl: 'headers', shared: true }, false],
    ['theme=0123456789', { ttl: 'headers', shared: true }, false],
    ['theme=dark; HttpOnly', { ttl: 'headers', shared: true }, false],
    ['uid=1', { ttl: 'headers', shared: true }, false],
    ['PHPSESSID=abc', { ttl: 'headers', shared: true }, false],
  ] as const) {
    const { ask } = await counting(t, cache, cookie(value))
    await ask()
    const second = await ask()
    t.equal(second.body, cached ? '1' : '2', `${value} ${JSON.stringify(cache)}`)
    t.equal(second.headers['set-cookie'], value)
  }
})

t.test('what browsers and networks on the way are told', async (t) => {
  const told = async (
    cache: RouteCache,
    options: ResponseCacheOptions = {},
    headers = {},
    answer: Answering = () => {},
  ) => {
    const { ask } = await counting(t, cache, answer, options)
    const answers = [await ask(headers), await ask(headers)].map(({ headers }) => [
      headers['cache-control'],
      headers['cdn-cache-control'],
    ])
    t.strictSame(answers[0], answers[1], 'the same of a hit')
    return answers[0]
  }
  t.strictSame(await told({ ttl: '1m' }), ['no-cache', undefined])
  t.strictSame(await told({ ttl: '1m', browser: '30s', cdn: '1h' }), ['max-age=30', 'max-age=3600'])
  t.strictSame(await told({ ttl: '1m' }, { browser: 0, cdn: '5m' }), ['max-age=0', 'max-age=300'])
  const all = { maxAge: '1m', staleWhileRevalidate: '10s', staleIfError: '1h', mustRevalidate: true, immutable: true }
  const text = 'max-age=60, stale-while-revalidate=10, stale-if-error=3600, must-revalidate, immutable'
  t.strictSame(await told({ ttl: '1m', browser: all, cdn: all }), [text, text])
  t.strictSame(await told({ ttl: '1m' }, {}, {}, says('max-age=5')), ['max-age=5', undefined], 'the handler’s own word')
  const personal = { 'x-api-key': 'a' }
  t.strictSame(await told({ ttl: '1m', shared: true, browser: '1m', cdn: '1m' }, {}, personal), [
    'private, no-cache',
    undefined,
  ])
})

t.test('Cache-Status tells what happened', async (t) => {
  const { ask, pass, app } = await counting(t, { ttl: '1m', stale: '1h' }, () => {}, { name: 'my "cache"' })
  const status = async (headers = {}) => (await ask(headers)).headers['cache-status']
  const name = '"my \\"cache\\""'
  t.equal(await status(), `${name}; fwd=uri-miss; stored`)
  t.equal(await status(), `${name}; hit; ttl=59`)
  t.equal(await status({ authorization: 'x' }), `${name}; fwd=bypass`)
  t.equal(await status({ 'cache-control': 'no-store' }), `${name}; fwd=request`)
  pass(70)
  t.equal(await status(), `${name}; fwd=stale; stored`)
  t.equal((await app.inject('/nowhere')).headers['cache-status'], undefined)
  const many = await counting(t, { ttl: '1m' }, async () => {
    await new Promise((resolve) => setImmediate(resolve))
  })
  const first = many.ask()
  t.match((await first).headers['cache-status'], 'fastify-stateful; fwd=uri-miss; stored')
})
