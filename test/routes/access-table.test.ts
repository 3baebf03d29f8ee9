/**
 * The access table: every route that is registered and every message of a socket, asked by everybody there is, with
 * real answers. What each operation asks for is read from the contract (`security`), who may do that from `ACTIONS`. A
 * route or a message without a row turns it red.
 */
import { randomBytes } from 'node:crypto'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { FastifyInstance, InjectOptions } from 'fastify'
import t, { type Test } from 'tap'
import { clientMessages } from '../../openapi/messages/client.ts'
import { ACTIONS, type Action } from '../../plugins/security/access.ts'
import { ManualClock } from '../../plugins/support/manual-clock.ts'
import { ADMIN_PASSWORD, testApp } from '../fixtures/app.ts'
import { SyncPeer } from '../fixtures/sync-peer.ts'

const clock = new ManualClock(Date.now())
const registered: { method: string; url: string }[] = []

/** The app as in production, where the pages for operators ask as well, and every route that it registers. */
async function setUp(t: Test): Promise<FastifyInstance> {
  const watch = (message: unknown) => {
    const { fastify } = message as { fastify: FastifyInstance }
    fastify.addHook('onRoute', ({ method, url }) => {
      for (const one of [method].flat()) if (one !== 'HEAD') registered.push({ method: one, url })
    })
  }
  subscribe('fastify.initialization', watch)
  try {
    return await testApp(t, {
      production: true,
      secret: randomBytes(32).toString('base64url'),
      session: { production: false, clock },
      tokens: { clock, most: 10_000, throttle: { perAddress: 1_000_000 } },
    })
  } finally {
    unsubscribe('fastify.initialization', watch)
  }
}

const app = await setUp(t)
app.cache.writeBehind('writer', async () => {})
const USER = await app.accounts.create({ id: 'user', username: 'user', password: ADMIN_PASSWORD, role: 'user' })
let count = 0

// --- everybody there is -------------------------------------------------------------------------

type Headers = { cookie: string } | { authorization: string } | { [name: string]: never }

const session = async (user: { id: string; role?: string }, lifetime?: number) => ({
  cookie: await app.sessionActions.issue({ username: user.id, ...user }, lifetime === undefined ? {} : { lifetime }),
})
const token = async (scopes: readonly Action[], lifetime?: number) => {
  const made = await app.accessTokens.create({ name: 'm', scopes, ...(lifetime === undefined ? {} : { lifetime }) })
  return { id: made.id, headers: { authorization: `Bearer ${made.token}` } }
}
const ALL = Object.keys(ACTIONS) as Action[]
const others = (actions: readonly Action[]) => ALL.filter((action) => !actions.includes(action))

/** Each makes its credentials anew, so that no row spoils those of another. */
const PERSONAS = {
  anonymous: async (): Promise<Headers> => ({}),
  user: () => session({ id: 'user', role: 'user' }),
  'other user': () => session({ id: 'other', role: 'user' }),
  observer: () => session({ id: 'watcher', role: 'observer' }),
  administrator: () => session({ id: 'root', role: 'administrator' }),
  'expired session': async () => {
    const headers = await session({ id: 'root', role: 'administrator' }, 1_000)
    await clock.advance(1_001)
    return headers
  },
  'revoked session': async () => {
    const headers = await session({ id: `root-${++count}`, role: 'administrator' })
    await app.sessions.revokeUser(`root-${count}`)
    return headers
  },
  'forged session': async () => {
    const { cookie } = await session({ id: 'root', role: 'administrator' })
    return { cookie: `${cookie.slice(0, -3)}AAA` }
  },
  'token with the scope': async (actions: readonly Action[]) => (await token(actions)).headers,
  'token without the scope': async (actions: readonly Action[]) => (await token(others(actions))).headers,
  'expired token': async (actions: readonly Action[]) => {
    const { headers } = await token(actions, 1_000)
    await clock.advance(1_001)
    return headers
  },
  'revoked token': async (actions: readonly Action[]) => {
    const { id, headers } = await token(actions)
    await app.accessTokens.revoke(id)
    return headers
  },
} satisfies { [persona: string]: (actions: readonly Action[]) => Promise<Headers> }
type Persona = keyof typeof PERSONAS

