import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { accounts } from '../../../plugins/accounts/index.ts'
import { draining } from '../../../plugins/draining/index.ts'
import { problems, serverOptions } from '../../../plugins/problems/index.ts'
import { stateful } from '../../../plugins/stateful/index.ts'
import { authRoutes } from '../../../routes/auth/index.ts'
import { stateRoutes } from '../../../routes/state/index.ts'
import { testApp } from '../../fixtures/app.ts'
import { SECRET } from '../../fixtures/credentials.ts'

/**
 * As the reference server is made, but for the refusal of new work under load, which has its own test; and README's
 * application, which has `stateful` and not `problems`.
 */
const servers: Record<string, (t: Test, requestTimeout?: string) => Promise<FastifyInstance>> = {
  async reference(t, requestTimeout) {
    const app = Fastify({
      ...serverOptions(requestTimeout ? { requestTimeout } : {}),
      forceCloseConnections: true,
      routerOptions: { maxParamLength: 2_048 },
    })
    t.teardown(() => app.close())
    await app.register(problems)
    await app.register(stateful, { storage: 'memory:', secret: SECRET })
    await app.register(accounts, { bootstrap: false })
    await app.register(draining)
    await app.register(authRoutes)
    await app.register(stateRoutes)
    return app
  },
  minimal,
}

async function minimal(t: Test, requestTimeout?: string): Promise<FastifyInstance> {
  const app = Fastify({ ...serverOptions(requestTimeout ? { requestTimeout } : {}), bodyLimit: 1_048_576 })
  t.teardown(() => app.close())
  await app.register(stateful, { storage: 'memory:', secret: SECRET })
  app.post('/login', async () => 'in')
  app.get('/state/keys/:key', async () => 'value')
  return app
}

interface Answer {
  status: number
  headers: Record<string, string>
  body: string
}

/** Everything that comes until the server closes the connection, as answers. */
async function answers(socket: Socket): Promise<Answer[]> {
  let text = ''
  socket.setEncoding('latin1').on('data', (chunk) => {
    text += chunk
  })
  await once(socket, 'close')
  const found: Answer[] = []
  while (text !== '') {
    const end = text.indexOf('\r\n\r\n')
    const [line = '', ...lines] = text.slice(0, end).split('\r\n')
    const headers = Object.fromEntries(
      lines.map((header) => [
        header.slice(0, header.indexOf(':')).toLowerCase(),
        header.slice(header.indexOf(':') + 2),
      ]),
    )
    const length = Number(headers['content-length'] ?? 0)
    found.push({ status: Number(line.split(' ')[1]), headers, body: text.slice(end + 4, end + 4 + length) })
    text = text.slice(end + 4 + length)
  }
  return found
}

async function listening(app: FastifyInstance): Promise<number> {
  await app.listen({ host: '127.0.0.1', port: 0 })
  return (app.server.address() as { port: number }).port
}

async function send(port: number, request: string): Promise<Answer[]> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  socket.write(request, 'latin1')
  return answers(socket)
}

