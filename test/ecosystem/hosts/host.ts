import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import type { Test } from 'tap'
import { accounts } from '../../../plugins/accounts/index.ts'
import { stateful } from '../../../plugins/stateful/index.ts'
import { authRoutes } from '../../../routes/auth/index.ts'
import { cacheRoutes } from '../../../routes/cache/index.ts'
import { stateRoutes } from '../../../routes/state/index.ts'
import { syncRoutes } from '../../../routes/sync/index.ts'
import { userRoutes } from '../../../routes/users/index.ts'
import { ADMIN_PASSWORD, SECRET } from '../../fixtures/credentials.ts'

/** An application that is somebody else's; closed at teardown. */
export function newHost(t: Test, options: FastifyServerOptions = {}): FastifyInstance {
  const app = Fastify(options)
  t.teardown(() => app.close())
  return app
}

/** All services and most routes, as an application registers them. */
export async function useStateful(app: FastifyInstance, prefix = ''): Promise<void> {
  await app.register(stateful, { storage: 'memory:', secret: SECRET, session: { production: false } })
  await app.register(accounts, { bootstrap: { password: ADMIN_PASSWORD } })
  await app.register(authRoutes, { prefix })
  await app.register(userRoutes, { prefix })
  await app.register(stateRoutes, { prefix })
  await app.register(cacheRoutes, { prefix })
  await app.register(syncRoutes, { prefix })
}

/** A route of its own, which names nothing of ours. */
export const orders = async (app: FastifyInstance) => {
  const Order = Type.Object({ id: Type.String() }, { description: 'An order.' })
  const schema = { operationId: 'listOrders', tags: ['orders'], response: { 200: Type.Array(Order) } }
  app.get('/orders', { schema }, async () => [{ id: 'o1' }])
}

export interface Document {
  openapi?: string
  info: { title: string; version: string; description?: string; license?: object }
  servers?: { url: string }[]
  tags?: { name: string; description?: string }[]
  security?: object[]
  components: { schemas: Record<string, object>; securitySchemes?: Record<string, { name?: string }> }
  paths: Record<
    string,
    Record<string, { operationId?: string; description?: string; security?: object[]; responses: object }>
  >
}
