import type { FastifyRequest } from 'fastify'
import { type RequestSession, requestSession, type Verdict } from '../session/request/lasting.ts'
import { userOf } from '../session/user.ts'
import type { Client } from '../support/client-limits.ts'
import type { Action } from './access.ts'

/** What is read of `app.sessions`, which need not be there. */
interface SessionHandles {
  handleOf(request: FastifyRequest): string | undefined
}

/** What is read of `request.accessToken`, which need not be there. */
interface PresentedToken {
  id: string
  scopes: readonly Action[]
  check(): Promise<Verdict>
}

/** The access token of a request whose access was asked for; `undefined` without one. */
export function presentedToken(request: FastifyRequest): PresentedToken | undefined {
  return (request as { accessToken?: PresentedToken | null }).accessToken ?? undefined
}

/** What a token counts and is known by where users and sessions do. */
export const tokenHandle = (id: string): string => `token:${id}`

/** Whom a request counts for: the machine by its token, else the user and the session, else the address. */
export function clientOf(request: FastifyRequest): Client {
  const token = presentedToken(request)
  if (token) {
    const handle = tokenHandle(token.id)
    return { userId: handle, sessionHandle: handle, address: request.ip }
  }
  const { server } = request
  const sessions = server.hasDecorator('sessions') ? server.getDecorator<SessionHandles>('sessions') : undefined
  return { userId: userOf(request)?.id, sessionHandle: sessions?.handleOf(request), address: request.ip }
}

/** What a request that lasts rests on: it ends with the session, or with the token. `undefined` for a visitor. */
export function credentialOf(request: FastifyRequest): RequestSession | undefined {
  const token = presentedToken(request)
  if (!token) return requestSession(request)
  return { handle: tokenHandle(token.id), verify: () => token.check(), used() {} }
}
