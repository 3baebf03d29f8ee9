import { once } from 'node:events'
import { connect } from 'node:net'
import { Readable } from 'node:stream'
import { gunzipSync } from 'node:zlib'
import compress from '@fastify/compress'
import etag from '@fastify/etag'
import rateLimit from '@fastify/rate-limit'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { cache } from '../../../plugins/cache/index.ts'
import { type ResponseCacheOptions, type RouteCache, responseCache } from '../../../plugins/response-cache/index.ts'
import { storage } from '../../../plugins/storage/index.ts'
import { type Clock, systemClock } from '../../../plugins/support/clock.ts'
import { onEveryStorage, storageUrl } from '../../fixtures/storages.ts'

interface Timed {
  app: FastifyInstance
  /** Moves the clock of the cache. */
  pass(seconds: number): void
}

/** An app whose cache has a clock that can be moved. */
async function timed(
  t: Test,
  set: (app: FastifyInstance) => unknown,
  options: ResponseCacheOptions = {},
  before: (app: FastifyInstance) => unknown = () => {},
  url = 'memory:',
): Promise<Timed> {
  let ahead = 0
  const clock: Clock = {
    ...systemClock,
    now: () => Date.now() + ahead,
    monotonic: () => performance.now() + ahead,
  }
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(storage, { storage: url })
  // A busy machine is no outage.
  await app.register(cache, { clock, l2: { timeout: '10s' } })
  await before(app)
  await app.register(responseCache, { clock, ...options })
  await set(app)
  await app.ready()
  const pass = (seconds: number) => {
    ahead += seconds * 1_000
  }
  return { app, pass }
}

type Answering = (reply: FastifyReply, call: number, request: FastifyRequest) => unknown

/** A route that counts; `answer` may send something else than the count. */
async function counting(t: Test, cache: RouteCache, answer: Answering = () => {}, options: ResponseCacheOptions = {}) {
  let calls = 0
  const made = await timed(
    t,
    (app) =>
      app.get(
        '/',
        { config: { cache } },
        async (request, reply) => (await answer(reply, ++calls, request)) ?? `${calls}`,
      ),
    options,
  )
  const ask = (headers = {}, method: 'GET' | 'HEAD' = 'GET') => made.app.inject({ method, url: '/', headers })
  const told = async (headers = {}) => `${(await ask(headers)).body}`
  return { ...made, ask, told, calls: () => calls }
}

const says = (cacheControl: string, more: Record<string, string> = {}): Answering => {
  return (reply) => void reply.headers({ 'cache-control': cacheControl, ...more })
}

t.test('what the handler says restricts what the route says', async (t) => {
  const shorter = await counting(t, { ttl: '1h' }, says('max-age=10'))
  t.equal(await shorter.told(), '1')
  shorter.pass(9)
  t.equal(await shorter.told(), '1')
  shorter.pass(2)
  t.equal(await shorter.told(), '2')
  const longer = await counting(t, { ttl: '10s' }, says('s-maxage=3600, max-age=1'))
  await longer.ask()
  longer.pass(9)
  t.equal(await longer.told(), '1', 's-maxage goes before max-age')
  longer.pass(2)
  t.equal(await longer.told(), '2', 'and the route goes before a longer one')
  const aged = await counting(t, { ttl: '1h' }, says('max-age=100', { age: '95' }))
  await aged.ask()
  t.match((await aged.ask()).headers, { age: '95' })
  aged.pass(6)
  t.equal(await aged.told(), '2')
  const expires = await counting(t, { ttl: '1h' }, (reply) => {
    reply.header('expires', new Date(Date.now() + 10_000).toUTCString())
  })
  await expires.ask()
  t.equal(await expires.told(), '1')
  expires.pass(11)
  t.equal(await expires.told(), '2')
})

