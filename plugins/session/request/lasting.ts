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
  /** What came over the connection counts as a use of the session: recorded once in the option `touch`. */
  used(): void
}

/** What is read of `app.sessions`, which need not be there. */
interface Lookup {
  handleOf(request: FastifyRequest): string | undefined
  readonly policy: { touch: number }
  touch(handle: string): Promise<boolean>
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
  const now = server.getDecorator<{ now(): number }>('sessionActions').now
  let usedAt = now()
  return {
    handle,
    used() {
      const time = now()
      // Also after the clock went back.
      if (Math.abs(time - usedAt) < sessions.policy.touch) return
      usedAt = time
      sessions
        .touch(handle)
        .catch((err: unknown) => request.log.warn({ err }, 'the use of a session by a connection was not recorded'))
    },
    async verify() {
      const session = await sessions.get(handle)
      if (!session) return 'ended'
      const user = session.data['user'] as Partial<SessionUser> | undefined
      return session.userId === before?.id && user?.role === before?.role ? 'same' : 'changed'
    },
  }
}
