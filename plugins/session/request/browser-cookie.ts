import type { FastifyInstance, FastifyReply } from 'fastify'
import { InvalidSessionCookieError } from '../../support/errors.ts'
import { clearSessionCookie, isWithheld, needsSecure, type SessionCookie, tidyCookieHeader } from './cookie.ts'
import { type Session, type SessionState, stateOf } from './session.ts'
import type { SessionSigner } from './signer.ts'
import type { Visit } from './visit.ts'

export interface BrowserCookieOptions {
  cookie: SessionCookie
  cookiePrefix: string
  signer: SessionSigner
  /** Writes cookies. */
  fastify: FastifyInstance
  /** What `logout()` lets the browser clear, as the header says it; empty for nothing. */
  clearSiteData: string
  warn: (message: string) => void
}

/** The token that a cookie holds. */
export interface SignedToken {
  token: string
  /** It was signed with a former secret. */
  renew: boolean
}

/** The session's cookie on its way from a browser and back: verified, signed, set, taken away, or kept back. */
export class BrowserCookie {
  readonly #options: BrowserCookieOptions
  #saidWithheld = false

  constructor(options: BrowserCookieOptions) {
    this.#options = options
  }

  /** What a cookie's value holds; `undefined` when we have not signed it. */
  read(value: string): SignedToken | undefined {
    const { cookiePrefix, signer } = this.#options
    if (!value.startsWith(cookiePrefix)) return undefined
    const { valid, value: token, renew } = signer.unsign(value.slice(cookiePrefix.length))
    return valid && token !== null ? { token, renew } : undefined
  }

  /** The value of a cookie that holds the token. */
  valueOf(token: string): string {
    return this.#options.cookiePrefix + this.#options.signer.sign(token)
  }

  /** Whether the cookie would not go out over this connection. Said once: a login that does not last puzzles everybody. */
  isWithheld({ request, session }: Visit): boolean {
    const { cookie, warn } = this.#options
    if (!isWithheld(cookie, session.cookie.secure, request)) return false
    if (!this.#saidWithheld) {
      warn(
        `the cookie ${cookie.name} was not sent: it is Secure, and ${request.method} ${request.url.split('?', 1)[0]} came ` +
          "over plain HTTP. If a proxy ends TLS, set Fastify's trustProxy and have the proxy send X-Forwarded-Proto; if " +
          "there is none, as in development, set cookie.secure to 'auto'. This is said once.",
      )
    }
    this.#saidWithheld = true
    return true
  }

  /** Gives the reply what the browser is to have from now on. */
  answer(visit: Visit, reply: FastifyReply): void {
    const { cookie, clearSiteData, fastify } = this.#options
    const { session } = visit.request
    const state = stateOf(session)
    if (session === null || session === undefined) {
      clearSessionCookie(fastify, reply, cookie)
      if (visit.loggedOut && clearSiteData !== '') reply.header('clear-site-data', clearSiteData)
    } else if (state?.cookieDue && state.token !== undefined && !state.ended) {
      if (!this.isWithheld(visit)) {
        const attributes = visit.session.cookie.toJSON() as never
        reply.header('set-cookie', fastify.serializeCookie(cookie.name, this.valueOf(state.token), attributes))
      }
    } else if (state && !state.open && this.#hasUselessCookie(visit)) {
      clearSessionCookie(fastify, reply, cookie)
    }
    tidyCookieHeader(fastify, reply, cookie)
  }

  #hasUselessCookie({ arrival, request }: Visit): boolean {
    return arrival !== 'replaced' && request.cookies?.[this.#options.cookie.name] !== undefined
  }

  /**
   * A cookie that cannot be written fails this request, and before anything is saved. Once @fastify/cookie has it, the
   * answer that tells of the failure would fail as well.
   */
  check(session: Session, state: SessionState): void {
    if (!state.cookie) return
    if (state.cookie.secure !== true && needsSecure(state.cookie)) {
      throw new InvalidSessionCookieError("sameSite 'none' and partitioned need a secure cookie: browsers drop it")
    }
    try {
      this.#options.fastify.serializeCookie('checked', '', session.cookie.toJSON() as never)
    } catch (cause) {
      throw new InvalidSessionCookieError((cause as Error).message, { cause })
    }
  }
}
