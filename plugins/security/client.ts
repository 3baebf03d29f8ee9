import type { FastifyRequest } from 'fastify'
import { userOf } from '../session/user.ts'
import type { Client } from '../support/client-limits.ts'

/** What is read of `app.sessions`, which need not be there. */
interface SessionHandles {
  handleOf(request: FastifyRequest): string | undefined
}

/** Whom a request counts for. */
export function clientOf(request: FastifyRequest): Client {
  const { server } = request
  const sessions = server.hasDecorator('sessions') ? server.getDecorator<SessionHandles>('sessions') : undefined
  return { userId: userOf(request)?.id, sessionHandle: sessions?.handleOf(request), address: request.ip }
}
