import { once } from 'node:events'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyRequest, type InjectOptions } from 'fastify'
import type { Test } from 'tap'
import t from 'tap'
import { problems } from '../../../plugins/problems/index.ts'
import { type StateOptions, state } from '../../../plugins/state/index.ts'
import { storage } from '../../../plugins/storage/index.ts'
import { ManualClock } from '../../../plugins/support/manual-clock.ts'
import { type StateRoutesOptions, stateRoutes } from '../../../routes/state/index.ts'
import { onEveryStorage, storageUrl } from '../../fixtures/storages.ts'

/** State and its routes, with a session that the header `x-role` stands for. */
async function build(
  t: Test,
  options: StateRoutesOptions & { prefix?: string; storage?: string; state?: StateOptions } = {},
) {
  const app = Fastify()
  t.teardown(() => app.close())
  app.decorateRequest('session', null as unknown as FastifyRequest['session'])
  app.addHook('onRequest', async (request) => {
    const role = request.headers['x-role']
    if (typeof role === 'string') request.session = { user: { id: role, role } } as FastifyRequest['session']
  })
  const { storage: url = 'memory:', state: stateOptions = {}, ...routes } = options
  await app.register(problems)
  await app.register(storage, { storage: url })
  await app.register(state, stateOptions)
  await app.register(stateRoutes, routes)
  await app.ready()
  const as =
    (role: string) =>
    (method: 'GET' | 'PUT' | 'PATCH' | 'DELETE' | 'POST', url: string, payload?: unknown, headers = {}) =>
      app.inject({
        method,
        url,
        headers: { 'x-role': role, ...headers },
        ...(payload === undefined ? {} : { payload: payload as InjectOptions['payload'] & object }),
      })
  return {
    app,
    admin: as('administrator'),
    user: as('user'),
    anonymous: (url: string, method: 'GET' | 'PUT' = 'GET') => app.inject({ method, url }),
  }
}

const code = (response: { json(): { code: string } }) => response.json().code

t.test('a key is set, read, merged, incremented and deleted', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const { app, admin } = await build(t, { storage: await storageUrl(t, kind) })
    const { epoch } = app.state
    const put = await admin('PUT', '/state/keys/a%2Fb', { value: { x: 1 } })
    t.equal(put.statusCode, 200)
    t.same(put.json(), { key: 'a/b', value: { x: 1 }, revision: 1, epoch })
    t.equal(put.headers['etag'], `"${epoch}:1"`)
    const patch = await admin('PATCH', '/state/keys/a%2Fb', { value: { y: null } })
    t.same(patch.json(), { key: 'a/b', value: { x: 1, y: null }, revision: 2, epoch })
    await admin('PUT', '/state/keys/other', { value: null })
    const get = await admin('GET', '/state/keys/a%2Fb')
    t.same(get.json(), { key: 'a/b', value: { x: 1, y: null }, revision: 2, epoch }, 'the revision of the key')
    t.equal(get.headers['etag'], `"${epoch}:2"`)
    const increment = await admin('POST', '/state/keys/n/increment', { by: 2 })
    t.same(increment.json(), { key: 'n', value: 2, revision: 4, epoch })
    t.equal((await admin('POST', '/state/keys/n/increment', {})).json().value, 3)
    t.same((await admin('GET', '/state')).json(), { space: 'app', epoch, revision: 5, size: 3, bytes: 30 })
    const gone = await admin('DELETE', '/state/keys/n')
    t.equal(gone.statusCode, 204)
    t.equal(gone.body, '')
    t.equal((await admin('GET', '/state/keys/n')).statusCode, 404)
    t.equal(code(await admin('DELETE', '/state/keys/n')), 'STATEFUL_NOT_FOUND')
  }),
)

t.test('a field may have any name', async (t) => {
  const { app, admin } = await build(t)
  const text = '{"value":{"__proto__":{"a":1},"constructor":{"prototype":2}}}'
  const headers = { 'content-type': 'application/json' }
  const put = await admin('PUT', '/state/keys/__proto__', text, headers)
  const patch = await admin('PATCH', '/state/keys/__proto__', text, headers)
  for (const answer of [put, patch, await admin('GET', '/state/keys/__proto__')]) {
    t.equal(answer.statusCode, 200)
    t.ok(answer.body.includes(text.slice(1, -1)), answer.body)
  }
  t.strictSame(Object.getOwnPropertyNames(app.state.get('__proto__')), ['__proto__', 'constructor'])
  const poisoned = await admin('PUT', '/state/keys/k', '{"value":1,"__proto__":{"ttl":5}}', headers)
  t.equal(poisoned.statusCode, 400, 'what is no value has the names that it may have')
})

