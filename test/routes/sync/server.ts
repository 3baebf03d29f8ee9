import Fastify, { type FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import { problems } from '../../../plugins/problems/index.ts'
import { state } from '../../../plugins/state/index.ts'
import { storage } from '../../../plugins/storage/index.ts'
import { type SyncOptions, sync } from '../../../plugins/sync/index.ts'
import { type SyncRoutesOptions, syncRoutes } from '../../../routes/sync/index.ts'

export interface TestServer {
  app: FastifyInstance
  /** `http://127.0.0.1:<port>` */
  url: string
  /** `ws://127.0.0.1:<port>/sync` */
  ws: string
}

/** State and sync on a port of their own; everybody may do everything unless `authorize` says otherwise. */
export async function startServer(
  t: Test,
  target: string,
  options: SyncOptions & SyncRoutesOptions & { before?: (app: FastifyInstance) => Promise<void> } = {},
): Promise<TestServer> {
  const app = Fastify({ logger: { level: 'silent' }, forceCloseConnections: true })
  t.teardown(() => app.close())
  await app.register(problems)
  await app.register(storage, { storage: target })
  await app.register(state)
  const { before, authorize = () => true, allowedOrigins = [], parameters = [], ...limits } = options
  await before?.(app)
  await app.register(sync, limits)
  await app.register(syncRoutes, { authorize, allowedOrigins, parameters })
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  return { app, url, ws: `${url.replace('http', 'ws')}/sync` }
}
