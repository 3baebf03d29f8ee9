import crypto from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import type { Redis } from 'ioredis'
import t from 'tap'
import type { OpenSession } from '../../../plugins/session/record.ts'
import { TOMBSTONE_TTL } from '../../../plugins/session/stores/contract.ts'
import { newToken } from '../../../plugins/session/token.ts'
import { ManualClock } from '../../../plugins/support/manual-clock.ts'
import { monitor } from '../../fixtures/redis-monitor.ts'
import { startRedis } from '../../fixtures/redis-server.ts'
import { Browser, PASSWORD, sessionApp } from '../../fixtures/session-app.ts'
import { onEveryStorage, storageUrl } from '../../fixtures/storages.ts'
import { startEngine } from './world.ts'

t.test('a read is one GET and nothing else; a touch interval has one write', async (t) => {
  const { url } = await startRedis(t)
  const clock = new ManualClock()
  const app = await sessionApp(t, {
    storage: url,
    session: { clock, touch: '1m', sweep: '1h' },
    routes: (app) => app.get('/me', async ({ session }) => ({ user: session.user?.id })),
  })
  if (app.storage.kind !== 'redis') return
  const browser = new Browser(app)
  await browser.inject({ method: 'POST', url: '/login', payload: { username: 'ada', password: PASSWORD } })

  const [server] = app.storage.client.servers.all()
  const seen = await monitor(t, server as Redis)
  // Of clients, not what a script does inside.
  const during = async (run: () => Promise<unknown>) => {
    await seen()
    await run()
    return (await seen()).filter(({ byScript }) => !byScript).map(({ name }) => name)
  }
  const read = async () => t.match((await browser.inject({ method: 'GET', url: '/me' })).json(), { user: 'ada' })

  t.same(
    await during(async () => {
      for (let n = 0; n < 5; n++) await read()
    }),
    Array(5).fill('get'),
  )
  clock.advance(60_000)
  const touched = await during(async () => {
    for (let n = 0; n < 5; n++) await read()
  })
  t.same(touched.filter((name) => name === 'get').length, 5)
  const writes = touched.filter((name) => name !== 'get')
  // One script; a server that does not know it yet is sent its text.
  t.same(writes, ['evalsha', 'eval'])
  t.same(await during(() => new Browser(app).inject({ method: 'GET', url: '/me' })), [], 'none without a cookie')
})

t.test('a session that was read before is read without a signature or a digest', async (t) => {
  const app = await sessionApp(t, {
    routes: (app) => app.get('/me', async ({ session }) => ({ user: session.user?.id })),
  })
  const browser = new Browser(app)
  await browser.inject({ method: 'POST', url: '/login', payload: { username: 'ada', password: PASSWORD } })
  await browser.inject({ method: 'GET', url: '/me' })

  let digests = 0
  const { createHash, createHmac } = crypto
  t.teardown(() => {
    Object.assign(crypto, { createHash, createHmac })
    syncBuiltinESMExports()
  })
  const counted =
    (call: (...args: never[]) => unknown) =>
    (...args: never[]) => {
      digests += 1
      return call(...args)
    }
  Object.assign(crypto, { createHash: counted(createHash), createHmac: counted(createHmac) })
  syncBuiltinESMExports()
  for (let n = 0; n < 5; n++) t.match((await browser.inject({ method: 'GET', url: '/me' })).json(), { user: 'ada' })
  t.equal(digests, 0)
  await browser.inject({ method: 'POST', url: '/login', payload: { username: 'ada', password: PASSWORD } })
  t.not(digests, 0, 'they are counted')
})

t.test('what is remembered of a token is never told of another session under it', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const { engine, clock } = await startEngine(t, await storageUrl(t, kind))
    const token = newToken()
    const userOf = async () => {
      const open = await engine.open(token)
      return typeof open === 'object' ? open.userId : open
    }
    // As `sessionStore` does, whose ids are those of @fastify/session.
    t.match(await engine.begin(token, {}, { userId: 'ada' }), { userId: 'ada' })
    t.equal(await userOf(), 'ada')
    t.equal(await engine.endId(((await engine.open(token)) as OpenSession).id, 'test'), true)
    t.equal(await userOf(), 'ended')
    clock.advance(TOMBSTONE_TTL + 1)
    await engine.begin(token, {}, { userId: 'bob' })
    t.equal(await userOf(), 'bob')
  }),
)