t.test('what a write has no use for is refused, not left out', async (t) => {
  const { app, admin } = await build(t)
  await app.state.set('k', 1)
  const useless = [
    await admin('DELETE', '/state/keys/k', { value: 1 }),
    await admin('DELETE', '/state/keys/k?ttl=5'),
    await admin('PUT', '/state/keys/k', { value: 1, context: 1 }),
    await admin('PATCH', '/state/keys/fields', { value: {}, ttl: 5 }),
    await admin('POST', '/state/keys/k/increment', { value: 2 }),
    await admin('POST', '/state/restore', { state: {}, space: 'other' }),
  ]
  t.same(
    useless.map(({ statusCode }) => statusCode),
    useless.map(() => 400),
  )
  t.same(app.state.snapshot().state, { k: 1 })
})

t.test('a tag is kept by a restart, and says nothing of another history', (t) =>
  onEveryStorage(t, async (t, kind) => {
    if (kind === 'memory') return
    const storage = await storageUrl(t, kind)
    const before = await build(t, { storage })
    const tag = (await before.admin('PUT', '/state/keys/k', { value: 1 })).headers['etag'] as string
    await before.app.close()
    const { app, admin } = await build(t, { storage })
    t.equal((await admin('GET', '/state/keys/k', undefined, { 'if-none-match': tag })).statusCode, 304)
    t.equal((await admin('PUT', '/state/keys/k', { value: 2 }, { 'if-match': tag })).statusCode, 200)
    const [epoch, { revision }] = [app.state.epoch, await app.state.restore({ state: { k: 3 } })]
    // The number that a history which was lost would have given to another value.
    const lost = { 'if-match': `"${epoch}:${revision}"`, 'if-none-match': `"${epoch}:${revision}"` }
    t.equal((await admin('PUT', '/state/keys/k', { value: 4 }, { 'if-match': lost['if-match'] })).statusCode, 412)
    const read = await admin('GET', '/state/keys/k', undefined, { 'if-none-match': lost['if-none-match'] })
    t.equal(read.json().value, 3)
    t.equal((await admin('PUT', '/state/keys/k', { value: 4 }, { 'if-match': `"${revision}"` })).statusCode, 412)
  }),
)

t.test('conditions', async (t) => {
  const { admin, app } = await build(t)
  const tag = (revision: number) => `"${app.state.epoch}:${revision}"`
  t.equal(
    code(await admin('PUT', '/state/keys/k', { value: 1 }, { 'if-match': '*' })),
    'STATEFUL_STATE_PRECONDITION_FAILED',
  )
  t.equal((await admin('PUT', '/state/keys/k', { value: 1 }, { 'if-none-match': '*' })).statusCode, 200)
  t.equal((await admin('PUT', '/state/keys/k', { value: 2 }, { 'if-none-match': '*' })).statusCode, 412)
  t.equal((await admin('PUT', '/state/keys/k', { value: 2 }, { 'if-match': `${tag(7)}, ${tag(1)}` })).statusCode, 200)
  t.equal((await admin('PUT', '/state/keys/k', { value: 3 }, { 'if-match': tag(1) })).statusCode, 412)
  t.equal(
    (await admin('PUT', '/state/keys/k', { value: 3 }, { 'if-match': `W/${tag(2)}` })).statusCode,
    412,
    'weak tags do not match',
  )
  t.equal((await admin('PATCH', '/state/keys/k', { value: {} }, { 'if-match': tag(1) })).statusCode, 412)
  t.equal((await admin('DELETE', '/state/keys/k', undefined, { 'if-match': tag(1) })).statusCode, 412)
  t.equal((await admin('DELETE', '/state/keys/k', undefined, { 'if-none-match': '*' })).statusCode, 412)
  t.equal((await admin('POST', '/state/keys/k/increment', {}, { 'if-match': tag(1) })).statusCode, 412)
  const cached = await admin('GET', '/state/keys/k', undefined, { 'if-none-match': `W/${tag(2)}` })
  t.equal(cached.statusCode, 304)
  t.equal(cached.headers['etag'], tag(2))
  t.equal((await admin('GET', '/state/keys/k', undefined, { 'if-none-match': tag(1) })).json().value, 2)
  t.equal((await admin('DELETE', '/state/keys/k', undefined, { 'if-match': tag(2) })).statusCode, 204)
  const puts = await Promise.all(
    [1, 2, 3].map((value) => admin('PUT', '/state/keys/k', { value }, { 'if-none-match': '*' })),
  )
  t.same(puts.map(({ statusCode }) => statusCode).sort(), [200, 412, 412])
})

