import type { FastifyInstance, FastifyReply, FastifyRequest, RouteHandlerMethod } from 'fastify'
import type { CacheNamespace } from '../cache/index.ts'
import { defineService } from '../support/define.ts'
import { type Duration, milliseconds } from '../support/durations.ts'
import { isFresh } from '../support/http.ts'
import { duration, flag, type Rules, readOptions, text, texts } from '../support/options.ts'
import {
  addVary,
  type CachedAnswer,
  isCacheable,
  type ReplyHeaders,
  removeContentHeaders,
  toAnswer,
} from './headers.ts'
import { isPersonal, type KeyRule, keyOf, keyRule } from './key.ts'

/** `config.cache` of a route. */
export interface RouteCache {
  /** How long an answer is fresh. Without it the route's answers are not cached. */
  ttl?: Duration
  /** How long after that it may be served while it is made anew. Default: not at all. */
  stale?: Duration
  /** Query parameters that belong to the key. A request with others is not cached. Default none. */
  query?: string[]
  /**
   * Request headers that belong to the key, told in `Vary`. Default none. A header that is not named here must not
   * change the answer; a request with one that tells who asks (a cookie, a credential) is not cached unless it is named.
   */
  vary?: string[]
  /** Answers are the same for everybody, also for requests with a cookie or credentials. Default `false`. */
  shared?: boolean
  /** What `invalidates` of other routes reaches. */
  tags?: string[] | ((request: FastifyRequest) => string[])
  /** Tags that are invalidated when this route has answered an unsafe method with success, before the client hears. */
  invalidates?: string[] | ((request: FastifyRequest) => string[])
}

/** What a request that makes an answer for the cache holds meanwhile. */
export interface CacheFill {
  /** Headers that were set when the handler began. */
  before: ReplyHeaders
  /** Headers that the key holds. */
  named: readonly string[]
  /** Gives the answer to the cache and to whoever waits for it; without one they make their own. */
  settle(answer: CachedAnswer | undefined): void
}

declare module 'fastify' {
  interface FastifyContextConfig {
    cache?: RouteCache
  }
  interface FastifyRequest {
    /** Set while this request makes an answer for the cache. */
    cacheFill: CacheFill | null
    /** Names of the query's parameters as they came, on routes whose answers are cached. */
    cacheQuery: string[] | null
  }
}

export interface ResponseCacheOptions {
  /** Namespace of the cache that holds the answers. Default `'http'`. */
  namespace?: string
}

/** What each option must be, and what holds without it. */
export const RESPONSE_CACHE_RULES = { namespace: text('http') } satisfies Rules<ResponseCacheOptions>

/** The same for `config.cache` of a route. */
export const ROUTE_RULES = {
  ttl: duration(undefined),
  stale: duration(undefined),
  query: texts(),
  vary: texts(),
  shared: flag(false),
  tags,
  invalidates: tags,
} satisfies Rules<RouteCache>

function tags(given: unknown, option: string): RouteCache['tags'] {
  return typeof given === 'function' ? (given as (request: FastifyRequest) => string[]) : texts()(given, option)
}

const SAFE = new Set(['GET', 'HEAD'])
/** How long a request that may be given a stale answer waits to be told that it is the one to make the new one. */
const TURN = 1_000

/**
 * Whole answers in the cache, for routes that say so in `config.cache`. The cache stands where the handler does, after
 * every guard of whatever scope: each request passes all hooks up to `preHandler`, also when its answer is cached.
 * Register it, and await that, before the routes; those that were there already are not cached, which is logged.
 *
 * @throws at boot STATEFUL_INVALID_OPTION and STATEFUL_INVALID_DURATION, also for a route's `config.cache`
 */
export const responseCache = defineService<ResponseCacheOptions>(
  'response-cache',
  async (fastify, options) => {
    const { namespace } = readOptions(RESPONSE_CACHE_RULES, options, 'responseCache')
    const cache = fastify.cache.namespace(namespace)
    const log = fastify.log.child({ plugin: 'response-cache' })
    /** Those whose handlers stand behind the cache, and those that have been reported because theirs do not. */
    const known = new WeakSet<RouteCache>()
    fastify.decorateRequest('cacheFill', null)
    fastify.decorateRequest('cacheQuery', null)

    fastify.addHook('onRoute', (route) => {
      const given = route.config?.cache
      if (given === undefined) return
      readOptions(ROUTE_RULES, given, 'config.cache')
      if (given.ttl === undefined) return
      // A copy: a route from before this plugin may share the object.
      const settings = { ...given, ttl: given.ttl }
      known.add(settings)
      route.config = { ...route.config, cache: settings }
      // Not a hook: hooks of the route, of inner scopes and of later plugins run after those of this scope.
      route.handler = cached(cache, settings, keyRule(settings, route), route.handler)
    })

    fastify.addHook('onRequest', (request, _reply, done) => {
      const settings = request.routeOptions.config.cache
      if (settings?.ttl !== undefined) {
        request.cacheQuery = Object.keys(request.query ?? {})
        if (!known.has(settings)) {
          known.add(settings)
          const route = { url: request.routeOptions.url, method: request.routeOptions.method }
          log.warn({ route }, 'not cached: the route was registered before this plugin; await its registration first')
        }
      }
      done()
    })

    // An error handler may answer 200; still it was no answer of the handler.
    fastify.addHook('onError', async (request) => settle(request, undefined))

    fastify.addHook('onSend', async (request, reply, payload) => {
      const settings = request.routeOptions.config.cache
      if (!settings) return payload
      const { invalidates } = settings
      if (invalidates && !SAFE.has(request.method) && reply.statusCode < 400) {
        await cache.invalidateTags(tagsOf(invalidates, request))
      }
      const fill = request.cacheFill
      if (!fill) return payload
      const whole = typeof payload === 'string' || Buffer.isBuffer(payload)
      if (!whole || !isCacheable(reply, fill.before, fill.named)) {
        settle(request, undefined)
        return payload
      }
      const answer = toAnswer(reply, payload, fill.before)
      settle(request, answer)
      return describe(request, reply, settings, fill.named, answer) ? null : payload
    })
  },
  { decorators: { fastify: ['cache'] } },
)

