import type { FastifyRequest } from 'fastify'
import { type Authorize, demand } from '../../plugins/security/authorize.ts'
import { clientOf, credentialOf } from '../../plugins/security/client.ts'
import type { Identity } from '../../plugins/sync/connection/identity.ts'

/** Who the request is of, and what it may do, for as long as its connection lives. */
export function identityOf(request: FastifyRequest, authorize: Authorize | undefined, clientId?: string): Identity {
  const { userId } = clientOf(request)
  const credential = credentialOf(request)
  return {
    address: request.ip,
    authorize: (action, resource) => demand(authorize, request, action, resource),
    ...(userId === undefined ? {} : { userId }),
    ...(clientId === undefined ? {} : { clientId }),
    ...(credential ? { sessionHandle: credential.handle, verify: credential.verify, used: credential.used } : {}),
  }
}
