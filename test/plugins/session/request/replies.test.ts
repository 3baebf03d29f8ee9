import { Readable } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import Fastify, { type FastifyReply, type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { problems } from '../../../../plugins/problems/index.ts'
import { type SessionOptions, session } from '../../../../plugins/session/index.ts'
import type { CallbackStore } from '../../../../plugins/session/stores/callback.ts'
import { storage } from '../../../../plugins/storage/index.ts'
import { SECRET } from '../../../fixtures/session-app.ts'
import { onEveryStorage, storageUrl } from '../../../fixtures/storages.ts'

type Handler = (request: FastifyRequest, reply: FastifyReply) => unknown
type Loose = Record<string, unknown>
const loose = (value: unknown) => value as Loose
const login = (request: FastifyRequest) => request.login({ id: 'ada' } as never)
const cookieOf = (request: FastifyRequest) => loose(request.session.cookie)

/** Rejections and exceptions that reach the process, which would end it. */
function watchProcess(t: Test): unknown[] {
  const escaped: unknown[] = []
  const note = (error: unknown) => escaped.push(error)
  process.on('unhandledRejection', note).on('uncaughtException', note)
  t.teardown(() => process.off('unhandledRejection', note).off('uncaughtException', note))
  return escaped
}

async function serve(t: Test, handlers: Record<string, Handler>, target: string | Partial<SessionOptions>) {
  let log = ''
  const write = (line: string) => {
    log += line
  }
  const app = Fastify({ forceCloseConnections: true, logger: { level: 'error', stream: { write } } })
  t.teardown(() => app.close())
  await app.register(problems)
  if (typeof target === 'string') await app.register(storage, { storage: target })
  await app.register(session, { secret: SECRET, production: false, ...(typeof target === 'string' ? {} : target) })
  for (const [name, handler] of Object.entries(handlers)) app.get(`/${name}`, handler as never)
  const url = await app.listen({ port: 0 })
  return {
    log: () => log,
    async get(name: string) {
      log = ''
      const response = await fetch(`${url}/${name}`, { redirect: 'manual', signal: AbortSignal.timeout(5_000) })
      const text = await response.text()
      // What nobody holds is told in a turn of its own.
      await turn()
      return { status: response.status, type: response.headers.get('content-type'), text, headers: response.headers }
    },
  }
}

async function* slowly() {
  for (const part of ['a', 'b', 'c']) {
    await turn()
    yield part
  }
}

const unsendable: Record<string, Handler> = {
  'a location': async (request, reply) => {
    await login(request)
    reply.redirect('/Ω')
  },
  'a returned redirect': async (request, reply) => {
    await login(request)
    return reply.redirect('/Ω')
  },
  'a file name': async (request, reply) => {
    loose(request.session)['seen'] = true
    return reply.header('content-disposition', 'attachment; filename="файл"').send('x')
  },
  'a trailer that no body carries': async (request, reply) => {
    await login(request)
    return reply.header('trailer', 'x-sum').send('x')
  },
  'the length of a body that did not come': async (request, reply) => {
    await login(request)
    reply.header('content-length', '5000').header('transfer-encoding', 'gzip').header('trailer', 'x')
    throw new Error('no')
  },
  'a header name': async (request, reply) => {
    await login(request)
    return reply.header('bad name', 'x').send('x')
  },
  'a line break': async (request, reply) => {
    await login(request)
    return reply.header('x-note', 'a\r\nset-cookie: b').send('x')
  },
  'a status text': async (request, reply) => {
    await login(request)
    reply.raw.statusMessage = 'Ω'
    return 'x'
  },
  'the header of a stream': async (request, reply) => {
    await login(request)
    return reply.header('x-note', 'Ω').send(Readable.from(slowly()))
  },
  'a response that was read already': async (request) => {
    await login(request)
    const response = new Response('x')
    await response.text()
    return response
  },
  'a header in a callback of save': (request, reply) => {
    loose(request.session)['seen'] = true
    request.session.save(() => reply.redirect('/Ω'))
  },
}
const badCookies: Record<string, Handler> = Object.fromEntries(
  Object.entries({
    domain: 'ä ;bad',
    sameSite: 'nonsense',
    path: 'ä;b',
    expires: 'nonsense',
    maxAge: Number.NaN,
    priority: undefined,
  })
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => [
      `cookie.${name}`,
      async (request: FastifyRequest) => {
        await login(request)
        cookieOf(request)[name] = value
        return 'x'
      },
    ]),
)
badCookies['another cookie'] = async (request) => {
  await login(request)
  loose(request.session)['cookie'] = { maxAge: 5_000 }
  return 'x'
}
badCookies['another cookie of a new session'] = async (request) => {
  loose(request.session)['seen'] = true
  loose(request.session)['cookie'] = { maxAge: 5_000 }
  return 'x'
}
badCookies['no cookie'] = async (request) => {
  await login(request)
  loose(request.session)['cookie'] = null
  return 'x'
}
const badValues: Record<string, Handler> = Object.fromEntries(
  Object.entries({
    bigint: (): unknown => 1n,
    cycle: () => {
      const cycle: Loose = {}
      cycle['self'] = cycle
      return cycle
    },
    depth: () => {
      let deep: Loose = {}
      for (let level = 0; level < 100_000; level++) deep = { deep }
      return deep
    },
    toJSON: () => ({
      toJSON() {
        throw new Error('no')
      },
    }),
  }).flatMap(([name, make]) => [
    [
      `${name} in a new session`,
      async (request: FastifyRequest) => {
        loose(request.session)['value'] = make()
        return 'x'
      },
    ],
    [
      `${name} after a login`,
      async (request: FastifyRequest) => {
        await login(request)
        loose(request.session)['value'] = make()
        return 'x'
      },
    ],
    [
      `${name} before a login that nobody waits for`,
      async (request: FastifyRequest) => {
        loose(request.session)['value'] = make()
        login(request)
        return 'x'
      },
    ],
    [
      `${name} in a save that nobody waits for`,
      async (request: FastifyRequest) => {
        loose(request.session)['value'] = make()
        request.session.save()
        return 'x'
      },
    ],
  ]),
)
const throwing: Record<string, Handler> = {
  save: (request) => {
    loose(request.session)['seen'] = true
    request.session.save(() => {
      throw new Error('in the callback')
    })
  },
  regenerate: (request) => {
    request.session.regenerate(() => {
      throw new Error('in the callback')
    })
  },
  reload: (request) => {
    request.session.reload(() => {
      throw new Error('in the callback')
    })
  },
  destroy: async (request, reply) => {
    await login(request)
    request.session.destroy(() => {
      throw new Error('in the callback')
    })
    return reply
  },
}