t.test('statuses: a success lasts as long as the route says, others as long as they say', async (t) => {
  for (const [status, header, cached] of [
    [200, undefined, true],
    [404, undefined, false],
    [404, 'max-age=60', true],
    [410, 'max-age=60', true],
    [301, 'max-age=60', true],
    [500, undefined, false],
    [401, 'max-age=60', false],
    [429, 'public, max-age=60', false],
    [200, 'no-store, max-age=60', false],
    [200, 'private="x", max-age=60', false],
    [299, 'max-age=60, must-understand', false],
  ] as const) {
    const { told } = await counting(t, { ttl: '1h' }, (reply) => {
      reply.code(status)
      if (header) reply.header('cache-control', header)
    })
    await told()
    t.equal(await told(), cached ? '1' : '2', `${status} ${header}`)
  }
})

t.test('a stale answer is served while it is made anew, by word of the route or of the handler', async (t) => {
  for (const [cache, header] of [
    [{ ttl: '10s', stale: '1m' }, undefined],
    [{ ttl: 'headers' }, 'max-age=10, stale-while-revalidate=60'],
  ] as const) {
    let go = () => {}
    let begun = () => {}
    const started = new Promise<void>((resolve) => {
      begun = resolve
    })
    const { told, pass } = await counting(t, cache, async (reply, call) => {
      if (header) reply.header('cache-control', header)
      if (call !== 2) return
      begun()
      await new Promise<void>((resolve) => {
        go = resolve
      })
    })
    await told()
    pass(20)
    const maker = told()
    await started
    t.equal(await told(), '1', 'meanwhile')
    go()
    t.equal(await maker, '2')
    t.equal(await told(), '2')
    pass(100)
    t.equal(await told(), '3', 'not when it is too old')
  }
})

t.test('a stale answer goes when its maker has another one that is not kept', async (t) => {
  for (const gone of [404, 200]) {
    const { ask, pass } = await counting(t, { ttl: '10s', stale: '1h' }, (reply, call) => {
      if (call > 1) reply.code(gone).header('cache-control', gone === 200 ? 'no-store' : undefined)
    })
    await ask()
    pass(20)
    t.match(await ask(), { statusCode: gone, body: '2' })
    t.match(await ask(), { statusCode: gone, body: '3' })
    t.match((await Promise.all([ask(), ask()])).map(({ body }) => body).sort(), ['4', '5'])
  }
})

t.test('what must be confirmed is never served stale', async (t) => {
  for (const header of ['max-age=10, must-revalidate', 'max-age=10, proxy-revalidate', 's-maxage=10']) {
    const { ask, pass } = await counting(t, { ttl: '1h', stale: '1h' }, (reply, call) => {
      reply.header('cache-control', header)
      if (call > 1) throw new Error('down')
    })
    await ask()
    pass(11)
    t.equal((await ask({ 'cache-control': 'max-stale' })).statusCode, 500, header)
  }
})

t.test('a stale answer stands in when its making fails', async (t) => {
  const failures: Record<string, Answering> = {
    throws: () => {
      throw new Error('down')
    },
    'sends an error': (reply) => reply.send(new Error('down')),
    'answers 503': (reply) => reply.code(503).header('x-of-error', '1').send({ error: 'down' }),
    'is a Response of 500': (reply) => reply.send(new Response('down', { status: 500 })),
    'streams a 500': (reply) => reply.code(500).send(Readable.from(['down'])),
  }
  for (const [how, fail] of Object.entries(failures)) {
    for (const cache of [
      { ttl: '10s', staleIfError: '1m' },
      { ttl: '10s', stale: '1m' },
      { ttl: 'headers' },
    ] as const) {
      const { ask, pass, calls } = await counting(t, cache, (reply, call, request) => {
        if (call > 1) return fail(reply, call, request)
        reply.header('x-of-answer', '1')
        if (cache.ttl === 'headers') reply.header('cache-control', 'max-age=10, stale-if-error=60')
        return undefined
      })
      await ask()
      pass(20)
      const instead = await ask()
      t.match(
        instead,
        { statusCode: 200, body: '1', headers: { 'x-of-answer': '1', age: '20' } },
        `${how}: ${cache.ttl}`,
      )
      t.notMatch(instead.headers, { 'x-of-error': '1' })
      t.match(instead.headers['cache-status'], /; fwd=stale; fwd-status=50\d; ttl=-10$/)
      t.match((await ask()).body, '1')
      t.equal(calls(), 2, 'its maker is left alone for a moment')
      pass(60)
      t.equal((await ask()).statusCode >= 500, true, 'not when it is too old')
    }
  }
  const never = await counting(t, { ttl: '10s' }, (_reply, call) => {
    if (call > 1) throw new Error('down')
  })
  await never.ask()
  never.pass(20)
  t.equal((await never.ask()).statusCode, 500, 'unless it may')
})

