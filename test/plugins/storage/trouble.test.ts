import { once } from 'node:events'
import { type AddressInfo, createServer, connect as dial } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { inspect } from 'node:util'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { openStorage, type RedisStorage, storage as storagePlugin } from '../../../plugins/storage/index.ts'
import { startFaultProxy } from '../../fixtures/fault-proxy.ts'
import { startRedis } from '../../fixtures/redis-server.ts'

async function openThroughProxy(t: Test) {
  const redis = await startRedis(t)
  const proxy = await startFaultProxy(t, { target: { port: redis.port } })
  const storage = (await openStorage(`redis://127.0.0.1:${proxy.port}`)) as RedisStorage
  t.teardown(() => storage.close())
  return { redis, proxy, storage }
}

t.test('a frozen Redis fails the boot within the deadline', async (t) => {
  const redis = await startRedis(t)
  redis.process().kill('SIGSTOP')
  const started = performance.now()
  await t.rejects(openStorage(redis.url), { code: 'STATEFUL_STORAGE_UNAVAILABLE' })
  t.ok(performance.now() - started < 4_000, `${performance.now() - started} ms`)
})

t.test('a frozen Redis does not hold up the end', async (t) => {
  const redis = await startRedis(t)
  const storage = await openStorage(redis.url)
  redis.process().kill('SIGSTOP')
  const started = performance.now()
  await storage.close()
  t.ok(performance.now() - started < 2_000, `${performance.now() - started} ms`)
  const sockets = process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap')
  t.strictSame(sockets, [], 'no connection is left')
})

t.test('no password in errors or logs, however deep one looks', async (t) => {
  const redis = await startRedis(t)
  const administrator = (await openStorage(redis.url)) as RedisStorage
  t.teardown(() => administrator.close())
  await administrator.client.servers.client.config('SET', 'requirepass', 'right-secret')
  const url = `redis://:wrong-secret@127.0.0.1:${redis.port}`
  const error = await openStorage(url).then(t.fail, (error) => error)
  t.match(error, { code: 'STATEFUL_STORAGE_UNAVAILABLE' })
  t.notMatch(inspect(error, { depth: 20, showHidden: true }), /wrong-secret/)
  t.notMatch(JSON.stringify(error), /wrong-secret/)

  let logged = ''
  const write = (line: string) => {
    logged += line
  }
  const app = Fastify({ logger: { level: 'trace', stream: { write } } })
  t.teardown(() => app.close())
  await app.register(storagePlugin, { storage: `redis://:right-secret@127.0.0.1:${redis.port}` })
  await app.ready()
  const { client } = (app.storage as RedisStorage).client.servers
  await client.config('SET', 'requirepass', 'other-secret')
  const failed = new Promise((resolve) => client.once('error', resolve))
  await client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'no').catch(() => {})
  await failed
  t.match(logged, /Redis connection failed/)
  t.notMatch(logged, /right-secret/)
})

t.test('a connection that fell silent is given up, and the next one works', async (t) => {
  const { proxy, storage } = await openThroughProxy(t)
  let lost = 0
  storage.channels.onLost(() => lost++)
  const heard: string[] = []
  await storage.channels.subscribe('news', (message) => heard.push(message))
  proxy.halfOpen()
  const before = proxy.stats().accepted
  const deadline = performance.now() + 15_000
  while ((proxy.stats().accepted < before + 2 || lost === 0) && performance.now() < deadline) {
    await storage.client.get('x').catch(() => {})
    await wait(20)
  }
  t.ok(proxy.stats().accepted >= before + 2, 'both connections were tried anew, without waiting for TCP to notice')
  t.ok(lost > 0, 'who listens was told')
  proxy.heal()
  while (heard.length === 0 && performance.now() < deadline) {
    await storage.channels.publish('news', 'back').catch(() => {})
    await wait(20)
  }
  t.equal(heard[0], 'back')
})