t.test('what cannot be sent or saved is a problem of its request', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const escaped = watchProcess(t)
    const handlers = { ...unsendable, ...badCookies, ...badValues, ...throwing }
    const { get, log } = await serve(t, handlers, await storageUrl(t, kind))
    for (const name of Object.keys(handlers)) {
      const { status, type, text } = await get(encodeURIComponent(name))
      t.match({ status, type }, { status: 500, type: /^application\/problem\+json/ }, name)
      t.match(JSON.parse(text), { status: 500, code: /^STATEFUL_/, requestId: String }, name)
      t.match(log(), /"level":50/, `${name} is logged`)
      t.strictSame(escaped.splice(0), [], name)
    }
  }),
)

const doubled: Record<string, { handler: Handler; status: number; text: string }> = {
  'two replies': {
    handler: async (request, reply) => {
      loose(request.session)['seen'] = true
      reply.send('first')
      reply.code(404).header('x-second', '1').send('second')
    },
    status: 200,
    text: 'first',
  },
  'two replies of a handler with a callback': {
    handler: (request, reply) => {
      loose(request.session)['seen'] = true
      reply.send('first')
      reply.code(404).header('x-second', '1').send('second')
    },
    status: 200,
    text: 'first',
  },
  'a reply and a result': {
    handler: async (request, reply) => {
      loose(request.session)['seen'] = true
      reply.send('first')
      return 'second'
    },
    status: 200,
    text: 'first',
  },
  'a redirect and an error': {
    handler: async (request, reply) => {
      await login(request)
      reply.redirect('/somewhere')
      throw new Error('afterwards')
    },
    status: 302,
    text: '',
  },
  'a redirect and an error at once': {
    handler: (request, reply) => {
      loose(request.session)['seen'] = true
      reply.redirect('/somewhere')
      throw new Error('afterwards')
    },
    status: 302,
    text: '',
  },
  'a reply and a late error': {
    handler: async (request, reply) => {
      loose(request.session)['seen'] = true
      reply.send('first')
      await new Promise((resolve) => reply.raw.once('close', resolve))
      throw new Error('afterwards')
    },
    status: 200,
    text: 'first',
  },
  'a stream and an error': {
    handler: async (_request, reply) => {
      reply.send(Readable.from(slowly()))
      throw new Error('afterwards')
    },
    status: 200,
    text: 'abc',
  },
  'a stream and an error while the session is saved': {
    handler: async (request, reply) => {
      loose(request.session)['seen'] = true
      reply.send(Readable.from(slowly()))
      throw new Error('afterwards')
    },
    status: 200,
    text: 'abc',
  },
  'a stream and a reply': {
    handler: async (_request, reply) => {
      reply.send(Readable.from(slowly()))
      reply.code(404).send('second')
    },
    status: 200,
    text: 'abc',
  },
  'a hijacked reply and an error': {
    handler: async (request, reply) => {
      loose(request.session)['seen'] = true
      reply.hijack()
      reply.raw.end('raw')
      throw new Error('afterwards')
    },
    status: 200,
    text: 'raw',
  },
}

