import { Type } from '@sinclair/typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { UserChange } from '../../openapi/schemas/account.ts'
import { Problem } from '../../openapi/schemas/problem.ts'
import { problems, reference } from '../../openapi/schemas/responses.ts'
import { User } from '../../openapi/schemas/user.ts'
import { asks } from '../../openapi/security.ts'
import { nameKey } from '../../plugins/accounts/credentials.ts'
import type {} from '../../plugins/accounts/index.ts'
import type {} from '../../plugins/cache/index.ts'
import { useProblems } from '../../plugins/problems/index.ts'
import { AUTHORIZE_RULES, type AuthorizeOption, demand } from '../../plugins/security/authorize.ts'
import type {} from '../../plugins/session/index.ts'
import { userOf } from '../../plugins/session/user.ts'
import { defineRoutes } from '../../plugins/support/define.ts'
import type { Duration } from '../../plugins/support/durations.ts'
import { IncompleteAccountError, InvalidCredentialsError, NotFoundError } from '../../plugins/support/errors.ts'
import { duration, type Rules, readOptions } from '../../plugins/support/options.ts'
import { useSchemas, useStrictValidation } from '../../plugins/support/schemas.ts'
import { tellingWhen } from '../auth/retry-after.ts'
import { cachedUsers } from './cached-users.ts'

export interface UserRoutesOptions extends AuthorizeOption {
  /** How long a user is cached. Default `'5m'`. */
  ttl?: Duration
  /** How old a login may be that changes a password, an email address, a username or a role. Default `'10m'`. */
  fresh?: Duration
}

/** What each option must be, and what holds without it. */
export const USER_ROUTE_RULES = {
  ...AUTHORIZE_RULES,
  ttl: duration('5m'),
  fresh: duration('10m', { least: 0 }),
} satisfies Rules<UserRoutesOptions>

const Params = Type.Object({ id: Type.String({ minLength: 1, maxLength: 128 }) })

/** The worked example: accounts over HTTP, read through the cache and invalidated by what changes them. */
export const userRoutes = defineRoutes<UserRoutesOptions>(
  'users',
  async (fastify, options) => {
    const { authorize, ttl, fresh } = readOptions(USER_ROUTE_RULES, options, 'userRoutes')
    const users = cachedUsers(fastify.accounts, fastify.cache, ttl)
    useSchemas(fastify, Problem, User, UserChange)
    useStrictValidation(fastify)
    useProblems(fastify)

    /**
     * That it is the user who asks, and not somebody at their open browser or with a stolen cookie.
     * @throws STATEFUL_FRESH_LOGIN_REQUIRED, STATEFUL_INVALID_CREDENTIALS, STATEFUL_TOO_MANY_ATTEMPTS
     */
    async function requireProof(request: FastifyRequest, reply: FastifyReply, password: string | undefined) {
      const userId = userOf(request)?.id
      // Whom `authorize` lets in without a session has proved it with this very request.
      if (userId === undefined) return
      if (password === undefined) return fastify.sessionActions.requireFresh(request, fresh)
      const user = await fastify.accounts.get(userId)
      // By its session a device is known as well as by its cookie: strangers cannot lock it out.
      const device = `session ${fastify.sessions.handleOf(request)}`
      const found =
        user &&
        (await tellingWhen(
          reply,
          fastify.loginThrottle.attempt({ account: nameKey(user.username), address: request.ip, device }, () =>
            fastify.accounts.verify(user.username, password),
          ),
        ))
      if (found?.id !== userId) throw new InvalidCredentialsError()
    }

    /** Of a change that was made before, whose sessions did not get to be ended, or that came in between. */
    async function hasOtherRole(id: string, role: string): Promise<boolean> {
      const listed = await fastify.sessions.list(id)
      const sessions = await Promise.all(listed.map(({ handle }) => fastify.sessions.get(handle)))
      return sessions.some((session) => (session?.data['user'] as { role?: string } | undefined)?.role !== role)
    }

    fastify.get(
      '/users/:id',
      {
        schema: {
          operationId: 'getUser',
          tags: ['users'],
          security: asks('users:read'),
          summary: 'A user, out of the cache when it is there',
          params: Params,
          response: { 200: reference(User), ...problems(400, 401, 403, 404) },
        },
        preValidation: (request) => demand(authorize, request, 'users:read', { userId: idOf(request) }),
      },
      async (request) => {
        const user = await users.get(request.params.id)
        if (!user) throw new NotFoundError('user of that id')
        return user
      },
    )

    fastify.put(
      '/users/:id',
      {
        schema: {
          operationId: 'putUser',
          tags: ['users'],
          security: asks('users:write', 'users:administer'),
          summary: 'Change a user, or create one',
          description:
            'What the body does not name stays. Users change their own displayName, email and password; administrators change everything, and create a user by naming a username and a password for an id that is free. A new password ends all other sessions of the user, a new role all of them.\n\nUsername, password, role and email are changed, and users created, only by whoever logged in a moment ago or sends their own `currentPassword`; otherwise the answer is 401 `STATEFUL_FRESH_LOGIN_REQUIRED`.',
          params: Params,
          body: reference(UserChange),
          response: {
            200: reference(User),
            201: reference(User),
            ...problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 507),
          },
        },
        preValidation: (request) => demand(authorize, request, 'users:write', { userId: idOf(request) }),
      },
      async (request, reply) => {
        const { id } = request.params
        const { currentPassword, ...body } = request.body
        const former = await fastify.accounts.get(id)
        if (!former || body.username !== undefined || body.role !== undefined) {
          await demand(authorize, request, 'users:administer', { userId: id })
        }
        const { displayName, ...sensitive } = body
        if (!former || currentPassword !== undefined || Object.keys(sensitive).length > 0) {
          await requireProof(request, reply, currentPassword)
        }
        if (!former) {
          const { username, password, role = 'user', ...rest } = body
          if (username === undefined || password === undefined) throw new IncompleteAccountError()
          return reply.code(201).send(await users.create(id, { username, password, role, ...rest }))
        }
        const user = await users.update(id, body)
        // First the account, then the sessions: a login under way looks at the account once more when it has one.
        if (body.role !== undefined && (former.role !== body.role || (await hasOtherRole(id, body.role)))) {
          // The role is in the sessions: they end rather than keep what is no longer allowed.
          await fastify.sessions.revokeUser(id, { reason: 'role changed' })
        } else if (body.password !== undefined) {
          const own = userOf(request)?.id === id ? fastify.sessions.handleOf(request) : undefined
          await fastify.sessions.revokeUser(id, {
            reason: 'password changed',
            ...(own === undefined ? {} : { except: own }),
          })
        }
        return user
      },
    )
  },
  { decorators: { fastify: ['accounts', 'loginThrottle', 'cache', 'sessions', 'sessionActions'] } },
)

/** Before validation, so its type is not known yet; the router gives it as text. */
function idOf(request: FastifyRequest): string {
  return (request.params as { id: string }).id
}
