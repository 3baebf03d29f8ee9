import { type Static, Type } from '@sinclair/typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Problem } from '../../openapi/schemas/problem.ts'
import { annotated, problems, reference } from '../../openapi/schemas/responses.ts'
import {
  Commit,
  type Json,
  Op,
  SpaceName,
  StateChanges,
  StateEntry,
  StateIncrement,
  StateInfo,
  StateKey,
  StateKeys,
  StateMerge,
  StateRestore,
  StateSnapshot,
  StateSpaces,
  StateWrite,
} from '../../openapi/schemas/state.ts'
import { asks } from '../../openapi/security.ts'
import { useProblems } from '../../plugins/problems/index.ts'
import { AUTHORIZE_RULES, type AuthorizeOption, demand, textOr } from '../../plugins/security/authorize.ts'
import { clientOf, tokenHandle } from '../../plugins/security/client.ts'
import type { EmptySpace, Entry, Space } from '../../plugins/state/index.ts'
import { Snapshots } from '../../plugins/state/replica/snapshots.ts'
import { accountOf, ClientLimits } from '../../plugins/support/client-limits.ts'
import type { Clock } from '../../plugins/support/clock.ts'
import { defineRoutes } from '../../plugins/support/define-routes.ts'
import { InvalidStateOpError, NotFoundError } from '../../plugins/support/errors.ts'
import { isFresh } from '../../plugins/support/http.ts'
import { clock, type Rules, readOptions } from '../../plugins/support/options.ts'
import { useAnyFieldName, useSchemas, useStrictValidation } from '../../plugins/support/schemas.ts'
import { answerChanges, changesSchema } from './changes.ts'
import { conditional, entityTag } from './conditions.ts'
import { LongPolls } from './long-polls.ts'
import { REFUSED_WRITES } from './refused-writes.ts'
import { answerSnapshot } from './snapshot.ts'

export interface StateRoutesOptions extends AuthorizeOption {
  /** For tests. */
  clock?: Clock
}

/** What each option must be, and what holds without it. */
export const STATE_ROUTE_RULES = { ...AUTHORIZE_RULES, clock } satisfies Rules<StateRoutesOptions>

const SpaceQuery = Type.Object(
  { space: Type.Optional({ ...SpaceName, default: 'app', description: 'Which space. Default `app`.' }) },
  { additionalProperties: false },
)
const KeyParams = Type.Object({ key: StateKey })
const Conditions = Type.Object({
  'if-match': Type.Optional(
    Type.String({ maxLength: 1_024, description: 'Entity tags of revisions, or `*` for a key that must be there.' }),
  ),
  'if-none-match': Type.Optional(
    Type.String({
      maxLength: 1_024,
      description: 'On writes `*`: the key must not be there. On reads: 304 for these.',
    }),
  ),
})
const entryResponse = {
  description: 'What the key holds.',
  headers: {
    etag: {
      type: 'string',
      description: 'The epoch in which the key was set and its revision, `"<epoch>:<revision>"`.',
    },
  },
  ...reference(StateEntry),
}
/** Why it is unknown whether a write was made. */
const unmade = [
  503,
  'STATEFUL_STATE_TIMEOUT',
  'STATEFUL_STATE_OUTCOME_UNKNOWN',
  'STATEFUL_STATE_OVERLOADED',
  'STATEFUL_STATE_TOO_MANY_SPACES',
] as const
const writes = [400, 401, 403, 413, 415, 429, 507, ...REFUSED_WRITES, ...unmade] as const
const deletions = [
  400,
  401,
  403,
  404,
  412,
  413,
  415,
  429,
  507,
  'STATEFUL_STATE_INVALID_KEY',
  'STATEFUL_STATE_INVALID_OPERATION',
  'STATEFUL_STATE_REFUSED',
  ...unmade,
] as const
const noContent = Type.Null({ description: 'Done.' })

/** What is read of `app.sessions`, which need not be there. */
interface SessionEvents {
  on(event: 'revoked' | 'expired', listener: (event: { handle: string }) => void): () => void
  onMissed(listener: () => void): () => void
}

/** What is read of `app.accessTokens`, which need not be there. */
interface TokenEvents {
  onRevoked(listener: (event: { id: string }) => void): () => void
  onMissed(listener: () => void): () => void
}

type WithSpace = { Querystring: Static<typeof SpaceQuery> }

