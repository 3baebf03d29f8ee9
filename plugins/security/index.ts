import { getHeapStatistics } from 'node:v8'
import { defineService } from '../support/define.ts'
import type { Duration } from '../support/durations.ts'
import { missingFor } from '../support/optional-peer.ts'
import { duration, flag, type Rules, readOptions, wholeNumber } from '../support/options.ts'
import { inProduction } from '../support/production.ts'
import { noticeUntrustedProxy } from './forwarding.ts'
import { shedLoad } from './pressure.ts'

export { ACTIONS, type Action, isAction, type Keys, type Resource, type Resources } from './access.ts'
export { type AccessRules, type Authorize, type AuthorizeOption, accessRules, authorizeByRole } from './authorize.ts'
export { type CorsOptions, cors } from './cors.ts'
export { type CsrfOptions, csrf } from './csrf.ts'
export type { ExposureOptions } from './exposure.ts'

/** Options of the plugin {@link security}. */
export interface SecurityOptions {
  /**
   * Default: whether `NODE_ENV` is set to anything but `development` and `test`. HSTS is sent only in production: on
   * plain HTTP it would lock a developer out.
   */
  production?: boolean
  pressure?: PressureOptions
}

/** Above one of these, new requests get 503 STATEFUL_OVERLOADED instead of waiting in a line that only grows. */
export interface PressureOptions {
  /** Mean event-loop delay of the last second. Default `'1s'`; 0 turns it off. */
  maxEventLoopDelay?: Duration
  /** Used heap, in bytes. Default 95 % of the limit that V8 runs with; 0 turns it off. */
  maxHeapUsedBytes?: number
  /** Resident memory, in bytes. Default 0: off. */
  maxRssBytes?: number
  /** What `Retry-After` tells, in whole seconds when sent. Default `'2s'`. */
  retryAfter?: Duration
}

/** Used heap beyond this share of V8's limit means that it collects garbage more than it works. */
const HEAP_SHARE = 0.95

/** What each option must be, and what holds without it. @internal */
export const SECURITY_RULES = {
  production: flag(undefined),
  pressure: {
    maxEventLoopDelay: duration('1s', { least: 0 }),
    maxHeapUsedBytes: wholeNumber(Math.floor(getHeapStatistics().heap_size_limit * HEAP_SHARE), 0),
    maxRssBytes: wholeNumber(0, 0),
    retryAfter: duration('2s', { least: 0 }),
  },
} satisfies Rules<SecurityOptions>

/**
 * Security headers on every answer, refusal of new work when the process is overloaded, and a warning when a proxy
 * stands before it that `trustProxy` does not name.
 */
export const security = defineService<SecurityOptions>('security', async (fastify, options) => {
  const { pressure, ...read } = readOptions(SECURITY_RULES, options, 'security')
  const production = inProduction(read.production, fastify)
  const { default: helmet } = await import('helmet').catch(missingFor('helmet', 'security'))
  const headers = headersOf(
    helmet({
      contentSecurityPolicy: {
        useDefaults: false,
        directives: {
          defaultSrc: ["'self'"],
          objectSrc: ["'none'"],
          baseUri: ["'none'"],
          frameAncestors: ["'none'"],
        },
      },
      strictTransportSecurity: production ? { maxAge: 365 * 24 * 60 * 60, includeSubDomains: true } : false,
      xFrameOptions: { action: 'deny' },
    }),
  )
  fastify.addHook('onRequest', (_request, reply, done) => {
    reply.headers(headers)
    done()
  })
  shedLoad(fastify, { ...pressure, retryAfter: Math.max(1, Math.ceil(pressure.retryAfter / 1000)) })
  noticeUntrustedProxy(fastify)
})

/**
 * What a middleware sets on an answer. These are the same for each, so it is asked once instead of for every request,
 * of whose time that took a tenth; and a handler or another plugin can set one of them to something else.
 */
function headersOf(middleware: (request: never, response: never, next: (error?: unknown) => void) => void) {
  const headers: Record<string, string> = {}
  const response = {
    setHeader: (name: string, value: string) => {
      headers[name.toLowerCase()] = value
    },
    removeHeader: () => {},
  }
  middleware({ headers: {} } as never, response as never, (error) => {
    if (error) throw error
  })
  return headers
}