// --- what they get ------------------------------------------------------------------------------

/** What an operation asks for, as its `security` says. */
type Asked = 'nothing' | 'session' | readonly Action[]
type Answer = 'allowed' | 'unauthenticated' | 'forbidden' | 'missing scope' | 'invalid token'

/** What the table says, out of the contract alone. @param own the resource is the user's */
function expected(asked: Asked, persona: Persona, own: boolean): Answer {
  if (asked === 'nothing') return 'allowed'
  const actions = asked === 'session' ? [] : asked
  switch (persona) {
    case 'anonymous':
    case 'expired session':
    case 'revoked session':
    case 'forged session':
      return 'unauthenticated'
    case 'administrator':
      return 'allowed'
    case 'user':
    case 'other user':
      if (asked === 'session' || (own && persona === 'user')) return 'allowed'
      return actions.every((action) => ACTIONS[action].allowed === 'session') ? 'allowed' : 'forbidden'
    case 'observer':
      if (asked === 'session') return 'allowed'
      return actions.every((action) => ['session', 'observer'].includes(ACTIONS[action].allowed))
        ? 'allowed'
        : 'forbidden'
  }
  if (asked === 'session') return 'unauthenticated'
  if (persona === 'token with the scope') return 'allowed'
  return persona === 'token without the scope' ? 'missing scope' : 'invalid token'
}

const ANSWERS: { [code: string]: Answer } = {
  STATEFUL_UNAUTHENTICATED: 'unauthenticated',
  STATEFUL_FORBIDDEN: 'forbidden',
  STATEFUL_MISSING_SCOPE: 'missing scope',
  STATEFUL_INVALID_TOKEN: 'invalid token',
}

// --- the rows -----------------------------------------------------------------------------------

interface Row {
  /** A request that is answered below 400, or by one of `also`, to who may send it. Path parameters are named in it. */
  request?: (persona: Persona) => Omit<InjectOptions, 'method'> | Promise<Omit<InjectOptions, 'method'>>
  method?: 'HEAD'
  also?: number[]
  /** It is about what belongs to the user of the persona `user`. */
  own?: true
  /** What it asks for, where the contract does not say: of the pages. Of several actions in the contract, these. */
  asks?: Asked
}

const key = { request: () => ({ url: '/state/keys/key' }) }
const write = (payload: object) => ({ request: () => ({ url: '/state/keys/key', payload }) })
const named = (url: string, payload?: object) => ({ request: () => ({ url, ...(payload ? { payload } : {}) }) })
const account = async () => {
  const id = `account-${++count}`
  await app.accounts.create({ id, username: id, password: ADMIN_PASSWORD, role: 'user' })
  return `/users/${id}`
}

