/** @fastify/rate-limit counting on the storage of the application. */
import rateLimit from '@fastify/rate-limit'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { rateLimitStore } from '../../plugins/cache/adapters/index.ts'
import { storage } from '../../plugins/storage/index.ts'
import { startRedis } from '../fixtures/redis-server.ts'
import { onEveryStorage, storageUrl } from '../fixtures/storages.ts'

type Options = Omit<Parameters<typeof rateLimit>[1], 'store'>

async function limited(t: Test, url: string, options: Options, more?: (app: FastifyInstance) => void) {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(storage, { storage: url })
  await app.register(rateLimit, {
    max: 3,
    timeWindow: 60_000,
    keyGenerator: (request) => `${request.headers['x-user'] ?? 'nobody'}`,
    ...options,
    store: rateLimitStore(app.storage),
  })
  app.get('/', async () => 'ok')
  more?.(app)
  await app.ready()
  return app
}

const ask = (app: FastifyInstance, url = '/', user = 'ada') => app.inject({ url, headers: { 'x-user': user } })
async function statuses(n: number, app: FastifyInstance, url?: string, user?: string): Promise<number[]> {
  const list: number[] = []
  for (let i = 0; i < n; i++) list.push((await ask(app, url, user)).statusCode)
  return list
}

t.test('limits, headers, routes with limits of their own, bans', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const app = await limited(t, await storageUrl(t, kind), { ban: 1 }, (app) => {
      app.get('/own', { config: { rateLimit: { max: 1 } } }, async () => 'ok')
      app.get('/free', { config: { rateLimit: false } }, async () => 'ok')
    })
    const first = await ask(app)
    t.match(first.headers, { 'x-ratelimit-limit': '3', 'x-ratelimit-remaining': '2', 'x-ratelimit-reset': '60' })
    t.same(await statuses(4, app), [200, 200, 429, 403], 'beyond the ban')
    const refused = await ask(app)
    t.match(refused.headers, { 'retry-after': /^(59|60)$/ })
    t.same(await statuses(2, app, '/own'), [200, 429], 'this route counts for itself')
    t.same(await statuses(5, app, '/free'), [200, 200, 200, 200, 200])
    t.same(await statuses(1, app, '/', 'grace'), [200], 'another user')
  }),
)

t.test('limits that an application makes by hand, and looks at without counting', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const seen: unknown[] = []
    const app = await limited(t, await storageUrl(t, kind), { global: false }, (app) => {
      const [narrow, wide] = [app.createRateLimit({ max: 1 }), app.createRateLimit({ max: 2 })]
      app.get('/by-hand', async (request) => {
        for (const [limit, increment] of [
          [narrow, true],
          [narrow, false],
          [wide, true],
          [narrow, true],
        ] as const) {
          const told = await limit(request, { increment })
          if (!told.isAllowed) seen.push([told.remaining, told.isExceeded])
        }
      })
    })
    await ask(app, '/by-hand')
    t.strictSame(seen, [
      [0, false],
      [0, false],
      [1, false],
      [0, true],
    ])
  }),
)

t.test('windows that begin anew, or grow, beyond the limit', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const renewing = await limited(t, await storageUrl(t, kind), { max: 1, timeWindow: 300, continueExceeding: true })
    t.same(await statuses(2, renewing), [200, 429])
    await new Promise((resolve) => setTimeout(resolve, 200))
    t.same(await statuses(1, renewing), [429])
    await new Promise((resolve) => setTimeout(resolve, 200))
    t.same(await statuses(1, renewing), [429], 'the last one has begun it anew')
    const growing = await limited(t, await storageUrl(t, kind), { max: 1, exponentialBackoff: true })
    await statuses(3, growing)
    t.equal((await ask(growing)).headers['retry-after'], '240', 'the third beyond the limit')
  }),
)

t.test('two instances on one Redis have one limit, however their requests fall', async (t) => {
  const url = await storageUrl(t, 'redis')
  const apps = [await limited(t, url, { max: 10 }), await limited(t, url, { max: 10 })] as const
  const answers = await Promise.all(Array.from({ length: 40 }, (_, i) => ask(apps[i % 2] as FastifyInstance)))
  t.equal(answers.filter(({ statusCode }) => statusCode === 200).length, 10)
})

t.test('without Redis it is a 503, or no limit with skipOnError', async (t) => {
  const redis = await startRedis(t)
  const strict = await limited(t, redis.url, {})
  const lax = await limited(t, redis.url, { skipOnError: true })
  t.same([await statuses(1, strict), await statuses(1, lax)], [[200], [200]])
  await redis.kill()
  t.same(await statuses(1, strict), [503])
  t.same(await statuses(5, lax), [200, 200, 200, 200, 200])
})
