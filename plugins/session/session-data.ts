import '@fastify/session'
import type { Preferences } from '../../openapi/schemas/account.ts'

/**
 * Who a session belongs to. Give it fields of your own by declaration merging:
 *
 * ```ts
 * declare module 'fastify-stateful' {
 *   interface SessionUser { team: string }
 * }
 * ```
 */
export interface SessionUser {
  /** Required; the user's sessions are listed and revoked by it. */
  id: string
  username?: string
  /** `'administrator'` may do everything by default. */
  role?: string
}

declare module 'fastify' {
  interface Session {
    /** Set by `request.login()`; absent while anonymous. */
    user?: SessionUser
    /** What `POST /preferences` keeps. */
    preferences?: Preferences
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
