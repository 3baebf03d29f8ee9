import { type TObject, type TProperties, Type } from '@sinclair/typebox'
import type { FastifyRequest } from 'fastify'
import { serverExamples } from '../../openapi/messages/examples.ts'
import { Problem } from '../../openapi/schemas/problem.ts'
import { problems, reference } from '../../openapi/schemas/responses.ts'
import { Op } from '../../openapi/schemas/state.ts'
import { SyncNode, SyncNodes, SyncTraced, SyncWrite, SyncWritten } from '../../openapi/schemas/sync.ts'
import { asks } from '../../openapi/security.ts'
import { useProblems } from '../../plugins/problems/index.ts'
import {
  AUTHORIZE_RULES,
  type AuthorizeOption,
  demand,
  keysOf,
  textOr,
  verifiedToken,
} from '../../plugins/security/authorize.ts'
import { clientOf } from '../../plugins/security/client.ts'
import { userOf } from '../../plugins/session/user.ts'
import { defineRoutes } from '../../plugins/support/define-routes.ts'
import {
  ForeignOriginError,
  NotFoundError,
  UnauthenticatedError,
  UpgradeRequiredError,
} from '../../plugins/support/errors.ts'
import { origins, type Rules, readOptions, texts } from '../../plugins/support/options.ts'
import { useSchemas, useStrictValidation } from '../../plugins/support/schemas.ts'
import type {} from '../../plugins/sync/index.ts'
import { Frame } from '../../plugins/sync/transports/frame.ts'
import { isAllowedOrigin } from '../../plugins/sync/transports/origin.ts'
import { REFUSED_WRITES } from '../state/refused-writes.ts'
import { openEventStream } from './event-stream.ts'
import {
  AccessToken,
  EventsQuery,
  NodesQuery,
  OwnParameter,
  Query,
  Since,
  type SyncQuery,
  TraceQuery,
} from './query.ts'
import { adoptToken, withoutToken } from './token.ts'
import { openTrace } from './trace.ts'
import { openWebSocket, turnAway } from './web-socket.ts'

export interface SyncRoutesOptions extends AuthorizeOption {
  /** Origins of pages that may connect beside those of the same host, such as `https://app.example`. Default none. */
  allowedOrigins?: string[]
  /** Parameters of the URL that a connection may have beside ours, for your `authorize` to read. Default none. */
  parameters?: string[]
}

/** What each option must be, and what holds without it. */
export const SYNC_ROUTE_RULES = {
  ...AUTHORIZE_RULES,
  allowedOrigins: origins,
  parameters: texts(),
} satisfies Rules<SyncRoutesOptions>

/** What an event stream holds. OpenAPI 3.1 describes an answer as a whole; its items are those of the WebSocket. */
const EventStream = Type.String({
  description: 'Server-sent events, the `data` of each a message that the AsyncAPI document describes.',
  examples: [eventsOf(serverExamples.fullSync[0].payload, serverExamples.stateChange[0].payload)],
})

const TraceStream = Type.String({
  description:
    'Server-sent events. The `data` of each is JSON: `type` is `traced`, `at` when (milliseconds since 1970), `instance` and `node` where, `direction` is `sent` or `received`, `bytes` the size, `message` what is left of the message, `missed` how many before it are not shown. The last one is `{"type":"traceEnd","reason":"time"}`.',
  examples: [`data: ${JSON.stringify(SyncTraced['examples'][0])}\n\n`],
})

const NodeParams = Type.Object({
  id: Type.String({
    minLength: 1,
    maxLength: 64,
    description: 'Names the connection, as the list tells it.',
    examples: ['8b0c5a52-6a3c-4e0d-9b53-5f7f1d1a7a10'],
  }),
})

function eventsOf(...messages: { epoch: string; revision?: number; changes?: { revision: number }[] }[]): string {
  return messages
    .map((message) => {
      const revision = message.revision ?? message.changes?.at(-1)?.revision
      return new Frame(JSON.stringify(message), `${message.epoch}.${revision}`).event.join('')
    })
    .join('')
}

/** Before validation the body may be anything: the first key that it names is asked for, to turn others away early. */
function firstWritten(body: unknown) {
  const { space, ops } = (body ?? {}) as { space?: unknown; ops?: unknown }
  const [op] = Array.isArray(ops) ? (ops as unknown[]) : []
  return keysOf(textOr(space, 'app'), { key: (op as { key?: unknown } | null | undefined)?.key })
}

