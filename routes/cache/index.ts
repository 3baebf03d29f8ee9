import { Type } from '@sinclair/typebox'
import type { FastifyRequest } from 'fastify'
import {
  CacheEntries,
  CacheEntry,
  CacheEntryParams,
  CacheInvalidated,
  CacheInvalidation,
  CacheNamespaces,
  CacheQuery,
  CacheSearchQuery,
  CacheWarmed,
  CacheWarming,
  CacheWrite,
  CacheWriters,
  DeadLetterRetry,
  DeadLetters,
  DeadLettersRetried,
  WaitingWrites,
  WaitingWritesQuery,
  WriterParams,
} from '../../openapi/schemas/cache.ts'
import { Problem } from '../../openapi/schemas/problem.ts'
import { problems, reference } from '../../openapi/schemas/responses.ts'
import { asks } from '../../openapi/security.ts'
import { DEFAULT_NAMESPACE } from '../../plugins/cache/cache.ts'
import { hasWildcard, literalPrefix } from '../../plugins/cache/glob.ts'
import type { CacheNamespace } from '../../plugins/cache/index.ts'
import { useProblems } from '../../plugins/problems/index.ts'
import type { Resources } from '../../plugins/security/access.ts'
import { AUTHORIZE_RULES, type AuthorizeOption, demand, textOr } from '../../plugins/security/authorize.ts'
import { clientOf } from '../../plugins/security/client.ts'
import { defineRoutes } from '../../plugins/support/define-routes.ts'
import { milliseconds } from '../../plugins/support/durations.ts'
import { InvalidTtlError, NotFoundError, UnknownWriterError } from '../../plugins/support/errors.ts'
import { readOptions } from '../../plugins/support/options.ts'
import { useSchemas, useStrictValidation } from '../../plugins/support/schemas.ts'

const tags = ['cache']
const HOTTEST = 10
/** A duration that a client sends: its mistake, not a setting of ours. */
function clientDuration(ttl: number | string): number {
  try {
    const ms = milliseconds(ttl, 'ttl')
    if (ms > 0) return ms
  } catch {
    // Answered below, in the same words.
  }
  throw new InvalidTtlError()
}

/** Of what is to hold on every instance, and may not be known to. */
const unconfirmed = [
  400,
  401,
  403,
  413,
  415,
  429,
  503,
  507,
  'STATEFUL_INVALID_CACHE_KEY',
  'STATEFUL_CACHE_STORE_UNAVAILABLE',
] as const
const nothing = Type.Null({ description: 'Done.' })

function namespaceOf(request: FastifyRequest): string {
  return textOr((request.query as { namespace?: unknown }).namespace, DEFAULT_NAMESPACE)
}

/**
 * What an invalidation reaches, one after the other: of a pattern, every key that begins like it. The body may not be
 * validated yet: what is no text is refused there.
 */
function* reachedBy(namespace: string, body: unknown): Generator<Resources['cache:invalidate']> {
  const { keys, tags, patterns } = (body ?? {}) as { [name: string]: unknown }
  for (const key of textsIn(keys)) yield { namespace, key }
  for (const pattern of textsIn(patterns)) {
    yield hasWildcard(pattern) ? { namespace, prefix: literalPrefix(pattern) } : { namespace, key: pattern }
  }
  for (const tag of textsIn(tags)) yield { namespace, tag }
}

function textsIn(list: unknown): Set<string> {
  return new Set(Array.isArray(list) ? list.filter((one): one is string => typeof one === 'string') : [])
}

