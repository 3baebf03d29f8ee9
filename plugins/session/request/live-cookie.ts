import type { CookieOptions } from '@fastify/session'
import type { FastifyRequest } from 'fastify'
import { bySecurity } from './cookie.ts'

/** What is kept of a cookie that has other attributes than the rest. */
export interface KeptCookie {
  originalMaxAge: number | null
  expires?: string | null
  path?: string
  httpOnly?: boolean
  domain?: string | null
  sameSite?: CookieOptions['sameSite'] | null
  secure?: boolean | null
  partitioned?: boolean
}

/**
 * `session.cookie`: the attributes of one session's cookie, with the properties that @fastify/session and
 * express-session give it. Each may be set by itself; setting `maxAge` sets the time until which the browser keeps
 * it, counted from now.
 */
export class LiveCookie {
  path: string
  httpOnly: boolean
  domain: string | null
  sameSite: CookieOptions['sameSite'] | null
  secure: boolean | null
  partitioned: boolean | undefined
  /**
   * Milliseconds for which the browser keeps it after each answer that sets it; `null`: by `expires`, or until it
   * closes.
   */
  originalMaxAge: number | null
  expires: Date | null
  /** Whether somebody has set its `maxAge`, since it was made or restored. */
  ageWasSet = false

  /** @param request decides what `secure: 'auto'` is; where there is none, it is plain HTTP */
  constructor(options: CookieOptions, request?: Pick<FastifyRequest, 'protocol'>) {
    const { secure, maxAge } = options
    this.path = options.path || '/'
    this.httpOnly = options.httpOnly ?? true
    this.domain = options.domain || null
    const suited = bySecurity(options, request)
    this.partitioned = suited.partitioned
    this.secure = secure === undefined ? null : suited.secure
    this.sameSite = suited.sameSite || null
    this.originalMaxAge = maxAge || null
    this.expires = endOf(options)
  }

  /** Milliseconds from now; `null`: until the browser closes. */
  get maxAge(): number | null {
    return this.expires instanceof Date ? this.expires.valueOf() - Date.now() : null
  }

  set maxAge(ms: number) {
    this.expires = new Date(Date.now() + ms)
    this.originalMaxAge = ms
    this.ageWasSet = true
  }

  copy(): LiveCookie {
    return Object.assign(Object.create(LiveCookie.prototype) as LiveCookie, this)
  }

  /** The browser keeps it as long as these options say. */
  keepAs(options: CookieOptions): void {
    this.originalMaxAge = options.maxAge || null
    this.expires = endOf(options)
  }

  /** Counts its time from now. */
  renew(): void {
    if (this.originalMaxAge) this.expires = new Date(Date.now() + this.originalMaxAge)
  }

  toJSON() {
    const { expires, originalMaxAge, sameSite, secure, path, httpOnly, domain, partitioned } = this
    return { expires, originalMaxAge, sameSite, secure, path, httpOnly, domain, partitioned }
  }
}

function endOf({ maxAge, expires }: CookieOptions): Date | null {
  if (maxAge) return new Date(Date.now() + maxAge)
  return expires ? new Date(expires) : null
}

/** For how many milliseconds a browser keeps it; without an end of its own, for ever. */
export function lifetimeOf({ originalMaxAge, expires }: LiveCookie, now: number): number {
  if (originalMaxAge) return originalMaxAge
  return expires ? new Date(expires).getTime() - now : Number.POSITIVE_INFINITY
}

/** What a session's cookie is restored from; `undefined` when it is as the options say. */
export function keptCookie(cookie: LiveCookie, options: CookieOptions): KeptCookie | undefined {
  const { originalMaxAge, expires, path, httpOnly, domain, sameSite, secure, partitioned } = cookie
  const byRequest = options.secure === 'auto'
  const usual =
    originalMaxAge === (options.maxAge || null) &&
    path === (options.path || '/') &&
    httpOnly === (options.httpOnly ?? true) &&
    (domain ?? null) === (options.domain || null) &&
    (byRequest ||
      (secure === (options.secure ?? null) &&
        sameSite === (options.sameSite || null) &&
        partitioned === (options as { partitioned?: boolean }).partitioned))
  if (usual) return undefined
  return {
    originalMaxAge,
    path,
    httpOnly,
    domain,
    ...(originalMaxAge === null && expires ? { expires: new Date(expires).toISOString() } : {}),
    ...(byRequest ? {} : { sameSite, secure: secure ?? null, ...(partitioned === undefined ? {} : { partitioned }) }),
  }
}

/** The options of a session whose cookie was kept so. */
export function restoredOptions(usual: CookieOptions, kept: KeptCookie): CookieOptions {
  const { originalMaxAge, expires, ...attributes } = kept
  const { maxAge: _maxAge, expires: _expires, ...others } = usual
  const given = Object.entries(attributes).filter(([name, value]) => value !== null || name === 'sameSite')
  return {
    ...others,
    ...Object.fromEntries(given),
    ...(originalMaxAge ? { maxAge: originalMaxAge } : {}),
    ...(!originalMaxAge && expires ? { expires: new Date(expires) } : {}),
  } as CookieOptions
}