t.test('what is stored is confirmed by its maker', async (t) => {
  const seen: unknown[] = []
  const { ask, pass } = await counting(t, { ttl: 'headers' }, (reply, call, { headers }) => {
    seen.push([headers['if-none-match'], headers['if-modified-since'], headers.range])
    reply.headers({ etag: '"v1"', 'cache-control': 'max-age=10', 'x-call': call })
    if (headers['if-none-match'] === '"v1"') return reply.code(304).send()
    return 'whole'
  })
  await ask({ 'if-none-match': '"other"' })
  pass(11)
  t.match(await ask(), { statusCode: 200, body: 'whole', headers: { 'x-call': '2', etag: '"v1"', age: '0' } })
  t.match(await ask(), { statusCode: 200, body: 'whole', headers: { 'x-call': '2' } }, 'it is fresh again')
  t.match(await ask({ 'cache-control': 'no-cache' }), { statusCode: 200, body: 'whole', headers: { 'x-call': '3' } })
  pass(11)
  t.match(await ask({ 'if-none-match': '"v1"' }), { statusCode: 304, body: '' }, 'the client has it')
  t.strictSame(seen, [
    [undefined, undefined, undefined],
    ['"v1"', undefined, undefined],
    ['"v1"', undefined, undefined],
    ['"v1"', undefined, undefined],
  ])
})

t.test('what the client asks of the age', async (t) => {
  const { ask, told, pass } = await counting(t, { ttl: '1m', stale: '1h' })
  await told()
  pass(10)
  t.equal(await told({ 'cache-control': 'max-age=10' }), '1')
  t.equal(await told({ 'cache-control': 'min-fresh=30' }), '1')
  t.equal(await told({ 'cache-control': 'no-store' }), '2')
  t.equal(await told(), '1', 'and what it got is not kept')
  t.equal(await told({ 'cache-control': 'max-age=5' }), '3')
  t.equal(await told({ pragma: 'no-cache' }), '4', 'its maker has another one by now')
  t.equal(await told({ pragma: 'no-cache', 'cache-control': 'max-age=100' }), '5')
  pass(70)
  t.equal(await told({ 'cache-control': 'max-stale=20' }), '5')
  t.match(await ask({ 'cache-control': 'only-if-cached, max-stale' }), { statusCode: 504 })
  t.equal((await ask({ 'cache-control': 'only-if-cached' })).json().code, 'STATEFUL_NOT_CACHED')
  t.equal(await told(), '6')
  t.match(await ask({ 'cache-control': 'only-if-cached' }), { statusCode: 200, body: '6' })
})

/** What comes over the wire. */
async function wire(app: FastifyInstance, ...lines: string[]): Promise<string> {
  if (!app.server.listening) await app.listen({ port: 0, host: '127.0.0.1' })
  const socket = connect((app.server.address() as { port: number }).port, '127.0.0.1')
  socket.write([lines[0], 'host: localhost:80', 'connection: close', ...lines.slice(1), '', ''].join('\r\n'))
  return (await socket.setEncoding('latin1').toArray()).join('')
}