t.test('keys are listed in order, by prefix, in pages', async (t) => {
  const { admin, app } = await build(t)
  for (const key of ['b', 'a:2', 'a:1', 'a:3']) await app.state.set(key, 1)
  t.same((await admin('GET', '/state/keys')).json(), { keys: ['a:1', 'a:2', 'a:3', 'b'] })
  const first = (await admin('GET', '/state/keys?prefix=a:&limit=2')).json()
  t.same(first, { keys: ['a:1', 'a:2'], cursor: 'a:2' })
  t.same((await admin('GET', `/state/keys?prefix=a:&limit=2&cursor=${first.cursor}`)).json(), { keys: ['a:3'] })
})

t.test('snapshot and restore, in the space that is named', async (t) => {
  const { admin, app } = await build(t)
  await admin('PUT', '/state/keys/k?space=flags', { value: 1 })
  const snapshot = (await admin('GET', '/state/snapshot?space=flags')).json()
  t.same(snapshot, { epoch: app.state.space('flags').epoch, revision: 1, state: { k: 1 } })
  t.same((await admin('GET', '/state/snapshot')).json().state, {})
  await admin('PUT', '/state/keys/k?space=flags', { value: 2 })
  const restored = await admin('POST', '/state/restore?space=flags', { state: snapshot.state })
  t.match(restored.json(), { space: 'flags', revision: 3, size: 1 })
  t.not(restored.json().epoch, snapshot.epoch)
  t.same((await admin('GET', '/state/snapshot?space=flags')).json().state, { k: 1 })
})

t.test('changes after a position, with and without waiting', async (t) => {
  const { admin, app } = await build(t)
  const { epoch } = app.state
  for (let n = 1; n <= 3; n++) await app.state.set('k', n)
  const all = (await admin('GET', '/state/changes?since=0')).json()
  t.match(all, {
    epoch,
    revision: 3,
    reset: false,
    commits: [{ prev: 0, revision: 1, ops: [{ op: 'set', key: 'k', value: 1 }] }, {}, {}],
  })
  const page = (await admin('GET', `/state/changes?since=${epoch}:0&limit=2`)).json()
  t.match(page, { epoch, revision: 2, commits: { length: 2 } })
  t.same((await admin('GET', `/state/changes?since=${epoch}:3`)).json(), {
    epoch,
    revision: 3,
    commits: [],
    reset: false,
  })
  const poll = admin('GET', `/state/changes?since=${epoch}:3&wait=20000`)
  await new Promise(setImmediate)
  await app.state.set('k', 4)
  t.match((await poll).json(), { revision: 4, commits: [{ revision: 4 }] })
  t.match((await admin('GET', '/state/changes?since=9:lost:1')).json(), {
    epoch,
    revision: 4,
    commits: [],
    reset: true,
  })
})

t.test('the history is exported as lines', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const { admin, app } = await build(t, { storage: await storageUrl(t, kind), state: { history: { commits: 4 } } })
    const { epoch } = app.state
    const asLines = { accept: 'text/html;q=0.5, application/x-ndjson;q=0.9' }
    const get = (query: string) => admin('GET', `/state/changes?${query}`, undefined, asLines)
    for (let n = 1; n <= 3; n++) await app.state.set('k', `line\n${n}`)
    const all = await get('since=oldest')
    t.equal(all.statusCode, 200)
    t.equal(all.headers['content-type'], 'application/x-ndjson')
    t.equal(all.headers['vary'], 'accept')
    t.equal(all.body.at(-1), '\n')
    t.same(
      all.body
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line)),
      (await admin('GET', '/state/changes?since=oldest')).json().commits,
      'the same commits as of a page',
    )
    t.match(JSON.parse((await get(`since=${epoch}:1&limit=1`)).body), { prev: 1, revision: 2 })
    t.equal((await get(`since=${epoch}:3`)).body, '', 'nothing new is no line')
    const poll = get(`since=${epoch}:3&wait=20000`)
    await new Promise(setImmediate)
    for (let n = 4; n <= 12; n++) await app.state.set('k', n)
    t.match(JSON.parse((await poll).body.split('\n')[0] as string), { revision: 4 })
    const gone = await get('since=0')
    t.equal(gone.statusCode, 410)
    t.equal(code(gone), 'STATEFUL_STATE_HISTORY_GONE')
    const rest = (await get('since=oldest')).body.trimEnd().split('\n')
    t.ok(rest.length >= 4)
    t.equal(JSON.parse(rest.at(-1) as string).revision, 12)
  }),
)

