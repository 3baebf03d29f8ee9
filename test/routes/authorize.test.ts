/** What `authorize` is asked, by every route and every message of a socket. */
import { randomBytes } from 'node:crypto'
import type { FastifyInstance, InjectOptions } from 'fastify'
import t, { type Test } from 'tap'
import { clientMessages } from '../../openapi/messages/client.ts'
import { ACTIONS, type Action, type Resource } from '../../plugins/security/access.ts'
import { loggedIn, testApp } from '../fixtures/app.ts'
import { SyncPeer } from '../fixtures/sync-peer.ts'

type Question = [Action, Resource]

/** An application that lets everybody in and remembers what it was asked. */
async function recordingApp(t: Test) {
  const questions: Question[] = []
  const app = await testApp(t, {
    // The pages for operators ask only then.
    production: true,
    secret: randomBytes(32).toString('base64url'),
    session: { production: false },
    authorize: (_request, action, resource) => {
      questions.push([action, resource])
      return true
    },
  })
  app.cache.writeBehind('writer', async () => {})
  const taken = () => questions.splice(0)
  return { app, taken }
}

const app = (part: { key: string } | { prefix: string }) => ({ space: 'app', ...part })
const cached = (part: { key: string } | { prefix: string } | { tag: string }) => ({ namespace: 'default', ...part })
const whole = app({ prefix: '' })

interface Sample {
  url?: string
  payload?: object
  asks: Question[]
}

const increment = { op: 'increment', key: 'n', value: 1 }

