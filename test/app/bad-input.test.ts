import { once } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { loggedIn, testApp } from '../fixtures/app.ts'
import { openSync } from '../fixtures/frames.ts'
import { onEveryStorage, storageKinds, storageUrl } from '../fixtures/storages.ts'
import { SyncPeer } from '../fixtures/sync-peer.ts'
import { hostileHeaders, hostileJson, hostileParts, hostileQueries } from './hostile-values.ts'

/** What a client sends, and the answer that it must get. State is compared before and after: nothing is lost. */
interface Case {
  what: string
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  url: string
  payload?: string | object
  type?: string
  status: number
  code: string
}

const INVALID = 'STATEFUL_INVALID_INPUT'
const long = 'k'.repeat(513)
const cases: Case[] = [
  {
    what: 'an unknown body field',
    method: 'PUT',
    url: '/state/keys/a',
    payload: { value: 1, oops: 1 },
    status: 400,
    code: INVALID,
  },
  { what: 'a missing body field', method: 'PUT', url: '/state/keys/a', payload: {}, status: 400, code: INVALID },
  {
    what: 'a wrong type',
    method: 'POST',
    url: '/state/keys/n/increment',
    payload: { by: '1' },
    status: 400,
    code: INVALID,
  },
  {
    what: 'a wrong type at login',
    method: 'POST',
    url: '/login',
    payload: { username: 1, password: [] },
    status: 400,
    code: INVALID,
  },
  { what: 'an array for an object', method: 'POST', url: '/preferences', payload: [], status: 400, code: INVALID },
  {
    what: '__proto__ in a body',
    method: 'PUT',
    url: '/state/keys/a',
    payload: '{"value":1,"__proto__":{"x":1}}',
    status: 400,
    code: INVALID,
  },
  {
    what: '__proto__ deep in a body',
    method: 'POST',
    url: '/preferences',
    payload: '{"theme":{"__proto__":{"x":1}}}',
    status: 400,
    code: INVALID,
  },
  {
    what: 'constructor.prototype in a body',
    method: 'POST',
    url: '/preferences',
    payload: '{"theme":{"constructor":{"prototype":{"x":1}}}}',
    status: 400,
    code: INVALID,
  },
  { what: 'broken JSON', method: 'PUT', url: '/state/keys/a', payload: '{"value":', status: 400, code: INVALID },
  { what: 'no JSON at all', method: 'PUT', url: '/state/keys/a', payload: '', status: 400, code: INVALID },
  {
    what: 'a form',
    method: 'POST',
    url: '/login',
    payload: 'username=a&password=b',
    type: 'application/x-www-form-urlencoded',
    status: 415,
    code: 'STATEFUL_UNSUPPORTED_MEDIA_TYPE',
  },
  {
    what: 'text/plain',
    method: 'PUT',
    url: '/state/keys/a',
    payload: '{"value":1}',
    type: 'text/plain',
    status: 415,
    code: 'STATEFUL_UNSUPPORTED_MEDIA_TYPE',
  },
  {
    what: 'a content type with a tab',
    method: 'PUT',
    url: '/state/keys/a',
    payload: '{"value":1,"oops":1}',
    type: 'application/json\ta',
    status: 415,
    code: 'STATEFUL_UNSUPPORTED_MEDIA_TYPE',
  },
  {
    what: 'a body over the limit',
    method: 'PUT',
    url: '/state/keys/a',
    payload: { value: 'x'.repeat(1_100_000) },
    status: 413,
    code: 'STATEFUL_BODY_TOO_LARGE',
  },
  {
    what: 'a value over the limit',
    method: 'PUT',
    url: '/state/keys/a',
    payload: { value: 'x'.repeat(300_000) },
    status: 413,
    code: 'STATEFUL_STATE_LIMIT',
  },
  {
    what: 'an over-long state key',
    method: 'PUT',
    url: `/state/keys/${long}`,
    payload: { value: 1 },
    status: 400,
    code: INVALID,
  },
  {
    what: 'an over-long cache key',
    method: 'PUT',
    url: `/cache/entries/${long}`,
    payload: { value: 1 },
    status: 400,
    code: INVALID,
  },
  { what: 'an unknown route', method: 'GET', url: '/nothing/here', status: 404, code: 'STATEFUL_NOT_FOUND' },
  {
    what: 'a missing key',
    method: 'GET',
    url: '/state/keys/nothing',
    status: 404,
    code: 'STATEFUL_NOT_FOUND',
  },
  { what: 'a foolish space', method: 'GET', url: '/state?space=../x', status: 400, code: INVALID },
  {
    what: 'a foolish ttl',
    method: 'PUT',
    url: '/cache/entries/a',
    payload: { value: 1, ttl: -5 },
    status: 400,
    code: INVALID,
  },
]

