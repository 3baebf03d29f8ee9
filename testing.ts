/** `fastify-stateful/testing`: for the tests of applications. Nothing here belongs into production. */
import type { FastifyInstance } from 'fastify'
import type { LoginOptions } from './plugins/session/index.ts'

export { MemorySessionStore } from './plugins/session/stores/memory.ts'
export { ManualClock } from './plugins/support/manual-clock.ts'

/**
 * The header `cookie` of a browser in which the user has just logged in: a session as `request.login(user)` begins it,
 * and its signed cookie.
 *
 * @param user what `request.session.user` is to be
 * @throws STATEFUL_UNIDENTIFIED_USER, STATEFUL_TOO_MANY_SESSIONS
 * @example
 * ```ts
 * const cookie = await cookieFor(app, { id: 'ada', role: 'administrator' })
 * const response = await app.inject({ url: '/profile', headers: { cookie } })
 * ```
 */
export async function cookieFor(app: FastifyInstance, user: unknown, options?: LoginOptions): Promise<string> {
  await app.ready()
  return app.sessionActions.issue(user, options)
}
