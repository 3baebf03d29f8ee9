import { readFile } from 'node:fs/promises'
import t from 'tap'
import { clientMessages } from '../../openapi/messages/client.ts'
import { loggedIn, testApp } from '../fixtures/app.ts'
import { openSync } from '../fixtures/frames.ts'

/** Numbers that JSON.parse takes and JSON.stringify cannot give back, or only as another number. */
const hostile = ['1e999', '-1e999', '1E+400', `1${'0'.repeat(400)}`, `-${'9'.repeat(310)}.5`]
const rounded = ['9007199254740993', '1e300', '-9007199254740993']

t.test('no number of a request becomes Infinity, wherever it stands', async (t) => {
  const app = await testApp(t)
  const admin = await loggedIn(app)
  await admin({ method: 'PUT', url: '/state/keys/n', payload: { value: 1 } })
  const before = app.state.snapshot()
  const bodies = (number: string): [string, string, string][] => [
    ['PUT', '/state/keys/n', `{"value":${number}}`],
    ['PUT', '/state/keys/n', `{"value":{"deep":[{"er":${number}}]}}`],
    ['PUT', '/state/keys/n', `{"value":1,"ttl":${number}}`],
    ['PATCH', '/state/keys/o', `{"value":{"n":${number}}}`],
    ['POST', '/state/keys/n/increment', `{"by":${number}}`],
    ['POST', '/state/restore', `{"state":{"n":[${number}]}}`],
    ['PUT', '/cache/entries/n', `{"value":${number}}`],
    ['PUT', '/cache/entries/n', `{"value":[[${number}]]}`],
    ['PUT', '/cache/entries/n', `{"value":1,"ttl":${number}}`],
    ['POST', '/preferences', `{"size":${number}}`],
    ['POST', '/sync/writes', `{"clientId":"client-1","seq":${number},"ops":[{"op":"set","key":"n","value":1}]}`],
    ['POST', '/sync/writes', `{"clientId":"client-1","seq":1,"ops":[{"op":"set","key":"n","value":[${number}]}]}`],
    [
      'POST',
      '/sync/writes',
      `{"clientId":"client-1","seq":1,"ops":[{"op":"set","key":"n","value":1,"ttl":${number}}]}`,
    ],
  ]
  for (const number of hostile) {
    for (const [method, url, payload] of bodies(number)) {
      const headers = { 'content-type': 'application/json' }
      const response = await admin({ method: method as 'PUT', url, payload, headers })
      t.match(
        { status: response.statusCode, body: response.json() },
        { status: 400, body: { code: 'STATEFUL_INVALID_INPUT', errors: [{ path: String, message: String }] } },
        `${method} ${url} ${payload.slice(0, 80)}`,
      )
    }
    for (const url of [`/state/keys?limit=${number}`, `/state/changes?since=0&wait=${number}`]) {
      t.equal((await admin({ method: 'GET', url: url.replace('+', '%2B') })).statusCode, 400, url.slice(0, 60))
    }
  }
  for (const number of ['Infinity', '-Infinity', 'NaN', '0x1e999', ...rounded]) {
    for (const url of [`/state/keys?limit=${number}`, `/state/changes?since=0&limit=${number}`]) {
      t.equal((await admin({ method: 'GET', url })).statusCode, 400, url)
    }
  }
  t.same(app.state.snapshot(), before)
  t.equal(await app.cache.get('n'), undefined)
  const { errors } = (
    await admin({
      method: 'PUT',
      url: '/state/keys/n',
      payload: '{"value":{"a/b":[1,1e999]}}',
      headers: { 'content-type': 'application/json' },
    })
  ).json()
  t.same(errors, [{ path: '/body/value/a~1b/1', message: 'must be a finite number' }], 'the place is named')
})

