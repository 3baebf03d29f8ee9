import type { CookieOptions } from '@fastify/session'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Duration } from '../../support/durations.ts'
import { asGiven, duration, invalidOption, type Read, type Rules } from '../../support/options.ts'

export interface SessionCookieOptions extends Omit<CookieOptions, 'maxAge'> {
  /** Default `'24h'`, or by `expires`; `null`: until the browser closes. */
  maxAge?: Duration | null
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
  secure: asGiven<boolean | 'auto'>(),
} satisfies Rules<SessionCookieOptions>

/** The session cookie: its name and attributes, and how it is taken away again. */
export interface SessionCookie {
  name: string
  /** As @fastify/session wants them. */
  options: CookieOptions
}

/** Milliseconds of a day. */
const DEFAULT_MAX_AGE = 24 * 60 * 60 * 1_000

/**
 * @throws STATEFUL_INVALID_OPTION when the name promises what the attributes do not keep: a browser would drop
 * the cookie without a word
 */
export function sessionCookie(
  production: boolean,
  given: Read<typeof COOKIE_RULES>,
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
  const prefix = prefixOf(options)
  const cookie = { name: name ?? `${prefix}${area === '' ? '' : `${area}-`}sid`, options }
  if (cookie.name.startsWith('__Host-') && prefix !== '__Host-') {
    throw invalidOption('session.cookieName', "may begin with '__Host-' only if secure, with path '/' and no domain.")
  }
  if (cookie.name.startsWith('__Secure-') && options.secure !== true) {
    throw invalidOption('session.cookieName', "may begin with '__Secure-' only if the cookie is secure.")
  }
  return cookie
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

function clearingLine(fastify: FastifyInstance, reply: FastifyReply, { name, options }: SessionCookie): string {
  const { maxAge, expires, ...attributes } = options
  const secure = options.secure === 'auto' ? reply.request.protocol === 'https' : options.secure === true
  return fastify.serializeCookie(name, '', { ...attributes, secure, expires: new Date(0), maxAge: 0 })
}

/**
 * Of several Set-Cookie lines for the session's cookie (a handler may have written some) the last one counts, and a line
 * that takes it away gets all attributes.
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