t.test('bad input gets its documented answer and changes nothing', async (t) => {
  const app = await testApp(t)
  const admin = await loggedIn(app)
  await admin({ method: 'PUT', url: '/state/keys/a', payload: { value: 'kept' } })
  const before = (await admin({ method: 'GET', url: '/state/snapshot' })).json()
  for (const { what, method, url, payload, type, status, code } of cases) {
    const response = await admin({
      method,
      url,
      ...(payload === undefined ? {} : { payload }),
      headers: payload === undefined ? {} : { 'content-type': type ?? 'application/json' },
    })
    t.match(
      { status: response.statusCode, type: response.headers['content-type'], body: response.json() },
      {
        status,
        type: /^application\/problem\+json/,
        body: { status, code, title: String, type: String, requestId: String },
      },
      what,
    )
  }
  t.same((await admin({ method: 'GET', url: '/state/snapshot' })).json(), before)
  t.equal(Object.hasOwn(Object.prototype, 'x'), false)
})

t.test('in a value of the state, names of prototypes are names like any other, and change no object', async (t) => {
  const app = await testApp(t)
  const admin = await loggedIn(app)
  const headers = { 'content-type': 'application/json' }
  for (const value of ['{"__proto__":{"x":1}}', '{"constructor":{"prototype":{"x":1}}}']) {
    const put = await admin({ method: 'PUT', url: '/state/keys/a', payload: `{"value":${value}}`, headers })
    t.equal(put.statusCode, 200)
    const { body } = await admin({ method: 'GET', url: '/state/keys/a' })
    t.ok(body.includes(`"value":${value}`), body)
    t.equal(Object.hasOwn(Object.prototype, 'x'), false)
    t.equal((app.state.get('a') as { x?: number }).x, undefined)
  }
})

