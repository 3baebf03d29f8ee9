import '@fastify/session'

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
  }
}
