import { Readable } from 'node:stream'
import { gunzipSync } from 'node:zlib'
import compress from '@fastify/compress'
import etag from '@fastify/etag'
import type { FastifyInstance, FastifyReply } from 'fastify'
import t from 'tap'
import { counting, timed, wire } from './fixture.ts'

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