const refused = async (t: Test, url: string, headers: Record<string, string>) => {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/sync?space=app`, { headers })
  t.teardown(() => socket.terminate())
  socket.on('error', () => {})
  const [, response] = await once(socket, 'unexpected-response')
  return response.statusCode
}

t.test('a WebSocket from a foreign origin is refused', async (t) => {
  const app = await testApp(t, { allowedOrigins: ['https://good.com'] })
  const { cookie } = await loggedIn(app)
  const url = await app.listen({ port: 0 })
  for (const origin of [
    'https://evil.example',
    'null',
    'https://good.com.evil',
    'http://good.com',
    'https://sub.good.com',
  ]) {
    t.equal(await refused(t, url, { cookie, origin }), 403, origin)
  }
  t.equal(await refused(t, url, {}), 401, 'no session')
  for (const origin of ['https://good.com', url]) {
    const socket = new WebSocket(`${url.replace('http', 'ws')}/sync?space=app`, { headers: { cookie, origin } })
    t.teardown(() => socket.terminate())
    await once(socket, 'open')
  }
})

t.test('an oversized frame closes its socket with 1009 and nobody else', async (t) => {
  const app = await testApp(t)
  const { cookie } = await loggedIn(app)
  const url = await app.listen({ port: 0 })
  const hostile = await openSync(t, url, cookie)
  const bystander = await openSync(t, url, cookie)
  await bystander.next('fullSync')
  hostile.socket.send('x'.repeat(2 * 1_048_576))
  t.equal((await once(hostile.socket, 'close'))[0], 1009)
  await app.state.set('after', true)
  t.match(await bystander.next('stateChange'), { changes: [{ ops: [{ key: 'after' }] }] })
})

interface Operation {
  id: string
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  path: string
  /** Names of its query parameters. */
  query: string[]
  /** An example for each field of its body. */
  body: Record<string, unknown> | undefined
  responses: string[]
}

/** These hold their answer back or end the session of the test; the sockets have a test of their own. */
const APART = new Set(['openSync', 'connectSync', 'streamEvents', 'streamSync', 'logout', 'readChanges'])

/** Of no operation in particular: an unknown route, a body that is none or too large. */
const GENERAL = new Set([400, 404, 413, 414, 415])

interface Documented {
  operationId?: string
  parameters?: { in: string; name: string }[]
  requestBody?: { content?: Record<string, { schema?: { $ref?: string; properties?: object } }> }
  responses: object
}

function operationsOf(document: { paths?: object; components?: { schemas?: object } }): Operation[] {
  const schemas = (document.components?.schemas ?? {}) as Record<string, { properties?: object }>
  return Object.entries((document.paths ?? {}) as Record<string, Record<string, Documented>>).flatMap(
    ([path, methods]) =>
      Object.entries(methods).flatMap(([method, operation]) => {
        const id = operation.operationId ?? ''
        const schema = operation.requestBody?.content?.['application/json']?.schema
        const named = schema?.$ref ? schemas[schema.$ref.split('/').at(-1) as string] : schema
        if (APART.has(id) || path.startsWith('/sync')) return []
        return {
          id,
          method: method.toUpperCase() as Operation['method'],
          path,
          query: (operation.parameters ?? []).filter((one) => one.in === 'query').map(({ name }) => name),
          body: operation.requestBody
            ? Object.fromEntries(
                Object.keys(named?.properties ?? {}).map((name) => [name, name === 'ttl' ? 1_000 : 'a']),
              )
            : undefined,
          responses: Object.keys(operation.responses),
        }
      }),
  )
}

function isDeclared(status: number, { responses }: Operation): boolean {
  return responses.some((one) => one === `${status}` || one.toUpperCase() === `${Math.trunc(status / 100)}XX`)
}

/** Each storage takes every third of them, another third each; `HOSTILE_SHARE=1` takes all on each. */
const SHARE = Number(process.env['HOSTILE_SHARE'] ?? 3)

t.test(
  'hostile values in every operation: declared answers, no 500, and the process lives',
  { timeout: 120_000 },
  (t) =>
    onEveryStorage(t, async (t, kind) => {
      const escaped: unknown[] = []
      const note = (error: unknown) => escaped.push(error)
      process.on('unhandledRejection', note).on('uncaughtException', note)
      t.teardown(() => process.off('unhandledRejection', note).off('uncaughtException', note))
      const app = await testApp(t, { storage: await storageUrl(t, kind) })
      const operations = operationsOf(app.swagger())
      t.ok(operations.length > 25, `${operations.length} operations`)
      let admin = await loggedIn(app)
      let [turns, sent] = [storageKinds.indexOf(kind), 0]
      const failures: string[] = []
      const send = async (operation: Operation, what: string, url: string, body?: string, headers = {}) => {
        if (turns++ % SHARE !== 0) return
        const response = await admin({
          method: operation.method,
          url,
          ...(body === undefined ? {} : { payload: body }),
          headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
        })
        sent += 1
        const { statusCode: status } = response
        const type = `${response.headers['content-type']}`
        const problem = /^application\/problem\+json/.test(type)
        // The router's own answer to a URL that cannot be decoded.
        const badUrl = status === 400 && /FST_ERR_BAD_URL/.test(response.body)
        const general = badUrl || (problem && GENERAL.has(status))
        // Without a turn of the event loop the process counts as overloaded.
        await turn()
        if (status >= 500 || (status >= 400 && !problem && !badUrl) || !(general || isDeclared(status, operation))) {
          failures.push(`${operation.id} with ${what}: ${status} ${type} ${response.body.slice(0, 200)}`)
        }
        // Some of them end the session, as they should.
        if (/revoke|logout|deleteSession/i.test(operation.id)) admin = await loggedIn(app)
      }
      for (const operation of operations) {
        const url = operation.path.replaceAll(/\{\w+\}/g, 'a')
        for (const [name, text] of Object.entries(hostileJson)) {
          if (!operation.body) break
          await send(operation, `the body ${name}`, url, text)
          for (const field of Object.keys(operation.body)) {
            const others = Object.entries(operation.body).filter(([other]) => other !== field)
            const rest = others.map(([other, value]) => `,${JSON.stringify(other)}:${JSON.stringify(value)}`).join('')
            await send(operation, `${field}: ${name}`, url, `{${JSON.stringify(field)}:${text}${rest}}`)
          }
        }
        if (operation.path.includes('{')) {
          for (const part of hostileParts) {
            await send(operation, `the part ${part.slice(0, 20)}`, operation.path.replaceAll(/\{\w+\}/g, part))
          }
        }
        for (const query of [...operation.query, 'unknown'].flatMap(hostileQueries)) {
          await send(operation, `the query ${query.slice(0, 40)}`, `${url}?${query}`)
        }
        for (const headers of hostileHeaders)
          await send(operation, JSON.stringify(headers).slice(0, 60), url, undefined, headers)
      }
      t.ok(sent > 1_000, `${sent} requests`)
      t.strictSame(failures, [])
      t.strictSame(escaped, [])
      t.equal((await app.inject('/health/ready')).statusCode, 200)
      t.equal(({} as { polluted?: unknown }).polluted, undefined)
    }),
)

t.test(
  'hostile values in every message of a socket: an answer or a documented end, and the process lives',
  async (t) => {
    const escaped: unknown[] = []
    const note = (error: unknown) => escaped.push(error)
    process.on('unhandledRejection', note).on('uncaughtException', note)
    t.teardown(() => process.off('unhandledRejection', note).off('uncaughtException', note))
    const app = await testApp(t, { sync: { maxRefusals: 1_000, messageRate: 10_000 } })
    const { cookie } = await loggedIn(app)
    const url = `${(await app.listen({ port: 0 })).replace('http', 'ws')}/sync`
    const messages = [
      '{"type":"hello","protocols":[1],"clientId":VALUE}',
      '{"type":"subscribe","space":VALUE}',
      '{"type":"subscribe","space":"app","key":VALUE}',
      '{"type":"subscribe","space":"app","since":VALUE}',
      '{"type":"syncRequest","space":"app","since":{"epoch":"1:x","revision":VALUE}}',
      '{"type":"write","seq":VALUE,"ops":[{"op":"set","key":"a","value":1}]}',
      '{"type":"write","seq":1,"ops":VALUE}',
      '{"type":"write","seq":1,"ops":[{"op":"set","key":"a","value":VALUE}]}',
      '{"type":"write","seq":1,"ops":[{"op":"merge","key":VALUE,"value":{}}]}',
      '{"type":"presence","space":"app","data":VALUE}',
      '{"type":"heartbeat","x":VALUE}',
      'VALUE',
    ]
    for (const message of messages) {
      const peer = await SyncPeer.connect(t, `${url}?space=app`, { headers: { cookie } })
      for (const text of Object.values(hostileJson)) peer.send(message.replace('VALUE', () => text))
      peer.socket.close(1000)
      const { code } = await peer.closed
      t.ok([1000, 1007, 1008].includes(code), `${message}: ${code}`)
    }
    t.strictSame(escaped, [])
    t.equal((await app.inject('/health/ready')).statusCode, 200)
  },
)
