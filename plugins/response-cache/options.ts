import type { FastifyRequest } from 'fastify'
import type { Clock } from '../support/clock.ts'
import type { Duration } from '../support/durations.ts'
import {
  checkedDuration,
  clock,
  duration,
  flag,
  invalidOption,
  type Rule,
  type Rules,
  readOptions,
  text,
  texts,
  wholeNumber,
} from '../support/options.ts'

/** What caches on the way may do with an answer. */
export interface CacheDirectives {
  /** For how long it is fresh. */
  maxAge: Duration
  /** For how long after that it may be served while a new one is made. Default: not at all. */
  staleWhileRevalidate?: Duration
  /** The same when its making fails. Default: not at all. */
  staleIfError?: Duration
  /** Never served stale. Default `false`. */
  mustRevalidate?: boolean
  /** Not even asked for again while it is fresh. Default `false`. */
  immutable?: boolean
}

/** `config.cache` of a route. */
export interface RouteCache {
  /**
   * How long an answer is fresh at most: what the handler says by `Cache-Control`, `Expires` and `Age` shortens it.
   * `'headers'`: as long as the answer itself says, for a reverse proxy. Without it the route's answers are not cached.
   */
  ttl?: Duration | 'headers'
  /** How long after that it may be served while a new one is made, and when that fails. Default: not at all. */
  stale?: Duration
  /** How long after its time it may be served when its making fails. Default `stale`. */
  staleIfError?: Duration
  /**
   * Query parameters that may be there; a request with others is not cached. The key holds the query as it came.
   * Default none; with `ttl: 'headers'` any.
   */
  query?: string[]
  /**
   * Request headers that belong to the key, told in `Vary`. Default none; what an answer's own `Vary` names is told
   * apart by itself. A header that neither names must not change the answer; a request with one that tells who asks (a
   * cookie, a credential) is not cached unless it is named here.
   */
  vary?: string[]
  /** Answers are the same for everybody, also for requests with a cookie or credentials. Default `false`. */
  shared?: boolean
  /** What browsers may keep, for how long. Default: nothing without asking (`no-cache`), or what the handler says. */
  browser?: Duration | CacheDirectives
  /** The same for caches of a content delivery network, in `CDN-Cache-Control`. Default: not told apart. */
  cdn?: Duration | CacheDirectives
  /** What `invalidates` of other routes reaches. */
  tags?: string[] | ((request: FastifyRequest) => string[])
  /** Tags that are invalidated when this route has answered an unsafe method with success, before the client hears. */
  invalidates?: string[] | ((request: FastifyRequest) => string[])
}

/** Options of the plugin `responseCache`. */
export interface ResponseCacheOptions {
  /** Namespace of the cache that holds the answers. Default `'http'`. */
  namespace?: string
  /** What the cache calls itself in `Cache-Status`. Default `'fastify-stateful'`. */
  name?: string
  /** Largest body that is kept, in bytes; larger ones just pass. Default 4 MiB. */
  maxBytes?: number
  /** For routes that do not say it themselves. */
  browser?: Duration | CacheDirectives
  /** For routes that do not say it themselves. */
  cdn?: Duration | CacheDirectives
  /** For routes that do not say it themselves. */
  staleIfError?: Duration
  /** Default: the system's. */
  clock?: Clock
}

/** What each option must be, and what holds without it. */
export const RESPONSE_CACHE_RULES = {
  namespace: text('http'),
  name: cacheName,
  maxBytes: wholeNumber(4 * 1_024 * 1_024),
  browser: directives,
  cdn: directives,
  staleIfError: duration(undefined),
  clock,
} satisfies Rules<ResponseCacheOptions>

/** The same for `config.cache` of a route. */
export const ROUTE_RULES = {
  ttl: lifetime,
  stale: duration(undefined),
  staleIfError: duration(undefined),
  query: (given: unknown, option: string) => (given === undefined ? undefined : texts()(given, option)),
  vary: texts(),
  shared: flag(false),
  browser: directives,
  cdn: directives,
  tags,
  invalidates: tags,
} satisfies Rules<RouteCache>

const DIRECTIVE_RULES = {
  maxAge: ((given, option) => checkedDuration(given as Duration, option, { least: 0 })) as Rule<number>,
  staleWhileRevalidate: duration(undefined, { least: 0 }),
  staleIfError: duration(undefined, { least: 0 }),
  mustRevalidate: flag(false),
  immutable: flag(false),
} satisfies Rules<CacheDirectives>

function lifetime(given: unknown, option: string): number | 'headers' | undefined {
  return given === 'headers' ? given : duration(undefined)(given, option)
}

function tags(given: unknown, option: string): string[] | ((request: FastifyRequest) => string[]) {
  return typeof given === 'function' ? (given as (request: FastifyRequest) => string[]) : texts()(given, option)
}

/** Their text, as a header has it. */
function directives(given: unknown, option: string): string | undefined {
  if (given === undefined) return undefined
  if (typeof given !== 'object') return `max-age=${seconds(checkedDuration(given as Duration, option, { least: 0 }))}`
  const { maxAge, staleWhileRevalidate, staleIfError, mustRevalidate, immutable } = readOptions(
    DIRECTIVE_RULES,
    given,
    option,
  )
  const parts = [`max-age=${seconds(maxAge)}`]
  if (staleWhileRevalidate !== undefined) parts.push(`stale-while-revalidate=${seconds(staleWhileRevalidate)}`)
  if (staleIfError !== undefined) parts.push(`stale-if-error=${seconds(staleIfError)}`)
  if (mustRevalidate) parts.push('must-revalidate')
  if (immutable) parts.push('immutable')
  return parts.join(', ')
}

const seconds = (ms: number): number => Math.floor(ms / 1_000)

function cacheName(given: unknown, option: string): string {
  const name = text('fastify-stateful')(given, option)
  if (/^[\x20-\x7e]+$/.test(name)) return name
  throw invalidOption(option, 'must be a name in printable ASCII.')
}