type CachedRoute = RouteCache & { ttl: Duration }

/** A handler that answers from the cache where it may, and else calls the route's. */
function cached(
  cache: CacheNamespace,
  settings: CachedRoute,
  rule: KeyRule,
  handler: RouteHandlerMethod,
): RouteHandlerMethod {
  return function (this: FastifyInstance, request, reply) {
    const key = SAFE.has(request.method) ? keyOf(request, rule, request.cacheQuery ?? []) : undefined
    if (key === undefined) return handler.call(this, request, reply)
    return answer.call(this, key, request, reply)
  }

  async function answer(this: FastifyInstance, key: string, request: FastifyRequest, reply: FastifyReply) {
    const found = await find(key, request, reply)
    if (found) return send(request, reply, settings, rule.vary, found)
    const made = handler.call(this, request, reply)
    // A handler that has taken over the socket makes no answer, and those who wait should not wait for its end.
    if (reply.sent) settle(request, undefined)
    // Without a promise the handler sends, now or later; the one to wait for is the reply itself.
    if (made === undefined) return reply
    const payload = await made
    if (reply.sent) settle(request, undefined)
    return payload
  }

  /** The answer that is there or that another request makes; `undefined` when this one has to make its own. */
  function find(key: string, request: FastifyRequest, reply: FastifyReply): Promise<CachedAnswer | undefined> {
    const { ttl, stale } = settings
    return new Promise((resolve) => {
      let chosen = false
      const choose = (answer: CachedAnswer | undefined) => {
        chosen = true
        resolve(answer)
      }
      const load = () =>
        new Promise<CachedAnswer | undefined>((fill) => {
          // Who has been answered, or has gone, makes no answer any more; nobody may wait for it.
          if (chosen || reply.raw.destroyed) fill(undefined)
          else {
            request.cacheFill = { before: reply.getHeaders(), named: rule.vary, settle: fill }
            reply.raw.once('close', () => settle(request, undefined))
          }
          choose(undefined)
        })
      const tags = tagsOf(settings.tags, request)
      const options = { ttl, tags, ...(stale === undefined ? {} : { stale, softTimeout: TURN }) }
      const asked = async () => cache.getOrSet<CachedAnswer | undefined>(key, load, options)
      // When it fails, the loader was somebody else's, a tag is none, or there is no cache: this request makes its own.
      asked().then(choose, () => choose(undefined))
    })
  }
}

function settle(request: FastifyRequest, answer: CachedAnswer | undefined): void {
  const fill = request.cacheFill
  request.cacheFill = null
  fill?.settle(answer)
}

const tagsOf = (tags: RouteCache['tags'], request: FastifyRequest): string[] =>
  typeof tags === 'function' ? tags(request) : (tags ?? [])

function send(
  request: FastifyRequest,
  reply: FastifyReply,
  settings: CachedRoute,
  named: readonly string[],
  answer: CachedAnswer,
): FastifyReply {
  reply.headers(answer.headers)
  return describe(request, reply, settings, named, answer) ? reply.send() : reply.send(answer.body)
}

/** Sets the headers of a cached answer; whether the client has it already (then the status is 304). */
function describe(
  request: FastifyRequest,
  reply: FastifyReply,
  settings: RouteCache,
  named: readonly string[],
  answer: CachedAnswer,
): boolean {
  const age = Math.max(0, Math.floor((Date.now() - answer.at) / 1_000))
  reply.header('etag', answer.etag).header('age', age)
  if (!reply.hasHeader('cache-control')) {
    const maxAge = Math.floor(milliseconds(settings.ttl as Duration, 'config.cache.ttl') / 1_000)
    // A cache between the client and here would give it to others without asking the guards.
    reply.header('cache-control', isPersonal(request) ? 'private, no-cache' : `public, max-age=${maxAge}`)
  }
  addVary(reply, named)
  // Fastify tells the length of a HEAD's answer by its payload, which a 304 has not.
  const lastModified = answer.headers['last-modified']?.toString()
  if (request.method === 'HEAD' || !isFresh(request.headers, { etag: answer.etag, lastModified })) return false
  reply.code(304)
  removeContentHeaders(reply)
  return true
}
