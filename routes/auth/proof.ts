import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { nameKey } from '../../plugins/accounts/credentials.ts'
import type {} from '../../plugins/accounts/index.ts'
import { presentedToken } from '../../plugins/security/client.ts'
import type {} from '../../plugins/session/index.ts'
import { userOf } from '../../plugins/session/user.ts'
import { InvalidCredentialsError } from '../../plugins/support/errors.ts'
import { tellingWhen } from './retry-after.ts'

export type RequireProof = (request: FastifyRequest, reply: FastifyReply, password?: string) => Promise<void>

/**
 * Asks for proof that it is the user who asks, and not somebody at their open browser or with a stolen cookie: a login
 * of the last `fresh` milliseconds, or the password once more. The returned function rejects with
 * STATEFUL_FRESH_LOGIN_REQUIRED, STATEFUL_INVALID_CREDENTIALS, STATEFUL_TOO_MANY_ATTEMPTS.
 */
export function requiringProof(fastify: FastifyInstance, fresh: number): RequireProof {
  return async (request, reply, password) => {
    const userId = userOf(request)?.id
    // Whom a token or the rule of the application lets in has proved it with this very request.
    if (userId === undefined || presentedToken(request)) return
    if (password === undefined) return fastify.sessionActions.requireFresh(request, fresh)
    const user = await fastify.accounts.get(userId)
    // By its session a device is known as well as by its cookie: strangers cannot lock it out.
    const device = `session ${fastify.sessions.handleOf(request)}`
    const found =
      user &&
      (await tellingWhen(
        reply,
        fastify.loginThrottle.attempt({ account: nameKey(user.username), address: request.ip, device }, () =>
          fastify.accounts.verify(user.username, password),
        ),
      ))
    if (found?.id !== userId) throw new InvalidCredentialsError()
  }
}