function spaceOf({ query }: FastifyRequest): string {
  return textOr((query as { space?: unknown }).space, 'app')
}

function infoOf({ name, epoch, revision, size, bytes }: Space | EmptySpace): StateInfo {
  return { space: name, epoch, revision, size, bytes }
}

/** State over HTTP. Which action each route asks about is in docs/access.md. */
export const stateRoutes = defineRoutes<StateRoutesOptions>(
  'state',
  async (fastify, options) => {
    const { authorize, clock } = readOptions(STATE_ROUTE_RULES, options, 'stateRoutes')
    useSchemas(
      fastify,
      Problem,
      Op,
      Commit,
      StateSnapshot,
      StateSpaces,
      StateEntry,
      StateInfo,
      StateKeys,
      StateWrite,
      StateMerge,
      StateIncrement,
      StateRestore,
      StateChanges,
    )
    useStrictValidation(fastify)
    useAnyFieldName(fastify)
    useProblems(fastify)

    // Each before validation: who may not ask is not told what is wrong with the question.
    const ofSpace = (action: 'state:describe' | 'state:snapshot' | 'state:history' | 'state:restore') => ({
      preValidation: (request: FastifyRequest) => demand(authorize, request, action, { space: spaceOf(request) }),
    })
    const ofKey = (action: 'state:read' | 'state:write') => ({
      preValidation: (request: FastifyRequest) => {
        const { key } = request.params as { key: string }
        return demand(authorize, request, action, { space: spaceOf(request), key })
      },
    })
    const ofPrefix = (action: 'state:list') => ({
      preValidation: (request: FastifyRequest) => {
        const { prefix } = request.query as { prefix?: unknown }
        return demand(authorize, request, action, { space: spaceOf(request), prefix: textOr(prefix, '') })
      },
    })
    const limits = fastify.state.clientLimits
    const snapshots = new Snapshots(limits.downloadBytes)
    const downloads = new ClientLimits('snapshots and histories under way', {
      total: limits.downloads,
      perUser: limits.downloadsPerUser,
      perSession: limits.downloadsPerSession,
    })
    const write = ofKey('state:write')

    /** What nobody has written to is empty. */
    function reading<Result>(
      request: FastifyRequest<WithSpace>,
      run: (space: Space | EmptySpace) => Result | Promise<Result>,
    ): Promise<Result> {
      return fastify.state.readAs(clientOf(request), request.query.space ?? 'app', run)
    }

    async function writing<Result>(
      request: FastifyRequest<WithSpace>,
      run: (space: Space) => Promise<Result>,
    ): Promise<Result> {
      const { space, release } = fastify.state.borrow(request.query.space ?? 'app', clientOf(request))
      try {
        await space.ready
        return await run(space)
      } finally {
        release()
      }
    }

    function send(space: Space | EmptySpace, key: string, found: Entry | undefined, reply: FastifyReply): StateEntry {
      if (!found) throw new NotFoundError(`key '${key}' in space '${space.name}'`)
      reply.header('etag', entityTag(space, found.revision))
      const { value, revision, expiresAt } = found
      return { key, value, revision, epoch: space.epoch, ...(expiresAt === undefined ? {} : { expiresAt }) }
    }

    fastify.get(
      '/state',
      {
        ...ofSpace('state:describe'),
        schema: {
          operationId: 'getState',
          tags: ['state'],
          security: asks('state:describe'),
          summary: 'Where a space stands',
          description:
            'The position to follow it from, and how much it holds. A space that nobody has written to is empty.',
          querystring: SpaceQuery,
          response: { 200: reference(StateInfo), ...problems(400, 401, 403, 429) },
        },
      },
      (request) => reading(request, infoOf),
    )

    fastify.get(
      '/state/spaces',
      {
        schema: {
          operationId: 'listStateSpaces',
          tags: ['state'],
          security: asks('spaces:list'),
          summary: 'The open spaces',
          description: 'Those of the instance that answers: opened by the application, or in use by a client.',
          response: { 200: reference(StateSpaces), ...problems(401, 403, 429) },
        },
        preValidation: (request) => demand(authorize, request, 'spaces:list', { scope: 'instance' }),
      },
      async () => ({ spaces: fastify.state.openSpaces }),
    )

    fastify.get(
      '/state/keys',
      {
        ...ofPrefix('state:list'),
        schema: {
          operationId: 'listStateKeys',
          tags: ['state'],
          security: asks('state:list'),
          summary: 'The keys of a space, sorted',
          description:
            'In pages: pass the `cursor` of a page for the next one. What changes meanwhile may or may not be in it.',
          querystring: Type.Object(
            {
              ...SpaceQuery.properties,
              prefix: Type.Optional(Type.String({ maxLength: 512, description: 'Only keys that start so.' })),
              cursor: Type.Optional(
                annotated(StateKey, { description: 'Only keys after this one, that of the last page.' }),
              ),
              limit: Type.Optional(
                Type.Integer({ minimum: 1, maximum: 1_000, default: 100, description: 'Keys of a page. Default 100.' }),
              ),
            },
            { additionalProperties: false },
          ),
          response: { 200: reference(StateKeys), ...problems(400, 401, 403, 429) },
        },
      },
      async (request) => {
        const { prefix = '', cursor, limit = 100 } = request.query
        const keys = (await reading(request, (space) => space.keys(prefix))).sort()
        const rest = cursor === undefined ? keys : keys.filter((key) => key > cursor)
        const page = rest.slice(0, limit)
        const last = page.at(-1)
        return { keys: page, ...(rest.length > limit && last !== undefined ? { cursor: last } : {}) }
      },
    )

    fastify.get(
      '/state/keys/:key',
      {
        ...ofKey('state:read'),
        schema: {
          operationId: 'getStateKey',
          tags: ['state'],
          security: asks('state:read'),
          summary: 'What a key holds',
          description:
            'With its revision as the entity tag, for a write that is to be made only if nobody else made one.',
          params: KeyParams,
          querystring: SpaceQuery,
          headers: Conditions,
          response: {
            200: entryResponse,
            304: Type.Null({ description: 'It is still at the revision that `If-None-Match` names.' }),
            ...problems(400, 401, 403, 404, 429),
          },
        },
      },
      async (request, reply) => {
        const { key } = request.params
        const found = await reading(request, (space) => send(space, key, space.entry(key), reply))
        if (isFresh(request.headers, { etag: reply.getHeader('etag') as string })) return reply.code(304).send(null)
        return found
      },
    )

    fastify.put(
      '/state/keys/:key',
      {
        ...write,
        schema: {
          operationId: 'setStateKey',
          tags: ['state'],
          security: asks('state:write'),
          summary: 'Set a key',
          description:
            'With `If-Match` only if it is at that revision; with `If-None-Match: *` only if it is not there.',
          params: KeyParams,
          querystring: SpaceQuery,
          headers: Conditions,
          body: reference(StateWrite),
          response: { 200: entryResponse, ...problems(...writes, 412) },
        },
      },
      async (request, reply) => {
        const { key } = request.params
        const { value, ttl } = request.body
        const op: Op = { op: 'set', key, value: value as Json, ...(ttl === undefined ? {} : { ttl }) }
        return writing(request, async (space) =>
          send(space, key, await conditional(space, op, request.headers, accountOf(clientOf(request))), reply),
        )
      },
    )

    fastify.patch(
      '/state/keys/:key',
      {
        ...write,
        schema: {
          operationId: 'mergeStateKey',
          tags: ['state'],
          security: asks('state:write'),
          summary: 'Merge fields into the object that a key holds',
          description:
            'Its other fields stay; an absent key becomes an object of these. What is no object is not replaced: 422.',
          params: KeyParams,
          querystring: SpaceQuery,
          headers: Conditions,
          body: reference(StateMerge),
          response: { 200: entryResponse, ...problems(...writes, 412) },
        },
      },
      async (request, reply) => {
        const op: Op = { op: 'merge', key: request.params.key, value: request.body.value }
        return writing(request, async (space) =>
          send(space, op.key, await conditional(space, op, request.headers, accountOf(clientOf(request))), reply),
        )
      },
    )

    fastify.delete(
      '/state/keys/:key',
      {
        ...write,
        schema: {
          operationId: 'deleteStateKey',
          tags: ['state'],
          security: asks('state:write'),
          summary: 'Delete a key',
          description:
            'With `If-Match` only if it is at that revision; a key that is not there is then no error of its own.',
          params: KeyParams,
          querystring: SpaceQuery,
          headers: Conditions,
          response: { 204: noContent, ...problems(...deletions) },
        },
      },
      async (request, reply) => {
        const { key } = request.params
        // Which is no part of the contract, but goes along with many clients' deletions.
        if (request.body !== undefined) throw new InvalidStateOpError('a deletion takes no body')
        const { 'if-match': match, 'if-none-match': noneMatch } = request.headers
        await writing(request, async (space) => {
          if (match !== undefined || noneMatch !== undefined) {
            await conditional(space, { op: 'delete', key }, request.headers, accountOf(clientOf(request)))
          } else if (!(await space.delete(key))) {
            throw new NotFoundError(`key '${key}' in space '${space.name}'`)
          }
        })
        return reply.code(204).send(null)
      },
    )

    fastify.post(
      '/state/keys/:key/increment',
      {
        ...write,
        schema: {
          operationId: 'incrementStateKey',
          tags: ['state'],
          security: asks('state:write'),
          summary: 'Add to the number that a key holds',
          description: 'An absent key counts from 0. Concurrent increments all count.',
          params: KeyParams,
          querystring: SpaceQuery,
          headers: Conditions,
          body: reference(StateIncrement),
          response: { 200: entryResponse, ...problems(...writes, 412) },
        },
      },
      async (request, reply) => {
        const { by = 1 } = request.body
        const { key } = request.params
        const op: Op = { op: 'increment', key, value: by }
        return writing(request, async (space) =>
          send(space, key, await conditional(space, op, request.headers, accountOf(clientOf(request))), reply),
        )
      },
    )

    fastify.get(
      '/state/snapshot',
      {
        ...ofSpace('state:snapshot'),
        schema: {
          operationId: 'getStateSnapshot',
          tags: ['state'],
          security: asks('state:snapshot'),
          summary: 'Everything that a space holds, at one revision',
          description:
            'The answer is made while it is sent: writes go on meanwhile, and are not in it. Its position is where to follow the space from.',
          querystring: SpaceQuery,
          response: { 200: reference(StateSnapshot), ...problems(400, 401, 403, 429) },
        },
      },
      async (request, reply) =>
        answerSnapshot(fastify.state, request.query.space ?? 'app', request, reply, { snapshots, downloads, clock }),
    )

    fastify.post(
      '/state/restore',
      {
        // Before the body is read: no other caller may send one of this size.
        onRequest: ofSpace('state:restore').preValidation,
        // What a space may hold, as the JSON of a snapshot.
        bodyLimit: 2 * fastify.state.limits.bytes,
        schema: {
          operationId: 'restoreState',
          tags: ['state'],
          security: asks('state:restore'),
          summary: 'Replace everything that a space holds',
          description: 'Begins a new epoch: every follower gets the space whole. Takes what `getStateSnapshot` gives.',
          querystring: SpaceQuery,
          body: reference(StateRestore),
          response: { 200: reference(StateInfo), ...problems(...writes) },
        },
      },
      (request) =>
        writing(request, async (space) => {
          await space.restore(request.body)
          return infoOf(space)
        }),
    )

    const polls = new LongPolls(clock, {
      total: limits.polls,
      perUser: limits.pollsPerUser,
      perSession: limits.pollsPerSession,
    })
    fastify.addHook('preClose', async () => polls.end())
    if (fastify.hasDecorator('sessions')) {
      const sessions = fastify.getDecorator<SessionEvents>('sessions')
      const end = ({ handle }: { handle: string }) => polls.endOf(handle)
      const ending = [
        sessions.on('revoked', end),
        sessions.on('expired', end),
        sessions.onMissed(() => void polls.verifyAll()),
      ]
      fastify.addHook('onClose', async () => {
        for (const stop of ending) stop()
      })
    }
    if (fastify.hasDecorator('accessTokens')) {
      const tokens = fastify.getDecorator<TokenEvents>('accessTokens')
      const ending = [
        tokens.onRevoked(({ id }) => polls.endOf(tokenHandle(id))),
        tokens.onMissed(() => void polls.verifyAll()),
      ]
      fastify.addHook('onClose', async () => {
        for (const stop of ending) stop()
      })
    }
    fastify.get('/state/changes', { ...ofSpace('state:history'), schema: changesSchema }, async (request, reply) =>
      answerChanges(fastify.state, request, reply, { polls, downloads, clock }),
    )
  },
  { decorators: { fastify: ['state'] } },
)
