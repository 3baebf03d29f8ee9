import type { FastifyRequest } from 'fastify'
import { type Authorize, demand } from '../../plugins/security/authorize.ts'
import type { SessionUser } from '../../plugins/session/session-data.ts'
import type { Identity, Verdict } from '../../plugins/sync/identity.ts'

/** What is read of `app.sessions`, which need not be there. */
interface SessionLookup {
  handleOf(request: FastifyRequest): string | undefined
  get(handle: string): Promise<{ data: { [name: string]: unknown } } | undefined>
}

/** Who the request is of, and what it may do, for as long as its connection lives. */
export function identityOf(request: FastifyRequest, authorize: Authorize | undefined, clientId?: string): Identity {
  const { server } = request
  const sessions = server.hasDecorator('sessions') ? server.getDecorator<SessionLookup>('sessions') : undefined
  const userId = request.session?.user?.id
  const sessionHandle = sessions?.handleOf(request)
  return {
    address: request.ip,
    authorize: (action, resource) => demand(authorize, request, action, resource),
    ...(userId === undefined ? {} : { userId }),
    ...(clientId === undefined ? {} : { clientId }),
    ...(sessions && sessionHandle !== undefined
      ? { sessionHandle, verify: () => verify(sessions, sessionHandle, request.session?.user) }
      : {}),
  }
}

async function verify(sessions: SessionLookup, handle: string, before: SessionUser | undefined): Promise<Verdict> {
  const session = await sessions.get(handle)
  if (!session) return 'ended'
  const user = session.data['user'] as SessionUser | undefined
  return user?.id === before?.id && user?.role === before?.role ? 'same' : 'changed'
}
