import type { FastifyRequest } from 'fastify'
import { type Authorize, demand } from '../../plugins/security/authorize.ts'
import { requestSession } from '../../plugins/session/request/lasting.ts'
import { userOf } from '../../plugins/session/user.ts'
import type { Identity } from '../../plugins/sync/connection/identity.ts'

/** Who the request is of, and what it may do, for as long as its connection lives. */
export function identityOf(request: FastifyRequest, authorize: Authorize | undefined, clientId?: string): Identity {
  const userId = userOf(request)?.id
  const session = requestSession(request)
  return {
    address: request.ip,
    authorize: (action, resource) => demand(authorize, request, action, resource),
    ...(userId === undefined ? {} : { userId }),
    ...(clientId === undefined ? {} : { clientId }),
    ...(session ? { sessionHandle: session.handle, verify: session.verify, used: session.used } : {}),
  }
}
