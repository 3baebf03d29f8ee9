import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { type ConnectionLimitOptions, connectionLimit } from '../../../plugins/connection-limit/index.ts'
import { openFilesLimit } from '../../../plugins/connection-limit/open-files.ts'
import { SECRET } from '../../fixtures/credentials.ts'
import { HttpClient } from '../../fixtures/http-client.ts'
import { startServer } from '../../fixtures/server-process.ts'

const environment = { STORAGE: 'memory:', SESSION_SECRET: SECRET, LOG_LEVEL: 'info' }

/** Connections that say nothing. */
async function idle(t: Test, url: string, count: number): Promise<Socket[]> {
  const { hostname, port } = new URL(url)
  const sockets = Array.from({ length: count }, () => connect(Number(port), hostname))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
  })
  for (const socket of sockets) socket.on('error', () => {})
  await Promise.all(
    sockets.map((socket) => Promise.race([once(socket, 'connect'), once(socket, 'close')]).catch(() => {})),
  )
  return sockets
}

/** Asks until the server serves, or the time is up. */
async function ready(url: string): Promise<number | undefined> {
  const deadline = performance.now() + 15_000
  for (;;) {
    const asked = fetch(`${url}/health/ready`, { signal: AbortSignal.timeout(1_000) })
    const status = await asked.then((response) => response.status).catch(() => undefined)
    if (status === 200 || performance.now() > deadline) return status
    await delay(100)
  }
}

async function serve(options: ConnectionLimitOptions) {
  let log = ''
  const write = (line: string) => {
    log += line
  }
  const app = Fastify({ forceCloseConnections: true, logger: { level: 'info', stream: { write } } })
  t.teardown(() => app.close())
  await app.register(connectionLimit, options)
  app.get('/', async () => 'ok')
  return { app, log: () => log }
}

t.test('more idle connections than files: the server lives, and serves others', async (t) => {
  const server = await startServer(t, environment, { openFiles: 256 })
  t.match(server.output(), /may open 256 files only, so it takes at most 192 connections/)
  const sockets = await idle(t, server.url, 400)
  // Those that say nothing give way by themselves.
  t.equal(await ready(server.url), 200, 'while the flood goes on')
  t.match(server.output(), /more connections than allowed/)
  for (const socket of sockets) socket.destroy()
  t.equal(await ready(server.url), 200)
  t.equal(server.process.exitCode, null)
  t.notMatch(server.output(), /EMFILE|nobody caught/)
})

t.test('a process without a free file still watches its load', async (t) => {
  // More connections than files may be asked for.
  const server = await startServer(t, { ...environment, MAX_CONNECTIONS: '5000' }, { openFiles: 256 })
  t.match(server.output(), /maxConnections leaves too few of the 256 files/)
  t.equal(await ready(server.url), 200, 'from the first request on')
  const sockets = await idle(t, server.url, 400)
  // Longer than the load is sampled in.
  await Promise.race([once(server.process, 'exit'), delay(2_500)])
  t.equal(server.process.exitCode, null)
  for (const socket of sockets) socket.destroy()
  t.equal(await ready(server.url), 200)
})

t.test('the limit follows that of open files, and is told', async (t) => {
  for (const [openFiles, maxConnections, level] of [
    [256, 192, 40],
    [1_024, 921, 40],
    [1_000_000, 900_000, 30],
    [65, 1, 40],
    [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, 30],
  ] as const) {
    const { app, log } = await serve({ openFiles })
    await app.ready()
    t.match(app.connectionLimit, { maxConnections, openFiles })
    t.equal(app.server.maxConnections, maxConnections === Number.POSITIVE_INFINITY ? undefined : maxConnections)
    t.match(JSON.parse(log().split('\n')[0] as string), { level, plugin: 'connection-limit' })
  }
  const { log } = await serve({ openFiles: 10_000, maxConnections: 9_999 })
  t.match(JSON.parse(log().split('\n')[0] as string), { level: 40 }, 'one that leaves nothing else is warned of')
  for (const wrong of [0, -1, 1.5, Number.NaN]) {
    await t.rejects(serve({ maxConnections: wrong }), { code: 'STATEFUL_INVALID_OPTION' })
  }
})

t.test('this machine tells its limit', async (t) => {
  t.ok(openFilesLimit() > 0)
})

t.test('an idle connection makes room for a new one', async (t) => {
  const { app } = await serve({ maxConnections: 2 })
  const url = await app.listen({ port: 0 })
  const { hostname, port } = new URL(url)
  const waiting = Array.from({ length: 2 }, () => connect(Number(port), hostname))
  for (const socket of waiting) {
    t.teardown(() => socket.destroy())
    socket.on('error', () => {})
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    await once(socket, 'data')
  }
  const [refused] = await idle(t, url, 1)
  if (refused && !refused.destroyed) await once(refused.resume(), 'close')
  await Promise.all(waiting.map((socket) => socket.destroyed || once(socket.resume(), 'close')))
  t.equal(app.connectionLimit.dropped(), 1)
  t.equal((await new HttpClient(url).get('/')).status, 200)
})