/** By method and URL. */
const rows: { [route: string]: Row } = {
  'GET /health/live': {},
  'GET /health/ready': {},
  'POST /login': named('/login', { username: 'user', password: ADMIN_PASSWORD }),
  'POST /logout': {},
  'GET /profile': {},
  'POST /preferences': named('/preferences', { theme: 'dark' }),
  'POST /password': {
    // Only the user has an account here; the others are told that theirs is gone.
    ...named('/password', { password: ADMIN_PASSWORD }),
    also: [404],
  },
  'GET /sessions': { request: () => ({ url: '/sessions?userId=user' }), own: true },
  'DELETE /sessions': { request: () => ({ url: '/sessions?userId=user' }), own: true },
  'DELETE /sessions/:handle': {
    request: async () => {
      const { handle } = await app.sessions.create('user', {})
      return { url: `/sessions/${handle}?userId=user` }
    },
    own: true,
  },
  'GET /users': {},
  'POST /users': {
    request: () => ({ url: '/users', payload: { username: `new-${++count}`, password: ADMIN_PASSWORD } }),
    asks: ['users:administer'],
  },
  'GET /users/:id': { ...named('/users/user'), own: true },
  'PUT /users/:id': { ...named('/users/user', { displayName: 'U' }), own: true, asks: ['users:write'] },
  'PATCH /users/:id': { ...named('/users/user', { email: 'u@example.org' }), own: true, asks: ['users:write'] },
  'DELETE /users/:id': { request: async () => ({ url: await account() }) },
  'GET /tokens': {},
  'POST /tokens': {
    // A machine makes no token that may do more than its own.
    request: (persona) => ({
      url: '/tokens',
      payload: { name: 'n', scopes: [persona === 'token with the scope' ? 'tokens:create' : 'state:read'] },
    }),
  },
  'DELETE /tokens/:id': { request: async () => ({ url: `/tokens/${(await token(['state:read'])).id}` }) },
  'GET /state': {},
  'GET /state/keys': {},
  'GET /state/keys/:key': key,
  'PUT /state/keys/:key': write({ value: { n: 1 } }),
  'PATCH /state/keys/:key': write({ value: { n: 2 } }),
  'DELETE /state/keys/:key': {
    request: async () => {
      await app.state.set('gone', 1)
      return { url: '/state/keys/gone' }
    },
  },
  'POST /state/keys/:key/increment': named('/state/keys/number/increment', {}),
  'GET /state/snapshot': {},
  'POST /state/restore': named('/state/restore?space=restored', { state: {} }),
  'GET /state/changes': named('/state/changes?since=0'),
  'GET /cache/entries': {},
  'GET /cache/namespaces': {},
  'GET /cache/writers': {},
  'GET /state/spaces': {},
  'GET /cache/entries/:key': named('/cache/entries/key'),
  'PUT /cache/entries/:key': named('/cache/entries/key', { value: 1 }),
  'DELETE /cache/entries/:key': named('/cache/entries/gone'),
  'POST /cache/invalidate': named('/cache/invalidate', { keys: ['gone'] }),
  'POST /cache/warm': named('/cache/warm', { keys: ['key'] }),
  'POST /cache/clear': named('/cache/clear?namespace=other'),
  'GET /cache/writers/:writer/waiting': named('/cache/writers/writer/waiting'),
  'GET /cache/writers/:writer/dead-letters': named('/cache/writers/writer/dead-letters'),
  'POST /cache/writers/:writer/dead-letters/retry': named('/cache/writers/writer/dead-letters/retry', { ids: ['x'] }),
  // A stream does not end; the sockets below are asked for real.
  'GET /sync/events': { method: 'HEAD' },
  'POST /sync/writes': {
    request: () => ({
      url: '/sync/writes',
      payload: { clientId: 'a-client-id', seq: ++count, ops: [{ op: 'set', key: 'live', value: 1 }] },
    }),
  },
  'GET /sync/nodes': {},
  'GET /sync/trace': { ...named('/sync/trace?space=app'), method: 'HEAD' },
  'DELETE /sync/nodes/:id': { ...named('/sync/nodes/none'), also: [404] },
  'GET /audit': {},
  'GET /stats': {},
  'GET /stats/history': {},
  'POST /stats/reset': {},
  'GET /metrics': {},
  'GET /openapi.json': { asks: ['docs:read'] },
  'GET /asyncapi.json': { asks: ['docs:read'] },
  // Without an upgrade it is told to send one; with it, see the messages below.
  'GET /sync': { ...named('/sync?space=app'), asks: ['sync:read'], also: [426] },
}

/** Routes that other plugins register for files: all of a kind ask the same. */
const pages: { under: string; asks: Asked }[] = [
  { under: '/docs', asks: ['docs:read'] },
  // Its numbers are asked about where they are; a login form behind the guard could be reached by nobody.
  { under: '/dashboard', asks: 'nothing' },
]

