import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { Readable } from 'node:stream'
import { gunzipSync } from 'node:zlib'
import compress from '@fastify/compress'
import cors from '@fastify/cors'
import type { FastifyInstance, RouteHandlerMethod } from 'fastify'
import t, { type Test } from 'tap'
import { eventually } from '../../fixtures/eventually.ts'
import { onEveryStorage, storageUrl } from '../../fixtures/storages.ts'
import { buildApp } from './fixture.ts'

const cached = { config: { cache: { ttl: '1m' } } }
const PNG = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])

const slug = (text: string) => text.replace(/\W+/g, '-') || 'any'

async function listen(app: FastifyInstance): Promise<number> {
  await app.listen({ port: 0, host: '127.0.0.1' })
  return (app.server.address() as AddressInfo).port
}

/** What comes over the wire, byte by byte. */
async function raw(port: number, path: string, ...lines: string[]): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  socket.write([`GET ${path} HTTP/1.1`, 'host: a', 'connection: close', ...lines, '', ''].join('\r\n'))
  return (await socket.setEncoding('latin1').toArray()).join('')
}

t.test('a hit has the headers of the answer, and a 304 those that belong to it', async (t) => {
  await onEveryStorage(t, async (t, kind) => {
    const url = await storageUrl(t, kind)
    const app = await buildApp(
      t,
      async (app) => {
        app.addHook('onRequest', async (request, reply) => void reply.header('x-request', request.id))
        app.get('/file', cached, async (_request, reply) => {
          reply.headers({
            'content-type': 'text/html',
            'content-disposition': 'attachment; filename="a.html"',
            'content-security-policy': "default-src 'none'",
            'x-content-type-options': 'nosniff',
            'x-total-count': 12,
            'cache-control': 'public, max-age=5',
            link: ['</a>; rel=preload', '</b>; rel=preload'],
          })
          return '<script>'
        })
        app.get('/png', cached, async (_request, reply) => reply.type('image/png').send(PNG))
      },
      {},
      url,
    )
    const [miss, hit] = [await app.inject('/file'), await app.inject('/file')]
    for (const name of Object.keys(miss.headers)) {
      if (!['x-request', 'date', 'cache-status'].includes(name)) t.same(hit.headers[name], miss.headers[name], name)
    }
    t.not(hit.headers['x-request'], miss.headers['x-request'], 'hooks tell of the request at hand')
    t.equal(hit.body, '<script>')

    const port = await listen(app)
    const { etag } = (await app.inject('/png')).headers
    t.match(etag, /^W\//)
    t.same((await app.inject('/png')).rawPayload, PNG)
    for (const why of ['hit', 'miss']) {
      if (why === 'miss') await app.cache.namespace('http').clear()
      const answer = await raw(port, '/png', `if-none-match: ${etag}`)
      t.match(answer, /^HTTP\/1\.1 304 /, why)
      t.notMatch(answer, /content-(type|length|encoding)/i, why)
      t.ok(answer.endsWith('\r\n\r\n'), 'no content')
      t.match(answer, `etag: ${etag}`)
    }
  })
})

t.test('Vary of others stays: CORS', async (t) => {
  for (const order of ['before', 'after']) {
    await t.test(`registered ${order}`, async (t) => {
      let calls = 0
      const options = { origin: ['https://a.example', 'https://b.example'], credentials: true }
      const app = await buildApp(t, async (app) => {
        if (order === 'before') await app.register(cors, options)
        app.get('/', { config: { cache: { ttl: '1m', vary: ['accept-language'] } } }, async () => ({ call: ++calls }))
        if (order === 'after') await app.register(cors, options)
      })
      for (const origin of ['https://a.example', 'https://b.example', 'https://a.example', 'https://evil.example']) {
        const { headers } = await app.inject({ url: '/', headers: { origin } })
        t.match(headers['vary'], /origin/i)
        t.match(headers['vary'], /accept-language/i)
        t.equal(headers['access-control-allow-origin'], origin.includes('evil') ? undefined : origin)
      }
      t.equal(calls, 1)
    })
  }
})

t.test('Vary of others stays: compression', async (t) => {
  for (const order of ['before', 'after']) {
    await t.test(`registered ${order}`, async (t) => {
      let calls = 0
      const app = await buildApp(t, async (app) => {
        if (order === 'before') await app.register(compress, { threshold: 0 })
        const config = { cache: { ttl: '1m', vary: ['accept-language'] } }
        if (order === 'after') await app.register(compress, { threshold: 0 })
        app.get('/', { config }, async () => ({ call: ++calls, text: 'hello '.repeat(500) }))
      })
      const headers = { 'accept-encoding': 'gzip' }
      const [plain, first, second] = [
        await app.inject('/'),
        await app.inject({ url: '/', headers }),
        await app.inject({ url: '/', headers }),
      ]
      t.equal(calls, 1)
      t.notOk(plain.headers['content-encoding'])
      for (const zipped of [first, second]) {
        t.equal(zipped.headers['content-encoding'], 'gzip')
        t.match(zipped.headers['vary'], /accept-encoding/i)
        t.match(zipped.headers['vary'], /accept-language/i)
        t.equal(gunzipSync(zipped.rawPayload).toString(), plain.body)
      }
      const known = await app.inject({ url: '/', headers: { ...headers, 'if-none-match': `${first.headers.etag}` } })
      t.match(known, { statusCode: 304, body: '' })
      t.notOk(known.headers['content-encoding'])
    })
  }
})

t.test('an answer that says what it depends on is given to who asks the same', async (t) => {
  let calls = 0
  const app = await buildApp(t, (app) => {
    for (const vary of ['Accept', '*', 'Origin', 'Accept-Encoding', 'accept-language, X-Theme']) {
      app.get(`/${slug(vary)}`, { config: { cache: { ttl: '1m', vary: ['Accept-Language'] } } }, async (_, reply) => {
        reply.header('vary', vary)
        return { call: ++calls }
      })
    }
    app.get('/named', { config: { cache: { ttl: '1m', vary: ['accept'] } } }, async (request, reply) => {
      reply.header('vary', 'Accept')
      return { for: request.headers.accept, call: ++calls }
    })
    app.register(async (scope) => {
      scope.addHook('onRequest', async (_request, reply) => void reply.header('vary', 'X-Language'))
      scope.get('/hook', cached, async () => ({ call: ++calls }))
    })
  })
  const ask = async (url: string, headers = {}) => (await app.inject({ url, headers })).body
  const any = [await ask('/-'), await ask('/-'), await ask('/-'), await ask('/-')]
  t.equal(new Set(any).size, 4, '*: nobody asks the same')
  for (const vary of ['Accept', 'Origin', 'Accept-Encoding', 'X-Theme']) {
    const url = `/${slug(vary === 'X-Theme' ? 'accept-language, X-Theme' : vary)}`
    const name = vary.toLowerCase()
    // From the first answer on it is known what they depend on.
    await ask(url)
    const none = await ask(url)
    const one = await ask(url, { [name]: 'one' })
    t.equal(await ask(url), none, `${vary}: without it`)
    t.equal(await ask(url, { [name]: 'one' }), one, `${vary}: with it`)
    const all = [none, one, await ask(url, { [name]: 'other' }), await ask(url, { [name]: '' })]
    t.equal(new Set(all).size, 4, `${vary}: each its own`)
  }
  t.equal(await ask('/hook'), await ask('/hook'))
  t.not(await ask('/hook'), await ask('/hook', { 'x-language': 'de' }), 'a hook has said so')
  const named = (accept: string) => app.inject({ url: '/named', headers: { accept } })
  t.equal((await named('a/b')).body, (await named('a/b')).body)
  t.not((await named('a/b')).body, (await named('a/c')).body)
})

t.test('who has told who they are gets nothing that a cache on the way may keep', async (t) => {
  const app = await buildApp(t, (app) =>
    app.get('/', { config: { cache: { ttl: '1m', shared: true } } }, async () => 'x'),
  )
  for (const answer of ['miss', 'hit']) {
    const { headers } = await app.inject({ url: '/', headers: { 'x-api-key': 'a' } })
    t.match(headers, { 'cache-control': 'private, no-cache' }, answer)
  }
  t.match((await app.inject('/')).headers, { 'cache-control': 'no-cache' })
})

t.test('what its maker does not want cached is not, and an error is no answer', async (t) => {
  let calls = 0
  const app = await buildApp(t, (app) => {
    app.setErrorHandler(async () => ({ call: ++calls }))
    for (const cacheControl of ['max-age=0', 'public, s-maxage=0', 'no-store', 'private', 'no-cache']) {
      app.get(`/${slug(cacheControl)}`, cached, async (_request, reply) => {
        reply.header('cache-control', cacheControl)
        return { call: ++calls }
      })
    }
    app.get('/throws', cached, async (_request, reply) => {
      reply.code(200)
      throw Object.assign(new Error('x'), { statusCode: 200 })
    })
    app.get('/sends', cached, (_request, reply) => {
      reply.send(new Error('x'))
    })
  })
  for (const url of ['max-age=0', 'public, s-maxage=0', 'no-store', 'private', 'no-cache', 'throws', 'sends']) {
    const ask = async () => (await app.inject(`/${slug(url)}`)).body
    t.not(await ask(), await ask(), url)
  }
})

/** Every way in which Fastify lets a handler answer. */
const kinds: Record<string, (app: FastifyInstance, call: () => string) => void> = {
  'returns a value': (app, call) => app.get('/', cached, async () => call()),
  'sends and returns nothing': (app, call) =>
    app.get('/', cached, (_request, reply) => {
      reply.send(call())
    }),
  'sends later': (app, call) =>
    app.get('/', cached, (_request, reply) => {
      setImmediate(() => reply.send(call()))
    }),
  'returns the reply': (app, call) => app.get('/', cached, (_request, reply) => reply.send(call())),
  'promises the reply': (app, call) =>
    app.get('/', cached, async (_request, reply) => {
      setImmediate(() => reply.send(call()))
      return reply
    }),
  'sends in a promise': (app, call) =>
    app.get('/', cached, async (_request, reply) => {
      reply.send(call())
    }),
  'returns without a promise': (app, call) => app.get('/', cached, () => call()),
  'knows its server': (app, call) =>
    app.get('/', cached, async function () {
      return this.cache === app.cache ? call() : 'another'
    }),
}

for (const [kind, register] of Object.entries(kinds)) {
  t.test(`a handler that ${kind}`, async (t) => {
    let calls = 0
    const app = await buildApp(t, (app) => register(app, () => `${++calls}`))
    const all = await Promise.all(Array.from({ length: 10 }, () => app.inject('/')))
    t.strictSame([...new Set(all.map(({ statusCode, body }) => `${statusCode} ${body}`))], ['200 1'])
    const head = await app.inject({ method: 'HEAD', url: '/' })
    const again = await app.inject({ method: 'HEAD', url: '/' })
    for (const answer of [head, again]) {
      t.match(answer, { statusCode: 200, body: '', headers: { 'content-length': '1' } })
    }
    t.equal(calls, 1, 'HEAD has what GET has stored')
  })
}

/** Requests until `waiting` of them have passed the hooks; then `release` runs. */
async function together(t: Test, handler: RouteHandlerMethod, requests: number) {
  let passed = 0
  let all = () => {}
  const there = new Promise<void>((resolve) => {
    all = resolve
  })
  const app = await buildApp(t, (app) => {
    app.get('/', { ...cached, preHandler: async () => void (++passed === requests && setImmediate(all)) }, handler)
  })
  return { port: await listen(app), there }
}

const ask = async (port: number) => {
  const [response] = (await once(get({ port, path: '/', agent: false }), 'response')) as [IncomingMessage]
  return (await response.setEncoding('utf8').toArray()).join('')
}

t.test('whoever waits is released, whatever becomes of the one that makes the answer', async (t) => {
  await t.test('it takes over the socket', async (t) => {
    let calls = 0
    let end = () => {}
    const { port, there } = await together(
      t,
      (_request, reply) => {
        const call = ++calls
        reply.hijack()
        reply.raw.write(`${call}`)
        if (call === 1) end = () => reply.raw.end()
        else reply.raw.end()
      },
      2,
    )
    const first = ask(port)
    const second = ask(port)
    await there
    t.equal(await Promise.race([first, second]), '2', 'while the first still writes')
    end()
    t.strictSame((await Promise.all([first, second])).sort(), ['1', '2'])
  })

  await t.test('its client goes', async (t) => {
    let calls = 0
    const { port, there } = await together(
      t,
      async () => {
        if (++calls === 1) await new Promise(() => {})
        return `${calls}`
      },
      2,
    )
    const gone = get({ port, path: '/', agent: false })
    gone.on('error', () => {})
    await once(gone, 'socket')
    while (calls === 0) await new Promise((resolve) => setImmediate(resolve))
    const second = ask(port)
    await there
    gone.destroy()
    t.equal(await second, '2')
  })

  await t.test('it streams', async (t) => {
    let end = () => {}
    let calls = 0
    const { port, there } = await together(
      t,
      async () => {
        const stream = new Readable({ read() {} })
        stream.push(`${++calls}`)
        const finish = () => void stream.push(null)
        if (calls === 1) end = finish
        else finish()
        return stream
      },
      2,
    )
    const both = [ask(port), ask(port)]
    await there
    t.equal(await Promise.race(both), '2')
    end()
    await Promise.all(both)
  })
})

t.test('a stale answer is made anew by the first who asks, and given to the others', async (t) => {
  await onEveryStorage(t, async (t, kind) => {
    let calls = 0
    let go = () => {}
    let started = () => {}
    const app = await buildApp(
      t,
      (app) =>
        app.get('/', { config: { cache: { ttl: '10m', stale: '1h', tags: ['all'] } } }, async () => {
          if (++calls === 2) {
            started()
            await new Promise<void>((resolve) => {
              go = resolve
            })
          }
          return `${calls}`
        }),
      {},
      await storageUrl(t, kind),
    )
    t.equal((await app.inject('/')).body, '1')
    const keys: string[] = []
    // The client has its answer before the store has.
    await eventually(async () => {
      for await (const some of app.cache.namespace('http').keys()) keys.push(...some)
      return keys.length > 0
    })
    await app.cache.namespace('http').expire(keys)
    const running = new Promise<void>((resolve) => {
      started = resolve
    })
    const maker = app.inject('/')
    await running
    t.equal((await app.inject('/')).body, '1', 'meanwhile')
    go()
    t.equal((await maker).body, '2')
    t.equal((await app.inject('/')).body, '2', 'afterwards')
    t.equal(calls, 2)
  })
})
