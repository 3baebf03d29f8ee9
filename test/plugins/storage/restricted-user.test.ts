import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { openTier } from '../../../plugins/cache/tier/open.ts'
import { openStateLog } from '../../../plugins/state/log/open.ts'
import { openStorage, type RedisStorage } from '../../../plugins/storage/index.ts'
import { RedisScript } from '../../../plugins/storage/redis/script.ts'
import { systemClock } from '../../../plugins/support/clock.ts'
import { ADMIN_PASSWORD, testApp } from '../../fixtures/app.ts'
import { refuseUndeclaredKeys } from '../../fixtures/declared-keys.ts'
import { documentedUser, startRestrictedRedis } from '../../fixtures/redis-user.ts'
import { Browser } from '../../fixtures/session-app.ts'
import { testState, until } from '../../fixtures/state.ts'
import { redisStoresSuite } from '../../suites/redis-stores.ts'
import { batchOf } from '../../suites/state-log.ts'

refuseUndeclaredKeys()

async function open(t: Test, url: string): Promise<RedisStorage> {
  const storage = (await openStorage(url)) as RedisStorage
  t.teardown(() => storage.close())
  return storage
}

/** Repeated while the connection is being made again. */
async function eventually<Result>(run: () => Promise<Result>): Promise<Result> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await run()
    } catch (error) {
      if (attempt === 200) throw error
      await delay(20)
    }
  }
}

t.test('a script that derives a key is refused', async (t) => {
  const { client } = await open(t, (await startRestrictedRedis(t)).url)
  const run = (source: string) => new RedisScript(source).run(client, ['fs:a'], ['fs:b'])
  t.equal(await run("return redis.call('SET', KEYS[1], 1) and 1"), 1)
  for (const source of [
    "return redis.call('GET', KEYS[1] .. 'x')",
    "return redis.call('DEL', KEYS[1], ARGV[1])",
    "return redis.pcall('HMGET', ARGV[1], 'x')",
    "pcall(redis.call, 'GET', ARGV[1]) return 1",
    "pcall(function() redis.call('GET', ARGV[1]) end) return 1",
  ]) {
    await t.rejects(run(`#!lua\n${source}`), { message: /undeclared key fs:/ }, source)
  }
  await t.rejects(run("return redis.call('OBJECT', 'ENCODING', KEYS[1])"), { message: /nobody knows/ })
})

t.test('the user of the documentation suffices, without INFO, and needs what is listed', async (t) => {
  const { url, admin } = await startRestrictedRedis(t)
  await redisStoresSuite(t, url)

  await t.test('the whole app', async (t) => {
    const [one, two] = [await testApp(t, { storage: url }), await testApp(t, { storage: url })]
    const browser = new Browser(one)
    t.equal((await browser.login('admin', 'wrong')).statusCode, 401)
    t.equal((await browser.login('admin', ADMIN_PASSWORD)).statusCode, 200)
    const other = new Browser(two)
    other.cookies = browser.cookies
    const put = (url: string, payload: object) => browser.inject({ method: 'PUT', url, payload })
    t.equal((await put('/state/keys/light', { value: 'on' })).statusCode, 200)
    await eventually(async () => t.equal((await other.get('/state/keys/light')).statusCode, 200))
    t.equal((await put('/cache/entries/user:1', { value: 1, tags: ['users'] })).statusCode, 200)
    t.match((await other.get('/cache/entries/user:1')).json(), { value: 1 })
    t.equal((await other.post('/cache/invalidate', { tags: ['users'] })).statusCode, 200)
    t.equal((await other.post('/cache/invalidate', { patterns: ['user:*'] })).statusCode, 200)
    t.equal((await browser.get('/stats?scope=cluster')).statusCode, 200)
    t.equal((await browser.get('/sync/nodes')).statusCode, 200)
    t.equal((await browser.get('/health/ready')).statusCode, 200)
    t.equal((await other.post('/logout')).statusCode, 204)
    t.equal((await browser.get('/profile')).statusCode, 401)
  })

  const used = new Set([...(await admin.info('commandstats')).matchAll(/cmdstat_(\w+)/g)].map(([, name]) => name))
  // An application with a password of Redis' default user, or with another database than 0, sends these.
  for (const name of ['auth', 'select']) used.add(name)
  const listed = (await documentedUser()).flatMap((word) => (word.startsWith('+') ? word.slice(1) : []))
  t.same(
    listed.filter((name) => !used.has(name)),
    [],
    'nothing is listed that nobody needs',
  )
  const { client } = (await open(t, url)).client.servers
  await t.rejects(client.get('other:key'), { message: /NOPERM/ }, 'keys of others are out of reach')
  await t.rejects(client.publish('other', ''), { message: /NOPERM/ }, 'and their channels')
})

t.test('a server that tells nobody who it is, and lost the end of the log', async (t) => {
  const { url, server, admin } = await startRestrictedRedis(t)
  const storage = await open(t, url)
  t.equal(storage.client.tellsRun, false)
  const log = openStateLog(storage, 'log', { commits: 10, bytes: 2 ** 25 })
  const start = await log.load()
  await log.commit(start, batchOf(start, 'log', { k: 1 }))
  const kept = { epoch: start.epoch, revision: 1 }
  t.equal((await log.load()).epoch, start.epoch, 'the connection is the same, so the server is')
  const { state } = await testState(t, { url, pollInterval: 50 })
  await state.set('k', 1)
  await admin.save()
  await state.set('k', 'lost')
  await log.commit(kept, batchOf(kept, 'log', { k: 'lost' }))
  const { epoch } = state

  await server.restart()
  t.equal(await eventually(() => log.commit(kept, batchOf(kept, 'log', { k: 'fork' }))), 'conflict')
  const loaded = await log.load()
  t.equal(loaded.entries.get('k')?.value, 1)
  t.not(loaded.epoch, start.epoch)
  await until(state, () => state.get('k') === 1)
  t.not(state.epoch, epoch)
  // Nobody else can tell either: whoever comes new begins a new epoch, which those who have everything continue in.
  const { epoch: present } = state
  await testState(t, { url })
  for (let waited = 0; state.epoch === present && waited < 5_000; waited += 20) await delay(20)
  t.not(state.epoch, present)
  t.equal(state.get('k'), 1)
})

t.test('a server that tells nobody who it is, and lost an invalidation', async (t) => {
  const { url, server, admin } = await startRestrictedRedis(t)
  const bounds = { maxEntries: 10, maxBytes: 10_000 }
  const tiers = [
    await openTier(await open(t, url), systemClock, bounds),
    await openTier(await open(t, url), systemClock, bounds),
  ]
  for (const tier of tiers) t.teardown(() => tier.close())
  const [one, two] = tiers as [(typeof tiers)[0], (typeof tiers)[0]]
  const before = await one.head('a')
  await two.head('a')
  const interrupted = Promise.all(tiers.map((tier) => new Promise<void>((resolve) => tier.onInterrupted(resolve))))
  await admin.save()
  await server.restart()
  await interrupted
  const [after, also] = [await eventually(() => one.head('a')), await eventually(() => two.head('a'))]
  t.not(after.epoch, before.epoch)
  t.not(after.generation, before.generation, 'nothing from before counts')
  t.equal(also.epoch, after.epoch, 'it ends once, not once for each instance')
})
