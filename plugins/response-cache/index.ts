import type { FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import { defineService } from '../support/define.ts'
import { readOptions } from '../support/options.ts'
import { Answers } from './answers.ts'
import { Conclusion } from './conclusion.ts'
import { type Exchange, newExchange } from './exchange.ts'
import { type CachedRoute, cachedHandler } from './handler.ts'
import { Changes, isSafe } from './invalidation.ts'
import { keyRule } from './key.ts'
import { RESPONSE_CACHE_RULES, type ResponseCacheOptions, ROUTE_RULES, type RouteCache } from './options.ts'
import { tellStatus } from './status.ts'

export type { CacheDirectives, ResponseCacheOptions, RouteCache } from './options.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    cache?: RouteCache
  }
  interface FastifyRequest {
    /** What the response cache does with this request; `null` on routes whose answers are not cached. */
    cacheExchange: Exchange | null
  }
}

/**
 * Whole answers in the cache, for routes that say so in `config.cache`, by the rules of HTTP (RFC 9111). The cache stands
 * where the handler does, after every guard of whatever scope: each request passes all hooks up to `preHandler`, also
 * when its answer is cached. Register it, and await that, before the routes; those that were there already are not
 * cached, which is logged.
 *
 * @throws at boot STATEFUL_INVALID_OPTION and STATEFUL_INVALID_DURATION, also for a route's `config.cache`
 */
export const responseCache = defineService<ResponseCacheOptions>(
  'response-cache',
  async (fastify, options) => {
    const defaults = readOptions(RESPONSE_CACHE_RULES, options, 'responseCache')
    const { namespace, name, maxBytes, clock } = defaults
    const cache = fastify.cache.namespace(namespace)
    const answers = new Answers(cache, () => clock.now())
    const changes = new Changes()
    const log = fastify.log.child({ plugin: 'response-cache' })
    /** Those whose handlers stand behind the cache. */
    const routes = new WeakMap<RouteCache, CachedRoute>()
    /** Those that have been reported because theirs do not. */
    const reported = new WeakSet<RouteCache>()
    /** Handlers of GET, for the HEAD of the same route. */
    const handlers = new Map<string, RouteOptions['handler']>()
    fastify.decorateRequest('cacheExchange', null)

    fastify.addHook('onRoute', (route) => {
      const given = route.config?.cache
      if (given === undefined) return
      const settings = readOptions(ROUTE_RULES, given, 'config.cache')
      if (settings.ttl === undefined) return
      const methods = [route.method].flat()
      const rule = keyRule(given, route)
      const place = JSON.stringify([route.url, rule.signature])
      if (methods.includes('GET')) handlers.set(place, route.handler)
      const { ttl, stale = 0, staleIfError = defaults.staleIfError ?? 0, browser, cdn, tags } = settings
      const cached: CachedRoute = {
        rule,
        terms: { ttl, stale, staleIfError },
        told: { vary: rule.vary, browser: browser ?? defaults.browser, cdn: cdn ?? defaults.cdn },
        tags: (request) => tagsOf(tags, request),
        head: handlers.get(place) === route.handler,
      }
      changes.watch(route.url, rule.signature)
      // A copy: a route from before this plugin may share the object.
      const config = { ...given }
      routes.set(config, cached)
      route.config = { ...route.config, cache: config }
      // Not a hook: hooks of the route, of inner scopes and of later plugins run after those of this scope.
      route.handler = cachedHandler(answers, cached, route.handler)
    })

    fastify.addHook('onRequest', (request, _reply, done) => {
      const settings = request.routeOptions.config.cache
      if (settings?.ttl !== undefined) {
        if (routes.has(settings)) request.cacheExchange = newExchange(Object.keys(request.query ?? {}))
        else if (!reported.has(settings)) {
          reported.add(settings)
          const route = { url: request.routeOptions.url, method: request.routeOptions.method }
          log.warn({ route }, 'not cached: the route was registered before this plugin; await its registration first')
        }
      }
      done()
    })

    // An error handler may answer 200; still it was no answer of the handler. At once, not by a promise: @fastify/reply-from
    // sends twice when an upstream's status is none, which ends the process while hooks of the first are running.
    fastify.addHook('onError', ({ cacheExchange }, _reply, _error, done) => {
      if (cacheExchange?.work) cacheExchange.work.failed = true
      done()
    })

    fastify.addHook('onSend', async (request, reply, payload) => {
      await invalidate(request, reply)
      const { cacheExchange: exchange } = request
      const route = routes.get(request.routeOptions.config.cache ?? {})
      if (!exchange || !route) return payload
      const { work, served } = exchange
      const conclusion = work && new Conclusion(request, reply, { exchange, work, route, answers, maxBytes })
      const result = conclusion ? conclusion.payload(payload) : payload
      // What a maker has not said of its content, Fastify has guessed.
      if (served && served.headers['content-type'] === undefined) reply.removeHeader('content-type')
      exchange.otherStatus ??= { field: reply.getHeader('cache-status')?.toString() }
      tellStatus(reply, name, exchange.status, exchange.otherStatus.field)
      return result
    })

    /** What a successful unsafe method has changed is gone before its client hears. */
    async function invalidate(request: FastifyRequest, reply: FastifyReply): Promise<void> {
      if (reply.statusCode >= 400) return
      const { method } = request
      const { invalidates } = request.routeOptions.config.cache ?? {}
      if (invalidates && method !== 'GET' && method !== 'HEAD') {
        await cache.invalidateTags(tagsOf(invalidates, request))
      }
      if (isSafe(method)) return
      const keys = changes.keys(request, reply)
      if (keys.length > 0) await cache.delete(keys)
    }
  },
  { decorators: { fastify: ['cache'] } },
)

const tagsOf = (tags: RouteCache['tags'], request: FastifyRequest): string[] =>
  typeof tags === 'function' ? tags(request) : (tags ?? [])
