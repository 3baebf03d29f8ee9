import type { FastifyRequest } from 'fastify'
import { defineService } from '../support/define.ts'
import { missingFor } from '../support/optional-peer.ts'
import { origins, type Rules, readOptions } from '../support/options.ts'

/** Options of the plugin {@link cors}. */
export interface CorsOptions {
  /** Origins whose pages may use the API with the session's cookie, e.g. `https://app.example.com`. Default none. */
  allowedOrigins?: string[]
}

/** What each option must be, and what holds without it. @internal */
export const CORS_RULES = { allowedOrigins: origins } satisfies Rules<CorsOptions>

/** What pages of other origins may read beside what they always may. */
export const EXPOSED_HEADERS = ['etag', 'retry-after']
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']
/** How long, in seconds, a browser need not ask again. */
const PREFLIGHT_AGE = 600

/**
 * Lets pages of the allowed origins read what this application answers, event streams and errors included, by
 * @fastify/cors. For everybody else it is as if it were not there. Register it before all that may answer a request.
 *
 * The session's cookie is sent where its `sameSite` lets it: by default to pages of the same site (`app.example.com`
 * and
 * `api.example.com`). Pages of another site need `sameSite: 'none'`, or a token.
 *
 * An application with its own @fastify/cors does not need this; see docs/openapi.md for what it has to expose.
 *
 * @throws at boot STATEFUL_INVALID_OPTION, STATEFUL_MISSING_PACKAGE
 */
export const cors = defineService<CorsOptions>('cors', async (fastify, options) => {
  const { allowedOrigins } = readOptions(CORS_RULES, options, 'cors')
  const allowed = new Set(allowedOrigins)
  const forAllowed = {
    origin: true,
    credentials: true,
    methods: METHODS,
    exposedHeaders: EXPOSED_HEADERS,
    maxAge: PREFLIGHT_AGE,
    // What asks for nothing gets the same answer, instead of one that is no problem document.
    strictPreflight: false,
  }
  await fastify.register(import('@fastify/cors').catch(missingFor('@fastify/cors', 'cors')), {
    delegator: ({ headers: { origin = '' } }: FastifyRequest, decide: (error: null, options: object) => void) => {
      decide(null, allowed.has(origin) ? forAllowed : { origin: false })
    },
  })
})