t.test('a 304 has what RFC 9110 asks, and nothing of the content', async (t) => {
  const { app, ask } = await counting(t, { ttl: '1m', vary: ['accept'], cdn: '1h' }, (reply) => {
    reply.headers({
      'content-location': '/a',
      expires: 'Thu, 01 Jan 2037 00:00:00 GMT',
      'content-language': 'de',
      'last-modified': 'Wed, 21 Oct 2015 07:28:00 GMT',
    })
    reply.header('cache-control', 'max-age=60')
  })
  const { headers } = await ask()
  const conditions = [`if-none-match: ${headers.etag}`, 'if-modified-since: Wed, 21 Oct 2015 07:28:00 GMT']
  for (const [method, condition] of conditions.flatMap((one) => [
    ['GET', one],
    ['HEAD', one],
  ])) {
    const text = await wire(app, `${method} / HTTP/1.1`, condition as string)
    t.match(text, /^HTTP\/1\.1 304 /, `${method} ${condition}`)
    for (const name of ['cache-control', 'cdn-cache-control', 'content-location', 'date', 'etag', 'expires', 'vary']) {
      t.match(text.toLowerCase(), new RegExp(`\r\n${name}: `), name)
    }
    t.notMatch(text, /content-(type|length|language|encoding)/i)
    t.ok(text.endsWith('\r\n\r\n'))
  }
})

t.test('parts of a stored answer', async (t) => {
  const body = Buffer.from('0123456789')
  const { ask, calls } = await counting(t, { ttl: '1m' }, (reply) => {
    reply.headers({ etag: '"strong"', 'last-modified': 'Wed, 21 Oct 2015 07:28:00 GMT' }).type('text/plain')
    return body
  })
  t.match(
    await ask({ range: 'bytes=0-1' }),
    { statusCode: 200, body: '0123456789' },
    'of what is not stored: its maker',
  )
  await ask()
  const made = calls()
  for (const [range, status, content, where] of [
    ['bytes=0-1', 206, '01', 'bytes 0-1/10'],
    ['bytes=8-', 206, '89', 'bytes 8-9/10'],
    ['bytes=-3', 206, '789', 'bytes 7-9/10'],
    ['bytes=5-99', 206, '56789', 'bytes 5-9/10'],
    ['bytes=-99', 206, '0123456789', 'bytes 0-9/10'],
    ['bytes=10-', 416, '', 'bytes */10'],
    ['bytes=-0', 416, '', 'bytes */10'],
    ['bytes=3-1', 200, '0123456789', undefined],
    ['bytes=0-1,3-4', 200, '0123456789', undefined],
    ['lines=0-1', 200, '0123456789', undefined],
  ] as const) {
    const answer = await ask({ range })
    t.match(answer, { statusCode: status, body: content }, range)
    t.equal(answer.headers['content-range'], where, range)
    t.equal(answer.headers['content-length'], `${content.length}`, range)
  }
  for (const [condition, status] of [
    ['"strong"', 206],
    ['"other"', 200],
    ['W/"strong"', 200],
    ['Wed, 21 Oct 2015 07:28:00 GMT', 206],
    ['Thu, 22 Oct 2015 07:28:00 GMT', 200],
  ] as const) {
    t.equal((await ask({ range: 'bytes=0-1', 'if-range': condition })).statusCode, status, condition)
  }
  t.equal((await ask({ range: 'bytes=0-1', 'if-none-match': '"strong"' })).statusCode, 304, 'the condition goes first')
  t.equal(calls(), made)
})

