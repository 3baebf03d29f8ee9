import { type EventEmitter, once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { hardened } from '../../plugins/storage/redis/connection.ts'
import { type FaultProxy, randomFaults, startFaultProxy } from '../fixtures/fault-proxy.ts'
import { seededRandom } from '../fixtures/random.ts'
import { startRedis } from '../fixtures/redis-server.ts'

interface Echo {
  port: number
  /** Everything that reached the server, per connection. */
  received: string[]
}

/** `once` of node:events would reject at an 'error', which here is the expected way to end. */
const occurs = (emitter: EventEmitter, event: string) => new Promise<void>((done) => emitter.once(event, () => done()))

async function echo(t: Test): Promise<Echo> {
  const received: string[] = []
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    const index = received.push('') - 1
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      received[index] = `${received[index]}${chunk}`
      socket.write(chunk)
    })
  })
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return { port: (server.address() as { port: number }).port, received }
}

interface Client {
  send(text: string): void
  /** Resolves when that many bytes have come back in all. */
  got(bytes: number): Promise<string>
  chunks: string[]
  ended: Promise<NodeJS.ErrnoException | undefined>
  socket: Socket
}

async function client(t: Test, proxy: FaultProxy): Promise<Client> {
  const socket = connect({ port: proxy.port, host: proxy.host, noDelay: true })
  t.teardown(() => socket.destroy())
  const chunks: string[] = []
  let failed: NodeJS.ErrnoException | undefined
  socket.on('error', (error) => {
    failed = error
  })
  const ended = occurs(socket, 'close').then(() => failed)
  socket.on('data', (chunk) => chunks.push(`${chunk}`))
  await Promise.race([occurs(socket, 'connect'), ended])
  return {
    socket,
    chunks,
    ended,
    send: (text) => void socket.write(text),
    async got(bytes) {
      while (chunks.join('').length < bytes) await once(socket, 'data')
      return chunks.join('')
    },
  }
}

async function pair(t: Test) {
  const server = await echo(t)
  const proxy = await startFaultProxy(t, { target: { port: server.port } })
  return { server, proxy, client: await client(t, proxy) }
}

t.test('hands on what it gets, and its end', async (t) => {
  const { client, proxy, server } = await pair(t)
  const large = 'x'.repeat(1_000_000)
  client.send(large)
  t.equal(await client.got(large.length), large)
  t.match(proxy.stats(), { accepted: 1, open: 1, cut: 0, bytesUp: large.length, bytesDown: large.length, swallowed: 0 })
  client.socket.end()
  t.equal(await client.ended, undefined)
  t.equal(server.received.length, 1)
})

t.test('cut resets every connection; new ones work', async (t) => {
  const { client: first, proxy } = await pair(t)
  first.send('a')
  await first.got(1)
  proxy.cut()
  t.match(await first.ended, { code: 'ECONNRESET' })
  const second = await client(t, proxy)
  second.send('b')
  t.equal(await second.got(1), 'b')
  t.match(proxy.stats(), { accepted: 2, cut: 1, open: 1 })
})

t.test('halfOpen swallows both ways without a word; heal resets what has lost bytes', async (t) => {
  const { client: first, proxy, server } = await pair(t)
  const idle = await client(t, proxy)
  idle.send('i')
  await idle.got(1)
  first.send('a')
  await first.got(1)
  proxy.halfOpen()
  first.send('lost')
  const late = await client(t, proxy)
  late.send('lost too')
  await wait(30)
  t.equal(first.socket.readyState, 'open')
  t.equal(late.socket.readyState, 'open')
  t.notMatch(server.received.join(), /lost/)
  t.equal(proxy.stats().swallowed, 12)
  proxy.heal()
  t.match(await first.ended, { code: 'ECONNRESET' })
  t.match(await late.ended, { code: 'ECONNRESET' })
  idle.send('j')
  t.equal(await idle.got(2), 'ij', 'one that sent nothing never noticed')
})

t.test('halfOpen hides that the other side is gone', async (t) => {
  const redis = await startRedis(t)
  const proxy = await startFaultProxy(t, { target: { port: redis.port } })
  const connection = await client(t, proxy)
  connection.send('PING\r\n')
  await connection.got(7)
  proxy.halfOpen()
  await redis.kill()
  await wait(30)
  t.equal(connection.socket.readyState, 'open')
  proxy.heal()
  t.match(await connection.ended, { code: 'ECONNRESET' })
})

