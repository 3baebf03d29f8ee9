import type { CookieOptions } from '@fastify/session'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type Duration, told } from '../../support/durations.ts'
import { asGiven, duration, invalidOption, type Read, type Rules } from '../../support/options.ts'

/** Attributes of the session cookie. */
export interface SessionCookieOptions extends Omit<CookieOptions, 'maxAge'> {
  /** Default `'24h'`, or by `expires`; `null`: until the browser closes. */
  maxAge?: Duration | null
}

/** What decides whether a cookie needs to be secure. */
interface Reach {
  sameSite?: CookieOptions['sameSite'] | null
  partitioned?: boolean | undefined
}

/** The names there are; the values are checked by who writes the cookie. */
export const COOKIE_RULES = {
  domain: asGiven<string>(),
  encode: asGiven<SessionCookieOptions['encode']>(),
  expires: asGiven<Date>(),
  httpOnly: asGiven<boolean>(),
  maxAge: (given: unknown, option: string) =>
    given === null ? null : duration(undefined, { least: 0 })(given, option),
  partitioned: asGiven<boolean>(),
  path: asGiven<string>(),
  priority: asGiven<SessionCookieOptions['priority']>(),
  sameSite: asGiven<SessionCookieOptions['sameSite']>(),
  secure: (given: unknown, option: string): boolean | 'auto' | undefined => {
    if (given === undefined || given === 'auto') return given
    // What comes from the environment is text.
    if (given === true || given === 'true') return true
    if (given === false || given === 'false') return false
    throw invalidOption(option, `must be true, false or 'auto', not ${told(given)}.`)
  },
} satisfies Rules<SessionCookieOptions>

/** The session cookie: its name and attributes, and how it is taken away again. */
export interface SessionCookie {
  name: string
  /** As @fastify/session wants them. */
  options: CookieOptions
  /** The application asked for `secure: true`: nothing is sent over a connection that is known to be plain. */
  asksForTls: boolean
}

/** Milliseconds of a day. */
const DEFAULT_MAX_AGE = 24 * 60 * 60 * 1_000

/**
 * @param warn told of what was set right
 * @throws STATEFUL_INVALID_OPTION when a browser would drop the cookie without a word: its attributes do not go
 * together, or do not keep what its name promises
 */
export function sessionCookie(
  production: boolean,
  given: Read<typeof COOKIE_RULES>,
  warn: (message: string) => void,
  name?: string,
  area = '',
): SessionCookie {
  const { maxAge = given.expires ? null : DEFAULT_MAX_AGE, ...others } = given
  const options: CookieOptions = {
    path: '/',
    httpOnly: true,
    sameSite: 'lax',
    secure: production,
    ...others,
    ...(maxAge === null ? {} : { maxAge }),
  }
  if (options.secure === false && needsSecure(options)) {
    if (given.secure === false) {
      throw invalidOption(
        'session.cookie.secure',
        "must not be false with sameSite 'none' or partitioned: browsers drop it.",
      )
    }
    warn("session.cookie: sameSite 'none' and partitioned need a secure cookie, so it is Secure here as well")
    options.secure = true
  }
  const prefix = prefixOf(options)
  const cookie = {
    name: name ?? `${prefix}${area === '' ? '' : `${area}-`}sid`,
    options,
    asksForTls: given.secure === true,
  }
  if (cookie.name.startsWith('__Host-') && prefix !== '__Host-') {
    throw invalidOption('session.cookieName', "may begin with '__Host-' only if secure, with path '/' and no domain.")
  }
  if (cookie.name.startsWith('__Secure-') && options.secure !== true) {
    throw invalidOption('session.cookieName', "may begin with '__Secure-' only if the cookie is secure.")
  }
  return cookie
}

/** Whether browsers take it only if it is secure as well. */
export function needsSecure({ sameSite, partitioned }: Reach): boolean {
  return partitioned === true || (typeof sameSite === 'string' && sameSite.toLowerCase() === 'none')
}