// --- the table ----------------------------------------------------------------------------------

interface Operation {
  security?: { [scheme: string]: string[] }[]
}
const { paths } = app.swagger() as { paths: { [path: string]: { [method: string]: Operation } } }

function asked(method: string, url: string, row: Row): Asked {
  if (row.asks) return row.asks
  const operation = paths[url.replaceAll(/:(\w+)/g, '{$1}')]?.[method.toLowerCase()]
  if (!operation?.security) throw new Error(`the contract does not say what ${method} ${url} asks for`)
  if (operation.security.length === 0) return 'nothing'
  const actions = operation.security.flatMap(({ statefulToken = [] }) => statefulToken) as Action[]
  return actions.length === 0 ? 'session' : actions
}

async function cell(t: Test, name: string, method: string, url: string, row: Row, asks: Asked, persona: Persona) {
  // A row of promises that need no input or output is, for the watch over the load, a loop that stands still.
  await new Promise(setImmediate)
  const actions = typeof asks === 'string' ? ALL : asks
  const request = (await row.request?.(persona)) ?? { url }
  const headers = await PERSONAS[persona](actions)
  const response = await app.inject({ method: row.method ?? method, ...request, headers } as InjectOptions)
  const wanted = expected(asks, persona, row.own ?? false)
  const what = `${name} × ${persona}: ${wanted}`
  if (wanted === 'allowed') {
    const fine = response.statusCode < 400 || row.also?.includes(response.statusCode)
    t.ok(fine, `${what}, not ${response.statusCode} ${response.body.slice(0, 200)}`)
    return
  }
  t.equal(response.statusCode, wanted === 'forbidden' || wanted === 'missing scope' ? 403 : 401, what)
  // A refused HEAD has no body.
  if (row.method === 'HEAD') return
  const { code, action } = response.json()
  t.equal(ANSWERS[code], wanted, `${what}, not ${code}`)
  if (wanted === 'forbidden' || wanted === 'missing scope') t.ok(asks.includes(action), `${what} tells the action`)
}

