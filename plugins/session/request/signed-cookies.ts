import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { bySecurity, isWithheld, prefixOf, type SessionCookie } from './cookie.ts'
import type { SessionSigner } from './signer.ts'

/** Further cookies that are signed with the session's secrets and have the attributes of its cookie. */
export interface SessionCookies {
  /** The session's own. */
  readonly cookie: Pick<SessionCookie, 'name' | 'options'>
  /** The value that was signed; `undefined` without one, and when the signature is not ours. */
  get(request: FastifyRequest, name: string): string | undefined
  /** Behind the `Set-Cookie` lines that are there already. @param maxAge in milliseconds */
  set(reply: FastifyReply, name: string, value: string, maxAge: number): void
}

/**
 * @param cookie the session's, whose attributes they have
 *
 * A value must not look like a session's token: both are signed with the same secrets.
 */
export function sessionCookies(fastify: FastifyInstance, signer: SessionSigner, cookie: SessionCookie): SessionCookies {
  const attributes = cookie.options
  const prefix = prefixOf(attributes)
  return {
    cookie,
    get(request, name) {
      const signed = request.cookies[prefix + name]
      const verified = signed === undefined ? undefined : signer.unsign(signed)
      return verified?.valid ? (verified.value ?? undefined) : undefined
    },
    set(reply, name, value, maxAge) {
      if (isWithheld(cookie, attributes.secure, reply.request)) return
      const { expires, ...others } = bySecurity(attributes, reply.request)
      const options = { ...others, maxAge: Math.floor(maxAge / 1_000) }
      reply.header('set-cookie', fastify.serializeCookie(prefix + name, signer.sign(value), options))
    },
  }
}
