import { identityBy } from './request/identity.ts'
import { stateOf } from './request/session.ts'

/**
 * Who a session belongs to, as the routes of this package keep it. Give it fields of your own by declaration merging:
 *
 * ```ts
 * declare module 'fastify-stateful' {
 *   interface SessionUser { team: string }
 * }
 * ```
 *
 * What `request.session` holds is for the application to declare, with this type or one of its own:
 *
 * ```ts
 * declare module 'fastify' {
 *   interface Session { user?: SessionUser }
 * }
 * ```
 */
export interface SessionUser {
  /** Required; the user's sessions are listed and revoked by it. */
  id: string
  username?: string
  /** By default `'administrator'` may do everything and `'observer'` see everything. */
  role?: string
}

const byDefault = identityBy()

/**
 * The user of the request's session: its id as the option `user` says, and what `session.user` holds beside it.
 * `undefined` while anonymous.
 */
export function userOf({ session }: { session?: unknown }): SessionUser | undefined {
  if (typeof session !== 'object' || session === null) return undefined
  const state = stateOf(session)
  const id = state ? state.actions.identityOf(session) : byDefault(session)
  if (id === undefined) return undefined
  const { user } = session as { user?: unknown }
  return typeof user === 'object' ? { ...(user as object), id } : { id }
}

declare module 'fastify' {
  interface Session {
    /** The how-manyeth login of the user this session came from; 0 while anonymous. */
    readonly loginCount: number
    /** When the user logged in; absent while anonymous. */
    readonly loginTime?: Date
    /** When the session was used before this request, to the precision of the option `touch`. */
    readonly lastActivity?: Date
    /**
     * Changes one value by what it is in the store now: `change` is called again when another request was faster.
     * Saved when it resolves, with the new value. Without a stored session the value is changed in this request.
     * @throws STATEFUL_SESSION_REVOKED, STATEFUL_SESSION_CONFLICT
     */
    update<K extends keyof Session>(
      key: K,
      change: (value: Session[K]) => Session[K] | Promise<Session[K]>,
    ): Promise<Session[K]>
  }
}
