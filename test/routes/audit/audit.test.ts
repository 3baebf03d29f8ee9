import t from 'tap'
import type { AuditTrail } from '../../../openapi/schemas/audit.ts'
import { ADMIN_PASSWORD, loggedIn, testApp } from '../../fixtures/app.ts'
import { startRedis } from '../../fixtures/redis-server.ts'

async function setUp(t: Parameters<typeof testApp>[0], storage = 'memory:') {
  const lines: { action?: string; by?: string; resource?: string; plugin?: string }[] = []
  const stream = { write: (line: string) => void lines.push(JSON.parse(line)) }
  const app = await testApp(t, { storage, logger: { level: 'info', stream } })
  const admin = await loggedIn(app)
  const trail = async () => (await admin({ url: '/audit' })).json<AuditTrail>().entries
  return { app, admin, trail, lines: () => lines.filter(({ plugin }) => plugin === 'audit') }
}

t.test(
  'what an administrator changes is in the trail before the answer, and in the log without names of things',
  async (t) => {
    const { app, admin, trail, lines } = await setUp(t)
    await app.accounts.create({ id: 'grace', username: 'grace', password: ADMIN_PASSWORD, role: 'user' })
    t.same(await trail(), [])
    await admin({ method: 'PUT', url: '/state/keys/theme', payload: { value: 'dark' } })
    await admin({ method: 'POST', url: '/cache/invalidate', payload: { keys: ['a', 'b'], tags: ['t'] } })
    await admin({ method: 'DELETE', url: '/sessions?userId=grace' })
    const entries = await trail()
    t.match(entries, [
      { action: 'sessions:revoke', by: 'admin', byToken: false, resources: [{ userId: 'grace' }], status: 200 },
      {
        action: 'cache:invalidate',
        resources: [
          { namespace: 'default', key: 'a' },
          { namespace: 'default', key: 'b' },
          { namespace: 'default', tag: 't' },
        ],
      },
      { action: 'state:write', by: 'admin', resources: [{ space: 'app', key: 'theme' }], status: 200 },
    ])
    t.equal(entries[1]?.resources.length, 3, 'each once, though it was asked for before and after validation')
    t.match(lines(), [
      { action: 'state:write', by: 'admin', resource: 'space key' },
      { action: 'cache:invalidate', resource: 'namespace key' },
      { action: 'sessions:revoke', resource: 'userId' },
    ])
    t.notMatch(JSON.stringify(lines()), /theme|grace/)
  },
)

t.test('what failed says so; what was refused, or only read, is not there', async (t) => {
  const { app, admin, trail } = await setUp(t)
  await app.accounts.create({ username: 'grace', password: ADMIN_PASSWORD, role: 'observer' })
  const observer = await loggedIn(app, 'grace')
  t.equal((await observer({ method: 'POST', url: '/stats/reset' })).statusCode, 403)
  t.equal((await observer({ url: '/audit' })).statusCode, 200)
  await admin({ url: '/stats' })
  await admin({ url: '/users' })
  t.same(await trail(), [])
  t.equal((await admin({ method: 'PUT', url: '/state/keys/k', payload: { wrong: 1 } })).statusCode, 400)
  t.match(await trail(), [{ action: 'state:write', status: 400 }])
})

t.test('of machines the daily writes are left out, what administers is not', async (t) => {
  const { app, trail } = await setUp(t)
  const { token } = await app.accessTokens.create({ name: 'deploy', scopes: ['state:write', 'stats:reset'] })
  const headers = { authorization: `Bearer ${token}` }
  await app.inject({ method: 'PUT', url: '/state/keys/k', payload: { value: 1 }, headers })
  await app.inject({ method: 'POST', url: '/stats/reset', headers })
  t.match(await trail(), [{ action: 'stats:reset', by: 'deploy', byToken: true, status: 204 }])
  t.equal((await trail()).length, 1)
})

t.test('instances share it', async (t) => {
  const redis = await startRedis(t)
  const one = await setUp(t, redis.url)
  const two = await setUp(t, redis.url)
  await one.admin({ method: 'POST', url: '/stats/reset' })
  t.match(await two.trail(), [{ action: 'stats:reset', by: 'admin' }])
})