t.test('streams are kept while they pass, up to a bound', async (t) => {
  const kinds: Record<string, () => unknown> = {
    stream: () => Readable.from(['str', 'eam']),
    'web stream': () => new Blob(['stream']).stream(),
    Response: () => new Response('stream', { headers: { 'x-of-response': '1' } }),
    Buffer: () => Buffer.from('stream'),
    Uint8Array: () => new TextEncoder().encode('stream'),
  }
  for (const [kind, make] of Object.entries(kinds)) {
    const { ask, calls } = await counting(t, { ttl: '1m' }, (reply) => reply.type('text/plain').send(make()))
    const all = [await ask(), await ask(), ...(await Promise.all([ask(), ask()]))]
    t.strictSame([...new Set(all.map(({ body }) => body))], ['stream'], kind)
    t.equal(calls(), 1, kind)
    if (kind === 'Response') t.equal(all[1]?.headers['x-of-response'], '1')
    t.equal((await ask({ 'if-none-match': `${all[1]?.headers.etag}` })).statusCode, 304)
  }
  for (const body of [Buffer.alloc(101), 'x'.repeat(101), Readable.from([Buffer.alloc(60), Buffer.alloc(60)])]) {
    const { ask, calls } = await counting(t, { ttl: '1m' }, (_reply, call) => (call === 1 ? body : 'small'), {
      maxBytes: 100,
    })
    t.ok((await ask()).rawPayload.length > 100)
    t.equal((await ask()).body, 'small', 'larger ones just pass')
    t.equal(calls(), 2)
  }
  const broken = await counting(t, { ttl: '1m' }, (reply, call) => {
    if (call > 1) return 'whole'
    return reply.send(
      new Readable({
        read() {
          if (this.readableDidRead) this.destroy(new Error('gone'))
          else this.push('half')
        },
      }),
    )
  })
  await broken.ask().catch(() => {})
  t.equal((await broken.ask()).body, 'whole', 'half of an answer is none')
})

t.test('a strong ETag names one encoding, whoever compresses', async (t) => {
  const text = 'hello '.repeat(1_000)
  for (const [order, tagged] of [
    ['before', true],
    ['before', false],
    ['after', true],
    ['after', false],
  ] as const) {
    const compressing = async (app: FastifyInstance) => {
      await app.register(compress, { threshold: 0 })
      if (tagged) await app.register(etag)
    }
    const cached = { config: { cache: { ttl: '1m' } } }
    const set = async (app: FastifyInstance) => {
      if (order === 'after') await compressing(app)
      const own = (reply: FastifyReply) => reply.header('etag', '"own"').type('text/plain')
      app.get('/own', cached, async (_request, reply) => own(reply).send(text))
      app.get('/none', cached, async () => text)
      app.get('/stream', cached, (_request, reply) => own(reply).send(Readable.from([text])))
      app.get('/by-handler', cached, (_request, reply) =>
        (own(reply) as FastifyReply & { compress(body: Readable): void }).compress(Readable.from([text])),
      )
    }
    const { app } = await timed(t, set, {}, order === 'before' ? compressing : () => {})
    for (const url of ['/own', '/none', '/stream', '/by-handler']) {
      const names = new Map<string, string>()
      for (const encoding of ['gzip', 'identity', 'gzip', 'identity', 'br', 'br']) {
        const { headers, rawPayload } = await app.inject({ url, headers: { 'accept-encoding': encoding } })
        const made = `${headers['content-encoding'] ?? 'identity'}`
        if (made === 'gzip') t.equal(gunzipSync(rawPayload).toString(), text)
        if (made === 'identity') t.equal(rawPayload.toString(), text)
        const name = `${headers.etag}`
        if (!name.startsWith('W/')) {
          t.equal(names.get(name) ?? made, made, `${url}: ${name} names ${made}`)
          names.set(name, made)
        }
        const known = { 'accept-encoding': encoding, 'if-none-match': name }
        const again = await app.inject({ url, headers: known })
        if (headers.etag !== undefined && headers.age !== undefined)
          t.equal(again.statusCode, 304, `${url} ${encoding}`)
        if (name.startsWith('W/')) t.match(again.headers.etag, /^W\//, 'a 304 does not make it strong')
        if (again.statusCode === 304) t.equal(again.headers['content-encoding'], undefined, `${url} ${encoding}`)
      }
    }
  }
})

t.test('headers of hooks are made anew with each answer, whenever they are set', async (t) => {
  let visits = 0
  const { app } = await timed(t, async (app) => {
    await app.register(rateLimit, { max: 10 })
    app.addHook('onRequest', async (request, reply) => void reply.header('x-request-id', request.id))
    await app.register(async (scope) => {
      scope.get('/', { config: { cache: { ttl: '1m' } } }, async (_request, reply) =>
        reply.header('x-own', '1').send('x'),
      )
      scope.addHook('onSend', async (request, reply) => {
        reply.header('x-sent', request.id)
        if (++visits === 1) reply.header('x-first', 'for him alone')
      })
    })
  })
  const [miss, hit] = [await app.inject('/'), await app.inject('/')]
  t.match(hit.headers['cache-status'], /; hit/)
  for (const name of ['x-request-id', 'x-sent', 'x-ratelimit-remaining'])
    t.not(hit.headers[name], miss.headers[name], name)
  t.match(miss.headers, { 'x-first': 'for him alone', 'x-own': '1' })
  t.equal(hit.headers['x-own'], '1')
  t.equal(hit.headers['x-first'], undefined)
})

t.test('a hook of before that sets something when it is sent', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  let visits = 0
  app.addHook('onSend', async (_request, reply) => void (++visits === 1 && reply.header('x-first', 'for him alone')))
  await app.register(storage, { storage: 'memory:' })
  await app.register(cache)
  await app.register(responseCache)
  app.get('/', { config: { cache: { ttl: '1m' } } }, async () => 'x')
  t.match((await app.inject('/')).headers, { 'x-first': 'for him alone' })
  const hit = await app.inject('/')
  t.match(hit.headers['cache-status'], /; hit/)
  t.equal(hit.headers['x-first'], undefined)
})