function isProblem(t: Test, answer: Answer | undefined, status: number, code: string | RegExp) {
  t.equal(answer?.status, status)
  t.match(answer?.headers['content-type'], /^application\/problem\+json/)
  const problem = JSON.parse(answer?.body || '{}')
  t.match(problem, { status, code, title: String, type: /^urn:fastify-stateful:problem:/, requestId: /./ })
  t.notMatch(answer?.body, /node_modules|at \w+ \(|HPE_|FST_/)
}

const get = (path: string, ...headers: string[]) =>
  [
    'GET ',
    path,
    ' HTTP/1.1\r\n',
    ...['Host: x', 'Connection: close', ...headers].map((line) => `${line}\r\n`),
    '\r\n',
  ].join('')
const post = (body: string, ...headers: string[]) =>
  `POST /login HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${headers.map((line) => `${line}\r\n`).join('')}\r\n${body}`
const json = 'Content-Type: application/json'

const cases: [what: string, request: string, status: number, code: string][] = [
  ['a lone %', get('/%'), 400, 'STATEFUL_INVALID_URL'],
  ['bytes that are no UTF-8', get('/state/keys/%ff%fe'), 400, 'STATEFUL_INVALID_URL'],
  ['half a surrogate pair', get('/state/keys/%ed%a0%80'), 400, 'STATEFUL_INVALID_URL'],
  ['a key too long', get(`/state/keys/${'k'.repeat(3_000)}`), 414, 'STATEFUL_URI_TOO_LONG'],
  ['no HTTP', 'what is this\r\n\r\n', 400, 'STATEFUL_MALFORMED_REQUEST'],
  ['bytes', '\u0000\u0001\u0002\u00ff\r\n\r\n', 400, 'STATEFUL_MALFORMED_REQUEST'],
  ['TLS', '\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001\u00fc\u0003\u0003', 400, 'STATEFUL_MALFORMED_REQUEST'],
  ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400, 'STATEFUL_MALFORMED_REQUEST'],
  ['a method that nobody knows', 'BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n', 400, 'STATEFUL_MALFORMED_REQUEST'],
  ['a line that ends oddly', 'GET / HTTP/1.1\r\nHost: x\r\nX: a\u0000b\r\n\r\n', 400, 'STATEFUL_MALFORMED_REQUEST'],
  ['no Host', 'GET / HTTP/1.1\r\nConnection: close\r\n\r\n', 400, 'STATEFUL_MISSING_HOST'],
  ['headers too large', get('/', `X: ${'x'.repeat(20_000)}`), 431, 'STATEFUL_HEADERS_TOO_LARGE'],
  ['a URL too large', get(`/${'x'.repeat(20_000)}`), 431, 'STATEFUL_HEADERS_TOO_LARGE'],
  ['an expectation', post('{}', json, 'Expect: 200-ok', 'Content-Length: 2'), 417, 'STATEFUL_EXPECTATION_FAILED'],
  ['two lengths', post('{}', json, 'Content-Length: 2', 'Content-Length: 3'), 400, 'STATEFUL_MALFORMED_REQUEST'],
  [
    'a length and chunks',
    post('0\r\n\r\n', json, 'Content-Length: 5', 'Transfer-Encoding: chunked'),
    400,
    'STATEFUL_MALFORMED_REQUEST',
  ],
  ['a negative length', post('', json, 'Content-Length: -1'), 400, 'STATEFUL_MALFORMED_REQUEST'],
  ['an unknown transfer encoding', post('{}', json, 'Transfer-Encoding: gzip'), 400, 'STATEFUL_MALFORMED_REQUEST'],
  [
    'a chunk of no size',
    post('zz\r\n{}\r\n0\r\n\r\n', json, 'Transfer-Encoding: chunked'),
    400,
    'STATEFUL_MALFORMED_REQUEST',
  ],
  ['a body too large', post('', json, 'Content-Length: 2000000'), 413, 'STATEFUL_BODY_TOO_LARGE'],
  ['a media type', post('<a/>', 'Content-Type: text/xml', 'Content-Length: 4'), 415, 'STATEFUL_UNSUPPORTED_MEDIA_TYPE'],
  ['broken JSON', post('{"a":', json, 'Content-Length: 5'), 400, 'STATEFUL_INVALID_INPUT'],
  ['an unknown route', get('/nothing'), 404, 'STATEFUL_NOT_FOUND'],
  ...['PROPFIND', 'MKCOL', 'SEARCH', 'TRACE', 'PURGE', 'OPTIONS', 'M-SEARCH', 'DELETE'].map(
    (method): [string, string, number, string] => [
      method,
      get('/nothing').replace('GET', method),
      404,
      'STATEFUL_NOT_FOUND',
    ],
  ),
]

