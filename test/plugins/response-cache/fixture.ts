import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import type { Test } from 'tap'
import { cache } from '../../../plugins/cache/index.ts'
import { responseCache } from '../../../plugins/response-cache/index.ts'
import { storage } from '../../../plugins/storage/index.ts'

/** An app with the response cache, closed at teardown; `set` adds what the test is about. */
export async function buildApp(
  t: Test,
  set: (app: FastifyInstance) => unknown,
  options: FastifyServerOptions & { https?: object } = {},
  url = 'memory:',
): Promise<FastifyInstance> {
  const app = Fastify(options as FastifyServerOptions) as FastifyInstance
  t.teardown(() => app.close())
  await app.register(storage, { storage: url })
  // A busy machine is no outage.
  await app.register(cache, { l2: { timeout: '10s' } })
  await app.register(responseCache)
  await set(app)
  await app.ready()
  return app
}
