import t from 'tap'
import { Cache, cacheParts } from '../../../plugins/cache/index.ts'
import { eventually } from '../../fixtures/eventually.ts'
import { startRedis } from '../../fixtures/redis-server.ts'
import { openTestStorage, storageUrl } from '../../fixtures/storages.ts'
import { startCache } from './fixture.ts'

t.test('hot keys are in the first level again after a restart, from the second or their loader', async (t) => {
  for (const kind of ['lmdb', 'redis'] as const) {
    const storage = await openTestStorage(t, await storageUrl(t, kind))
    const first = await startCache(t, storage, { warming: { keys: 2 } })
    const users = first.namespace('users')
    for (const key of ['a', 'b', 'c', 'd']) await users.set(key, key)
    await eventually(async () => {
      for (let i = 0; i < 3; i++) await Promise.all([users.get('b'), users.get('d')])
      return users.peek('b') && users.peek('d')
    })
    await users.getOrSet('short', () => 1, { ttl: 50 })
    t.strictSame(users.hottest(2).sort(), ['b', 'd'])
    await first.close()

    const second = await startCache(t, storage, { warming: { keys: 2 } })
    second.namespace('users').warmFrom('*', ({ key }) => `loaded ${key}`)
    await eventually(() => second.namespace('users').peek('b') === 'b' && second.namespace('users').peek('d') === 'd')
    t.equal(second.namespace('users').peek('a'), undefined)
    t.match(second.stats().warming, { warmed: 2, running: 0 })
  }
})

t.test('after Redis was away and has lost everything, hot keys come from their loader', async (t) => {
  const server = await startRedis(t)
  const cache = await startCache(t, server.url, { coherence: 100, outage: { retry: 50 }, warming: { interval: 20 } })
  let loads = 0
  cache.warmFrom('user:*', ({ key }) => `${key} loaded ${++loads}`, { ttl: '1m' })
  await cache.set('user:1', 'set')
  await eventually(async () => (await cache.get('user:1')) && cache.stats().warming.remembered > 0)
  await server.restart()
  await eventually(() => loads > 0)
  await eventually(() => /loaded/.test(cache.peek<string>('user:1') ?? ''))
  t.pass()
})

t.test('warming can be switched off', async (t) => {
  const cache = await startCache(t, 'memory:', { warming: { keys: 0 } })
  await cache.getOrSet('k', () => 1)
  await cache.close()
  t.match(cache.stats().warming, { remembered: 0, warmed: 0 })
  t.notOk(cache.namespaces.includes('hot-keys'))
})

t.test('warming loads a few at a time, counts what came of it, and tells', async (t) => {
  const told: [message: string, details: object][] = []
  const storage = await openTestStorage(t, 'memory:')
  const options = { warming: { keys: 100 } }
  const cache = new Cache({ ...(await cacheParts(storage, options)), onWarmed: (...what) => told.push(what) }, options)
  t.teardown(() => cache.close())
  const keys = Array.from({ length: 60 }, (_, i) => `k${i}`)
  await cache.namespace('hot-keys').set('default', keys)
  let running = 0
  let most = 0
  cache.warmFrom('k*', async ({ key }) => {
    most = Math.max(most, ++running)
    await new Promise((resolve) => setImmediate(resolve))
    running--
    if (key === 'k7') throw new Error('no such key')
    return key === 'k8' ? undefined : key
  })
  await cache.start()
  await eventually(() => told.length > 0)
  t.ok(most > 1 && most <= 8, `${most} at a time`)
  t.strictSame(told, [['hot keys warmed', { namespace: 'default', keys: 60, warmed: 58, missing: 1, failed: 1 }]])
  t.match(cache.stats().warming, { warmed: 58, missing: 1, failed: 1, running: 0 })
  t.equal(cache.peek('k0'), 'k0')
})

t.test(
  'a key alone is warmed by the loader that was registered for it, and what was hot can be warmed at any time',
  async (t) => {
    const storage = await openTestStorage(t, 'memory:')
    const options = { warming: { keys: 10 } }
    const cache = await startCache(t, storage, options)
    const users = cache.namespace('users')
    users.warmFrom('user:*', ({ key }) => `loaded ${key}`)
    await users.set('other', 1)
    t.strictSame(await users.warm(['user:1', 'other', 'none']), { warmed: 2, missing: 1, failed: 0 })
    t.equal(users.peek('user:1'), 'loaded user:1')
    t.strictSame(await users.warmHottest(), { warmed: 0, missing: 0, failed: 0 }, 'nothing is written down yet')
    await cache.namespace('hot-keys').set('users', ['user:2', 'user:3'])
    t.strictSame(await users.warmHottest(), { warmed: 2, missing: 0, failed: 0 })
    t.equal(users.peek('user:3'), 'loaded user:3')
  },
)