for (const [name, start] of Object.entries(servers)) {
  t.test(`${name}: whatever is wrong before a route is a problem document`, async (t) => {
    const port = await listening(await start(t))
    for (const [what, request, status, code] of cases) {
      await t.test(what, async (t) => {
        const [answer] = await send(port, request)
        isProblem(t, answer, status, code)
      })
    }
    await t.test('HEAD is answered without a body', async (t) => {
      const [answer] = await send(port, get('/nothing').replace('GET', 'HEAD'))
      t.match(answer, { status: 404, body: '' })
    })
    await t.test('nor has the answer to a HEAD that is malformed one', async (t) => {
      for (const line of ['X: a\u0000b', `X: ${'x'.repeat(20_000)}`]) {
        const [answer] = await send(port, get('/nothing', line).replace('GET', 'HEAD'))
        t.match(answer, { status: line.length < 100 ? 400 : 431, body: '' })
      }
    })
    await t.test('what follows a body that was longer than it said', async (t) => {
      const request = post('{}\u0001garbage', json, 'Content-Length: 2').replace('close', 'keep-alive')
      isProblem(t, (await send(port, request)).at(-1), 400, 'STATEFUL_MALFORMED_REQUEST')
    })
    await t.test('and the server goes on', async (t) => {
      isProblem(t, (await send(port, get('/nothing')))[0], 404, 'STATEFUL_NOT_FOUND')
    })
  })

  t.test(`${name}: a request that dribbles is cut, before its headers have come and after`, async (t) => {
    const port = await listening(await start(t, '400ms'))
    const beginnings = [
      '',
      'GET / HTTP/1.1\r\nHost: x\r\nX: ',
      post('{"username":', json, 'Content-Length: 1000').replace('close', 'keep-alive'),
      post('5\r\n{"a":\r\n', json, 'Transfer-Encoding: chunked').replace('close', 'keep-alive'),
    ]
    await Promise.all(
      beginnings.map(async (beginning) => {
        const socket = connect(port, '127.0.0.1')
        socket.on('error', () => {})
        const began = performance.now()
        socket.write(beginning)
        // One byte now and then is what keeps a server busy that only looks for silence.
        const dribble = beginning === '' ? undefined : setInterval(() => socket.write('1'), 50)
        if (beginning.includes('chunked')) clearInterval(dribble)
        const [answer] = await answers(socket)
        clearInterval(dribble)
        isProblem(t, answer, 408, 'STATEFUL_REQUEST_TIMEOUT')
        t.equal(answer?.headers['connection'], 'close')
        // 400 ms, and the second that a client may take to read why; not the 30 s that Node looks for by itself.
        t.ok(performance.now() - began < 10_000, JSON.stringify(beginning))
      }),
    )
  })

  t.test(`${name}: a request while the server closes is told when to come back`, async (t) => {
    const app = await start(t)
    const port = await listening(app)
    const slow = connect(port, '127.0.0.1')
    const other = connect(port, '127.0.0.1')
    await Promise.all([once(slow, 'connect'), once(other, 'connect')])
    const arrived = once(app.server, 'request')
    slow.write(post('', json, 'Content-Length: 2'))
    await arrived
    const closing = app.close()
    // It has been accepted already; a load balancer keeps such connections.
    other.write('GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n')
    const [refused] = await answers(other)
    isProblem(t, refused, 503, 'STATEFUL_SERVER_CLOSING')
    t.equal(refused?.headers['retry-after'], '1')
    t.equal(refused?.headers['connection'], 'close')
    slow.write('{}')
    const [finished] = await answers(slow)
    t.ok(finished && finished.status !== 503, 'what came before is answered')
    await closing
  })
}

function withResolvers() {
  let resolve: (value?: unknown) => void = () => {}
  const promise = new Promise((done) => {
    resolve = done
  })
  return { promise, resolve }
}

t.test('nothing is written into the middle of an answer', async (t) => {
  const app = await minimal(t)
  const begun = withResolvers()
  app.get('/stream', (_request, reply) => {
    reply.hijack()
    reply.raw.writeHead(200, { 'content-type': 'text/plain', 'content-length': 100 })
    reply.raw.write('first', () => begun.resolve())
  })
  const port = await listening(app)
  const socket = connect(port, '127.0.0.1')
  let text = ''
  socket.on('error', () => {})
  socket.on('data', (chunk) => {
    text += chunk
  })
  socket.write('GET /stream HTTP/1.1\r\nHost: x\r\n\r\n')
  await begun.promise
  socket.write('\u0001 this is no request\r\n\r\n')
  await once(socket, 'close')
  t.match(text, /first$/)
  t.equal(text.match(/HTTP\/1\.1/g)?.length, 1)
})

t.test('a timeout that cannot be kept stops the boot', async (t) => {
  for (const requestTimeout of ['soon', '0', '1ms', '25d']) {
    t.throws(() => serverOptions({ requestTimeout }), { code: /^STATEFUL_INVALID_(DURATION|OPTION)$/ }, requestTimeout)
  }
  const { server } = await testApp(t)
  t.equal(server.requestTimeout, serverOptions().requestTimeout)
  t.equal(server.headersTimeout, 30_000)
  t.ok(serverOptions().http.connectionsCheckingInterval <= 250, 'and Node looks often enough')
})
