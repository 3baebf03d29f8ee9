import { setTimeout as delay } from 'node:timers/promises'
import Fastify from 'fastify'
import t from 'tap'
import { problems } from '../../../plugins/problems/index.ts'
import { type SecurityOptions, security } from '../../../plugins/security/index.ts'

async function start(options: SecurityOptions) {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(problems)
  await app.register(security, options)
  app.get('/', async () => 'ok')
  await app.ready()
  return app
}

t.test('every answer carries the headers, errors too', async (t) => {
  const app = await start({ production: false })
  for (const url of ['/', '/unknown']) {
    const { headers } = await app.inject(url)
    t.equal(
      headers['content-security-policy'],
      "default-src 'self';object-src 'none';base-uri 'none';frame-ancestors 'none'",
    )
    t.equal(headers['x-content-type-options'], 'nosniff')
    t.equal(headers['x-frame-options'], 'DENY')
    t.equal(headers['referrer-policy'], 'no-referrer')
    t.notOk(headers['x-powered-by'])
  }
})

t.test('HSTS is sent in production only', async (t) => {
  t.notOk((await (await start({ production: false })).inject('/')).headers['strict-transport-security'])
  t.match(
    (await (await start({ production: true })).inject('/')).headers['strict-transport-security'],
    /max-age=31536000/,
  )
})

t.test('an overloaded process refuses new work as a problem that says when to come back', async (t) => {
  const app = await start({ production: false, pressure: { maxRssBytes: 1, retryAfter: '4.2s' } })
  t.equal((await app.inject('/')).statusCode, 200)
  // The monitor takes its first sample a second of real time after the first request.
  for (let waited = 0; waited < 5_000 && !app.isUnderPressure(); waited += 50) await delay(50)
  const response = await app.inject('/')
  t.equal(response.statusCode, 503)
  t.equal(response.headers['retry-after'], '5')
  t.match(response.json(), { status: 503, code: 'STATEFUL_OVERLOADED', requestId: /.+/ })
})

t.test('what a boot takes is no overload: whoever comes first is let in, also on a slow machine', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(problems)
  await app.register(security, { production: false, pressure: { maxEventLoopDelay: '100ms' } })
  app.get('/', async () => 'ok')
  app.addHook('onReady', async () => {
    const end = performance.now() + 1_200
    while (performance.now() < end);
  })
  await app.ready()
  // The timers that fell due meanwhile.
  await delay(30)
  t.equal((await app.inject('/')).statusCode, 200)
})

t.test('a threshold that is none stops the boot', async (t) => {
  await t.rejects(start({ pressure: { maxHeapUsedBytes: -1 } }), { code: 'STATEFUL_INVALID_OPTION' })
  await t.rejects(start({ pressure: { maxRssBytes: 0.5 } }), { code: 'STATEFUL_INVALID_OPTION' })
  await t.rejects(start({ pressure: { maxEventLoopDelay: 'soon' } }), { code: 'STATEFUL_INVALID_DURATION' })
})