t.test('a client that left during halfOpen takes its connection to the target along at heal', async (t) => {
  const left = new Promise<void>((resolve) => {
    const server = createServer((socket) => {
      socket.on('error', () => {})
      socket.once('close', () => resolve())
    })
    t.teardown(() => server.close())
    server.listen(0, '127.0.0.1', async () => {
      const proxy = await startFaultProxy(t, { target: { port: (server.address() as { port: number }).port } })
      const socket = connect(proxy.port, '127.0.0.1')
      await once(socket, 'connect')
      proxy.halfOpen()
      socket.resetAndDestroy()
      await wait(30)
      proxy.heal()
    })
  })
  t.equal(await Promise.race([left.then(() => 'gone'), wait(2_000, 'still there')]), 'gone')
})

t.test('delay keeps the order and ends', async (t) => {
  const { client, proxy } = await pair(t)
  proxy.delay(40)
  const started = performance.now()
  client.send('a')
  client.send('b')
  t.equal(await client.got(2), 'ab')
  t.ok(performance.now() - started >= 78, 'once each way')
  client.send('c')
  proxy.delay(0)
  client.send('d')
  t.equal(await client.got(4), 'abcd')
})

t.test('splitBytes delivers all bytes in pieces', async (t) => {
  const { client, proxy } = await pair(t)
  proxy.splitBytes()
  const text = 'the quick brown fox '.repeat(20)
  client.send(text)
  t.equal(await client.got(text.length), text)
  t.ok(client.chunks.length > 10, `${client.chunks.length} chunks`)
})

t.test('dropReplies: the request took effect, the answer never comes', async (t) => {
  const redis = await startRedis(t)
  const proxy = await startFaultProxy(t, { target: { port: redis.port } })
  const through = new Redis(hardened({ port: proxy.port, host: proxy.host, retryStrategy: () => 1 }))
  const direct = new Redis({ port: redis.port, host: '127.0.0.1' })
  t.teardown(() => through.disconnect())
  t.teardown(() => direct.disconnect())
  through.on('error', () => {})
  await through.connect()
  t.equal(await through.incr('n'), 1)
  proxy.dropReplies()
  const back = occurs(through, 'ready')
  await t.rejects(through.incr('n'))
  t.equal(await direct.get('n'), '2')
  await back
  t.equal(await through.incr('n'), 3, 'a new connection is sound')
  t.ok(proxy.stats().swallowed > 0)
})

t.test('pause holds everything back, resume loses nothing', async (t) => {
  const { client, proxy, server } = await pair(t)
  proxy.pause()
  client.send('a')
  await wait(20)
  t.equal(server.received.join(''), '')
  proxy.resume()
  t.equal(await client.got(1), 'a')
})

t.test('refuse resets newcomers only', async (t) => {
  const { client: first, proxy } = await pair(t)
  first.send('a')
  await first.got(1)
  proxy.refuse()
  t.match(await (await client(t, proxy)).ended, { code: 'ECONNRESET' })
  first.send('b')
  t.equal(await first.got(2), 'ab')
  t.match(proxy.stats(), { accepted: 1, refused: 1 })
  proxy.heal()
  const second = await client(t, proxy)
  second.send('c')
  t.equal(await second.got(1), 'c')
})

t.test('a target that is not there resets the client', async (t) => {
  const redis = await startRedis(t)
  await redis.kill()
  const proxy = await startFaultProxy(t, { target: { port: redis.port } })
  const connection = await client(t, proxy)
  t.match(await connection.ended, { code: 'ECONNRESET' })
})

t.test('random faults replay by seed and end healed', async (t) => {
  const redis = await startRedis(t)
  const proxy = await startFaultProxy(t, { target: { port: redis.port } })
  const connection = new Redis(
    hardened({ port: proxy.port, host: proxy.host, commandTimeout: 50, retryStrategy: () => 5 }),
  )
  t.teardown(() => connection.disconnect())
  connection.on('error', () => {})
  await connection.connect()
  let acknowledged = await connection.incr('n')
  let running = true
  const writer = (async () => {
    while (running) {
      await connection.incr('n').then(
        () => acknowledged++,
        () => wait(2),
      )
    }
  })()
  const schedule = await randomFaults(proxy, seededRandom(11), 20, { longest: 15 })
  running = false
  await writer
  t.strictSame(await randomFaults(proxy, seededRandom(11), 20, { longest: 15 }), schedule)
  if (connection.status !== 'ready') await occurs(connection, 'ready')
  t.ok(Number(await connection.get('n')) >= acknowledged, 'no acknowledged increment is lost')
  t.notOk(proxy.stats().swallowed === 0 && proxy.stats().cut === 0, 'there were faults')
})
