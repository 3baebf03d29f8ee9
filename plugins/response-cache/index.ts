import { createHash } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type {} from '../cache/index.ts'
import { defineService } from '../support/define.ts'
import { type Duration, milliseconds } from '../support/durations.ts'
import { keyOf } from './key.ts'

/** `config.cache` of a route. */
export interface RouteCache {
  /** How long an answer is fresh. Without it the route's answers are not cached. */
  ttl?: Duration
  /** How long after that it may be served while it is made anew. Default: not at all. */
  stale?: Duration
  /** Query parameters that belong to the key. A request with others is not cached. Default none. */
  query?: string[]
  /** Request headers that belong to the key, told in `Vary`. Default none. */
  vary?: string[]
  /** Answers are the same for everybody, also for requests with a cookie or credentials. Default `false`. */
  shared?: boolean
  /** What `invalidates` of other routes reaches. */
  tags?: string[] | ((request: FastifyRequest) => string[])
  /** Tags that are invalidated when this route has answered an unsafe method with success, before the client hears. */
  invalidates?: string[] | ((request: FastifyRequest) => string[])
}

declare module 'fastify' {
  interface FastifyContextConfig {
    cache?: RouteCache
  }
  interface FastifyRequest {
    /** Takes the answer that this request makes for the cache; `null` when it makes none. */
    cacheFill: ((answer: CachedAnswer | undefined) => void) | null
  }
}

export interface ResponseCacheOptions {
  /** Namespace of the cache that holds the answers. Default `'http'`. */
  namespace?: string
}

export interface CachedAnswer {
  headers: Record<string, string>
  body: string | Buffer
  etag: string
  /** Wall clock, ms. */
  at: number
}

/** Headers of the answer itself; all others belong to one connection or one moment. */
const KEPT = ['content-type', 'content-language', 'content-encoding', 'last-modified', 'link', 'location']
const SAFE = new Set(['GET', 'HEAD'])

/** Whole answers in the cache, for routes that say so in `config.cache`. */
export const responseCache = defineService<ResponseCacheOptions>(
  'response-cache',
  async (fastify, options) => {
    const cache = fastify.cache.namespace(options.namespace ?? 'http')
    fastify.decorateRequest('cacheFill', null)

    // Last before the handler: whoever may not see the answer has been turned away.
    fastify.addHook('preHandler', async (request, reply) => {
      const settings = request.routeOptions.config.cache
      if (settings?.ttl === undefined || !SAFE.has(request.method)) return
      const key = keyOf(request, settings)
      if (key === undefined) return
      const tags = tagsOf(settings.tags, request)
      const choice = await new Promise<{ answer: CachedAnswer | undefined } | undefined>((resolve) => {
        const load = () =>
          new Promise<CachedAnswer | undefined>((fill) => {
            request.cacheFill = fill
            // Whatever becomes of the request, those who wait for it are released.
            reply.raw.once('close', () => fill(undefined))
            resolve(undefined)
          })
        cache
          .getOrSet(key, load, {
            ...(settings.stale === undefined ? {} : { stale: settings.stale }),
            ttl: settings.ttl as Duration,
            tags,
          })
          .then(
            (answer) => resolve({ answer }),
            // The loader was somebody else's; this request makes its own answer.
            () => resolve({ answer: undefined }),
          )
      })
      if (choice?.answer) return send(request, reply, settings, choice.answer)
    })

    fastify.addHook('onSend', async (request, reply, payload) => {
      const settings = request.routeOptions.config.cache
      if (!settings) return payload
      const { invalidates } = settings
      if (invalidates && !SAFE.has(request.method) && reply.statusCode < 400) {
        await cache.invalidateTags(tagsOf(invalidates, request))
      }
      const fill = request.cacheFill
      if (!fill) return payload
      request.cacheFill = null
      if (!cacheable(reply) || !(typeof payload === 'string' || Buffer.isBuffer(payload))) {
        fill(undefined)
        return payload
      }
      const answer = toAnswer(reply, payload)
      fill(answer)
      return describe(request, reply, settings, answer) ? '' : payload
    })
  },
  { decorators: { fastify: ['cache'] } },
)

export default responseCache

const tagsOf = (tags: RouteCache['tags'], request: FastifyRequest): string[] =>
  typeof tags === 'function' ? tags(request) : (tags ?? [])

/** Only what is the same for everybody: a success, without a cookie, and not forbidden by its maker. */
function cacheable(reply: FastifyReply): boolean {
  if (reply.statusCode !== 200 || reply.hasHeader('set-cookie')) return false
  return !/\b(no-store|no-cache|private)\b/i.test(`${reply.getHeader('cache-control') ?? ''}`)
}

function toAnswer(reply: FastifyReply, body: string | Buffer): CachedAnswer {
  const headers: Record<string, string> = {}
  for (const name of KEPT) {
    const value = reply.getHeader(name)
    if (value !== undefined) headers[name] = `${value}`
  }
  const etag = reply.getHeader('etag') ?? `"${createHash('sha256').update(body).digest('base64url').slice(0, 27)}"`
  return { headers, body, etag: `${etag}`, at: Date.now() }
}

function send(request: FastifyRequest, reply: FastifyReply, settings: RouteCache, answer: CachedAnswer): FastifyReply {
  reply.headers(answer.headers)
  return reply.send(describe(request, reply, settings, answer) ? null : answer.body)
}

/** Sets the headers of a cached answer; whether the client has it already (then the status is 304). */
function describe(request: FastifyRequest, reply: FastifyReply, settings: RouteCache, answer: CachedAnswer): boolean {
  const age = Math.max(0, Math.floor((Date.now() - answer.at) / 1_000))
  const maxAge = Math.floor(milliseconds(settings.ttl as Duration, 'config.cache.ttl') / 1_000)
  const visibility = settings.vary?.some((name) => /^(cookie|authorization)$/i.test(name)) ? 'private' : 'public'
  reply.header('etag', answer.etag).header('age', age)
  if (!reply.hasHeader('cache-control')) reply.header('cache-control', `${visibility}, max-age=${maxAge}`)
  if (settings.vary?.length) reply.header('vary', settings.vary.join(', ').toLowerCase())
  const known = request.headers['if-none-match']
  if (known === undefined || !matches(known, answer.etag)) return false
  reply.code(304).removeHeader('content-type').removeHeader('content-length')
  return true
}

function matches(header: string, etag: string): boolean {
  const bare = (tag: string) => tag.trim().replace(/^W\//, '')
  return header.trim() === '*' || header.split(',').some((tag) => bare(tag) === bare(etag))
}