t.test('a long export waits for its reader, and ends with it', async (t) => {
  const { app } = await build(t, { authorize: () => true })
  const text = 'x'.repeat(100_000)
  for (let n = 0; n < 300; n++) await app.state.set('k', text)
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  const open = async () => {
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    socket.write(
      'GET /state/changes?since=oldest HTTP/1.1\r\nhost: x\r\naccept: application/x-ndjson\r\nconnection: close\r\n\r\n',
    )
    return socket
  }
  const connections = () => new Promise((resolve) => app.server.getConnections((_, count) => resolve(count)))
  const served = once(app.server, 'connection') as Promise<[Socket]>
  const slow = await open()
  await once(slow, 'readable')
  // Turns of the event loop in which an export that did not wait would have been written.
  for (let turn = 0; turn < 200; turn++) await new Promise(setImmediate)
  const taken = (await served)[0].bytesWritten
  t.ok(taken < 15_000_000, `the server has written ${taken} of 30,000,000 bytes`)
  let bytes = 0
  let lines = 0
  for await (const chunk of slow) {
    bytes += (chunk as Buffer).length
    for (const byte of chunk as Buffer) if (byte === 10) lines++
  }
  t.ok(bytes > 30_000_000 && lines >= 300, 'and the rest comes when it is read')
  const leaver = await open()
  await once(leaver, 'readable')
  leaver.destroy()
  while ((await connections()) !== 0) await new Promise(setImmediate)
  t.equal((await app.inject('/state')).statusCode, 200)
})

t.test('whoever waits longer than anybody may is answered with nothing', async (t) => {
  const clock = new ManualClock()
  const { admin, app } = await build(t, { clock })
  const poll = admin('GET', '/state/changes?since=0&wait=20000')
  while (clock.timers === 0) await new Promise(setImmediate)
  clock.advance(19_999)
  await new Promise(setImmediate)
  t.equal(clock.timers, 1)
  clock.advance(1)
  t.match((await poll).json(), { revision: 0, commits: [], reset: false })
  t.equal(clock.timers, 0)
  t.equal(app.state.observed, false)
})

t.test('a snapshot of any size that a space may have is restored, by those who may', async (t) => {
  const { admin, user, app } = await build(t)
  for (let n = 0; n < 30; n++) await app.state.set(`k${n}`, 'x'.repeat(100_000))
  const snapshot = (await admin('GET', '/state/snapshot')).json()
  await app.state.clear()
  const refused = await user('POST', '/state/restore', { state: snapshot.state })
  t.equal(refused.statusCode, 403)
  t.equal((await admin('POST', '/state/restore', { state: snapshot.state })).statusCode, 200)
  t.same(app.state.snapshot().state, snapshot.state)
})

t.test('a waiting poll does not hold up the close', async (t) => {
  const { admin, app } = await build(t)
  const poll = admin('GET', '/state/changes?since=0&wait=25000')
  await new Promise(setImmediate)
  await app.close()
  t.equal((await poll).statusCode, 200)
})

t.test('reading needs a session, changing an administrator', async (t) => {
  const { admin, user, anonymous } = await build(t)
  await admin('PUT', '/state/keys/k', { value: 1 })
  for (const url of ['/state', '/state/keys', '/state/keys/k', '/state/snapshot', '/state/changes?since=0']) {
    t.equal((await anonymous(url)).statusCode, 401, url)
    t.equal((await user('GET', url)).statusCode, 200, url)
  }
  const writes = [
    ['PUT', '/state/keys/k'],
    ['PATCH', '/state/keys/k'],
    ['DELETE', '/state/keys/k'],
    ['POST', '/state/keys/k/increment'],
    ['POST', '/state/restore'],
  ] as const
  for (const [method, url] of writes) t.equal(code(await user(method, url, {})), 'STATEFUL_FORBIDDEN', url)
  t.equal((await anonymous('/state/keys/k', 'PUT')).statusCode, 401, 'before the input is judged')
})

