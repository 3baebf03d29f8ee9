import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import type { Test } from 'tap'
import { type SessionOptions, session } from '../../plugins/session/index.ts'
import { storage } from '../../plugins/storage/index.ts'
import { SECRET } from '../fixtures/session-app.ts'

export interface NeighbourOptions {
  storage?: string
  session?: Partial<SessionOptions>
  server?: FastifyServerOptions
  /** Registers the neighbour and its routes before the sessions are there. */
  before?: (app: FastifyInstance) => unknown
  /** … and afterwards. */
  after?: (app: FastifyInstance) => unknown
}

/** Sessions on a storage, and the real package beside them; closed at teardown. */
export async function neighbourApp(t: Test, options: NeighbourOptions): Promise<FastifyInstance> {
  const app = Fastify({ forceCloseConnections: true, ...options.server })
  t.teardown(() => app.close())
  await options.before?.(app)
  await app.register(storage, { storage: options.storage ?? 'memory:' })
  await app.register(session, { secret: SECRET, production: false, ...options.session })
  await options.after?.(app)
  await app.ready()
  return app
}

/** What a test keeps in a session, whatever the application's types say. */
export const valuesOf = ({ session }: { session: unknown }) => session as Record<string, unknown>