t.test('cookies are nobody else’s', async (t) => {
  const cookie =
    (value: string): Answering =>
    (reply) =>
      void reply.headers({ 'set-cookie': value, 'cache-control': 'max-age=60' })
  for (const [value, cache, cached] of [
    ['theme=dark', { ttl: '1m' }, false],
    ['theme=dark', { ttl: '1m', shared: true }, false],
    ['theme=dark', { ttl: 'headers' }, false],
    ['theme=dark', { ttl: 'headers', shared: true }, true],
    ['connect.sid=s%3Aabcdefghijklmnop.qrstuv; Path=/; HttpOnly', { ttl: 'headers', shared: true }, false],
    ['theme=0123456789', { ttl: 'headers', shared: true }, false],
    ['theme=dark; HttpOnly', { ttl: 'headers', shared: true }, false],
    ['uid=1', { ttl: 'headers', shared: true }, false],
    ['PHPSESSID=abc', { ttl: 'headers', shared: true }, false],
  ] as const) {
    const { ask } = await counting(t, cache, cookie(value))
    await ask()
    const second = await ask()
    t.equal(second.body, cached ? '1' : '2', `${value} ${JSON.stringify(cache)}`)
    t.equal(second.headers['set-cookie'], value)
  }
})

t.test('what browsers and networks on the way are told', async (t) => {
  const told = async (
    cache: RouteCache,
    options: ResponseCacheOptions = {},
    headers = {},
    answer: Answering = () => {},
  ) => {
    const { ask } = await counting(t, cache, answer, options)
    const answers = [await ask(headers), await ask(headers)].map(({ headers }) => [
      headers['cache-control'],
      headers['cdn-cache-control'],
    ])
    t.strictSame(answers[0], answers[1], 'the same of a hit')
    return answers[0]
  }
  t.strictSame(await told({ ttl: '1m' }), ['no-cache', undefined])
  t.strictSame(await told({ ttl: '1m', browser: '30s', cdn: '1h' }), ['max-age=30', 'max-age=3600'])
  t.strictSame(await told({ ttl: '1m' }, { browser: 0, cdn: '5m' }), ['max-age=0', 'max-age=300'])
  const all = { maxAge: '1m', staleWhileRevalidate: '10s', staleIfError: '1h', mustRevalidate: true, immutable: true }
  const text = 'max-age=60, stale-while-revalidate=10, stale-if-error=3600, must-revalidate, immutable'
  t.strictSame(await told({ ttl: '1m', browser: all, cdn: all }), [text, text])
  t.strictSame(await told({ ttl: '1m' }, {}, {}, says('max-age=5')), ['max-age=5', undefined], 'the handler’s own word')
  const personal = { 'x-api-key': 'a' }
  t.strictSame(await told({ ttl: '1m', shared: true, browser: '1m', cdn: '1m' }, {}, personal), [
    'private, no-cache',
    undefined,
  ])
})