t.test('the first reply stands, whatever comes after it', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const escaped = watchProcess(t)
    const handlers = Object.fromEntries(Object.entries(doubled).map(([name, { handler }]) => [name, handler]))
    const { get, log } = await serve(t, handlers, await storageUrl(t, kind))
    for (const [name, expected] of Object.entries(doubled)) {
      const response = await get(encodeURIComponent(name))
      t.match(response, { status: expected.status, text: expected.text }, name)
      t.equal(response.headers.get('x-second'), null, name)
      t.notMatch(response.type, /problem/, name)
      if (/error/.test(name)) t.match(log(), /afterwards/, `${name}: it is logged`)
      t.strictSame(escaped.splice(0), [], name)
    }
  }),
)

t.test('an async handler that sends, and returns nothing, keeps the cookie of its session', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const sent: Record<string, Handler> = {
      login: async (request, reply) => {
        await login(request)
        reply.send('in')
      },
      value: async (request, reply) => {
        loose(request.session)['seen'] = true
        reply.send('seen')
      },
      'another status afterwards': async (request, reply) => {
        loose(request.session)['seen'] = true
        reply.send('seen')
        reply.code(404).header('x-second', '1')
      },
    }
    const { get } = await serve(t, sent, await storageUrl(t, kind))
    for (const name of Object.keys(sent)) {
      const { status, headers } = await get(encodeURIComponent(name))
      t.equal(status, 200, name)
      t.match(headers.get('set-cookie'), /^sid=/, name)
      t.equal(headers.get('x-second'), null, name)
    }
  }),
)

t.test('a guard that has answered keeps the handler from running, also when it does not return its reply', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(storage, { storage: await storageUrl(t, kind) })
    await app.register(session, { secret: SECRET, production: false })
    let ran = 0
    const guard = async (request: FastifyRequest, reply: FastifyReply) => {
      loose(request.session)['failures'] = 1
      reply.code(401).send('no')
    }
    const hooks = ['preParsing', 'preValidation', 'preHandler'] as const
    for (const hook of hooks) {
      app.get(`/${hook}`, { [hook]: guard }, async () => {
        ran++
        return 'secret'
      })
    }
    for (const hook of hooks) {
      const { statusCode, body, cookies } = await app.inject(`/${hook}`)
      t.match({ statusCode, body, cookies }, { statusCode: 401, body: 'no', cookies: [{ name: 'sid' }] }, hook)
    }
    t.equal(ran, 0)
  }),
)

t.test('a stream that fails ends its request and nothing else', async (t) => {
  const escaped = watchProcess(t)
  const { get } = await serve(
    t,
    {
      late: async (request) => {
        loose(request.session)['seen'] = true
        return Readable.from(
          (async function* () {
            yield 'a'
            await turn()
            throw new Error('late')
          })(),
        )
      },
      early: async (request) => {
        loose(request.session)['seen'] = true
        // biome-ignore lint/correctness/useYield: it fails first
        const failing = async function* (): AsyncGenerator<string> {
          throw new Error('early')
        }
        return Readable.from(failing())
      },
    },
    {},
  )
  await t.rejects(get('late'), 'the connection is cut: its status was sent')
  t.match(await get('early'), { status: 500, type: /problem/ })
  t.strictSame(escaped, [])
})

