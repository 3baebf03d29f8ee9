import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { RedisAccountStore } from '../../../plugins/accounts/stores/redis.ts'
import { openTier } from '../../../plugins/cache/stores/open.ts'
import { RedisSessionStore } from '../../../plugins/session/stores/redis.ts'
import { openStateLog } from '../../../plugins/state/stores/open.ts'
import { openStorage, type RedisStorage } from '../../../plugins/storage/index.ts'
import { RedisScript } from '../../../plugins/storage/redis/script.ts'
import { slotOf } from '../../../plugins/storage/redis/slot.ts'
import { systemClock } from '../../../plugins/support/clock.ts'
import { testApp } from '../../fixtures/app.ts'
import { type RedisCluster, startRedisCluster } from '../../fixtures/redis-cluster.ts'
import { freePort } from '../../fixtures/redis-server.ts'
import { Browser, sessionApp } from '../../fixtures/session-app.ts'
import { accountStoreSuite } from '../../suites/account-store.ts'
import { cacheTierSuite } from '../../suites/cache-tier.ts'
import { sessionStoreSuite } from '../../suites/session-store.ts'
import { stateLogSuite } from '../../suites/state-log.ts'

const urlOf = ({ nodes }: RedisCluster) =>
  `redis+cluster://${nodes.map(({ host, port }) => `${host}:${port}`).join(',')}`

async function open(t: Test, url: string, prefix = 'fs:'): Promise<RedisStorage> {
  const storage = await openStorage({ url, prefix })
  t.teardown(() => storage.close())
  if (storage.kind !== 'redis') throw new Error(storage.kind)
  return storage
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  for (let waited = 0; waited < 5_000; waited += 20) {
    if (await holds()) return
    await delay(20)
  }
  throw new Error(`${what}: not within 5 s`)
}