/** The cache over HTTP: for operators and tools; applications use `fastify.cache`. */
export const cacheRoutes = defineRoutes<AuthorizeOption>(
  'cache',
  async (fastify, options) => {
    const { authorize } = readOptions(AUTHORIZE_RULES, options, 'cacheRoutes')
    useSchemas(
      fastify,
      ...[CacheEntries, CacheNamespaces, CacheWriters, WaitingWrites, DeadLetters, DeadLetterRetry, DeadLettersRetried],
      ...[Problem, CacheEntry, CacheWrite, CacheInvalidation, CacheInvalidated, CacheWarming, CacheWarmed],
    )
    useStrictValidation(fastify)
    useProblems(fastify)

    /** A namespace of a client's choice is opened within the bounds of clients. */
    async function using<Result>(
      request: FastifyRequest<{ Querystring: CacheQuery }>,
      run: (namespace: CacheNamespace) => Promise<Result>,
    ): Promise<Result> {
      const { namespace: name } = request.query
      if (name === undefined) return run(fastify.cache)
      const { namespace, release } = fastify.cache.borrow(name, clientOf(request))
      try {
        return await run(namespace)
      } finally {
        release()
      }
    }
    // Before validation, so that a caller who may not ask does not learn what a valid question looks like.
    const allow = (action: 'cache:read' | 'cache:write') => (request: FastifyRequest) => {
      const { key } = request.params as { key: string }
      return demand(authorize, request, action, { namespace: namespaceOf(request), key })
    }
    const allowWriter = (action: 'writers:read' | 'writers:retry') => (request: FastifyRequest) =>
      demand(authorize, request, action, { writer: (request.params as { writer: string }).writer })
    const invalidate = (request: FastifyRequest, reached: Resources['cache:invalidate']) =>
      demand(authorize, request, 'cache:invalidate', reached)
    /** The first of what a body names is asked for before it is validated, and all of it, which is bounded, after. */
    const mayInvalidateFirst = async (request: FastifyRequest) => {
      const namespace = namespaceOf(request)
      const [first = { namespace, prefix: '' }] = reachedBy(namespace, request.body)
      await invalidate(request, first)
    }
    const mayInvalidateAll = async (request: FastifyRequest) => {
      for (const reached of reachedBy(namespaceOf(request), request.body)) await invalidate(request, reached)
    }
    const mayClear = (request: FastifyRequest) => invalidate(request, { namespace: namespaceOf(request), prefix: '' })
    const mayWarm = (most: number) => async (request: FastifyRequest) => {
      const namespace = namespaceOf(request)
      const keys = [...textsIn((request.body as { keys?: unknown } | null | undefined)?.keys)]
      for (const key of keys.slice(0, most)) await demand(authorize, request, 'cache:warm', { namespace, key })
      // It names nothing that can be warmed, which is told to who may warm anything.
      if (keys.length === 0) await demand(authorize, request, 'cache:warm', { namespace, prefix: '' })
    }

    fastify.get(
      '/cache/namespaces',
      {
        schema: {
          operationId: 'listCacheNamespaces',
          tags,
          security: asks('cache:list'),
          summary: 'List the namespaces',
          description: 'Those that this instance has open, each with its numbers and its hottest keys.',
          response: { 200: reference(CacheNamespaces), ...problems(401, 403, 429) },
        },
        preValidation: (request) => demand(authorize, request, 'cache:list', { scope: 'instance' }),
      },
      async () => ({
        namespaces: fastify.cache.overview(HOTTEST).map(({ name, numbers, hottest }) => {
          const { lookups, missRate, meanLoadTime, entries, bytes } = numbers
          return { name, lookups, missRate, meanLoadTime, entries, bytes, hottest }
        }),
      }),
    )

    fastify.get(
      '/cache/entries',
      {
        schema: {
          operationId: 'searchCache',
          tags,
          security: asks('cache:list'),
          summary: 'Search entries by their keys',
          description:
            'Without their values, by pages in the order of the keys. It takes as long as the store takes to go through its keys, and leaves no trace in the statistics.',
          querystring: CacheSearchQuery,
          response: {
            200: reference(CacheEntries),
            ...problems(400, 401, 403, 429, 503, 'STATEFUL_INVALID_CACHE_KEY', 'STATEFUL_CACHE_STORE_UNAVAILABLE'),
          },
        },
        preValidation: (request) => {
          const { pattern } = request.query as { pattern?: unknown }
          const prefix = literalPrefix(textOr(pattern, '*'))
          return demand(authorize, request, 'cache:list', { namespace: namespaceOf(request), prefix })
        },
      },
      (request) => {
        const { namespace = DEFAULT_NAMESPACE, ...options } = request.query
        return fastify.cache.searchAs(clientOf(request), namespace, options)
      },
    )

    fastify.get(
      '/cache/writers',
      {
        schema: {
          operationId: 'listCacheWriters',
          tags,
          security: asks('writers:read'),
          summary: 'List the write-behind handlers',
          description: 'With how many writes wait for each of them.',
          response: { 200: reference(CacheWriters), ...problems(401, 403, 429) },
        },
        preValidation: (request) => demand(authorize, request, 'writers:read', { scope: 'instance' }),
      },
      async () => ({ writers: fastify.cache.writers.list() }),
    )

    fastify.get(
      '/cache/entries/:key',
      {
        schema: {
          operationId: 'getCacheEntry',
          tags,
          security: asks('cache:read'),
          summary: 'Read an entry',
          description:
            'From the first level or the second. A value that is not there is not loaded: that is for the application.',
          params: CacheEntryParams,
          querystring: CacheQuery,
          response: { 200: reference(CacheEntry), ...problems(400, 401, 403, 404, 429) },
        },
        preValidation: allow('cache:read'),
      },
      async (request) => {
        const { key } = request.params
        const { namespace } = request.query
        const value = await (namespace === undefined
          ? fastify.cache.get(key)
          : fastify.cache.readAs(clientOf(request), namespace, key))
        if (value === undefined) throw new NotFoundError('entry with this key')
        return { key, value }
      },
    )

    fastify.put(
      '/cache/entries/:key',
      {
        schema: {
          operationId: 'putCacheEntry',
          tags,
          security: asks('cache:write'),
          summary: 'Store an entry',
          description:
            'On every instance it replaces what was there. Without a `ttl` it lives as long as the second level keeps entries.',
          params: CacheEntryParams,
          querystring: CacheQuery,
          body: reference(CacheWrite),
          response: {
            200: reference(CacheEntry),
            ...problems(...unconfirmed, 'STATEFUL_INVALID_TTL', 'STATEFUL_INVALID_CACHE_VALUE'),
          },
        },
        preValidation: allow('cache:write'),
      },
      async (request) => {
        const { key } = request.params
        const { value, ttl, tags } = request.body
        const settings = { ...(ttl === undefined ? {} : { ttl: clientDuration(ttl) }), ...(tags ? { tags } : {}) }
        await using(request, (cache) => cache.set(key, value, settings))
        return { key, value }
      },
    )

    fastify.delete(
      '/cache/entries/:key',
      {
        schema: {
          operationId: 'deleteCacheEntry',
          tags,
          security: asks('cache:write'),
          summary: 'Delete an entry',
          description: 'Also when there is none: afterwards it is certain that none is served.',
          params: CacheEntryParams,
          querystring: CacheQuery,
          response: { 204: nothing, ...problems(...unconfirmed) },
        },
        preValidation: allow('cache:write'),
      },
      async (request, reply) => {
        await using(request, (cache) => cache.delete(request.params.key))
        return reply.code(204).send(null)
      },
    )

    fastify.post(
      '/cache/invalidate',
      {
        schema: {
          operationId: 'invalidateCache',
          tags,
          security: asks('cache:invalidate'),
          summary: 'Invalidate by keys, tags and patterns',
          description: 'Answers when the store has confirmed; loads that are running are not stored afterwards.',
          querystring: CacheQuery,
          body: reference(CacheInvalidation),
          response: { 200: reference(CacheInvalidated), ...problems(...unconfirmed) },
        },
        preValidation: mayInvalidateFirst,
        preHandler: mayInvalidateAll,
      },
      (request) =>
        using(request, async (cache) => {
          const { keys = [], tags = [], patterns = [] } = request.body
          let invalidated = 0
          if (keys.length > 0) invalidated += await cache.delete(keys)
          if (tags.length > 0) await cache.invalidateTags(tags)
          for (const pattern of patterns) invalidated += await cache.deleteMatching(pattern)
          return { invalidated }
        }),
    )

    fastify.post(
      '/cache/warm',
      {
        schema: {
          operationId: 'warmCache',
          tags,
          security: asks('cache:warm'),
          summary: 'Take entries into the first level',
          description:
            'Of the instance that answers: from the second level, or from the loader that the application has registered for them. Without `keys` it warms the hot keys that were written down last, as at boot.',
          querystring: CacheQuery,
          body: reference(CacheWarming),
          response: { 200: reference(CacheWarmed), ...problems(...unconfirmed) },
        },
        preValidation: mayWarm(1),
        preHandler: mayWarm(Number.POSITIVE_INFINITY),
      },
      (request) =>
        using(request, (cache) => {
          const { keys } = request.body
          return keys === undefined ? cache.warmHottest() : cache.warm(keys)
        }),
    )

    const known = async <T>(answer: Promise<T>): Promise<T> => {
      try {
        return await answer
      } catch (error) {
        if (!(error instanceof UnknownWriterError)) throw error
        throw new NotFoundError('write-behind handler with this name')
      }
    }

    fastify.get(
      '/cache/writers/:writer/waiting',
      {
        schema: {
          operationId: 'listWaitingWrites',
          tags,
          security: asks('writers:read'),
          summary: 'List the writes that wait for a write-behind handler',
          description:
            'Each with its number, since when its key waits, and how often it was tried. Looking takes nothing away.',
          params: WriterParams,
          querystring: WaitingWritesQuery,
          response: { 200: reference(WaitingWrites), ...problems(400, 401, 403, 404, 429) },
        },
        preValidation: allowWriter('writers:read'),
      },
      async ({ params: { writer }, query: { limit } }) => ({
        writes: await known(fastify.cache.writers.waiting(writer, limit)),
      }),
    )

    fastify.get(
      '/cache/writers/:writer/dead-letters',
      {
        schema: {
          operationId: 'listDeadLetters',
          tags,
          security: asks('writers:read'),
          summary: 'List the writes that a write-behind handler refused for good',
          description: 'They are kept until they are retried, and their entries have left the cache.',
          params: WriterParams,
          response: { 200: reference(DeadLetters), ...problems(400, 401, 403, 404, 429) },
        },
        preValidation: allowWriter('writers:read'),
      },
      async ({ params: { writer } }) => ({ letters: await known(fastify.cache.writers.deadLetters(writer)) }),
    )

    fastify.post(
      '/cache/writers/:writer/dead-letters/retry',
      {
        schema: {
          operationId: 'retryDeadLetters',
          tags,
          security: asks('writers:retry'),
          summary: 'Hand refused writes to their handler again',
          description:
            'They come behind everything that waits. One whose key has a newer write that waits is only forgotten.',
          params: WriterParams,
          body: reference(DeadLetterRetry),
          response: { 200: reference(DeadLettersRetried), ...problems(400, 401, 403, 404, 413, 415, 429, 507) },
        },
        preValidation: allowWriter('writers:retry'),
      },
      async ({ params: { writer }, body: { ids } }) => ({
        retried: await known(fastify.cache.writers.retryDeadLetters(writer, ids)),
      }),
    )

    fastify.post(
      '/cache/clear',
      {
        schema: {
          operationId: 'clearCache',
          tags,
          security: asks('cache:invalidate'),
          summary: 'Clear one namespace',
          description:
            'All of its entries, on every instance. Other namespaces, and what else is in the storage, stay.',
          querystring: CacheQuery,
          response: { 204: nothing, ...problems(...unconfirmed) },
        },
        preValidation: mayClear,
      },
      async (request, reply) => {
        await using(request, (cache) => cache.clear())
        return reply.code(204).send(null)
      },
    )
  },
  { decorators: { fastify: ['cache'] } },
)