t.test('a store of the application that misbehaves fails its request', async (t) => {
  const kept = new Map<string, object>()
  const right: CallbackStore = {
    get: (sid, callback) => callback(null, kept.get(sid)),
    set: (sid, value, callback) => {
      kept.set(sid, value)
      callback()
    },
    destroy: (sid, callback) => {
      kept.delete(sid)
      callback()
    },
  }
  const each = (
    wrong: (method: keyof CallbackStore, call: () => void, callback: (error?: unknown) => void) => unknown,
  ) =>
    ({
      get: (sid, callback) => wrong('get', () => right.get(sid, callback), callback),
      set: (sid, value, callback) => wrong('set', () => right.set(sid, value, callback), callback),
      destroy: (sid, callback) => wrong('destroy', () => right.destroy(sid, callback), callback),
    }) as CallbackStore
  const stores: Record<string, { store: CallbackStore; status: number }> = {
    'throws at once': {
      store: each(() => {
        throw new Error('no')
      }),
      status: 503,
    },
    'throws after it has answered': {
      store: each((_method, call) => {
        call()
        throw new Error('late')
      }),
      status: 200,
    },
    'rejects as well as it answers': {
      store: each(async (_method, call) => {
        call()
        throw new Error('late')
      }),
      status: 200,
    },
    'rejects and never answers': { store: each(async () => Promise.reject(new Error('no'))), status: 503 },
    'answers twice': {
      store: each((_method, call) => {
        call()
        call()
      }),
      status: 200,
    },
    'answers well, then ill': {
      store: each((_method, call, callback) => {
        call()
        setImmediate(() => callback(new Error('late')))
      }),
      status: 200,
    },
    'answers with what no store can hold': {
      store: {
        ...right,
        get: (_sid, callback) => setImmediate(callback, null, { stateful: { id: () => 'a function' } }),
      },
      status: 503,
    },
  }
  for (const [name, { store, status }] of Object.entries(stores)) {
    await t.test(name, async (t) => {
      const escaped = watchProcess(t)
      const { get } = await serve(
        t,
        {
          login: async (request) => {
            await login(request)
            return 'x'
          },
        },
        { store },
      )
      t.match(await get('login'), { status })
      await turn()
      t.strictSame(escaped, [])
    })
  }
})

t.test('a hook that fails after the session was saved leaves no request without an answer', async (t) => {
  const escaped = watchProcess(t)
  const failing: Record<string, (done: (error?: Error) => void) => unknown> = {
    'throws at once': () => {
      throw new Error('in the hook')
    },
    'fails late': (done) => void setImmediate(done, new Error('in the hook')),
    rejects: async () => {
      await turn()
      throw new Error('in the hook')
    },
  }
  for (const [name, fail] of Object.entries(failing)) {
    for (const always of [true, false]) {
      const app = Fastify({ forceCloseConnections: true })
      t.teardown(() => app.close())
      await app.register(problems)
      await app.register(session, { secret: SECRET, production: false })
      const failed = new WeakSet<FastifyRequest>()
      app.addHook('onSend', (request, _reply, _payload, done) => {
        if (failed.has(request) && !always) return done()
        failed.add(request)
        return fail(done as (error?: Error) => void) as never
      })
      app.get('/returns', async (request) => {
        loose(request.session)['seen'] = true
        return 'x'
      })
      app.get('/sends', (request, reply) => {
        loose(request.session)['seen'] = true
        reply.send('x')
      })
      app.get('/throws', async () => {
        throw new Error('in the handler')
      })
      const url = await app.listen({ port: 0 })
      for (const path of ['returns', 'sends', 'throws']) {
        const response = await fetch(`${url}/${path}`, { signal: AbortSignal.timeout(5_000) })
        t.equal(response.status, 500, `${name}, ${always ? 'always' : 'once'}: ${path}`)
        await response.text()
      }
    }
  }
  t.strictSame(escaped, [])
})
