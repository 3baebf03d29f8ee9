import { once } from 'node:events'
import { get } from 'node:https'
import type { AddressInfo } from 'node:net'
import basicAuth from '@fastify/basic-auth'
import type { FastifyInstance, FastifyReply, FastifyRequest, preHandlerHookHandler } from 'fastify'
import Fastify from 'fastify'
import fp from 'fastify-plugin'
import t from 'tap'
import { cache } from '../../../plugins/cache/index.ts'
import { responseCache } from '../../../plugins/response-cache/index.ts'
import { storage } from '../../../plugins/storage/index.ts'
import { cert, key } from '../../fixtures/certificate.ts'
import { onEveryStorage, storageUrl } from '../../fixtures/storages.ts'
import { buildApp } from './fixture.ts'

const cached = { config: { cache: { ttl: '1m', shared: true } } }
const asks = (request: FastifyRequest) => request.headers['x-api-key'] === 'secret'
const guard = async (request: FastifyRequest, reply: FastifyReply) => {
  if (!asks(request)) return reply.code(401).send({ error: 'who are you?' })
}
const throws = async (request: FastifyRequest) => {
  if (!asks(request)) throw Object.assign(new Error('who are you?'), { statusCode: 401 })
}
const callsBack: preHandlerHookHandler = (request, reply, done) => {
  if (asks(request)) done()
  else reply.code(401).send({ error: 'who are you?' })
}
const harmless = async () => {}

/** Where an application may have its guard; each registers `/guarded`, whose handler answers how often it ran. */
const guards: Record<string, (app: FastifyInstance, handler: () => Promise<object>) => unknown> = {
  'preHandler of the route': (app, handler) => app.get('/guarded', { ...cached, preHandler: guard }, handler),
  'a preHandler that throws': (app, handler) => app.get('/guarded', { ...cached, preHandler: throws }, handler),
  'a preHandler with a callback': (app, handler) => app.get('/guarded', { ...cached, preHandler: callsBack }, handler),
  'the last of several preHandlers': (app, handler) =>
    app.get('/guarded', { ...cached, preHandler: [harmless, guard] }, handler),
  'preValidation of the route': (app, handler) => app.get('/guarded', { ...cached, preValidation: guard }, handler),
  'onRequest of the route': (app, handler) => app.get('/guarded', { ...cached, onRequest: guard }, handler),
  'a hook of an inner scope': (app, handler) =>
    app.register(async (scope) => {
      scope.addHook('preHandler', guard)
      scope.get('/guarded', cached, handler)
    }),
  'a hook of the innermost scope': (app, handler) =>
    app.register(async (outer) => {
      await outer.register(async (scope) => {
        scope.addHook('preHandler', guard)
        await scope.register(async (inner) => inner.get('/guarded', cached, handler))
      })
    }),
  'a hook that is added after the route': (app, handler) => {
    app.get('/guarded', cached, handler)
    app.addHook('preHandler', guard)
  },
  'a plugin that is registered later': async (app, handler) => {
    app.get('/guarded', cached, handler)
    await app.register(fp(async (instance) => void instance.addHook('preHandler', guard)))
  },
  'a later plugin that adds to each route': async (app, handler) => {
    await app.register(
      fp(async (instance) => {
        instance.addHook('onRoute', (route) => {
          route.preHandler = [...[route.preHandler ?? []].flat(), guard]
        })
      }),
    )
    app.get('/guarded', cached, handler)
  },
  'a later plugin that wraps each handler': async (app, handler) => {
    await app.register(
      fp(async (instance) => {
        instance.addHook('onRoute', (route) => {
          const inner = route.handler
          route.handler = async function (this: FastifyInstance, request, reply) {
            return (await guard(request, reply)) ?? inner.call(this, request, reply)
          }
        })
      }),
    )
    app.get('/guarded', cached, handler)
  },
}

