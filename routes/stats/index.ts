import { Type } from '@sinclair/typebox'
import { CacheStats } from '../../openapi/schemas/cache.ts'
import { Moment } from '../../openapi/schemas/numbers.ts'
import { Problem } from '../../openapi/schemas/problem.ts'
import { ProcessStats } from '../../openapi/schemas/process-stats.ts'
import { problems, reference } from '../../openapi/schemas/responses.ts'
import { SessionStats } from '../../openapi/schemas/session.ts'
import { StateStats } from '../../openapi/schemas/state.ts'
import { Health, InstanceStats, Stats, StatsHistory } from '../../openapi/schemas/stats.ts'
import { StorageStats } from '../../openapi/schemas/storage.ts'
import { SyncStats } from '../../openapi/schemas/sync.ts'
import { asks } from '../../openapi/security.ts'
import { useProblems } from '../../plugins/problems/index.ts'
import { AUTHORIZE_RULES, type AuthorizeOption, demand } from '../../plugins/security/authorize.ts'
import type {} from '../../plugins/stats/index.ts'
import { defineRoutes } from '../../plugins/support/define-routes.ts'
import { readOptions } from '../../plugins/support/options.ts'
import { useSchemas, useStrictValidation } from '../../plugins/support/schemas.ts'

const StatsQuery = Type.Object(
  {
    scope: Type.Optional(
      Type.Union([Type.Literal('instance'), Type.Literal('cluster')], {
        default: 'instance',
        description: 'The instance that answers, or all that share its storage: their sum, and each by itself.',
      }),
    ),
  },
  { additionalProperties: false },
)

const HistoryQuery = Type.Object(
  {
    from: Type.Optional(Moment('Milliseconds since 1970. Default: an hour before `to`.')),
    to: Type.Optional(Moment('Milliseconds since 1970. Default: now.')),
    instance: Type.Optional(
      Type.String({ minLength: 1, maxLength: 64, description: 'Only this one. Default: all together.' }),
    ),
  },
  { additionalProperties: false },
)

/**
 * `GET /stats`, `GET /stats/history`, `POST /stats/reset` and `GET /metrics`: for administrators, unless `authorize`
 * says otherwise.
 */
export const statsRoutes = defineRoutes<AuthorizeOption>(
  'stats',
  async (fastify, options) => {
    const { authorize } = readOptions(AUTHORIZE_RULES, options, 'statsRoutes')
    useSchemas(
      fastify,
      Problem,
      Health,
      StorageStats,
      CacheStats,
      SessionStats,
      StateStats,
      SyncStats,
      ProcessStats,
      InstanceStats,
      Stats,
      StatsHistory,
    )
    useStrictValidation(fastify)
    useProblems(fastify)

    fastify.get(
      '/stats',
      {
        preValidation: (request) => {
          const { scope } = request.query as { scope?: unknown }
          return demand(authorize, request, 'stats:read', {
            scope: scope === 'cluster' ? 'cluster' : 'instance',
          })
        },
        schema: {
          operationId: 'getStats',
          tags: ['stats'],
          security: asks('stats:read'),
          summary: 'Hit rates and counts of all services',
          description:
            'Those that are registered: the others are absent. In the scope `cluster` the sum of all instances, and each by itself.',
          querystring: StatsQuery,
          response: { 200: reference(Stats), ...problems(400, 401, 403, 429) },
        },
      },
      async (request, reply) => {
        reply.header('cache-control', 'no-store')
        return fastify.stats.collect(request.query)
      },
    )

    fastify.get(
      '/stats/history',
      {
        preValidation: (request) => demand(authorize, request, 'stats:read', { scope: 'cluster' }),
        schema: {
          operationId: 'getStatsHistory',
          tags: ['stats'],
          security: asks('stats:read'),
          summary: 'What the numbers of the last day were',
          description:
            'Of all instances that share the storage, also of those that have ended: a point every 10 seconds if `from` is in the last hour, every minute in the last six, and every five minutes in the last day. On LMDB and Redis it outlives a restart. Empty where the history is switched off.',
          querystring: HistoryQuery,
          response: { 200: reference(StatsHistory), ...problems(400, 401, 403, 429) },
        },
      },
      async (request, reply) => {
        reply.header('cache-control', 'no-store')
        const { from = 0, to = 0 } = request.query
        return (
          (await fastify.stats.history?.read(request.query)) ?? { from, to, interval: 0, instances: [], points: [] }
        )
      },
    )

    fastify.post(
      '/stats/reset',
      {
        preValidation: (request) => demand(authorize, request, 'stats:reset', { scope: 'instance' }),
        schema: {
          operationId: 'resetStats',
          tags: ['stats'],
          security: asks('stats:reset'),
          summary: 'Set the counters of this instance back to 0',
          description: 'What is there now (sessions, entries, connections) stays as it is, and so do other instances.',
          response: { 204: Type.Null({ description: 'They are 0.' }), ...problems(400, 401, 403, 413, 415, 429) },
        },
      },
      async (_request, reply) => {
        fastify.stats.reset()
        return reply.code(204).send(null)
      },
    )

    fastify.get(
      '/metrics',
      {
        preValidation: (request) => demand(authorize, request, 'stats:read', { scope: 'instance' }),
        schema: {
          operationId: 'getMetrics',
          tags: ['stats'],
          security: asks('stats:read'),
          summary: 'The same numbers of this instance for Prometheus',
          description:
            'A scraper has no session: let it in by the `authorize` option, for example by a bearer token of its own.',
          response: {
            200: {
              description: 'Text exposition format, version 0.0.4.',
              content: {
                'text/plain': {
                  schema: Type.String({
                    description: 'A line a number.',
                    examples: ['# TYPE stateful_sessions gauge\nstateful_sessions 31\n'],
                  }),
                },
              },
            },
            ...problems(401, 403, 429),
          },
        },
      },
      async (_request, reply) => {
        reply.header('cache-control', 'no-store').type(fastify.stats.contentType)
        return fastify.stats.metrics()
      },
    )
  },
  { decorators: { fastify: ['stats'] } },
)