t.test('authorize decides by action, space and key, under a prefix', async (t) => {
  const asked: unknown[] = []
  const { anonymous } = await build(t, {
    prefix: '/api',
    authorize: (_request, action, resource) => {
      asked.push([action, resource])
      return action === 'state:read'
    },
  })
  t.equal((await anonymous('/api/state/keys/k?space=s')).statusCode, 404)
  t.equal((await anonymous('/api/state/keys/k', 'PUT')).statusCode, 401)
  t.same(asked, [
    ['state:read', { space: 's', key: 'k' }],
    ['state:write', { space: 'app', key: 'k' }],
  ])
})

t.test('bad input has a clear answer and changes nothing', async (t) => {
  const { app, admin } = await build(t, { state: { limits: { valueBytes: 100 } } })
  await app.state.set('text', 'x')
  const refused = async (
    method: 'GET' | 'PUT' | 'PATCH' | 'POST',
    url: string,
    payload: unknown,
    status: number,
    name: string,
    headers = {},
  ) => {
    const response = await admin(method, url, payload, headers)
    t.equal(response.statusCode, status, `${method} ${url}`)
    t.equal(response.headers['content-type'], 'application/problem+json; charset=utf-8')
    t.equal(code(response), name)
  }
  await refused('PUT', '/state/keys/k', {}, 400, 'STATEFUL_INVALID_INPUT')
  await refused('PUT', '/state/keys/k', { value: 1, extra: 1 }, 400, 'STATEFUL_INVALID_INPUT')
  await refused('PUT', '/state/keys/k', { value: 1, ttl: '5' }, 400, 'STATEFUL_INVALID_INPUT')
  for (const ttl of [0, 0.5, 3_153_600_000_001, 2 ** 53 - 1, 1e308]) {
    const response = await admin('PUT', '/state/keys/k', { value: 1, ttl })
    t.equal(response.statusCode, 400, `a ttl of ${ttl}`)
  }
  await refused('PUT', '/state/keys/k', 'value=1', 415, 'STATEFUL_UNSUPPORTED_MEDIA_TYPE', {
    'content-type': 'text/plain',
  })
  await refused('PUT', `/state/keys/${'%C3%A9'.repeat(30)}`, { value: 'x'.repeat(200) }, 413, 'STATEFUL_STATE_LIMIT')
  await refused('PUT', '/state/keys/a%00b', { value: 1 }, 400, 'STATEFUL_STATE_INVALID_KEY')
  app.state.define('limits', Type.Object({ rows: Type.Integer() }))
  await refused('PUT', '/state/keys/limits', { value: { rows: 'x' } }, 422, 'STATEFUL_STATE_SCHEMA')
  const misfit = await admin('PUT', '/state/keys/limits', { value: { rows: 'x' } })
  t.strictSame(misfit.json().errors, [{ path: '/value/rows', message: 'must be integer' }], 'the place is told')
  await refused('PATCH', '/state/keys/k', { value: [] }, 400, 'STATEFUL_INVALID_INPUT')
  await refused('PATCH', '/state/keys/text', { value: {} }, 422, 'STATEFUL_STATE_TYPE_MISMATCH')
  await refused('POST', '/state/keys/text/increment', {}, 422, 'STATEFUL_STATE_TYPE_MISMATCH')
  await refused('POST', '/state/keys/n/increment', { by: '1' }, 400, 'STATEFUL_INVALID_INPUT')
  await refused('POST', '/state/restore', { state: [] }, 400, 'STATEFUL_INVALID_INPUT')
  await refused('GET', '/state?space=a%2Fb', undefined, 400, 'STATEFUL_INVALID_INPUT')
  await refused('GET', '/state?spaces=a', undefined, 400, 'STATEFUL_INVALID_INPUT')
  await refused('GET', '/state/changes', undefined, 400, 'STATEFUL_INVALID_INPUT')
  await refused('GET', '/state/changes?since=x', undefined, 400, 'STATEFUL_INVALID_INPUT')
  await refused('GET', '/state/keys?limit=0', undefined, 400, 'STATEFUL_INVALID_INPUT')
  t.equal((await admin('GET', '/state?space=second')).statusCode, 200)
  t.same(app.state.snapshot().state, { text: 'x' })
})
