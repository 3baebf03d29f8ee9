/** Access tokens from outside: made by an administrator, used by machines over REST, event streams and sockets. */
import { once } from 'node:events'
import { Writable } from 'node:stream'
import Fastify, { type FastifyInstance, type InjectOptions } from 'fastify'
import t from 'tap'
import { WebSocket } from 'ws'
import type { Action } from '../../../plugins/security/access.ts'
import { storage } from '../../../plugins/storage/index.ts'
import { ManualClock } from '../../../plugins/support/manual-clock.ts'
import { tokens } from '../../../plugins/tokens/index.ts'
import { loggedIn, loggedInUser, testApp } from '../../fixtures/app.ts'
import { eventually } from '../../fixtures/eventually.ts'
import { storageKinds, storageUrl } from '../../fixtures/storages.ts'
import { SyncPeer } from '../../fixtures/sync-peer.ts'

const bearer = (token: string) => ({ authorization: `Bearer ${token}` })

async function make(app: Pick<FastifyInstance, 'accessTokens'>, ...scopes: Action[]) {
  return app.accessTokens.create({ name: 'machine', scopes })
}

async function listening(app: FastifyInstance): Promise<{ url: string; ws: string }> {
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  return { url, ws: `${url.replace('http', 'ws')}/sync` }
}

