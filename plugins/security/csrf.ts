import { createHmac, timingSafeEqual } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { userOf } from '../session/user.ts'
import { defineService } from '../support/define.ts'
import { CrossSiteRequestError, InvalidCsrfTokenError } from '../support/errors.ts'
import { flag, invalidOption, origins, type Rules, readOptions } from '../support/options.ts'
import { randomText } from '../support/random.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** `false`: this route takes unsafe requests from other sites, too (a webhook, an API with keys of its own). */
    csrf?: boolean
  }
  interface FastifyRequest {
    /** A token for the header `x-csrf-token`, bound to the request's session. Only with the option `token`. */
    csrfToken(): string
  }
}

/** Options of the plugin {@link csrf}. */
export interface CsrfOptions {
  /** Origins besides the server's own whose pages may send unsafe requests, e.g. `https://app.example.com`. */
  allowedOrigins?: string[]
  /** Unsafe requests of a logged-in session need the header `x-csrf-token` as well. Default `false`. */
  token?: boolean
}

/** What each option must be, and what holds without it. @internal */
export const CSRF_RULES = { allowedOrigins: origins, token: flag(false) } satisfies Rules<CsrfOptions>

const SAFE_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE'])
const HEADER = 'x-csrf-token'
const SALT_BYTES = 16

/** The decorator that names the codes of what is refused here. */
export const CSRF_REFUSALS = 'csrfRefusals'
export type CsrfRefusal = 'STATEFUL_CROSS_SITE_REQUEST' | 'STATEFUL_INVALID_CSRF_TOKEN'

/**
 * Refuses what a page of another site makes a browser send: browsers say where a request comes from
 * (`Sec-Fetch-Site`, older ones `Origin`), pages cannot change what they say, and clients that are no browser say
 * nothing and pass (OWASP CSRF Prevention Cheat Sheet, "Fetch Metadata"). Without a cookie, too: logging a victim in
 * as the attacker needs none.
 *
 * Register it after `session`. @throws at boot STATEFUL_INVALID_OPTION
 */
export const csrf = defineService<CsrfOptions>('csrf', async (fastify, options) => {
  const { allowedOrigins, token } = readOptions(CSRF_RULES, options, 'csrf')
  const allowed = new Set(allowedOrigins)
  if (token && !fastify.hasDecorator('sessions')) {
    throw invalidOption('csrf.token', "needs the plugin 'session' before this one.")
  }

  // What operations tell of it in their documents.
  fastify.decorate(CSRF_REFUSALS, [
    'STATEFUL_CROSS_SITE_REQUEST',
    ...(token ? (['STATEFUL_INVALID_CSRF_TOKEN'] as const) : []),
  ] satisfies CsrfRefusal[])
  fastify.decorateRequest('csrfToken', function (this: FastifyRequest) {
    const salt = randomText(SALT_BYTES)
    return `${salt}.${mac(this.session.sessionId, salt)}`
  })
  fastify.addHook('onRequest', (request, _reply, done) => {
    if (SAFE_METHODS.has(request.method) || request.routeOptions.config.csrf === false) return done()
    if (!isOwn(request, allowed)) return done(new CrossSiteRequestError())
    done(token && userOf(request) && !hasToken(request) ? new InvalidCsrfTokenError() : undefined)
  })
})

function isOwn(request: FastifyRequest, allowed: ReadonlySet<string>): boolean {
  const { origin } = request.headers
  if (origin !== undefined && allowed.has(origin)) return true
  const site = request.headers['sec-fetch-site']
  // `none`: the user did it, from the address bar or a bookmark. `same-site` is a neighbour, who may be anybody.
  if (site !== undefined) return site === 'same-origin' || site === 'none'
  if (origin === undefined) return true
  // Behind a proxy that ends TLS the scheme may differ, the host may not. `null` is no origin that anybody owns.
  return URL.canParse(origin) && new URL(origin).host === request.host
}

function hasToken(request: FastifyRequest): boolean {
  const given = request.headers[HEADER]
  if (typeof given !== 'string') return false
  const [salt = '', digest = ''] = given.split('.')
  const expected = Buffer.from(mac(request.session.sessionId, salt))
  const actual = Buffer.from(digest)
  return actual.length === expected.length && timingSafeEqual(actual, expected)
}

/** The session's token is the key: who has not got the session can make none, and a rotation ends them all. */
function mac(sessionToken: string, salt: string): string {
  return createHmac('sha256', sessionToken).update(`csrf ${salt}`).digest('base64url')
}