t.test('on a Redis Cluster', async (t) => {
  const cluster = await startRedisCluster(t)
  const url = urlOf(cluster)
  let prefixes = 0
  const next = () => `test-${prefixes++}:`

  t.test('sessions', async (t) => {
    const { client } = await open(t, url)
    await sessionStoreSuite(t, async () => new RedisSessionStore({ client, prefix: next() }))
  })

  t.test('accounts', async (t) => {
    const { client } = await open(t, url)
    await accountStoreSuite(t, async () => new RedisAccountStore({ client, prefix: next() }))
  })

  t.test('state', async (t) => {
    const storage = await open(t, url, next())
    await stateLogSuite(t, {
      open: async (space) => openStateLog(storage, space, { commits: 8 }),
      durable: true,
      retention: 8,
    })
  })

  t.test('cache', async (t) => {
    const tierOf = async (t: Test) => {
      const tier = openTier(await open(t, url, next()), systemClock, { maxEntries: 1_000, maxBytes: 1_000_000 })
      t.teardown(() => tier.close())
      return { tier, pass: (ms: number) => delay(ms) }
    }
    cacheTierSuite(t, tierOf)
  })

  t.test('a node that does not know a script gets it, each of them', async (t) => {
    const { client } = await open(t, url)
    const { servers } = client
    t.equal(servers.all().length, 3)
    const script = new RedisScript('return ARGV[1]')
    await Promise.all(servers.all().map((server) => server.script('FLUSH')))
    const keys = Array.from({ length: 30 }, (_, n) => `key-${n}`)
    t.same(await Promise.all(keys.map((key) => script.run(client, [key], [key]))), keys)
    const counts = await Promise.all(servers.all().map((server) => server.info('commandstats')))
    t.ok(counts.every((text) => /cmdstat_evalsha:/.test(text)))
    const homes = await Promise.all(keys.map(async (key) => servers.of(key).options.port))
    t.equal(new Set(homes).size, 3, 'and each key has the server that serves it')
  })

  t.test('what is published on one node is heard by the subscribers of all others', async (t) => {
    const storages = await Promise.all(Array.from({ length: 4 }, () => open(t, url)))
    const heard: string[] = []
    for (const [n, { channels }] of storages.entries()) await channels.subscribe('news', (text) => heard.push(n + text))
    for (let n = 0; n < 6; n++) await storages[0]?.channels.publish('news', `-${n}`)
    for (let waited = 0; heard.length < 24 && waited < 2_000; waited += 10) await delay(10)
    t.equal(new Set(heard).size, 24)
  })

  t.test('log in on one instance, log out on another', async (t) => {
    const [one, two] = [await sessionApp(t, { storage: url }), await sessionApp(t, { storage: url })]
    const browser = new Browser(one)
    t.equal((await browser.login()).statusCode, 200)
    const other = new Browser(two)
    other.cookies = browser.cookies
    t.match((await other.get('/sessions')).json(), { sessions: [{ current: true }] })
    const revoked = new Promise((resolve) => one.sessions.on('revoked', resolve))
    t.equal((await other.post('/logout')).statusCode, 204)
    t.match(await revoked, { reason: 'logout' }, 'the first hears of it')
    t.equal((await browser.get('/profile')).statusCode, 401)
    t.equal((await browser.login('ada', 'wrong')).statusCode, 401, 'failed logins are counted there, too')
  })

  t.test('the whole app: what one instance writes the other has', async (t) => {
    const [one, two] = [await testApp(t, { storage: url }), await testApp(t, { storage: url })]
    const admin = new Browser(one)
    t.equal((await admin.login('admin')).statusCode, 200)
    const other = new Browser(two)
    other.cookies = admin.cookies
    const put = (browser: Browser, path: string, payload: object) =>
      browser.inject({ method: 'PUT', url: path, payload })

    t.match((await put(admin, '/state/keys/light', { value: 'on' })).json(), { key: 'light', value: 'on', revision: 1 })
    await until('state', async () => (await other.get('/state/keys/light')).statusCode === 200)
    t.match((await other.get('/state/keys/light')).json(), { value: 'on' })

    for (const namespace of ['a', 'b', 'c']) {
      const entry = `/cache/entries/user:1?namespace=${namespace}`
      t.equal((await put(admin, entry, { value: { n: 1 }, tags: ['users'] })).statusCode, 200, namespace)
      // The first read that goes to a node may find its connection not set up yet, which is a miss like all trouble.
      await until('entry', async () => (await other.get(entry)).statusCode === 200)
      t.match((await other.get(entry)).json(), { value: { n: 1 } })
      const done = await other.post(`/cache/invalidate?namespace=${namespace}`, { patterns: ['user:*'] })
      t.equal(done.statusCode, 200)
      await until('cache', async () => (await admin.get(entry)).statusCode === 404)
    }
    t.equal((await other.get('/health/ready')).statusCode, 200)
    t.equal((await admin.get('/stats?scope=cluster')).statusCode, 200)
  })

  t.test('a slot that moves takes its sessions along, and nobody is logged out', async (t) => {
    const app = await sessionApp(t, { storage: url })
    const browser = new Browser(app)
    await browser.login()
    const { storage } = app
    if (storage.kind !== 'redis') throw new Error(storage.kind)
    const bucket = decodeURIComponent(browser.cookie).slice('sid='.length, 'sid='.length + 2)
    const slot = slotOf(`{${bucket}}`)
    const changes: number[] = []
    t.teardown(storage.client.onChange(() => changes.push(1)))
    for (const node of cluster.nodes) {
      await cluster.moveSlot(slot, node)
      t.equal((await browser.get('/profile')).statusCode, 200)
    }
    for (let waited = 0; changes.length === 0 && waited < 2_000; waited += 10) await delay(10)
    t.ok(changes.length > 0, 'who must know is told')
  })

  t.test('an evicting primary stops the boot, whichever it is', async (t) => {
    const { servers } = (await open(t, url)).client
    const last = servers.all().at(-1)
    await last?.config('SET', 'maxmemory-policy', 'allkeys-lru')
    t.teardown(() => last?.config('SET', 'maxmemory-policy', 'noeviction'))
    await t.rejects(sessionApp(t, { storage: url }), { code: 'STATEFUL_INVALID_OPTION', message: /allkeys-lru/ })
    await last?.config('SET', 'maxmemory-policy', 'noeviction')
  })

  t.test('a node that dies takes its own slots along only, and the listening goes on', async (t) => {
    const storage = await open(t, url)
    const heard: string[] = []
    await storage.channels.subscribe('after', (text) => heard.push(text))
    const [victim] = cluster.nodes
    await victim?.kill()
    const started = Date.now()
    const answers = await Promise.allSettled(Array.from({ length: 30 }, (_, n) => storage.client.get(`key-${n}`)))
    t.ok(Date.now() - started < 3_000, 'within the deadline')
    const answered = answers.filter(({ status }) => status === 'fulfilled').length
    t.ok(answered > 0 && answered < 30, `${answered} of 30`)
    for (let waited = 0; heard.length === 0 && waited < 5_000; waited += 50) {
      await storage.channels.publish('after', 'x').catch(() => {})
      await delay(50)
    }
    t.ok(heard.length > 0)
  })
})

t.test('a Cluster that is not there is one clear error within the deadline', async (t) => {
  const started = Date.now()
  const port = await freePort()
  const error: Error = await openStorage(`redis+cluster://:secret@127.0.0.1:${port}`).then(t.fail, (error) => error)
  t.match(error, { code: 'STATEFUL_STORAGE_UNAVAILABLE', message: new RegExp(`127.0.0.1:${port}`) })
  t.notMatch(error.message, /secret/)
  t.ok(Date.now() - started < 4_000)
})