for (const [where, register] of Object.entries(guards)) {
  t.test(`the cache stands after ${where}`, async (t) => {
    let calls = 0
    const app = await buildApp(t, (app) => register(app, async () => ({ secret: ++calls })))
    for (const method of ['GET', 'HEAD'] as const) {
      const ask = (key?: string) =>
        app.inject({ method, url: '/guarded', headers: key === undefined ? {} : { 'x-api-key': key } })
      t.equal((await ask()).statusCode, 401, 'before')
      calls = 0
      t.equal((await ask('secret')).statusCode, 200)
      t.equal((await ask('secret')).statusCode, 200)
      t.equal(calls, method === 'GET' ? 1 : 0, 'it is cached')
      for (const key of [undefined, 'other', '']) {
        const refused = await ask(key)
        t.equal(refused.statusCode, 401, `${method} ${key}`)
        t.notMatch(refused.body, 'secret')
        t.notMatch(refused.headers, { etag: String }, 'nothing of the answer')
      }
    }
  })
}

t.test('whoever waits for an answer has passed the guards too', async (t) => {
  let go = () => {}
  const started = new Promise<void>((begun) => {
    go = begun
  })
  let finish = () => {}
  const finished = new Promise<void>((done) => {
    finish = done
  })
  const app = await buildApp(t, (app) =>
    app.get('/guarded', { ...cached, preHandler: guard }, async () => {
      go()
      await finished
      return { secret: 1 }
    }),
  )
  const first = app.inject({ url: '/guarded', headers: { 'x-api-key': 'secret' } })
  await started
  const others = [undefined, 'secret'].map((key) =>
    app.inject({ url: '/guarded', headers: key === undefined ? {} : { 'x-api-key': key } }),
  )
  t.equal((await others[0])?.statusCode, 401, 'is not even held up')
  finish()
  t.equal((await first).statusCode, 200)
  t.equal((await others[1])?.statusCode, 200)
})

