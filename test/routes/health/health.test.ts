import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { problems } from '../../../plugins/problems/index.ts'
import { security } from '../../../plugins/security/index.ts'
import { storage } from '../../../plugins/storage/index.ts'
import { StorageUnavailableError } from '../../../plugins/support/errors.ts'
import { ManualClock } from '../../../plugins/support/manual-clock.ts'
import { type HealthRoutesOptions, healthRoutes } from '../../../routes/health/index.ts'
import { startRedis } from '../../fixtures/redis-server.ts'
import { onEveryStorage, storageUrl } from '../../fixtures/storages.ts'

async function start(t: Test, url = 'memory:', options: HealthRoutesOptions = {}) {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(storage, { storage: url })
  await app.register(healthRoutes, options)
  return app
}

t.test('a healthy process is live and ready, for everybody', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const app = await start(t, await storageUrl(t, kind))
    const live = await app.inject('/health/live')
    t.equal(live.statusCode, 200)
    t.same(live.json(), { status: 'ok' })
    const ready = await app.inject('/health/ready')
    t.equal(ready.statusCode, 200)
    t.same(ready.json(), { status: 'ok', storage: kind })
    t.equal(ready.headers['cache-control'], 'no-store')
  }),
)

t.test('without its storage it is live but not ready, and ready again when the storage is back', async (t) => {
  const redis = await startRedis(t)
  const app = await start(t, redis.url)
  await redis.kill()
  const away = await app.inject('/health/ready')
  t.equal(away.statusCode, 503)
  t.match(away.json(), { code: 'STATEFUL_STORAGE_UNAVAILABLE', requestId: /.+/ })
  t.notMatch(away.body, /127\.0\.0\.1/)
  t.equal((await app.inject('/health/live')).statusCode, 200)
  const back = new Promise<void>((resolve) => {
    if (app.storage.kind === 'redis') app.storage.client.servers.client.once('ready', () => resolve())
  })
  await redis.restart()
  await back
  t.equal((await app.inject('/health/ready')).statusCode, 200)
})

t.test('a storage that never answers does not keep the probe waiting', async (t) => {
  const clock = new ManualClock()
  const app = await start(t, 'memory:', { timeout: '200ms', clock })
  const asked = new Promise<void>((resolve) => {
    app.storage.ping = () => {
      resolve()
      return new Promise(() => {})
    }
  })
  const response = app.inject('/health/ready')
  await asked
  clock.advance(199)
  t.equal(clock.timers, 1)
  clock.advance(1)
  t.match((await response).json(), { status: 503, code: 'STATEFUL_STORAGE_UNAVAILABLE' })
  t.equal(clock.timers, 0)
})

t.test('an answer in time leaves no timer, nor does a failure', async (t) => {
  const clock = new ManualClock()
  const app = await start(t, 'memory:', { clock })
  await app.inject('/health/ready')
  t.equal(clock.timers, 0)
  app.storage.ping = async () => {
    throw new StorageUnavailableError('gone')
  }
  t.equal((await app.inject('/health/ready')).statusCode, 503)
  t.equal(clock.timers, 0)
})

t.test('while it closes nothing is ready any more', async (t) => {
  const app = await start(t)
  let release = () => {}
  const held = new Promise<void>((resolve) => {
    release = resolve
  })
  app.addHook('preClose', () => held)
  const address = await app.listen({ host: '127.0.0.1', port: 0 })
  const closed = app.close()
  await new Promise(setImmediate)
  t.equal((await fetch(`${address}/health/ready`)).status, 503)
  release()
  await closed
})

t.test('an overloaded process is live but not ready', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(problems)
  await app.register(security, { production: false })
  await app.register(storage, { storage: 'memory:' })
  await app.register(healthRoutes)
  app.isUnderPressure = () => true
  t.match((await app.inject('/health/ready')).json(), { status: 503, code: 'STATEFUL_OVERLOADED' })
  t.equal((await app.inject('/health/live')).statusCode, 200)
})

t.test('a timeout that is none stops the boot', async (t) => {
  await t.rejects(start(t, 'memory:', { timeout: 'soon' }), { code: 'STATEFUL_INVALID_DURATION' })
})