/** By operation id: a request, and what is asked about it. An operation that is missing here turns the test red. */
const samples: { [operationId: string]: Sample[] } = {
  getOpenApi: [{ asks: [['docs:read', { page: 'docs' }]] }],
  getAsyncApi: [{ asks: [['docs:read', { page: 'docs' }]] }],
  getLiveness: [{ asks: [] }],
  getReadiness: [{ asks: [] }],
  // Of the session itself; the first two end the one that the others need, and are asked below.
  login: [],
  logout: [],
  getProfile: [{ asks: [] }],
  changePreferences: [{ payload: { theme: 'dark' }, asks: [] }],
  listSessions: [{ asks: [] }, { url: '/sessions?userId=other', asks: [['sessions:list', { userId: 'other' }]] }],
  endOtherSessions: [{ url: '/sessions?userId=other', asks: [['sessions:revoke', { userId: 'other' }]] }],
  endSession: [{ url: '/sessions/h?userId=other', asks: [['sessions:revoke', { userId: 'other' }]] }],
  changePassword: [],
  listUsers: [
    { asks: [['users:list', { prefix: '' }]] },
    { url: '/users?prefix=a', asks: [['users:list', { prefix: 'a' }]] },
  ],
  createUser: [
    { payload: { username: 'new', password: 'a new password' }, asks: [['users:administer', { username: 'new' }]] },
  ],
  changeUser: [{ url: '/users/u', payload: { displayName: 'U' }, asks: [['users:write', { userId: 'u' }]] }],
  deleteUser: [{ url: '/users/u', asks: [['users:administer', { userId: 'u' }]] }],
  getUser: [{ url: '/users/u', asks: [['users:read', { userId: 'u' }]] }],
  putUser: [
    // There is none of that id: it would be created.
    {
      url: '/users/u',
      payload: { displayName: 'U' },
      asks: [
        ['users:write', { userId: 'u' }],
        ['users:administer', { userId: 'u' }],
      ],
    },
  ],
  listTokens: [{ asks: [['tokens:list', { scope: 'cluster' }]] }],
  createToken: [
    { payload: { name: 'metrics', scopes: ['stats:read'] }, asks: [['tokens:create', { name: 'metrics' }]] },
  ],
  revokeToken: [{ url: '/tokens/some', asks: [['tokens:revoke', { token: 'some' }]] }],
  getState: [{ asks: [['state:describe', { space: 'app' }]] }],
  listStateKeys: [
    { asks: [['state:list', whole]] },
    { url: '/state/keys?prefix=user:1', asks: [['state:list', app({ prefix: 'user:1' })]] },
    { url: '/state/keys?space=other', asks: [['state:list', { space: 'other', prefix: '' }]] },
  ],
  listStateSpaces: [{ asks: [['spaces:list', { scope: 'instance' }]] }],
  getStateKey: [{ url: '/state/keys/user:1', asks: [['state:read', app({ key: 'user:1' })]] }],
  setStateKey: [{ url: '/state/keys/k', payload: { value: 1 }, asks: [['state:write', app({ key: 'k' })]] }],
  mergeStateKey: [{ url: '/state/keys/m', payload: { value: { a: 1 } }, asks: [['state:write', app({ key: 'm' })]] }],
  deleteStateKey: [{ url: '/state/keys/k', asks: [['state:write', app({ key: 'k' })]] }],
  incrementStateKey: [{ url: '/state/keys/n/increment', payload: {}, asks: [['state:write', app({ key: 'n' })]] }],
  getStateSnapshot: [{ asks: [['state:snapshot', { space: 'app' }]] }],
  restoreState: [{ payload: { state: {} }, asks: [['state:restore', { space: 'app' }]] }],
  listStateChanges: [
    { url: '/state/changes?since=0', asks: [['state:history', { space: 'app' }]] },
    { url: '/state/changes?since=0&space=other', asks: [['state:history', { space: 'other' }]] },
  ],
  listCacheNamespaces: [{ asks: [['cache:list', { scope: 'instance' }]] }],
  searchCache: [
    { asks: [['cache:list', cached({ prefix: '' })]] },
    { url: '/cache/entries?pattern=user:*', asks: [['cache:list', cached({ prefix: 'user:' })]] },
    { url: '/cache/entries?namespace=n', asks: [['cache:list', { namespace: 'n', prefix: '' }]] },
  ],
  getCacheEntry: [
    { url: '/cache/entries/user:1', asks: [['cache:read', cached({ key: 'user:1' })]] },
    { url: '/cache/entries/k?namespace=n', asks: [['cache:read', { namespace: 'n', key: 'k' }]] },
  ],
  putCacheEntry: [{ url: '/cache/entries/k', payload: { value: 1 }, asks: [['cache:write', cached({ key: 'k' })]] }],
  deleteCacheEntry: [{ url: '/cache/entries/k', asks: [['cache:write', cached({ key: 'k' })]] }],
  invalidateCache: [
    {
      payload: { keys: ['a', 'b'], patterns: ['user:*', 'exact'] },
      asks: [
        ['cache:invalidate', cached({ key: 'a' })],
        ['cache:invalidate', cached({ key: 'b' })],
        ['cache:invalidate', cached({ prefix: 'user:' })],
        ['cache:invalidate', cached({ key: 'exact' })],
      ],
    },
    { payload: { tags: ['t'] }, asks: [['cache:invalidate', cached({ tag: 't' })]] },
    { payload: { keys: [] }, asks: [['cache:invalidate', cached({ prefix: '' })]] },
  ],
  warmCache: [
    {
      payload: { keys: ['a', 'b'] },
      asks: [
        ['cache:warm', cached({ key: 'a' })],
        ['cache:warm', cached({ key: 'b' })],
      ],
    },
  ],
  clearCache: [{ asks: [['cache:invalidate', cached({ prefix: '' })]] }],
  listCacheWriters: [{ asks: [['writers:read', { scope: 'instance' }]] }],
  listWaitingWrites: [{ url: '/cache/writers/writer/waiting', asks: [['writers:read', { writer: 'writer' }]] }],
  listDeadLetters: [{ url: '/cache/writers/writer/dead-letters', asks: [['writers:read', { writer: 'writer' }]] }],
  retryDeadLetters: [
    {
      url: '/cache/writers/writer/dead-letters/retry',
      payload: { ids: ['x'] },
      asks: [['writers:retry', { writer: 'writer' }]],
    },
  ],
  // A stream that does not end: asked below.
  streamState: [],
  writeState: [
    {
      payload: { clientId: 'a-client-id', seq: 1, ops: [increment, { ...increment, key: 'm' }, increment] },
      asks: [
        ['sync:write', app({ key: 'n' })],
        ['sync:write', app({ key: 'm' })],
      ],
    },
  ],
  listSyncNodes: [
    { asks: [['nodes:list', { scope: 'instance' }]] },
    { url: '/sync/nodes?scope=cluster', asks: [['nodes:list', { scope: 'cluster' }]] },
  ],
  disconnectSyncNode: [{ url: '/sync/nodes/some', asks: [['nodes:disconnect', { node: 'some' }]] }],
  traceSync: [
    // A stream that begins does not end: of a space it is asked in the access table.
    { url: '/sync/trace?node=some', asks: [['sync:trace', { node: 'some' }]] },
  ],
  getStats: [
    { asks: [['stats:read', { scope: 'instance' }]] },
    { url: '/stats?scope=cluster', asks: [['stats:read', { scope: 'cluster' }]] },
  ],
  getStatsHistory: [{ asks: [['stats:read', { scope: 'cluster' }]] }],
  listAudit: [{ asks: [['audit:read', { scope: 'cluster' }]] }],
  resetStats: [{ asks: [['stats:reset', { scope: 'instance' }]] }],
  getMetrics: [{ asks: [['stats:read', { scope: 'instance' }]] }],
}

