import { setTimeout as delay } from 'node:timers/promises'
import slotOf from 'cluster-key-slot'
import type { Cluster } from 'ioredis'
import t, { type Test } from 'tap'
import { openTier } from '../../../plugins/cache/tier/open.ts'
import { RedisSessionStore } from '../../../plugins/session/stores/redis.ts'
import { openStateLog } from '../../../plugins/state/log/open.ts'
import { openStorage, type RedisStorage } from '../../../plugins/storage/index.ts'
import { RedisScript } from '../../../plugins/storage/redis/script.ts'
import { systemClock } from '../../../plugins/support/clock.ts'
import { testApp } from '../../fixtures/app.ts'
import { refuseUndeclaredKeys } from '../../fixtures/declared-keys.ts'
import { type RedisCluster, startRedisCluster } from '../../fixtures/redis-cluster.ts'
import { freePort } from '../../fixtures/redis-server.ts'
import { documentedUser } from '../../fixtures/redis-user.ts'
import { Browser, sessionApp } from '../../fixtures/session-app.ts'
import { redisStoresSuite } from '../../suites/redis-stores.ts'
import { sessionOf } from '../../suites/session-store.ts'
import { batchOf } from '../../suites/state-log.ts'

refuseUndeclaredKeys()

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

  t.test('the contracts of all stores, for the user of the documentation', async (t) => {
    const { client } = await open(t, url)
    const user = await documentedUser({ onCluster: true })
    await Promise.all(client.servers.all().map((server) => server.call('ACL', ['SETUSER', ...user])))
    await redisStoresSuite(t, url.replace('//', '//app:a-secret@'))
    const stats = await client.info('commandstats')
    const used = new Set([...stats.matchAll(/cmdstat_([\w|]+)/g)].map(([, name]) => name))
    const needed = user.filter((word) => /^\+(cluster|s(un)?sub|spub)/.test(word)).map((word) => word.slice(1))
    t.same(
      needed.filter((name) => !used.has(name)),
      [],
      'nothing is listed that nobody needs',
    )
  })

  t.test('what belongs together lies in one slot, and what does not is spread over all of them', async (t) => {
    const { client, channels, prefix } = await open(t, url, next())
    const sessions = new RedisSessionStore({ client, prefix })
    const now = Date.now()
    const times = { created: now, seen: now, expires: now + 60_000, ends: now + 60_000 }
    for (let n = 0; n < 64; n++) await sessions.create(sessionOf(`user-${n}`, times), { now, login: true })
    const storage = { kind: 'redis', instanceId: 'one', client, channels, prefix } as RedisStorage
    const tier = await openTier(storage, systemClock, { maxEntries: 1_000, maxBytes: 1_000_000 })
    t.teardown(() => tier.close())
    for (let n = 0; n < 64; n++) {
      const log = openStateLog(storage, `space-${n}`, { commits: 8, bytes: 2 ** 25 })
      await log.commit(await log.load(), batchOf(await log.load(), `space-${n}`, { k: 1 }))
      await tier.put(`namespace-${n}`, [{ key: 'k', data: Buffer.from('data'), ttl: 60_000 }], [])
      await tier.stamps(`namespace-${n}`, ['t:tag'])
    }
    const found = await Promise.all(client.servers.all().map((server) => server.keys(`${prefix}*`)))
    t.ok(
      found.every(({ length }) => length > 50),
      'each node has its share',
    )
    const keys = found.flat()
    t.same(
      await Promise.all(keys.map((key) => (client.servers.client as Cluster).cluster('KEYSLOT', key))),
      keys.map((key) => slotOf(key)),
      'the driver and the nodes agree on where they are',
    )
    for (const [what, least, together] of [
      ['session:s:', 45, /\{(..)\}/],
      ['session:u:', 45, /\{(..)\}/],
      ['{state:', 60, /\{(.*?)\}/],
      ['cache:{', 60, /\{(.*?)\}/],
    ] as const) {
      const some = keys.filter((key) => key.startsWith(prefix + what))
      const slots = new Map<string, Set<number>>()
      for (const key of some) {
        const group = together.exec(key)?.[1] ?? ''
        slots.set(group, (slots.get(group) ?? new Set()).add(slotOf(key)))
      }
      t.ok(
        [...slots.values()].every(({ size }) => size === 1),
        `${what} one slot for each`,
      )
      const used = new Set([...slots.values()].flatMap((set) => [...set]))
      t.ok(used.size >= least, `${what} ${used.size} slots for ${slots.size}`)
    }
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

  t.test('what is published is told by the node that has the slot of the channel, and by no other', async (t) => {
    const storages = await Promise.all(Array.from({ length: 4 }, () => open(t, url)))
    const channels = Array.from({ length: 12 }, (_, n) => `news-${n}`)
    const heard: string[] = []
    for (const [n, storage] of storages.entries()) {
      for (const channel of channels) await storage.channels.subscribe(channel, (text) => heard.push(`${n}${text}`))
    }
    const counts = await Promise.all(channels.map((channel) => storages[0]?.channels.publish(channel, channel)))
    t.same(new Set(counts), new Set([4]), 'the publisher is told how many it reached')
    for (let waited = 0; heard.length < 48 && waited < 2_000; waited += 10) await delay(10)
    t.equal(new Set(heard).size, 48)
    const told = await Promise.all(
      (storages[0]?.client.servers.all() ?? []).map((server) => server.call('PUBSUB', 'SHARDCHANNELS', 'news-*')),
    )
    t.same((told as string[][]).flat().sort(), [...channels].sort(), 'each is known to one node')
    t.ok(
      (told as string[][]).every(({ length }) => length > 0),
      'and each node has some',
    )
  })

  t.test('who listens in a slot that moves goes on listening', async (t) => {
    const storage = await open(t, url)
    const heard: string[] = []
    let lost = 0
    let back = 0
    storage.channels.onLost(() => lost++)
    storage.channels.onBack(() => back++)
    await storage.channels.subscribe('moving', (text) => heard.push(text))
    for (const node of cluster.nodes) {
      const before = back
      const owner = storage.client.servers.of('moving').options.port
      await cluster.moveSlot(slotOf('moving'), node)
      if (owner === node.port) continue
      await until('the channel stands again', async () => back > before)
      await storage.channels.publish('moving', `on ${node.port}`)
      await until('it is heard', async () => heard.includes(`on ${node.port}`))
    }
    t.ok(lost >= 2, 'who listens was told that it may have missed something')
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
