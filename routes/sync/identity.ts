import type { FastifyRequest } from 'fastify'
import { type Authorize, demand } from '../../plugins/security/authorize.ts'
import type { Identity } from '../../plugins/sync/connection.ts'

/** What is read of `app.sessions`, which need not be there. */
interface SessionHandles {
  handleOf(request: FastifyRequest): string | undefined
}

/** Who the request is of, and what it may do, for as long as its connection lives. */
export function identityOf(request: FastifyRequest, authorize: Authorize | undefined, clientId?: string): Identity {
  const { server } = request
  const userId = request.session?.user?.id
  const sessionHandle = server.hasDecorator('sessions')
    ? server.getDecorator<SessionHandles>('sessions').handleOf(request)
    : undefined
  return {
    address: request.ip,
    ...(userId === undefined ? {} : { userId }),
    ...(sessionHandle === undefined ? {} : { sessionHandle }),
    ...(clientId === undefined ? {} : { clientId }),
    authorize: (action, resource) => demand(authorize, request, action, resource),
  }
}