const distinct = (questions: Question[]) => [...new Set(questions.map((one) => JSON.stringify(one)))]

/** Never about nothing, and never about two things. */
function checkQuestions(t: Test, questions: Question[], asker: string) {
  for (const [action, resource] of questions) {
    const { space, namespace, ...named } = resource
    const [[name, value] = ['space', space]] = Object.entries(named)
    t.ok(Object.keys(named).length < 2, `${asker}: ${action} of ${JSON.stringify(resource)}`)
    t.type(value, 'string')
    if (name !== 'prefix') t.not(value, '')
    const names = Object.keys(resource).sort().join()
    const about = ACTIONS[action].about.map((one) => one.split(' ').sort().join())
    t.ok(about.includes(names), `${asker}: ${action} of ${names}`)
  }
}

t.test('every route names what it wants, the default space included', async (t) => {
  const { app, taken } = await recordingApp(t)
  const document = app.swagger() as { paths: { [path: string]: { [method: string]: { operationId?: string } } } }
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).flatMap(([method, { operationId }]) =>
      operationId ? [{ path, method, operationId }] : [],
    ),
  )
  t.ok(operations.length > 30)
  const admin = await loggedIn(app)
  t.same(taken(), [], 'a login asks nothing')
  const missing = operations.map(({ operationId }) => operationId).filter((id) => !(id in samples))
  t.same(missing, [])
  for (const { path, method, operationId } of operations) {
    for (const { url = path, payload, asks } of samples[operationId] ?? []) {
      const request = { method: method.toUpperCase(), url, ...(payload ? { payload } : {}) } as InjectOptions
      const response = await admin(request)
      t.ok([200, 201, 204, 404, 422].includes(response.statusCode), `${operationId}: ${response.body.slice(0, 200)}`)
      const questions = taken()
      checkQuestions(t, questions, operationId)
      t.same(distinct(questions), distinct(asks), operationId)
    }
  }
  t.equal((await admin({ url: '/docs' })).statusCode < 400, true)
  t.same(distinct(taken()), distinct([['docs:read', { page: 'docs' }]]))
  t.equal((await admin({ url: '/dashboard' })).statusCode < 400, true)
  t.same(taken(), [], 'the page is open; its numbers are asked about')
  await admin({ method: 'POST', url: '/logout' })
  t.same(taken(), [])
})