/** `GET /sync` (WebSocket), `GET /sync/events` (server-sent events), `POST /sync/writes`, `GET|DELETE /sync/nodes`. */
export const syncRoutes = defineRoutes<SyncRoutesOptions>(
  'sync',
  async (fastify, options) => {
    const { authorize, allowedOrigins, parameters } = readOptions(SYNC_ROUTE_RULES, options, 'syncRoutes')
    const own = { access_token: AccessToken, ...Object.fromEntries(parameters.map((name) => [name, OwnParameter])) }
    const withOwn = <T extends TProperties>(query: TObject<T>): TObject<T> => ({
      ...query,
      properties: { ...own, ...query.properties },
    })
    useSchemas(fastify, Problem, Op, SyncNode, SyncNodes, SyncWrite, SyncWritten)
    useStrictValidation(fastify)
    useProblems(fastify)
    const { hub } = fastify.sync

    const checkOrigin = async (request: FastifyRequest) => {
      adoptToken(request)
      const { origin } = request.headers
      if (isAllowedOrigin(origin, request.host, allowedOrigins)) return
      hub.refuse()
      throw new ForeignOriginError(`${origin}`.slice(0, 128), `${request.headers.host}`.slice(0, 128))
    }
    const admit = async (request: FastifyRequest) => {
      hub.admit(clientOf(request))
    }
    const refused = new WeakMap<FastifyRequest, unknown>()
    /** A page learns nothing of an upgrade that fails: it is told on the socket, which ends then. */
    const tell = (check: (request: FastifyRequest) => Promise<void>) => async (request: FastifyRequest) => {
      if (!request.ws || request.headers.origin === undefined) return check(request)
      if (refused.has(request)) return
      await check(request).catch((error: unknown) => {
        // Under too many handshakes a refusal must cost less than an acceptance.
        if (!hub.admission.mayExplain()) throw error
        refused.set(request, error)
      })
    }
    const mayFollow = async (request: FastifyRequest) => {
      const { space, ...topic } = request.query as { space?: unknown; key?: unknown; prefix?: unknown }
      await demand(authorize, request, 'sync:read', keysOf(textOr(space, 'app'), topic))
    }
    const mayConnect = async (request: FastifyRequest) => {
      if ((request.query as { space?: unknown }).space !== undefined) return mayFollow(request)
      // It wants nothing yet, and a rule that knows spaces could not answer. Each message will be asked about.
      const token = await verifiedToken(request)
      if (!authorize && !token && !userOf(request)) throw new UnauthenticatedError()
    }

    fastify.route({
      method: 'GET',
      url: '/sync',
      logSerializers: withoutToken,
      // Its answer is no body but a connection, which OpenAPI has no word for: it is in the AsyncAPI document.
      schema: { hide: true, operationId: 'openSync', querystring: withOwn(Query) },
      attachValidation: true,
      onRequest: checkOrigin,
      preValidation: tell(mayConnect),
      preHandler: [
        tell(async ({ validationError }) => {
          if (validationError) throw validationError
        }),
        tell(admit),
      ],
      handler: async () => {
        throw new UpgradeRequiredError()
      },
      wsHandler: (socket, request) => {
        if (refused.has(request)) turnAway(hub, socket, request, refused.get(request))
        else openWebSocket(hub, socket, request as FastifyRequest<{ Querystring: SyncQuery }>, authorize)
      },
    })

    fastify.get(
      '/sync/events',
      {
        logSerializers: withoutToken,
        schema: {
          operationId: 'streamState',
          tags: ['sync'],
          security: asks('sync:read'),
          summary: 'Follow state as server-sent events',
          description:
            'The messages of the WebSocket, one a `data` line, read only. The event id is the position; a browser sends it as `Last-Event-ID` when it reconnects, and the stream continues from there.',
          querystring: withOwn(EventsQuery),
          headers: Type.Object({
            'last-event-id': Type.Optional(
              // A browser sends an empty one after an event without an id.
              Type.Union([Since, Type.Literal('')], { description: 'The position that a browser got last.' }),
            ),
          }),
          response: {
            200: {
              description: 'A stream that goes on until one side ends it.',
              content: { 'text/event-stream': { schema: EventStream } },
            },
            ...problems(400, 401, 403, 'STATEFUL_FOREIGN_ORIGIN', 'STATEFUL_TOO_MANY_CONNECTIONS', 429),
          },
        },
        onRequest: checkOrigin,
        preValidation: mayFollow,
        preHandler: admit,
      },
      (request, reply) => openEventStream(hub, request, reply, authorize),
    )

    fastify.post(
      '/sync/writes',
      {
        schema: {
          operationId: 'writeState',
          tags: ['sync'],
          security: asks('sync:write'),
          summary: 'Write as a follower of an event stream does',
          description:
            'The write of the WebSocket for those who cannot send on their stream. Sent again with the same client id and `seq`, it is not applied again.',
          body: reference(SyncWrite),
          response: {
            200: reference(SyncWritten),
            ...problems(400, 401, 403, 'STATEFUL_FOREIGN_ORIGIN', 413, 415, 429, 507, ...REFUSED_WRITES),
          },
        },
        onRequest: checkOrigin,
        preValidation: (request) => demand(authorize, request, 'sync:write', firstWritten(request.body)),
        preHandler: async (request) => {
          const { space = 'app', ops } = request.body
          for (const key of new Set(ops.map((op) => op.key))) {
            await demand(authorize, request, 'sync:write', { space, key })
          }
        },
      },
      async (request) => {
        const { space = 'app', ops, clientId, seq } = request.body
        const {
          epoch,
          prev,
          revision,
          ops: committed,
        } = await hub.write(space, ops, { clientId, seq }, clientOf(request))
        return { seq, space, epoch, prev, revision, ops: committed }
      },
    )

    fastify.get(
      '/sync/nodes',
      {
        schema: {
          operationId: 'listSyncNodes',
          tags: ['sync'],
          security: asks('nodes:list'),
          summary: 'List the live connections',
          description:
            'WebSockets and event streams, of this instance or of all, with whose they are and how far they are behind.',
          querystring: NodesQuery,
          response: { 200: reference(SyncNodes), ...problems(400, 401, 403, 429, 503) },
        },
        preValidation: (request) => {
          const { scope } = request.query as { scope?: unknown }
          return demand(authorize, request, 'nodes:list', {
            scope: scope === 'cluster' ? 'cluster' : 'instance',
          })
        },
      },
      async ({ query: { scope } }) =>
        scope === 'cluster' ? fastify.sync.clusterNodes() : { nodes: fastify.sync.nodes() },
    )

    fastify.get(
      '/sync/trace',
      {
        schema: {
          operationId: 'traceSync',
          tags: ['sync'],
          security: asks('sync:trace'),
          summary: 'See live which messages a connection or a space exchanges',
          description:
            'Server-sent events, of whichever instance. Values are replaced by their type and size. At most 20 messages a second from each instance; `missed` counts the others. It ends by itself after five minutes.',
          querystring: TraceQuery,
          response: {
            200: {
              description: 'A stream that ends after five minutes.',
              content: { 'text/event-stream': { schema: TraceStream } },
            },
            ...problems(400, 401, 403, 404, 'STATEFUL_TOO_MANY_AT_ONCE', 'STATEFUL_TOO_MANY_CONNECTIONS', 429, 503),
          },
        },
        preValidation: (request) => {
          const { node, space } = request.query as { node?: unknown; space?: unknown }
          return demand(authorize, request, 'sync:trace', {
            ...(typeof node === 'string' ? { node } : { space: textOr(space, 'app') }),
          })
        },
        preHandler: admit,
      },
      (request, reply) => openTrace(request, reply, authorize),
    )

    fastify.delete(
      '/sync/nodes/:id',
      {
        schema: {
          operationId: 'disconnectSyncNode',
          tags: ['sync'],
          security: asks('nodes:disconnect'),
          summary: 'End a live connection',
          description:
            'Whichever instance has it. The client is told to reconnect (close code 1001): to keep somebody out, end the session.',
          params: NodeParams,
          response: {
            204: Type.Null({ description: 'It is ended.' }),
            ...problems(400, 401, 403, 404, 413, 415, 429, 503),
          },
        },
        preValidation: (request) =>
          demand(authorize, request, 'nodes:disconnect', { node: (request.params as { id: string }).id }),
      },
      async (request, reply) => {
        if (!(await fastify.sync.clusterDisconnect(request.params.id, 'disconnected by an administrator'))) {
          throw new NotFoundError('node with this id')
        }
        return reply.code(204).send(null)
      },
    )
  },
  { decorators: { fastify: ['sync'] } },
)