t.test('Cache-Status tells what happened', async (t) => {
  const { ask, pass, app } = await counting(t, { ttl: '1m', stale: '1h' }, () => {}, { name: 'my "cache"' })
  const status = async (headers = {}) => (await ask(headers)).headers['cache-status']
  const name = '"my \\"cache\\""'
  t.equal(await status(), `${name}; fwd=uri-miss; stored`)
  t.equal(await status(), `${name}; hit; ttl=59`)
  t.equal(await status({ authorization: 'x' }), `${name}; fwd=bypass`)
  t.equal(await status({ 'cache-control': 'no-store' }), `${name}; fwd=request`)
  pass(70)
  t.equal(await status(), `${name}; fwd=stale; stored`)
  t.equal((await app.inject('/nowhere')).headers['cache-status'], undefined)
  const many = await counting(t, { ttl: '1m' }, async () => {
    await new Promise((resolve) => setImmediate(resolve))
  })
  const first = many.ask()
  t.match((await first).headers['cache-status'], 'fastify-stateful; fwd=uri-miss; stored')
})

t.test('what an unsafe method has changed is not served any more', async (t) => {
  await onEveryStorage(t, async (t, kind) => {
    const url = await storageUrl(t, kind)
    let calls = 0
    const set = (app: FastifyInstance) => {
      const config = { cache: { ttl: '1h', vary: ['accept'] } }
      app.get('/things/:id', { config }, async () => `${++calls}`)
      app.get('/things', { config: { cache: { ttl: 'headers' } } }, async (_request, reply) => {
        reply.header('cache-control', 'max-age=60')
        return `${++calls}`
      })
      app.put('/things/:id', async ({ headers }, reply) => {
        if (headers['x-fail']) return reply.code(409).send('no')
        return 'ok'
      })
      app.post('/things', async (request, reply) => {
        const { to } = request.query as { to?: string }
        return reply.code(201).header('location', to).send('made')
      })
      app.delete('/other', async (_request, reply) =>
        reply.header('content-location', 'http://elsewhere/things/1').send('x'),
      )
    }
    const { app } = await timed(t, set, {}, () => {}, url)
    const get = async (url: string, accept = 'a') => (await app.inject({ url, headers: { accept } })).body
    const before = [
      await get('/things/1'),
      await get('/things/1', 'b'),
      await get('/things?x=1'),
      await get('/things/2'),
    ]
    const now = async () => [
      await get('/things/1'),
      await get('/things/1', 'b'),
      await get('/things?x=1'),
      await get('/things/2'),
    ]
    await app.inject({ method: 'PUT', url: '/things/1', headers: { 'x-fail': '1' } })
    await app.inject({ method: 'DELETE', url: '/other' })
    await app.inject({ method: 'OPTIONS', url: '/things/1' })
    t.strictSame(await now(), before, 'a failure, another host and a safe method change nothing')
    await app.inject({ method: 'PUT', url: '/things/1' })
    const changed = await now()
    t.not(changed[0], before[0])
    t.not(changed[1], before[1], 'each of its answers')
    t.strictSame(changed.slice(2), before.slice(2), 'and no other')
    await app.inject({ method: 'POST', url: '/things?to=/things/2' })
    const made = await now()
    t.not(made[3], changed[3], 'what Location names')
    t.strictSame(made.slice(0, 3), changed.slice(0, 3))
  })
})