t.test('input that is not validated yet is no question of its own kind', async (t) => {
  const { app, taken } = await recordingApp(t)
  const admin = await loggedIn(app)
  const odd: InjectOptions[] = [
    { url: '/state?space=a&space=b' },
    { url: '/state/keys?prefix=a&prefix=b' },
    { url: '/cache/entries/k?namespace=a&namespace=b' },
    { url: '/sessions?userId=a&userId=b' },
    { url: '/stats?scope=world' },
    { url: '/sync/events?key=a&key=b' },
    { method: 'POST', url: '/cache/invalidate', payload: { keys: [1, null, {}], patterns: 'x' } },
    { method: 'POST', url: '/cache/warm', payload: [] },
    { method: 'POST', url: '/sync/writes', payload: { space: 7, ops: [null] } },
    { method: 'POST', url: '/sync/writes', payload: { ops: {} } },
  ]
  for (const request of odd) {
    t.equal((await admin(request)).statusCode, 400, JSON.stringify(request))
    checkQuestions(t, taken(), request.url as string)
  }
})

t.test('every message of a socket names what it wants', async (t) => {
  const { app: server, taken } = await recordingApp(t)
  const { cookie } = await loggedIn(server)
  const url = await server.listen({ host: '127.0.0.1', port: 0 })
  const ws = `${url.replace('http', 'ws')}/sync`
  const connect = (query = '') => SyncPeer.connect(t, ws + query, { headers: { cookie } })
  taken()

  const peer = await connect()
  t.same(taken(), [], 'it wants nothing yet')
  const messages: { [type in keyof typeof clientMessages]: [message: object, answer: string, asks: Question[]][] } = {
    hello: [[{ protocols: [1] }, 'hello', []]],
    subscribe: [
      [{ space: 'app' }, 'fullSync', [['sync:read', whole]]],
      [{ space: 'app', key: 'user:1' }, 'fullSync', [['sync:read', app({ key: 'user:1' })]]],
      [{ space: 'other', prefix: 'user:1' }, 'fullSync', [['sync:read', { space: 'other', prefix: 'user:1' }]]],
      // Refused before anybody is asked: both together name no part of a space.
      [{ space: 'app', key: 'k', prefix: 'p' }, 'error', []],
    ],
    syncRequest: [[{ space: 'app' }, 'fullSync', []]],
    write: [[{ seq: 1, ops: [increment] }, 'ack', [['sync:write', app({ key: 'n' })]]]],
    stateChange: [
      [
        { space: 'other', ops: [increment, { ...increment, key: 'm' }] },
        'ack',
        [
          ['sync:write', { space: 'other', key: 'n' }],
          ['sync:write', { space: 'other', key: 'm' }],
        ],
      ],
    ],
    presence: [
      [{ space: 'app' }, 'presence', [['presence:read', { space: 'app' }]]],
      [
        { space: 'other', data: { name: 'Ada' } },
        'presence',
        [
          ['presence:read', { space: 'other' }],
          ['presence:write', { space: 'other' }],
        ],
      ],
      [{ space: 'other', leave: true }, '', []],
    ],
    unsubscribe: [[{ space: 'other', prefix: 'user:1' }, '', []]],
    heartbeat: [[{}, '', []]],
  }
  for (const type of Object.keys(messages) as (keyof typeof clientMessages)[]) {
    for (const [message, answer, asks] of messages[type]) {
      peer.send({ type, ...message })
      // Of another space, who is there may be told at any time.
      const isAnswer = ({ type, space }: { type: string; space?: string }) =>
        type === answer && (type !== 'presence' || space === (message as { space?: string }).space)
      if (answer) await peer.until(isAnswer)
      const questions = taken()
      checkQuestions(t, questions, type)
      t.same(distinct(questions), distinct(asks), type)
    }
  }
  t.same(Object.keys(messages).sort(), Object.keys(clientMessages).sort())

  for (const [query, resource] of [
    ['?space=app', whole],
    ['?space=other&key=k', { space: 'other', key: 'k' }],
    ['?space=app&prefix=user:1', app({ prefix: 'user:1' })],
  ] as const) {
    await (await connect(query)).next()
    t.same(distinct(taken()), distinct([['sync:read', resource]]), query)
  }
  for (const [query, resource] of [
    ['', whole],
    ['?prefix=user:1', app({ prefix: 'user:1' })],
  ] as const) {
    const stream = new AbortController()
    await fetch(`${url}/sync/events${query}`, { headers: { cookie }, signal: stream.signal })
    stream.abort()
    t.same(distinct(taken()), distinct([['sync:read', resource]]), `events${query}`)
  }
})

