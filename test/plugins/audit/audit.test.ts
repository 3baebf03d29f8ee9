import Fastify from 'fastify'
import t from 'tap'
import { audit } from '../../../plugins/audit/index.ts'
import { demand } from '../../../plugins/security/authorize.ts'
import { storage } from '../../../plugins/storage/index.ts'
import { ManualClock } from '../../../plugins/support/manual-clock.ts'
import { startRedis } from '../../fixtures/redis-server.ts'

t.test('an application has its own routes in the trail, and a trail that is away takes no answer back', async (t) => {
  const redis = await startRedis(t)
  const lines: { level: number; msg: string }[] = []
  const app = Fastify({ logger: { stream: { write: (line: string) => void lines.push(JSON.parse(line)) } } })
  t.teardown(() => app.close())
  const user = { id: 'a', role: 'administrator' }
  app.decorateRequest('session')
  app.addHook('onRequest', async (request) => {
    request.session = { user } as typeof request.session
  })
  await app.register(storage, { storage: redis.url })
  const clock = new ManualClock()
  await app.register(audit, { clock })
  app.post(
    '/empty-bin',
    { preValidation: (request) => demand(undefined, request, 'stats:reset', { scope: 'instance' }) },
    async () => 'done',
  )
  t.equal((await app.inject({ method: 'POST', url: '/empty-bin' })).body, 'done')
  t.same(await app.audit.list(), [
    {
      at: clock.now(),
      action: 'stats:reset',
      by: 'a',
      byToken: false,
      resources: [{ scope: 'instance' }],
      status: 200,
    },
  ])
  await redis.kill()
  t.equal((await app.inject({ method: 'POST', url: '/empty-bin' })).body, 'done')
  t.ok(lines.some(({ level, msg }) => level === 50 && msg === 'the audit trail cannot be written'))
  await t.rejects(app.audit.list(), { code: 'STATEFUL_STORAGE_UNAVAILABLE' })
})