t.test('a change while an answer is made: the answer is not kept', async (t) => {
  let go = () => {}
  let begun = () => {}
  const started = new Promise<void>((resolve) => {
    begun = resolve
  })
  let version = 1
  const { app } = await timed(t, (app) => {
    app.get('/a', { config: { cache: { ttl: '1h' } } }, async (_request, reply) => {
      const read = version
      reply.header('vary', 'x-theme')
      if (read === 1) {
        begun()
        await new Promise<void>((resolve) => {
          go = resolve
        })
      }
      return `${read}`
    })
    app.put('/a', async () => {
      version = 2
      return 'ok'
    })
  })
  const first = app.inject('/a')
  await started
  await app.inject({ method: 'PUT', url: '/a' })
  go()
  t.equal((await first).body, '1')
  t.equal((await app.inject('/a')).body, '2')
})

t.test('a wrong option ends the boot, and says which', async (t) => {
  for (const [options, route, message] of [
    [{ maxBytes: 0 }, {}, /responseCache\.maxBytes/],
    [{ name: 'ü' }, {}, /responseCache\.name/],
    [{ browser: 'soon' }, {}, /responseCache\.browser/],
    [{ cdn: { maxAge: '1m', swr: 1 } }, {}, /responseCache\.cdn\.swr/],
    [{}, { ttl: 'header' }, /config\.cache\.ttl/],
    [{}, { ttl: '1m', browser: { maxAge: -1 } }, /config\.cache\.browser\.maxAge/],
    [{}, { ttl: '1m', staleIfError: 'x' }, /config\.cache\.staleIfError/],
    [{}, { ttl: '1m', query: 'q' }, /config\.cache\.query/],
  ] as const) {
    await t.rejects(
      timed(t, (app) => app.get('/', { config: { cache: route as RouteCache } }, async () => 'x'), options as object),
      { message },
      `${message}`,
    )
  }
})

t.test('a reply that ends without Fastify releases who waits at once', async (t) => {
  let calls = 0
  const { app } = await timed(t, (app) => {
    app.get('/', { config: { cache: { ttl: '1m' } } }, (_request, reply) => {
      if (++calls > 1) return reply.send('own')
      reply.raw.end('by hand')
      return undefined
    })
  })
  const answers = await Promise.all([app.inject('/'), app.inject('/')])
  t.strictSame(answers.map(({ body }) => body).sort(), ['by hand', 'own'])
})

t.test('a query lasts to the last character; which there may be, the route says', async (t) => {
  const ask = async (app: FastifyInstance, url: string) => (await app.inject(url)).body
  for (const [cache, cached] of [
    [{ ttl: '1m' }, false],
    [{ ttl: '1m', query: ['a'] }, true],
    [{ ttl: 'headers' }, true],
    [{ ttl: 'headers', query: ['b'] }, false],
  ] as const) {
    let calls = 0
    const { app } = await timed(t, (app) =>
      app.get('/', { config: { cache: cache as RouteCache } }, async (_request, reply) => {
        reply.header('cache-control', 'max-age=60')
        return `${++calls}`
      }),
    )
    const first = await ask(app, '/?a=1')
    t.equal((await ask(app, '/?a=1')) === first, cached, JSON.stringify(cache))
    t.not(await ask(app, '/?a=1&a=1'), first)
    t.not(await ask(app, '/?a=%31'), first)
  }
})

t.test('a reply that is taken over later releases who waits at once', async (t) => {
  let calls = 0
  const { app } = await timed(t, (app) => {
    app.get('/', { config: { cache: { ttl: '1m' } } }, (_request, reply) => {
      const call = ++calls
      if (call > 1) return reply.send('own')
      setImmediate(() => {
        reply.hijack()
        reply.raw.write('never ends')
      })
      return undefined
    })
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const first = connect((app.server.address() as { port: number }).port, '127.0.0.1')
  t.teardown(() => first.destroy())
  first.write('GET / HTTP/1.1\r\nhost: localhost:80\r\n\r\n')
  await once(first, 'data')
  t.equal((await app.inject('/')).body, 'own')
})
