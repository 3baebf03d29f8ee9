import { type Static, Type } from '@sinclair/typebox'
import type { FastifyRequest } from 'fastify'
import { SpaceName, topic } from '../../openapi/messages/common.ts'
import { Problem } from '../../openapi/schemas/problem.ts'
import { annotated, problems, reference } from '../../openapi/schemas/responses.ts'
import { SyncNode, SyncNodes } from '../../openapi/schemas/sync.ts'
import { useProblems } from '../../plugins/problems/index.ts'
import { type AuthorizeOption, demand } from '../../plugins/security/authorize.ts'
import { defineRoutes } from '../../plugins/support/define.ts'
import { ForeignOriginError, UpgradeRequiredError } from '../../plugins/support/errors.ts'
import { useSchemas, useStrictValidation } from '../../plugins/support/schemas.ts'
import type {} from '../../plugins/sync/index.ts'
import { isAllowedOrigin } from '../../plugins/sync/origin.ts'
import { openEventStream } from './event-stream.ts'
import { openWebSocket } from './web-socket.ts'

export interface SyncRoutesOptions extends AuthorizeOption {
  /** Origins of pages that may connect beside those of the same host, such as `https://app.example`. Default none. */
  allowedOrigins?: string[]
}

/** Text of a position, as event ids have it: `<epoch>.<revision>`. */
const Since = Type.String({
  pattern: '^[0-9]+:[A-Za-z0-9_-]{1,64}\\.[0-9]{1,15}$',
  description: 'Continue from this position, `<epoch>.<revision>`, if possible.',
})

const Query = Type.Object(
  {
    space: Type.Optional(SpaceName),
    ...topic,
    since: Type.Optional(Since),
    clientId: Type.Optional(Type.String({ minLength: 8, maxLength: 128 })),
  },
  { additionalProperties: false },
)
export type SyncQuery = Static<typeof Query>

const EventsQuery = Type.Object(
  { space: Type.Optional(annotated(SpaceName, { default: 'app' })), ...topic, since: Type.Optional(Since) },
  { additionalProperties: false },
)
export type EventsQuery = Static<typeof EventsQuery>

/** `GET /sync` (WebSocket), `GET /sync/events` (server-sent events), `GET /sync/nodes`. */
export const syncRoutes = defineRoutes<SyncRoutesOptions>(
  'sync',
  async (fastify, options) => {
    useSchemas(fastify, Problem, SyncNode, SyncNodes)
    useStrictValidation(fastify)
    useProblems(fastify)
    const { hub } = fastify.sync
    const allowedOrigins = [...(options.allowedOrigins ?? [])]

    const admit = async (request: FastifyRequest) => {
      if (!isAllowedOrigin(request.headers.origin, request.host, allowedOrigins)) {
        hub.refuse()
        throw new ForeignOriginError()
      }
      hub.admit()
    }
    const mayRead = async (
      request: FastifyRequest<{ Querystring: { space?: string; key?: string; prefix?: string } }>,
    ) => {
      const { space, key, prefix } = request.query
      const part = key ?? prefix
      await demand(options.authorize, request, 'sync:read', {
        ...(space === undefined ? {} : { space }),
        ...(part === undefined ? {} : { key: part }),
      })
    }

    fastify.route({
      method: 'GET',
      url: '/sync',
      schema: { hide: true, querystring: Query },
      onRequest: admit,
      preValidation: mayRead,
      handler: async () => {
        throw new UpgradeRequiredError()
      },
      wsHandler: (socket, request) =>
        openWebSocket(hub, socket, request as FastifyRequest<{ Querystring: SyncQuery }>, options.authorize),
    })

    fastify.get(
      '/sync/events',
      {
        schema: {
          operationId: 'streamState',
          tags: ['sync'],
          summary: 'Follow state as server-sent events',
          description:
            'The messages of the WebSocket, one a `data` line, read only. The event id is the position; a browser sends it as `Last-Event-ID` when it reconnects, and the stream continues from there.',
          querystring: EventsQuery,
          headers: Type.Object({ 'last-event-id': Type.Optional(Since) }),
          response: {
            200: {
              description: 'A stream that goes on until one side ends it.',
              content: { 'text/event-stream': { schema: Type.String() } },
            },
            ...problems(400, 401, 403, 429),
          },
        },
        onRequest: admit,
        preValidation: mayRead,
      },
      (request, reply) => openEventStream(hub, request, reply, options.authorize),
    )

    fastify.get(
      '/sync/nodes',
      {
        schema: {
          operationId: 'listSyncNodes',
          tags: ['sync'],
          summary: 'List the live connections of this instance',
          response: { 200: reference(SyncNodes), ...problems(401, 403) },
        },
        preValidation: (request) => demand(options.authorize, request, 'sync:administer'),
      },
      async () => ({ nodes: fastify.sync.nodes() }),
    )
  },
  { decorators: { fastify: ['sync'] } },
)

export default syncRoutes
