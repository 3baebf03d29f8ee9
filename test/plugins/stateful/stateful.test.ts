import Fastify from 'fastify'
import t from 'tap'
import { stateful } from '../../../plugins/stateful/index.ts'
import { SECRET } from '../../fixtures/credentials.ts'

t.test('every option of the storage reaches it', async (t) => {
  const wrong = [{ backup: { keep: 0 } }, { backup: { every: '1ms' } }, { recoveryTimeout: 'soon' }] as const
  for (const options of wrong) {
    const app = Fastify()
    t.teardown(() => app.close())
    const registered = async () => app.register(stateful, { storage: 'memory:', secret: SECRET, ...options }).ready()
    await t.rejects(registered(), { code: /^STATEFUL_INVALID_/ }, JSON.stringify(options))
  }
})