/** What a browser holds the attributes of a cookie to by its name. */
export function prefixOf({ secure, path, domain }: CookieOptions): '__Host-' | '__Secure-' | '' {
  if (secure !== true) return ''
  return path === '/' && domain === undefined ? '__Host-' : '__Secure-'
}

/** The values of all cookies of that name, in the order in which the browser sent them. */
export function cookiesNamed({ headers }: FastifyRequest, name: string): string[] {
  const values: string[] = []
  for (const pair of (headers.cookie ?? '').split(';')) {
    const at = pair.indexOf('=')
    if (at < 0 || pair.slice(0, at).trim() !== name) continue
    const value = pair.slice(at + 1).trim()
    try {
      values.push(decodeURIComponent(value))
    } catch {
      values.push(value)
    }
  }
  return values
}

/** Takes the cookie away with the attributes it was set with; browsers ignore it otherwise (`__Host-`, Partitioned). */
export function clearSessionCookie(fastify: FastifyInstance, reply: FastifyReply, cookie: SessionCookie): void {
  reply.header('set-cookie', clearingLine(fastify, reply, cookie))
}

function clearingLine(fastify: FastifyInstance, reply: FastifyReply, cookie: SessionCookie): string {
  const { maxAge, expires, ...attributes } = isWithheld(cookie, cookie.options.secure, reply.request)
    ? plainOptions(cookie.options)
    : bySecurity(cookie.options, reply.request)
  return fastify.serializeCookie(cookie.name, '', { ...attributes, expires: new Date(0), maxAge: 0 })
}

/** A browser has a cookie of a plain connection from before it was Secure, and a Secure line would not touch it. */
function plainOptions({ path, domain }: CookieOptions): Omit<CookieOptions, 'secure'> {
  return { ...(path === undefined ? {} : { path }), ...(domain === undefined ? {} : { domain }), sameSite: 'lax' }
}

/**
 * Whether a cookie is kept back, because it is to be Secure and the connection is known to be plain: by Fastify, which
 * reads what a proxy says if `trustProxy` lets it. So do @fastify/session and express-session. What is Secure only by
 * our default in production is sent, and browsers decide: the proxy that ends TLS there may say nothing of it.
 *
 * @param secure the attribute of the one cookie, which a session may have of its own
 */
export function isWithheld(
  { options, asksForTls }: SessionCookie,
  secure: CookieOptions['secure'] | null,
  request: Pick<FastifyRequest, 'protocol'>,
): boolean {
  return secure === true && (asksForTls || options.secure !== true) && request.protocol !== 'https'
}

/** What `secure: 'auto'` comes to for a request: without TLS neither Secure nor what needs it. */
export function bySecurity(
  options: CookieOptions,
  request: Pick<FastifyRequest, 'protocol'> | undefined,
): Omit<CookieOptions, 'secure'> & { secure: boolean; partitioned?: boolean } {
  if (options.secure !== 'auto') return { ...options, secure: options.secure === true }
  if (request?.protocol === 'https') return { ...options, secure: true }
  const { partitioned: _partitioned, ...others } = options as CookieOptions & { partitioned?: boolean }
  return { ...others, secure: false, sameSite: 'lax' }
}

/**
 * Of several Set-Cookie lines for the session's cookie (a handler may have written some) the last one counts, and a
 * line that takes it away gets all attributes.
 */
export function tidyCookieHeader(fastify: FastifyInstance, reply: FastifyReply, cookie: SessionCookie): void {
  const header = reply.getHeader('set-cookie')
  if (header === undefined) return
  const lines = (Array.isArray(header) ? header : [String(header)]) as string[]
  const begin = `${cookie.name}=`
  const last = lines.findLast((line) => line.startsWith(begin))
  if (last === undefined) return
  const line = last.startsWith(`${begin};`) ? clearingLine(fastify, reply, cookie) : last
  reply.removeHeader('set-cookie')
  const others = lines.filter((other) => !other.startsWith(begin))
  reply.header('set-cookie', others.length === 0 ? line : [...others, line])
}