t.test('@fastify/basic-auth: who may not any more is refused, whatever is cached', async (t) => {
  await onEveryStorage(t, async (t, kind) => {
    let revoked = false
    let calls = 0
    const url = await storageUrl(t, kind)
    const app = await buildApp(
      t,
      async (app) => {
        await app.register(basicAuth, {
          authenticate: true,
          validate: async (username, password) => {
            if (revoked || password !== 'right') throw new Error(`no, ${username}`)
          },
        })
        app.after(() => {
          const preHandler = app.basicAuth
          app.get(
            '/mine',
            { preHandler, config: { cache: { ttl: '1m', vary: ['Authorization'] } } },
            async (request) => ({
              call: ++calls,
              by: request.headers.authorization,
            }),
          )
        })
      },
      {},
      url,
    )
    const ask = (user?: string, password = 'right') => {
      const authorization = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`
      return app.inject({ url: '/mine', headers: user === undefined ? {} : { authorization } })
    }
    const ada = await ask('ada')
    t.match(ada.json(), { call: 1 })
    t.match((await ask('ada')).json(), ada.json())
    t.match((await ask('bob')).json(), { call: 2 }, 'each has his own')
    t.equal((await ask()).statusCode, 401)
    t.equal((await ask('ada', 'wrong')).statusCode, 401)
    revoked = true
    t.equal((await ask('ada')).statusCode, 401)
    t.match(
      ada.headers,
      { 'cache-control': 'private, no-cache', vary: 'authorization' },
      'no cache on the way may keep it',
    )
  })
})

const CREDENTIALS =
  'authorization cookie proxy-authorization x-api-key api-key apikey x-apikey x-functions-key ocp-apim-subscription-key ' +
  'x-auth-token x-access-token x-id-token private-token x-gitlab-token x-amz-security-token x-csrf-token x-xsrf-token ' +
  'x-session-id session x-secret x-hasura-admin-secret x-password x-signature x-hub-signature-256 x-jwt ' +
  'x-goog-iap-jwt-assertion x-amzn-oidc-data x-client-cert x-forwarded-client-cert x-ssl-client-verify-cert ' +
  'x-ms-client-principal x-forwarded-user remote-user x-remote-user x-user-id x-authenticated-userid x-forwarded-email ' +
  'x-account x-tenant-id x-consumer-id x-identity x-credential dpop x-otp x-roles x-uid x-sid x-client-id'

t.test('a request with something that sounds like a credential is cached only where it is named', async (t) => {
  let calls = 0
  const handler = async () => ({ call: ++calls })
  const names = CREDENTIALS.split(' ')
  const app = await buildApp(t, (app) => {
    app.get('/unnamed', { config: { cache: { ttl: '1m' } } }, handler)
    app.get('/named', { config: { cache: { ttl: '1m', vary: names.map((name) => name.toUpperCase()) } } }, handler)
    app.get('/shared', cached, handler)
  })
  const call = async (url: string, headers = {}) => (await app.inject({ url, headers })).json().call
  const anonymous = await call('/unnamed')
  const shared = await call('/shared')
  const named = await call('/named')
  for (const name of names) {
    const [one, other] = [{ [name]: 'one' }, { [name]: 'other' }]
    t.not(await call('/unnamed', one), anonymous, name)
    t.not(await call('/unnamed', one), await call('/unnamed', one), name)
    const own = await call('/named', one)
    t.equal(await call('/named', one), own, `${name} named`)
    t.not(await call('/named', other), own, `${name} named`)
    t.not(own, named, `${name} named`)
    t.equal(await call('/shared', one), shared, `${name} shared`)
  }
})

t.test('what browsers and proxies send with every request keeps nobody from the cache', async (t) => {
  let calls = 0
  const app = await buildApp(t, (app) =>
    app.get('/', { config: { cache: { ttl: '1m' } } }, async () => ({ call: ++calls })),
  )
  const headers = {
    'user-agent': 'Mozilla/5.0',
    accept: '*/*',
    'accept-language': 'en',
    'cache-control': 'max-age=0',
    'sec-fetch-user': '?1',
    'sec-fetch-site': 'none',
    'sec-ch-ua': '"Chromium"',
    'sec-gpc': '1',
    'upgrade-insecure-requests': '1',
    referer: 'https://a.example/',
    'x-forwarded-for': '192.0.2.1',
    'x-request-id': '1',
    'x-amzn-trace-id': 'Root=1',
    traceparent: '00-1-1-00',
    'cf-ray': '1',
    priority: 'u=0',
  }
  await app.inject('/')
  t.match((await app.inject({ url: '/', headers })).json(), { call: 1 })
})

t.test('a route from before the plugin is not cached, and the log says why', async (t) => {
  const lines: string[] = []
  const app = Fastify({ logger: { stream: { write: (line: string) => void lines.push(line) } } })
  t.teardown(() => app.close())
  let calls = 0
  await app.register(storage, { storage: 'memory:' })
  await app.register(cache)
  const { config } = { config: { cache: { ttl: '1m' } } }
  app.get('/early', { config, preHandler: guard }, async () => ({ call: ++calls }))
  await app.register(responseCache)
  app.get('/late', { config }, async () => ({ late: true }))
  for (const call of [1, 2]) {
    t.match((await app.inject({ url: '/early', headers: { 'x-api-key': 'secret' } })).json(), { call })
  }
  t.equal((await app.inject('/early')).statusCode, 401)
  await app.inject('/late')
  const told = lines.filter((line) => line.includes('not cached'))
  t.equal(told.length, 1, 'once')
  t.match(JSON.parse(told[0] ?? '{}'), { plugin: 'response-cache', route: { url: '/early' } })
})

t.test('a ttl that is none stops the boot', async (t) => {
  for (const config of [{ cache: { ttl: '1x' } }, { cache: { ttl: '1m', stale: -1 } }]) {
    await t.rejects(
      buildApp(t, (app) => app.get('/', { config }, async () => 'x')),
      { code: 'STATEFUL_INVALID_DURATION' },
    )
  }
})

t.test('a certificate of the client is a credential', async (t) => {
  let calls = 0
  const https = { key, cert, requestCert: true, rejectUnauthorized: false }
  const app = await buildApp(
    t,
    (app) => app.get('/', { config: { cache: { ttl: '1m' } } }, async () => ({ call: ++calls })),
    { https },
  )
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const call = async (certificate = {}) => {
    const options = { port, host: '127.0.0.1', agent: false, rejectUnauthorized: false, ...certificate }
    const [response] = await once(get(options), 'response')
    return JSON.parse((await response.toArray()).join('')).call
  }
  t.equal(await call(), 1)
  t.equal(await call(), 1)
  t.equal(await call({ key, cert }), 2)
  t.equal(await call({ key, cert }), 3)
  t.equal(await call(), 1)
})