t.test('a server that freezes while subscriptions are set up again ends no process', async (t) => {
  const redis = await startRedis(t)
  let frozen = false
  let ignored = 0
  const relay = createServer((client) => {
    const upstream = dial(redis.port, '127.0.0.1')
    for (const socket of [client, upstream]) {
      socket.on('error', () => {})
      socket.on('close', () => [client, upstream].map((end) => end.destroy()))
    }
    upstream.pipe(client)
    client.on('data', (chunk) => {
      if (frozen && /subscribe/i.test(chunk.toString())) ignored++
      else upstream.write(chunk)
    })
  }).listen(0, '127.0.0.1')
  await once(relay, 'listening')
  t.teardown(() => relay.close())
  const url = `redis://127.0.0.1:${(relay.address() as AddressInfo).port}`
  const storage = (await openStorage({ url, redis: { commandTimeout: 100 } })) as RedisStorage
  t.teardown(() => storage.close())
  const heard: string[] = []
  await storage.channels.subscribe('news', (message) => heard.push(message))
  frozen = true
  await storage.client.servers.client.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
  const deadline = performance.now() + 5_000
  while (ignored < 2 && performance.now() < deadline) await wait(20)
  t.ok(ignored >= 2, 'it is tried again on another connection')
  frozen = false
  while (heard.length === 0 && performance.now() < deadline) {
    await storage.channels.publish('news', 'back').catch(() => {})
    await wait(20)
  }
  t.equal(heard[0], 'back')
})

t.test('a subscription that failed leaves no listener behind', async (t) => {
  const { proxy, storage } = await openThroughProxy(t)
  const heard: string[] = []
  proxy.refuse()
  const closed = new Promise<void>((resolve) => storage.channels.onLost(resolve))
  proxy.cut()
  await closed
  await t.rejects(storage.channels.subscribe('news', () => heard.push('failed')))
  proxy.heal()
  const deadline = performance.now() + 5_000
  for (;;) {
    const subscribed = await storage.channels.subscribe('news', () => heard.push('second')).catch(() => undefined)
    if (subscribed || performance.now() > deadline) break
    await wait(20)
  }
  while (heard.length === 0 && performance.now() < deadline) {
    await storage.channels.publish('news', 'x').catch(() => {})
    await wait(20)
  }
  t.strictSame([...new Set(heard)], ['second'])
})

t.test('each subscription ends by itself, also when two share a function', async (t) => {
  const { storage } = await openThroughProxy(t)
  let heard = 0
  const listener = () => heard++
  const first = await storage.channels.subscribe('news', listener)
  const second = await storage.channels.subscribe('news', listener)
  await first()
  await first()
  t.equal(await storage.channels.publish('news', 'x'), 1)
  await storage.client.servers.client.ping()
  await wait(10)
  t.equal(heard, 1)
  await second()
  t.equal(await storage.channels.publish('news', 'x'), 0)
})

t.test('a message that a listener cannot read harms nobody', async (t) => {
  const { storage } = await openThroughProxy(t)
  const heard: string[] = []
  await storage.channels.subscribe('news', (message) => JSON.parse(message))
  await storage.channels.subscribe('news', (message) => heard.push(message))
  await storage.channels.publish('news', '{')
  await storage.channels.publish('news', '{}')
  const deadline = performance.now() + 5_000
  while (heard.length < 2 && performance.now() < deadline) await wait(5)
  t.strictSame(heard, ['{', '{}'])
})

t.test('a subscription that ended while the connection was away does not stay', async (t) => {
  const { proxy, storage } = await openThroughProxy(t)
  const end = await storage.channels.subscribe('news', () => {})
  const closed = new Promise<void>((resolve) => storage.channels.onLost(resolve))
  proxy.refuse()
  proxy.cut()
  await closed
  await end()
  proxy.heal()
  const deadline = performance.now() + 5_000
  let receivers: number | undefined
  let quiet = 0
  // It may be told once more before it notices.
  while (quiet < 3 && performance.now() < deadline) {
    receivers = await storage.channels.publish('news', 'x').catch(() => undefined)
    quiet = receivers === 0 ? quiet + 1 : 0
    await wait(50)
  }
  t.equal(receivers, 0)
})
