import { Type } from '@sinclair/typebox'
import type { FastifyRequest } from 'fastify'
import {
  CacheEntry,
  CacheEntryParams,
  CacheInvalidated,
  CacheInvalidation,
  CacheQuery,
  CacheWarmed,
  CacheWarming,
  CacheWrite,
  DeadLetterRetry,
  DeadLetters,
  DeadLettersRetried,
  WriterParams,
} from '../../openapi/schemas/cache.ts'
import { Problem } from '../../openapi/schemas/problem.ts'
import { problems, reference } from '../../openapi/schemas/responses.ts'
import type { CacheNamespace } from '../../plugins/cache/index.ts'
import { useProblems } from '../../plugins/problems/index.ts'
import { type Action, type AuthorizeOption, demand } from '../../plugins/security/authorize.ts'
import { defineRoutes } from '../../plugins/support/define.ts'
import { milliseconds } from '../../plugins/support/durations.ts'
import { InvalidTtlError, NotFoundError } from '../../plugins/support/errors.ts'
import { useSchemas, useStrictValidation } from '../../plugins/support/schemas.ts'

export type CacheRoutesOptions = AuthorizeOption

const tags = ['cache']
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

const nothing = Type.Null({ description: 'Done.' })

/** The cache over HTTP: for operators and tools; applications use `fastify.cache`. */
export const cacheRoutes = defineRoutes<CacheRoutesOptions>(
  'cache',
  async (fastify, options) => {
    useSchemas(
      fastify,
      ...[DeadLetters, DeadLetterRetry, DeadLettersRetried],
      ...[Problem, CacheEntry, CacheWrite, CacheInvalidation, CacheInvalidated, CacheWarming, CacheWarmed],
    )
    useStrictValidation(fastify)
    useProblems(fastify)

    const namespaceOf = ({ namespace }: CacheQuery): CacheNamespace =>
      namespace === undefined ? fastify.cache : fastify.cache.namespace(namespace)
    // Before validation, so that whoever may not ask does not learn what a valid question looks like.
    const allow = (action: Action) => async (request: FastifyRequest) => {
      const { namespace } = request.query as CacheQuery
      const { key } = (request.params ?? {}) as { key?: string }
      const resource = {
        ...(namespace === undefined ? {} : { space: namespace }),
        ...(key === undefined ? {} : { key }),
      }
      await demand(options.authorize, request, action, resource)
    }

    fastify.get(
      '/cache/entries/:key',
      {
        schema: {
          operationId: 'getCacheEntry',
          tags,
          summary: 'Read an entry',
          params: CacheEntryParams,
          querystring: CacheQuery,
          response: { 200: reference(CacheEntry), ...problems(400, 401, 403, 404) },
        },
        preValidation: allow('cache:read'),
      },
      async ({ params: { key }, query }) => {
        const value = await namespaceOf(query).get(key)
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
          summary: 'Store an entry',
          params: CacheEntryParams,
          querystring: CacheQuery,
          body: reference(CacheWrite),
          response: { 200: reference(CacheEntry), ...problems(400, 401, 403, 413, 415) },
        },
        preValidation: allow('cache:write'),
      },
      async ({ params: { key }, query, body: { value, ttl, tags } }) => {
        const settings = { ...(ttl === undefined ? {} : { ttl: clientDuration(ttl) }), ...(tags ? { tags } : {}) }
        await namespaceOf(query).set(key, value, settings)
        return { key, value }
      },
    )

    fastify.delete(
      '/cache/entries/:key',
      {
        schema: {
          operationId: 'deleteCacheEntry',
          tags,
          summary: 'Delete an entry',
          description: 'Also when there is none: afterwards it is certain that none is served.',
          params: CacheEntryParams,
          querystring: CacheQuery,
          response: { 204: nothing, ...problems(400, 401, 403) },
        },
        preValidation: allow('cache:write'),
      },
      async ({ params: { key }, query }, reply) => {
        await namespaceOf(query).delete(key)
        return reply.code(204).send(null)
      },
    )

    fastify.post(
      '/cache/invalidate',
      {
        schema: {
          operationId: 'invalidateCache',
          tags,
          summary: 'Invalidate by keys, tags and patterns',
          description: 'Answers when the store has confirmed; loads that are running are not stored afterwards.',
          querystring: CacheQuery,
          body: reference(CacheInvalidation),
          response: { 200: reference(CacheInvalidated), ...problems(400, 401, 403, 413, 415) },
        },
        preValidation: allow('cache:write'),
      },
      async ({ query, body: { keys = [], tags = [], patterns = [] } }) => {
        const cache = namespaceOf(query)
        let invalidated = 0
        if (keys.length > 0) invalidated += await cache.delete(keys)
        if (tags.length > 0) await cache.invalidateTags(tags)
        for (const pattern of patterns) invalidated += await cache.deleteMatching(pattern)
        return { invalidated }
      },
    )

    fastify.post(
      '/cache/warm',
      {
        schema: {
          operationId: 'warmCache',
          tags,
          summary: 'Take entries into the first level',
          description: 'From the second level of this instance; entries that are in neither are counted as missing.',
          querystring: CacheQuery,
          body: reference(CacheWarming),
          response: { 200: reference(CacheWarmed), ...problems(400, 401, 403, 413, 415) },
        },
        preValidation: allow('cache:write'),
      },
      ({ query, body: { keys } }) => namespaceOf(query).warm(keys),
    )

    const known = async <T>(answer: Promise<T>): Promise<T> => {
      try {
        return await answer
      } catch (error) {
        if ((error as { code?: string }).code !== 'STATEFUL_UNKNOWN_WRITER') throw error
        throw new NotFoundError('write-behind handler with this name')
      }
    }

    fastify.get(
      '/cache/writers/:writer/dead-letters',
      {
        schema: {
          operationId: 'listDeadLetters',
          tags,
          summary: 'List the writes that a write-behind handler refused for good',
          params: WriterParams,
          response: { 200: reference(DeadLetters), ...problems(400, 401, 403, 404) },
        },
        preValidation: allow('cache:write'),
      },
      async ({ params: { writer } }) => ({ letters: await known(fastify.cache.writers.deadLetters(writer)) }),
    )

    fastify.post(
      '/cache/writers/:writer/dead-letters/retry',
      {
        schema: {
          operationId: 'retryDeadLetters',
          tags,
          summary: 'Hand refused writes to their handler again',
          description: 'They come behind everything that waits, also behind later writes of the same key.',
          params: WriterParams,
          body: reference(DeadLetterRetry),
          response: { 200: reference(DeadLettersRetried), ...problems(400, 401, 403, 404, 413, 415) },
        },
        preValidation: allow('cache:write'),
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
          summary: 'Clear one namespace',
          querystring: CacheQuery,
          response: { 204: nothing, ...problems(400, 401, 403) },
        },
        preValidation: allow('cache:write'),
      },
      async ({ query }, reply) => {
        await namespaceOf(query).clear()
        return reply.code(204).send(null)
      },
    )
  },
  { decorators: { fastify: ['cache'] } },
)

export default cacheRoutes
