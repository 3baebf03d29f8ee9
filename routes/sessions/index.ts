import { Type } from '@sinclair/typebox'
import type { FastifyRequest } from 'fastify'
import { Problem } from '../../openapi/schemas/problem.ts'
import { problems, reference } from '../../openapi/schemas/responses.ts'
import { RevokedSessions, SessionInfo, SessionList } from '../../openapi/schemas/session.ts'
import { asks } from '../../openapi/security.ts'
import { useProblems } from '../../plugins/problems/index.ts'
import { AUTHORIZE_RULES, type AuthorizeOption, demand, verifiedToken } from '../../plugins/security/authorize.ts'
import type { SessionInfo as Listed } from '../../plugins/session/index.ts'
import { userOf } from '../../plugins/session/user.ts'
import { defineRoutes } from '../../plugins/support/define-routes.ts'
import { NotFoundError, UnauthenticatedError } from '../../plugins/support/errors.ts'
import { readOptions } from '../../plugins/support/options.ts'
import { useSchemas, useStrictValidation } from '../../plugins/support/schemas.ts'

const Query = Type.Object(
  {
    userId: Type.Optional(
      Type.String({ minLength: 1, maxLength: 128, description: "Administrators only: another user's sessions." }),
    ),
  },
  { additionalProperties: false },
)
const Params = Type.Object({
  handle: Type.String({
    minLength: 1,
    maxLength: 64,
    description: 'Names the session, as the list tells it.',
    examples: ['oNKhkSyiqZ1DZbjY9iUZRM'],
  }),
})

/** A user's sessions: where they are logged in, and how to end that. */
export const sessionRoutes = defineRoutes<AuthorizeOption>(
  'sessions',
  async (fastify, options) => {
    const { authorize } = readOptions(AUTHORIZE_RULES, options, 'sessionRoutes')
    useSchemas(fastify, Problem, SessionInfo, SessionList, RevokedSessions)
    useStrictValidation(fastify)
    useProblems(fastify)

    /** Whose sessions the request is about; others' are asked for. A machine has none of its own. */
    async function subject(
      request: FastifyRequest,
      action: 'sessions:list' | 'sessions:revoke',
    ): Promise<{ userId: string; own: boolean }> {
      const token = await verifiedToken(request)
      const user = token ? undefined : userOf(request)
      const { userId } = request.query as { userId?: unknown }
      if (typeof userId !== 'string' || userId === user?.id) {
        if (!user) throw new UnauthenticatedError()
        return { userId: user.id, own: true }
      }
      await demand(authorize, request, action, { userId })
      return { userId, own: false }
    }
    const may = (action: 'sessions:list' | 'sessions:revoke') => ({
      preValidation: async (request: FastifyRequest) => {
        await subject(request, action)
      },
    })

    fastify.get(
      '/sessions',
      {
        schema: {
          operationId: 'listSessions',
          tags: ['sessions'],
          security: asks('sessions:list'),
          summary: "The user's sessions, the newest first",
          description:
            'Where the user is logged in, with the session of this request among them. With `userId`, an administrator sees those of that user.',
          querystring: Query,
          response: { 200: reference(SessionList), ...problems(400, 401, 403, 429) },
        },
        ...may('sessions:list'),
      },
      async (request) => {
        const { userId } = await subject(request, 'sessions:list')
        const current = fastify.sessions.handleOf(request) ?? ''
        const sessions = await fastify.sessions.list(userId)
        return {
          current,
          sessions: sessions.map((session) => listed(session, current)),
          loginCount: request.session.loginCount,
        }
      },
    )

    fastify.delete(
      '/sessions',
      {
        schema: {
          operationId: 'endOtherSessions',
          tags: ['sessions'],
          security: asks('sessions:revoke'),
          summary: "End all the user's sessions but this one",
          description: "With `userId`, an administrator ends all of that user's.",
          querystring: Query,
          response: { 200: reference(RevokedSessions), ...problems(400, 401, 403, 413, 415, 429, 507) },
        },
        ...may('sessions:revoke'),
      },
      async (request) => {
        const { userId, own } = await subject(request, 'sessions:revoke')
        const revoked = own
          ? await fastify.sessions.revokeOthers(request)
          : await fastify.sessions.revokeUser(userId, { reason: 'administrator' })
        return { revoked }
      },
    )

    fastify.delete(
      '/sessions/:handle',
      {
        schema: {
          operationId: 'endSession',
          tags: ['sessions'],
          security: asks('sessions:revoke'),
          summary: 'End one session',
          description:
            'On every instance, and with it what it has open. The session of this request ends like a logout. With `userId`, an administrator ends one of that user.',
          params: Params,
          querystring: Query,
          response: {
            204: Type.Null({ description: 'It is ended.' }),
            ...problems(400, 401, 403, 404, 413, 415, 429, 507),
          },
        },
        ...may('sessions:revoke'),
      },
      async (request, reply) => {
        const { userId } = await subject(request, 'sessions:revoke')
        const { handle } = request.params
        // The current session ends like a logout, so that its cookie goes, too.
        if (handle === fastify.sessions.handleOf(request)) {
          await fastify.sessionActions.logout(request)
        } else {
          const session = await fastify.sessions.get(handle)
          if (session?.userId !== userId || !(await fastify.sessions.revoke(handle))) {
            throw new NotFoundError('session of the user with that handle')
          }
        }
        return reply.code(204).send(null)
      },
    )
  },
  { decorators: { fastify: ['sessions', 'sessionActions'] } },
)

function listed({ handle, createdAt, lastActivity, ...device }: Listed, current: string): SessionInfo {
  return {
    handle,
    current: handle === current,
    createdAt: createdAt.toISOString(),
    lastActivity: lastActivity.toISOString(),
    ...device,
  }
}
