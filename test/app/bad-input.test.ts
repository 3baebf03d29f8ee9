import { once } from 'node:events'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { loggedIn, testApp } from '../fixtures/app.ts'
import { openSync } from '../fixtures/frames.ts'

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
    what: '__proto__ deep in a value',
    method: 'PUT',
    url: '/state/keys/a',
    payload: '{"value":{"__proto__":{"x":1}}}',
    status: 400,
    code: INVALID,
  },
  {
    what: 'constructor.prototype in a value',
    method: 'PUT',
    url: '/state/keys/a',
    payload: '{"value":{"constructor":{"prototype":{"x":1}}}}',
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