t.test('every route', async (t) => {
  await app.state.set('key', { n: 0 })
  await app.state.set('number', 0)
  await app.cache.set('key', 1)
  await app.cache.namespace('other').set('k', 1)
  t.ok(registered.length > 50)
  const names = new Set(registered.map(({ method, url }) => `${method} ${url}`))
  const documented = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, ':$1')}`),
  )
  t.same(
    documented.filter((name) => !names.has(name)),
    [],
    'the document names only routes that there are',
  )
  t.same(
    Object.keys(rows).filter((name) => !names.has(name)),
    [],
    'no row without its route',
  )
  for (const name of names) {
    const [method = '', url = ''] = name.split(' ')
    const page = pages.find(({ under }) => url === under || url.startsWith(`${under}/`))
    const row = rows[name] ?? (page && { asks: page.asks, also: [404] })
    if (!row) {
      t.fail(`${name} has no row in the access table`)
      continue
    }
    const asks = asked(method, url, row)
    for (const persona of Object.keys(PERSONAS) as Persona[]) await cell(t, name, method, url, row, asks, persona)
  }
  t.match(await app.accounts.get('user'), { id: USER.id, role: 'user' })
})

// --- sockets ------------------------------------------------------------------------------------

interface Message {
  message: object
  /** Absent: nothing answers it that is handed out, so what comes first is the answer to the message behind it. */
  answer?: string
  /** Actions that it asks for, all of them. None: it is about what was asked for before. */
  asks: readonly Action[]
  /** Who has not subscribed is told so. */
  subscribed?: true
}

/** Is always answered. */
const BEHIND = { type: 'hello', protocols: [1] }
const operation = { op: 'set', key: 'k', value: 1 }
const messages: { [type in keyof typeof clientMessages]: Message[] } = {
  hello: [{ message: { protocols: [1] }, answer: 'hello', asks: [] }],
  heartbeat: [{ message: {}, asks: [] }],
  subscribe: [
    { message: { space: 'app' }, answer: 'fullSync', asks: ['sync:read'] },
    { message: { space: 'app', key: 'k' }, answer: 'fullSync', asks: ['sync:read'] },
    { message: { space: 'app', prefix: 'k' }, answer: 'fullSync', asks: ['sync:read'] },
  ],
  unsubscribe: [{ message: { space: 'none' }, asks: [], subscribed: true }],
  syncRequest: [{ message: { space: 'none' }, asks: [], subscribed: true }],
  write: [{ message: { seq: 1, ops: [operation] }, answer: 'ack', asks: ['sync:write'] }],
  stateChange: [{ message: { ops: [operation] }, answer: 'ack', asks: ['sync:write'] }],
  presence: [
    { message: { space: 'app' }, answer: 'presence', asks: ['presence:read'] },
    { message: { space: 'app', data: 1 }, answer: 'presence', asks: ['presence:read', 'presence:write'] },
    { message: { space: 'app', leave: true }, asks: [] },
  ],
}

t.test('every message of a socket', async (t) => {
  const address = await app.listen({ host: '127.0.0.1', port: 0 })
  const ws = `${address.replace('http', 'ws')}/sync`
  t.same(Object.keys(messages).sort(), Object.keys(clientMessages).sort(), 'no message without a row')
  for (const persona of Object.keys(PERSONAS) as Persona[]) {
    for (const type of Object.keys(messages) as (keyof typeof clientMessages)[]) {
      for (const { message, answer, asks, subscribed } of messages[type]) {
        const headers = await PERSONAS[persona](asks)
        const wanted = expected(asks.length === 0 ? 'session' : asks, persona, false)
        const what = `${type} ${JSON.stringify(message)} × ${persona}: ${wanted}`
        const machine = persona === 'token with the scope' || persona === 'token without the scope'
        if (
          (wanted === 'unauthenticated' && !machine) ||
          wanted === 'invalid token' ||
          /^(exp|rev).* token$/.test(persona)
        ) {
          t.equal(await SyncPeer.refusal(ws, { headers }), 401, what)
          continue
        }
        const peer = await SyncPeer.connect(t, ws, { headers })
        peer.send({ type, ...message })
        if (!answer && !subscribed) peer.send(BEHIND)
        const told = await peer.next()
        if (subscribed) t.match(told, { type: 'error', code: 'STATEFUL_NOT_SUBSCRIBED' }, what)
        else if (wanted === 'allowed' || asks.length === 0) t.equal(told.type, answer ?? 'hello', what)
        else {
          t.match(told, { type: /^(error|reject)$/ }, what)
          const { code = '', action = '' } = told as { code?: string; action?: string }
          t.equal(ANSWERS[code], wanted, what)
          t.ok(asks.includes(action as Action), `${what} tells the action`)
        }
        peer.socket.terminate()
      }
    }
  }
})

t.test('an upgrade and a stream that name what they want are asked for it', async (t) => {
  const { port } = app.server.address() as { port: number }
  for (const persona of Object.keys(PERSONAS) as Persona[]) {
    const wanted = expected(['sync:read'], persona, false)
    const status = wanted === 'allowed' ? 101 : wanted === 'forbidden' || wanted === 'missing scope' ? 403 : 401
    for (const query of ['space=app', 'space=app&key=k', 'space=app&prefix=k']) {
      const headers = await PERSONAS[persona](['sync:read'])
      const url = `ws://127.0.0.1:${port}/sync?${query}`
      if (status === 101) (await SyncPeer.connect(t, url, { headers })).socket.terminate()
      else t.equal(await SyncPeer.refusal(url, { headers }), status, `${query} × ${persona}`)
      const stream = new AbortController()
      const events = await fetch(`http://127.0.0.1:${port}/sync/events?${query}`, { headers, signal: stream.signal })
      t.equal(events.status, status === 101 ? 200 : status, `${query} × ${persona}`)
      stream.abort()
    }
  }
})
