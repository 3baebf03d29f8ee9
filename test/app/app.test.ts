import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { loggedIn, testApp } from '../fixtures/app.ts'
import { onEveryStorage, storageUrl } from '../fixtures/storages.ts'

/** DESIGN: every route that other code relies on. */
const ROUTES: Record<string, string[]> = {
  POST: [
    ...['/login', '/logout', '/preferences', '/state/keys/:key/increment', '/state/restore'],
    ...['/cache/invalidate', '/cache/warm', '/cache/clear', '/stats/reset'],
  ],
  GET: [
    ...['/profile', '/sessions', '/state', '/state/keys', '/state/keys/:key', '/state/snapshot', '/state/changes'],
    ...['/cache/entries/:key', '/sync', '/sync/events', '/sync/nodes', '/stats', '/metrics', '/health/live'],
    ...['/health/ready', '/docs', '/openapi.json', '/asyncapi.json', '/dashboard', '/users/:id'],
  ],
  PUT: ['/state/keys/:key', '/cache/entries/:key', '/users/:id'],
  PATCH: ['/state/keys/:key'],
  DELETE: ['/sessions', '/sessions/:handle', '/state/keys/:key', '/cache/entries/:key'],
}

t.test('the reference app serves every route, on every storage', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const app = await testApp(t, { storage: await storageUrl(t, kind) })
    for (const [method, urls] of Object.entries(ROUTES)) {
      for (const url of urls) t.ok(app.hasRoute({ method: method as 'GET', url }), `${method} ${url}`)
    }
    const admin = await loggedIn(app)
    for (const url of ['/profile', '/sessions', '/state', '/state/snapshot', '/stats', '/sync/nodes', '/metrics']) {
      t.equal((await admin({ method: 'GET', url })).statusCode, 200, url)
    }
  }),
)

t.test('a prefix stands before every route', async (t) => {
  const app = await testApp(t, { prefix: '/api/v1' })
  t.equal((await app.inject('/api/v1/health/live')).statusCode, 200)
  t.equal((await app.inject('/api/v1/openapi.json')).statusCode, 200)
  t.equal((await app.inject('/api/v1/dashboard')).statusCode, 200)
  t.equal((await app.inject('/health/live')).statusCode, 404)
})

t.test('an authorize option decides instead of the roles', async (t) => {
  const asked: string[] = []
  const app = await testApp(t, {
    authorize: (_request, action) => {
      asked.push(action)
      return action === 'state:describe'
    },
  })
  t.equal((await app.inject('/state')).statusCode, 200, 'anonymous, and yet allowed')
  const admin = await loggedIn(app)
  t.equal((await admin({ method: 'PUT', url: '/state/keys/a', payload: { value: 1 } })).statusCode, 403)
  t.same(new Set(asked), new Set(['state:describe', 'state:write']))
})

t.test('every limit on waiting and size is set', async (t) => {
  const { initialConfig } = await testApp(t)
  t.match(initialConfig, { requestTimeout: 30_000, bodyLimit: 1_048_576, forceCloseConnections: true })
})

t.test('a page of another site cannot make a browser write', async (t) => {
  const app = await testApp(t, { allowedOrigins: ['https://good.example'] })
  const admin = await loggedIn(app)
  const write = (headers: Record<string, string>) =>
    admin({ method: 'PUT', url: '/state/keys/a', payload: { value: 1 }, headers })
  t.equal((await write({ 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' })).statusCode, 403)
  t.equal((await write({ 'sec-fetch-site': 'cross-site', origin: 'https://good.example' })).statusCode, 200)
  t.equal((await write({})).statusCode, 200, 'a client that is no browser')
})

t.test('what a client sends cannot write a line of the log', async (t) => {
  const lines: string[] = []
  const stream = new Writable({
    write(chunk, _encoding, done) {
      lines.push(`${chunk}`)
      done()
    },
  })
  const app = await testApp(t, { logger: { level: 'trace', stream } })
  const forged = '\r\n{"level":30,"msg":"forged"}'
  await app.inject({ url: `/state/keys/${encodeURIComponent(forged)}?x=${forged}`, headers: { 'user-agent': forged } })
  await app.inject({ method: 'POST', url: '/login', payload: { username: `admin${forged}`, password: forged } })
  await app.inject({
    method: 'POST',
    url: '/login',
    payload: `{"username":"${forged}`,
    headers: { 'content-type': forged },
  })
  t.ok(lines.length > 0)
  for (const line of lines) {
    t.equal(line.indexOf('\n'), line.length - 1, 'one record is one line')
    t.not(JSON.parse(line).msg, 'forged')
  }
})

t.test('no timer keeps the process alive', async (t) => {
  const app = new URL('../../app.ts', import.meta.url).href
  const child = spawn(
    process.execPath,
    [
      ...process.execArgv,
      '--input-type=module',
      '-e',
      `const { build } = await import(${JSON.stringify(app)})
       const app = await build({ storage: 'memory:', secret: ${JSON.stringify('a secret of the tests: long enough!')} })
       await app.ready()
       await app.state.set('a', 1)
       await app.cache.set('a', 1)`,
    ],
    { stdio: 'inherit', cwd: fileURLToPath(new URL('../..', import.meta.url)) },
  )
  const deadline = setTimeout(() => child.kill('SIGKILL'), 20_000)
  const [code] = await once(child, 'exit')
  clearTimeout(deadline)
  t.equal(code, 0, 'it ends by itself, though nobody closed the app')
})
