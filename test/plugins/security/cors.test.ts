import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { problems } from '../../../plugins/problems/index.ts'
import { cors } from '../../../plugins/security/cors.ts'
import { testApp } from '../../fixtures/app.ts'

const ORIGIN = 'https://app.example.com'

async function corsApp(t: Test) {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(cors, { allowedOrigins: [ORIGIN] })
  await app.register(problems)
  app.put('/thing', async () => 'put')
  return app
}

const preflight = (origin: string) => ({
  method: 'OPTIONS' as const,
  url: '/thing',
  headers: { origin, 'access-control-request-method': 'PUT', 'access-control-request-headers': 'if-match' },
})

t.test('an allowed origin may ask, and reads the answer and its headers', async (t) => {
  const app = await corsApp(t)
  const asked = await app.inject(preflight(ORIGIN))
  t.equal(asked.statusCode, 204)
  t.match(asked.headers, {
    'access-control-allow-origin': ORIGIN,
    'access-control-allow-credentials': 'true',
    'access-control-allow-methods': /PUT/,
    'access-control-allow-headers': 'if-match',
    'access-control-max-age': '600',
    vary: /origin/i,
  })
  for (const [url, status] of [
    ['/thing', 200],
    ['/nothing', 404],
  ] as const) {
    const { statusCode, headers } = await app.inject({ method: 'PUT', url, headers: { origin: ORIGIN } })
    t.equal(statusCode, status)
    t.match(headers, { 'access-control-allow-origin': ORIGIN, 'access-control-expose-headers': 'etag, retry-after' })
  }
})

t.test('for everybody else it is as if it were not there', async (t) => {
  const app = await corsApp(t)
  for (const origin of [
    'https://evil.example',
    'https://app.example.com.evil.example',
    'http://app.example.com',
    'null',
  ]) {
    for (const request of [preflight(origin), { method: 'PUT' as const, url: '/thing', headers: { origin } }]) {
      const { headers } = await app.inject(request)
      const names = Object.keys(headers).filter((name) => name.startsWith('access-control'))
      t.strictSame(names, [], `${request.method} of ${origin}`)
      t.match(headers.vary, /origin/i, 'which a cache between must know')
    }
    t.match((await app.inject(preflight(origin))).json(), { status: 404, code: 'STATEFUL_NOT_FOUND' })
  }
})

t.test('the reference server answers every kind of request so, refusals too', async (t) => {
  const app = await testApp(t, { allowedOrigins: [ORIGIN] })
  for (const url of ['/health/live', '/profile', '/nothing', '/state/snapshot', '/sync/events', '/login']) {
    const { headers } = await app.inject({ url, headers: { origin: ORIGIN } })
    t.equal(headers['access-control-allow-origin'], ORIGIN, url)
  }
  const without = await testApp(t)
  const { headers } = await without.inject({ url: '/profile', headers: { origin: ORIGIN } })
  t.notOk(headers['access-control-allow-origin'])
})