for (const kind of storageKinds) {
  t.test(`${kind}: made, used, shown and revoked`, async (t) => {
    const app = await testApp(t, { storage: await storageUrl(t, kind) })
    const admin = await loggedIn(app)
    const response = await admin({
      method: 'POST',
      url: '/tokens',
      payload: { name: 'prometheus', scopes: ['stats:read'], lifetime: '90d' },
    })
    t.equal(response.statusCode, 201)
    t.equal(response.headers['cache-control'], 'no-store')
    const { token, ...made } = response.json()
    t.match(made, { name: 'prometheus', scopes: ['stats:read'], createdBy: String })
    t.equal(Date.parse(made.expiresAt) - Date.parse(made.createdAt), 90 * 24 * 3_600_000)

    const machine = (options: InjectOptions) => app.inject({ headers: bearer(token), ...options })
    const metrics = await machine({ url: '/metrics' })
    t.equal(metrics.statusCode, 200)
    t.match(metrics.body, /# TYPE/)
    const refused = await machine({ url: '/state/snapshot' })
    t.match(refused.json(), { status: 403, code: 'STATEFUL_MISSING_SCOPE', action: 'state:snapshot' })
    t.equal(refused.headers['www-authenticate'], 'Bearer error="insufficient_scope"')
    t.match((await machine({ url: '/profile' })).json(), { code: 'STATEFUL_UNAUTHENTICATED' }, 'it is nobody')

    // Recorded beside the answer, not before it.
    await eventually(async () => {
      const listed = await admin({ url: '/tokens' })
      t.notMatch(listed.body, token.slice(4))
      return listed.json().tokens[0]?.lastUsedAt !== undefined
    })
    t.match((await admin({ url: '/tokens' })).json().tokens, [{ ...made, lastUsedAt: String }])

    t.equal((await admin({ method: 'DELETE', url: `/tokens/${made.id}` })).statusCode, 204)
    const gone = await machine({ url: '/metrics' })
    t.match(gone.json(), { status: 401, code: 'STATEFUL_INVALID_TOKEN' })
    t.equal(gone.headers['www-authenticate'], 'Bearer error="invalid_token"')
    t.equal((await admin({ method: 'DELETE', url: `/tokens/${made.id}` })).statusCode, 404)
    t.same((await admin({ url: '/tokens' })).json().tokens, [])
  })
}

t.test('who may make one: an administrator who has just logged in, and a machine not above itself', async (t) => {
  const clock = new ManualClock()
  const app = await testApp(t, { session: { clock } })
  const body = (...scopes: string[]) => ({ method: 'POST' as const, url: '/tokens', payload: { name: 'm', scopes } })
  t.match((await app.inject(body('state:read'))).json(), { status: 401, action: 'tokens:create' })
  const user = await loggedInUser(app)
  t.match((await user(body('state:read'))).json(), { status: 403, action: 'tokens:create' })
  const admin = await loggedIn(app)
  t.match((await admin(body('state:everything'))).json(), { code: 'STATEFUL_INVALID_INPUT' })
  t.match((await admin(body())).json(), { code: 'STATEFUL_INVALID_INPUT' })
  t.match(
    (await admin({ ...body('state:read'), payload: { name: 'm', scopes: ['state:read'], lifetime: 'soon' } })).json(),
    {
      code: 'STATEFUL_INVALID_TTL',
    },
  )

  const maker = await make(app, 'tokens:create', 'state:read')
  const machine = (options: InjectOptions) => app.inject({ ...options, headers: bearer(maker.token) })
  t.match((await machine(body('state:read', 'state:write'))).json(), { code: 'STATEFUL_MISSING_SCOPE' })
  const made = await machine(body('state:read'))
  t.equal(made.statusCode, 201)
  t.equal(made.json().createdBy, undefined)

  await clock.advance(11 * 60_000)
  t.match((await admin(body('state:read'))).json(), { status: 401, code: 'STATEFUL_FRESH_LOGIN_REQUIRED' })
})

t.test('event streams and sockets: every message by its scope, by header, subprotocol and parameter', async (t) => {
  const app = await testApp(t)
  await app.state.set('a', 1)
  const { url, ws } = await listening(app)
  const reader = await make(app, 'sync:read')
  const writer = await make(app, 'sync:write', 'presence:read')

  const headers = bearer(reader.token)
  const peer = await SyncPeer.connect(t, `${ws}?space=app`, { headers })
  t.match(await peer.next(), { type: 'fullSync', state: { a: 1 } })
  peer.send({ type: 'write', seq: 1, ops: [{ op: 'set', key: 'a', value: 2 }] })
  t.match(await peer.next(), { type: 'reject', code: 'STATEFUL_MISSING_SCOPE', action: 'sync:write' })
  peer.send({ type: 'presence', space: 'app' })
  t.match(await peer.next(), { type: 'error', code: 'STATEFUL_MISSING_SCOPE', action: 'presence:read' })

  const other = await SyncPeer.connect(t, ws, { headers: bearer(writer.token) })
  other.send({ type: 'write', seq: 1, ops: [{ op: 'set', key: 'a', value: 3 }] })
  t.match(await other.next(), { type: 'ack' })
  other.send({ type: 'subscribe', space: 'app' })
  t.match(await other.next(), { type: 'error', action: 'sync:read' })
  t.match(await peer.next(), { type: 'stateChange', changes: [{ ops: [{ value: 3 }] }] })
  other.send({ type: 'presence', space: 'app' })
  t.match(await other.next(), { type: 'presence', members: [{ userId: `token:${reader.id}` }] })
  t.match(
    app.sync
      .nodes()
      .map(({ userId }) => userId)
      .sort(),
    [`token:${reader.id}`, `token:${writer.id}`].sort(),
  )

  t.equal(await SyncPeer.refusal(ws, { headers: bearer('fst_wrong') }), 401)
  t.equal(await SyncPeer.refusal(`${ws}?space=app`, { headers: bearer(writer.token) }), 403)

  const stream = new AbortController()
  const events = await fetch(`${url}/sync/events?access_token=${reader.token}`, { signal: stream.signal })
  t.equal(events.status, 200)
  const refused = await fetch(`${url}/sync/events?access_token=${writer.token}`)
  t.match(await refused.json(), { code: 'STATEFUL_MISSING_SCOPE', action: 'sync:read' })
  stream.abort()
  await events.text().catch(() => {})
})

t.test('revoked: what it opened ends at once, on every instance, long polls too', async (t) => {
  const storage = await storageUrl(t, 'redis')
  const [one, two] = [await testApp(t, { storage }), await testApp(t, { storage })]
  const { ws, url } = await listening(two)
  const { token, id } = await make(one, 'sync:read', 'state:history')
  const peer = await SyncPeer.connect(t, `${ws}?space=app`, { headers: bearer(token) })
  await peer.next()
  const events = await fetch(`${url}/sync/events`, { headers: bearer(token) })
  const poll = fetch(`${url}/state/changes?since=0&wait=20000`, { headers: bearer(token) })
  while (two.sync.nodes().length < 2) await new Promise((resolve) => setImmediate(resolve))
  await one.accessTokens.revoke(id)
  t.match(await peer.next(), { type: 'revoked', reason: 'the access token was revoked' })
  t.equal((await peer.closed).code, 4401)
  t.match(await events.text(), /revoked/)
  const refusal = await poll
  t.equal(refusal.status, 401)
  t.equal(await SyncPeer.refusal(`${ws}?space=app`, { headers: bearer(token) }), 401)
})

t.test('one whose time is up writes nothing more over an open socket', async (t) => {
  const clock = new ManualClock()
  const app = await testApp(t, { tokens: { clock } })
  const { ws } = await listening(app)
  const { token } = await app.accessTokens.create({ name: 'm', scopes: ['sync:write'], lifetime: 1_000 })
  const peer = await SyncPeer.connect(t, ws, { headers: bearer(token) })
  const write = { type: 'write', seq: 1, ops: [{ op: 'set', key: 'a', value: 1 }] }
  peer.send(write)
  t.match(await peer.next(), { type: 'ack' })
  await clock.advance(1_000)
  peer.send({ ...write, seq: 2 })
  t.match(await peer.next(), { type: 'reject', code: 'STATEFUL_INVALID_TOKEN' })
})

t.test('scopes allow less than the rule of the application, never more', async (t) => {
  const app = await testApp(t, {
    authorize: ({ accessToken }, action, { space }) =>
      accessToken?.name === 'machine' && space !== 'secret' && action !== 'state:write',
  })
  await app.state.set('a', 1)
  const { token } = await make(app, 'state:read', 'state:write')
  const get = (url: string) => app.inject({ url, headers: bearer(token) })
  t.equal((await get('/state/keys/a')).statusCode, 200)
  t.match((await get('/state/keys/a?space=secret')).json(), { status: 403, code: 'STATEFUL_FORBIDDEN' })
  t.match((await get('/state/snapshot')).json(), { status: 403, code: 'STATEFUL_MISSING_SCOPE' })
  const put = await app.inject({ method: 'PUT', url: '/state/keys/a', payload: { value: 1 }, headers: bearer(token) })
  t.match(put.json(), { status: 403, code: 'STATEFUL_FORBIDDEN', action: 'state:write' })
})

t.test('a token beside a session: the token decides; a wrong one is refused, another kind is not ours', async (t) => {
  const app = await testApp(t)
  const admin = await loggedIn(app)
  const { token } = await make(app, 'state:list')
  const headers = (authorization: string) => ({ cookie: admin.cookie, authorization })
  t.equal((await app.inject({ url: '/state/keys', headers: headers(`bearer  ${token} `) })).statusCode, 200)
  t.equal((await app.inject({ url: '/stats', headers: headers(`Bearer ${token}`) })).statusCode, 403)
  t.equal((await app.inject({ url: '/stats', headers: headers(`Bearer ${token}x`) })).statusCode, 401)
  t.equal((await app.inject({ url: '/stats', headers: headers('Bearer eyJhbGciOi') })).statusCode, 200)
  t.equal((await app.inject({ url: '/stats', headers: headers(`Basic ${token}`) })).statusCode, 200)
  t.equal((await app.inject({ url: '/health/ready', headers: headers('Bearer fst_wrong') })).statusCode, 200)
})

t.test('wrong tokens are limited as logins are, over HTTP', async (t) => {
  const app = await testApp(t, { tokens: { throttle: { perAddress: 3 } } })
  const attempt = (n: number) => app.inject({ url: '/metrics', headers: bearer(`fst_${`${n}`.padStart(43, '0')}`) })
  for (const n of [1, 2, 3]) t.equal((await attempt(n)).statusCode, 401)
  const refused = await attempt(4)
  t.match(refused.json(), { status: 429, code: 'STATEFUL_TOO_MANY_ATTEMPTS' })
  t.ok(Number(refused.headers['retry-after']) > 800)
})

t.test('no token is in the log, at any level, however it came', async (t) => {
  const lines: string[] = []
  const stream = new Writable({
    write(chunk, _encoding, done) {
      lines.push(`${chunk}`)
      done()
    },
  })
  const app = await testApp(t, { logger: { level: 'trace', stream } })
  const { url, ws } = await listening(app)
  const admin = await loggedIn(app)
  const made = await admin({ method: 'POST', url: '/tokens', payload: { name: 'm', scopes: ['sync:read'] } })
  const { token, id } = made.json()
  const secret = token.slice(4)
  const wrong = `${token.slice(0, -1)}_`
  for (const one of [token, wrong]) {
    const encoded = Buffer.from(one).toString('base64url')
    await app.inject({ url: '/state/keys/a', headers: bearer(one) })
    await app.inject({ url: `/sync/events?access_token=${one}&nosuch=1` })
    await fetch(`${url}/sync/events?space=x&access_token=${one}`).then((response) => response.body?.cancel())
    for (const socket of [`${ws}?access_token=${one}`, `${ws}?space=app&access_token=${one}`]) {
      const peer = new WebSocket(socket, ['stateful', `bearer.${encoded}`])
      await once(peer, 'open').catch(() => {})
      peer.terminate()
    }
    t.notMatch(lines.join(''), encoded)
  }
  await admin({ method: 'DELETE', url: `/tokens/${id}` })
  const log = lines.join('')
  t.match(log, /access_token=\[redacted\]/, 'it was looked at')
  t.match(log, /an access token was made/)
  t.notMatch(log, secret)
  t.notMatch(log, secret.slice(0, -1))
})

t.test('the plugin by itself, for routes of the application', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(storage, { storage: 'memory:' })
  await app.register(tokens)
  app.get('/own', async (request) => {
    const token = await app.accessTokens.verify(request)
    return { name: token?.name ?? null, same: request.accessToken?.id === token?.id }
  })
  const { token } = await make(app, 'state:read')
  t.same((await app.inject({ url: '/own', headers: bearer(token) })).json(), { name: 'machine', same: true })
  t.same((await app.inject('/own')).json().name, null)
  t.equal((await app.inject({ url: '/own', headers: bearer('fst_no') })).statusCode, 401)
  const alone = Fastify()
  await t.rejects(async () => alone.register(tokens), { message: /'storage' required by 'stateful-tokens'/ })
})
