import { Live, Ready } from '../../openapi/schemas/health.ts'
import { Problem } from '../../openapi/schemas/problem.ts'
import { problems, reference } from '../../openapi/schemas/responses.ts'
import { useProblems } from '../../plugins/problems/index.ts'
import { isOverloaded, stateFault } from '../../plugins/stats/health.ts'
import type {} from '../../plugins/storage/index.ts'
import type { Clock } from '../../plugins/support/clock.ts'
import { within } from '../../plugins/support/deadline.ts'
import { defineRoutes } from '../../plugins/support/define-routes.ts'
import type { Duration } from '../../plugins/support/durations.ts'
import { OverloadedError, StorageUnavailableError } from '../../plugins/support/errors.ts'
import { clock, duration, type Rules, readOptions } from '../../plugins/support/options.ts'
import { useSchemas, useStrictValidation } from '../../plugins/support/schemas.ts'

export interface HealthRoutesOptions {
  /** How long the storage may take to answer. Default `'1s'`. */
  timeout?: Duration
  /** Default: the system's. */
  clock?: Clock
}

/** What each option must be, and what holds without it. */
export const HEALTH_ROUTE_RULES = { timeout: duration('1s'), clock } satisfies Rules<HealthRoutesOptions>

/**
 * `GET /health/live` and `GET /health/ready`, public. Liveness says only that the process answers: an
 * orchestrator restarts what is not live, and a restart mends neither a storage that is away nor an overload.
 */
export const healthRoutes = defineRoutes<HealthRoutesOptions>(
  'health',
  async (fastify, options) => {
    const { timeout, clock } = readOptions(HEALTH_ROUTE_RULES, options, 'healthRoutes')
    useSchemas(fastify, Problem, Live, Ready)
    useStrictValidation(fastify)
    useProblems(fastify)

    // Overload is no reason to restart (live) and is told by this route itself (ready).
    const config = { pressure: false }

    fastify.get(
      '/health/live',
      {
        config,
        schema: {
          operationId: 'getLiveness',
          tags: ['health'],
          summary: 'Whether the process answers',
          description:
            'For what restarts a process that does not. It looks at nothing else: a restart mends neither a storage that is away nor an overload.',
          security: [],
          response: { 200: reference(Live), ...problems('STATEFUL_SERVER_CLOSING') },
        },
      },
      async (): Promise<Live> => ({ status: 'ok' }),
    )

    fastify.get(
      '/health/ready',
      {
        config,
        schema: {
          operationId: 'getReadiness',
          tags: ['health'],
          summary: 'Whether the process can serve requests',
          description:
            'Answers 503 while the storage does not answer in time, while state cannot be followed because its log is damaged, and while the process is overloaded. A process that closes answers 503 to every request.',
          security: [],
          response: { 200: reference(Ready), ...problems(503, 'STATEFUL_OVERLOADED') },
        },
      },
      async (_request, reply): Promise<Ready> => {
        reply.header('cache-control', 'no-store')
        if (isOverloaded(fastify)) throw new OverloadedError()
        await within(fastify.storage.ping(), timeout, clock, () => {
          return new StorageUnavailableError(`no answer within ${timeout} ms`)
        })
        const cause = stateFault(fastify)
        if (cause) throw new StorageUnavailableError('state', { cause })
        return { status: 'ok', storage: fastify.storage.kind }
      },
    )
  },
  { decorators: { fastify: ['storage'] } },
)