t.test('whole numbers that JSON rounds are refused, and durations beyond a century', async (t) => {
  const app = await testApp(t)
  const admin = await loggedIn(app)
  const century = 100 * 365 * 24 * 3_600_000
  const cases: [string, string, object][] = [
    ['PUT', '/state/keys/n', { value: 1, ttl: century + 1 }],
    ['PUT', '/cache/entries/n', { value: 1, ttl: century + 1 }],
    ['PUT', '/cache/entries/n', { value: 1, ttl: '101y' }],
    ['POST', '/sync/writes', { clientId: 'client-1', seq: 2 ** 53, ops: [{ op: 'set', key: 'n', value: 1 }] }],
    ['POST', '/sync/writes', { clientId: 'client-1', seq: 1.5, ops: [{ op: 'set', key: 'n', value: 1 }] }],
    ['POST', '/state/keys/n/increment', { by: 1e300 }],
  ]
  for (const [method, url, payload] of cases) {
    const response = await admin({ method: method as 'PUT', url, payload })
    t.match([response.statusCode, response.json().code], [400, /INVALID/], JSON.stringify(payload))
  }
  t.equal((await admin({ method: 'PUT', url: '/state/keys/n', payload: { value: 1, ttl: century } })).statusCode, 200)
  t.equal((await admin({ method: 'PUT', url: '/cache/entries/n', payload: { value: 1, ttl: '99y' } })).statusCode, 200)
})

t.test('no frame of a socket brings a number that is none into the log, nor ends anything', async (t) => {
  const app = await testApp(t)
  const { cookie } = await loggedIn(app)
  const url = await app.listen({ port: 0 })
  const peer = await openSync(t, url, cookie)
  await peer.next('fullSync')
  const { revision } = app.state
  for (const number of hostile) {
    for (const text of [
      `{"type":"write","seq":${number},"ops":[{"op":"set","key":"n","value":1}]}`,
      `{"type":"write","seq":1,"ops":[{"op":"set","key":"n","value":[{"x":${number}}]}]}`,
      `{"type":"write","seq":1,"ops":[{"op":"increment","key":"n","value":${number}}]}`,
      `{"type":"stateChange","ops":[{"op":"set","key":"n","value":1,"ttl":${number}}]}`,
      `{"type":"presence","space":"app","data":{"x":${number}}}`,
      `{"type":"syncRequest","space":"app","since":{"epoch":"1:a","revision":${number}}}`,
    ]) {
      peer.socket.send(text)
      // A write that can be told by its number is answered with it.
      const { code } = await peer.next(text.includes('"seq":1,') ? 'reject' : 'error')
      t.match(code, /^STATEFUL_INVALID_MESSAGE$|^STATEFUL_STATE_INVALID/, text.slice(0, 80))
    }
  }
  t.equal(app.state.revision, revision)
})

type Schema = Record<string, unknown>
const BOUNDS = ['minimum', 'exclusiveMinimum', 'maximum', 'exclusiveMaximum', 'enum', 'const']

/** The places of numbers that have no lower or no upper bound, or one beyond what JSON carries unchanged. */
function unbounded(schema: unknown, place: string): string[] {
  if (typeof schema !== 'object' || schema === null) return []
  const found = Object.entries(schema).flatMap(([name, part]) =>
    // An example is a value, whatever its fields are called.
    ['example', 'examples', 'default'].includes(name) ? [] : unbounded(part, `${place}/${name}`),
  )
  const { type, enum: values, const: constant } = schema as Schema
  const isNumber = [type].flat().some((one) => one === 'number' || one === 'integer')
  if (!isNumber || values !== undefined || constant !== undefined) return found
  const [low = Number.NaN, lowExclusive = Number.NaN, high = Number.NaN, highExclusive = Number.NaN] = BOUNDS.map(
    (name) => (schema as Schema)[name] as number | undefined,
  )
  const within = (bound: number) => Math.abs(bound) <= Number.MAX_SAFE_INTEGER || [type].flat()[0] === 'number'
  const lower = within(low) || within(lowExclusive)
  const upper = within(high) || within(highExclusive)
  const named = [low, lowExclusive].some(Number.isFinite) && [high, highExclusive].some(Number.isFinite)
  return lower && upper && named ? found : [place, ...found]
}

t.test('every number of the contract is bounded', async (t) => {
  for (const file of ['openapi.json', 'asyncapi.json']) {
    const document = JSON.parse(await readFile(new URL(`../../openapi/${file}`, import.meta.url), 'utf8'))
    t.same(unbounded(document, file), [])
  }
  t.same(unbounded(clientMessages, 'messages'), [])
  t.same(unbounded({ a: { type: 'integer', minimum: 0 } }, ''), ['/a'], 'the check itself sees what has no bound')
  t.same(unbounded({ a: { type: ['number', 'null'], maximum: 1 } }, ''), ['/a'])
  t.same(unbounded({ a: { type: 'integer', minimum: 0, maximum: 1e300 } }, ''), ['/a'])
})
