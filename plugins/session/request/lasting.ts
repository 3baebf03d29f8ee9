import type { FastifyRequest } from 'fastify'
import { type SessionUser, userOf } from '../user.ts'

/** What became of a session since a request came with it. */
export type Verdict = 'same' | 'changed' | 'ended'

/** The session of a request that lasts: a live connection, a long poll. */
export interface RequestSession {
  /** Public handle: what events name it by. */
  handle: string
  /** Looks at it again: it may have ended, or its user or role changed. Rejects when the store does not answer. */
  verify(): Promise<Verdict>
}

/** What is read of `app.sessions`, which need not be there. */
interface Lookup {
  handleOf(request: FastifyRequest): string | undefined
  get(handle: string): Promise<{ userId?: string; data: { [name: string]: unknown } } | undefined>
}

/** `undefined` when the request came without a session, or there are none. */
export function requestSession(request: FastifyRequest): RequestSession | undefined {
  const { server } = request
  if (!server.hasDecorator('sessions')) return undefined
  const sessions = server.getDecorator<Lookup>('sessions')
  const handle = sessions.handleOf(request)
  if (handle === undefined) return undefined
  const before = userOf(request)
  return {
    handle,
    async verify() {
      const session = await sessions.get(handle)
      if (!session) return 'ended'
      const user = session.data['user'] as Partial<SessionUser> | undefined
      return session.userId === before?.id && user?.role === before?.role ? 'same' : 'changed'
    },
  }
}
