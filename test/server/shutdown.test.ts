import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { ADMIN_PASSWORD, SECRET } from '../fixtures/credentials.ts'
import { eventually } from '../fixtures/eventually.ts'
import { openSync } from '../fixtures/frames.ts'
import { HttpClient } from '../fixtures/http-client.ts'
import { freePort } from '../fixtures/redis-server.ts'
import { startServer } from '../fixtures/server-process.ts'
import { storageUrl } from '../fixtures/storages.ts'
import { untracked } from '../fixtures/untracked.ts'

t.test('SIGTERM ends the process within 10 s, whoever still holds on', async (t) => {
  const server = await startServer(t, { STORAGE: await storageUrl(t, 'lmdb'), SESSION_SECRET: SECRET })
  const client = new HttpClient(server.url)
  await client.login('admin', ADMIN_PASSWORD)

  // A WebSocket client that is suspended: its kernel acknowledges, its process never answers a close frame.
  const frozen = await openSync(t, server.url, client.cookie)
  await frozen.next('fullSync')
  frozen.socket.pause()
  // An event stream that is never read, and a request that never ends.
  const { port } = new URL(server.url)
  const stream = connect(Number(port), '127.0.0.1')
  stream.on('error', () => {})
  stream.write(`GET /sync/events?space=app HTTP/1.1\r\nHost: x\r\nCookie: ${client.cookie}\r\n\r\n`)
  stream.pause()
  const endless = connect(Number(port), '127.0.0.1')
  endless.on('error', () => {})
  endless.write('POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{')
  await once(endless, 'connect')
  t.teardown(() => {
    stream.destroy()
    endless.destroy()
  })

  const { code, took } = await server.stop('SIGTERM')
  t.equal(code, 0)
  t.ok(took < 10_000, `closed in ${Math.round(took)} ms`)
})

t.test('an idle server with sockets closes at once and tells its clients', async (t) => {
  const server = await startServer(t, { STORAGE: 'memory:', SESSION_SECRET: SECRET })
  const client = new HttpClient(server.url)
  await client.login('admin', ADMIN_PASSWORD)
  const reader = await openSync(t, server.url, client.cookie)
  await reader.next('fullSync')
  const closed = once(reader.socket, 'close')
  const { code, took } = await server.stop('SIGTERM')
  t.equal(code, 0)
  t.ok(took < 3_000, `closed in ${Math.round(took)} ms`)
  t.equal((await closed)[0], 1001)
})

t.test('nothing of the session reaches the log', async (t) => {
  const server = await startServer(t, { STORAGE: 'memory:', SESSION_SECRET: SECRET, LOG_LEVEL: 'trace' })
  const client = new HttpClient(server.url)
  t.match(await client.login('admin', ADMIN_PASSWORD), { status: 200 })
  t.match(await client.get('/profile'), { status: 200 })
  t.match(await client.login('admin', 'a wrong password'), { status: 401 })
  const [, token = ''] = client.cookie.split('=')
  t.not(token, '')
  await server.stop()
  const output = server.output()
  for (const secret of [SECRET, ADMIN_PASSWORD, 'a wrong password', token, decodeURIComponent(token)]) {
    t.notOk(output.includes(secret))
  }
})

t.test(
  'whoever reads the output goes away before it is ready: the server answers, and ends when it is told to',
  async (t) => {
    const port = await freePort()
    const child = spawn(...untracked(process.execPath, ['dist/server.js']), {
      cwd: fileURLToPath(new URL('../..', import.meta.url)),
      env: { ...process.env, PORT: `${port}`, STORAGE: 'memory:', SESSION_SECRET: SECRET, LOG_LEVEL: 'trace' },
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    t.teardown(() => child.kill('SIGKILL'))
    await once(child.stdout, 'data')
    child.stdout.destroy()
    const answers = () =>
      fetch(`http://127.0.0.1:${port}/health/live`, { signal: AbortSignal.timeout(1_000) }).then(
        ({ status }) => status === 200,
        () => false,
      )
    await eventually(answers, 20_000)
    for (let n = 0; n < 3; n++) t.ok(await answers())
    const exited = once(child, 'exit', { signal: AbortSignal.timeout(12_000) })
    child.kill('SIGTERM')
    t.same(await exited, [0, null])
  },
)