t.test('a right to one key reads nothing that begins like it', async (t) => {
  const server = await testApp(t, {
    authorize: (_request, _action, { key }) => key === 'user:1',
  })
  await server.state.set('user:1', 'mine')
  await server.state.set('user:10', 'theirs')
  const url = await server.listen({ host: '127.0.0.1', port: 0 })
  t.equal((await server.inject('/state/keys/user:1')).statusCode, 200)
  await refused(t, server, [
    { url: '/state/keys/user:10' },
    { url: '/state/keys?prefix=user:1' },
    { url: '/state/changes?since=oldest' },
    { url: '/state/snapshot' },
    { url: '/sync/events?prefix=user:1' },
    { method: 'POST', url: '/cache/invalidate', payload: { patterns: ['user:1*'] } },
    { method: 'POST', url: '/cache/invalidate', payload: { keys: ['user:1', 'user:10'] } },
    { method: 'POST', url: '/cache/invalidate', payload: { keys: ['user:1'], tags: ['t'] } },
    { method: 'POST', url: '/cache/warm', payload: { keys: ['user:1', 'user:10'] } },
    {
      method: 'POST',
      url: '/sync/writes',
      payload: { clientId: 'a-client-id', seq: 1, ops: [{ ...increment, key: 'user:1' }, increment] },
    },
  ])
  const ws = `${url.replace('http', 'ws')}/sync`
  t.equal(await SyncPeer.refusal(`${ws}?space=app&prefix=user:1`), 401)
  const peer = await SyncPeer.connect(t, ws)
  peer.send({ type: 'subscribe', space: 'app', prefix: 'user:1' })
  t.match(await peer.next(), { type: 'error', code: 'STATEFUL_UNAUTHENTICATED' })
  peer.send({ type: 'subscribe', space: 'app', key: 'user:1' })
  t.match(await peer.next(), { type: 'fullSync', state: { 'user:1': 'mine' } })
})

async function refused(t: Test, server: FastifyInstance, requests: InjectOptions[]) {
  for (const request of requests) {
    t.equal((await server.inject(request)).statusCode, 401, JSON.stringify(request))
  }
}

t.test('a rule by space lets the client follow: it connects first, and asks then', async (t) => {
  const server = await testApp(t, { authorize: (_request, _action, { space }) => space === 'public' })
  const ws = `${(await server.listen({ host: '127.0.0.1', port: 0 })).replace('http', 'ws')}/sync`
  const peer = await SyncPeer.connect(t, ws)
  peer.send({ type: 'subscribe', space: 'public' })
  t.match(await peer.next(), { type: 'fullSync' })
  peer.send({ type: 'subscribe', space: 'app' })
  t.match(await peer.next(), { type: 'error', code: 'STATEFUL_UNAUTHENTICATED' })

  const byRole = await testApp(t)
  const url = await byRole.listen({ host: '127.0.0.1', port: 0 })
  t.equal(await SyncPeer.refusal(`${url.replace('http', 'ws')}/sync`), 401, 'the default wants a session before')
})
