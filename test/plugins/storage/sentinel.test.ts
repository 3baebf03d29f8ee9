import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { openStorage, type RedisStorage } from '../../../plugins/storage/index.ts'
import { freePort, startRedis } from '../../fixtures/redis-server.ts'
import { temporaryFolder } from '../../fixtures/storages.ts'

const DEADLINE = 10_000

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + DEADLINE
  while (!(await holds().catch(() => false))) {
    if (performance.now() > deadline) throw new Error(`${what}: not within ${DEADLINE} ms`)
    await delay(20)
  }
}

/** A Sentinel of this test's own that watches `mymaster`. */
async function startSentinel(t: Test, primaryPort: number): Promise<{ port: number; client: Redis }> {
  const [port, folder] = [await freePort(), await temporaryFolder(t)]
  const file = join(folder, 'sentinel.conf')
  const lines = [
    ...[`port ${port}`, 'bind 127.0.0.1', `dir ${folder}`, `sentinel monitor mymaster 127.0.0.1 ${primaryPort} 1`],
  ]
  await writeFile(file, `${lines.join('\n')}\n`)
  const child = spawn('redis-server', [file, '--sentinel'], { stdio: 'ignore' })
  child.once('error', () => {})
  const client = new Redis({ port, host: '127.0.0.1', retryStrategy: () => 20, commandTimeout: DEADLINE })
  client.on('error', () => {})
  t.teardown(async () => {
    client.disconnect()
    if (child.pid === undefined || child.exitCode !== null) return
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  })
  return { port, client }
}

t.test('behind Sentinels: the client follows the primary, and so does what it listens to', async (t) => {
  const primary = await startRedis(t)
  const replica = await startRedis(t, [
    '--replicaof',
    '127.0.0.1',
    `${primary.port}`,
    '--repl-diskless-sync-delay',
    '0',
  ])
  const sentinel = await startSentinel(t, primary.port)
  await until('the Sentinel answers', async () => (await sentinel.client.ping()) === 'PONG')
  const storage = (await openStorage(`redis+sentinel://127.0.0.1:${sentinel.port}/mymaster`)) as RedisStorage
  t.teardown(() => storage.close())
  await storage.client.servers.client.set('key', 'value')
  const heard: string[] = []
  await storage.channels.subscribe('news', (text) => heard.push(text))
  let changes = 0
  storage.client.onChange(() => changes++)

  // What Sentinels agree on, without their clocks, which on a busy machine take half a minute.
  const next = new Redis(replica.url)
  t.teardown(() => next.disconnect())
  await next.replicaof('NO', 'ONE')
  await sentinel.client.call('SENTINEL', 'REMOVE', 'mymaster')
  await sentinel.client.call('SENTINEL', 'MONITOR', 'mymaster', '127.0.0.1', replica.port, 1)
  await primary.kill()
  await until('the replica takes over', async () => {
    await storage.client.servers.client.set('key', 'next')
    return (await storage.client.get('key')) === 'next'
  })
  t.match(await storage.client.info('server'), `tcp_port:${replica.port}`)
  t.ok(changes > 0, 'who must know is told')
  await until('messages come again', async () => {
    await storage.channels.publish('news', 'x')
    return heard.length > 0
  })
})

t.test('Sentinels that are not there are one clear error within the deadline', async (t) => {
  const started = Date.now()
  const error: Error = await openStorage(`redis+sentinel://:secret@127.0.0.1:${await freePort()}/mymaster`).then(
    t.fail,
    (error) => error,
  )
  t.match(error, { code: 'STATEFUL_STORAGE_UNAVAILABLE', message: /mymaster/ })
  t.notMatch(error.message, /secret/)
  t.ok(Date.now() - started < 4_000)
})
