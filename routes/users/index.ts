import { randomUUID } from 'node:crypto'
import { Type } from '@sinclair/typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { NewUser, UserChange, UserList, UsersQuery } from '../../openapi/schemas/account.ts'
import { Problem } from '../../openapi/schemas/problem.ts'
import { problems, reference } from '../../openapi/schemas/responses.ts'
import { User } from '../../openapi/schemas/user.ts'
import { asks } from '../../openapi/security.ts'
import type {} from '../../plugins/accounts/index.ts'
import type {} from '../../plugins/cache/index.ts'
import { useProblems } from '../../plugins/problems/index.ts'
import { AUTHORIZE_RULES, type AuthorizeOption, demand, textOr } from '../../plugins/security/authorize.ts'
import { presentedToken } from '../../plugins/security/client.ts'
import type {} from '../../plugins/session/index.ts'
import { userOf } from '../../plugins/session/user.ts'
import { defineRoutes } from '../../plugins/support/define-routes.ts'
import type { Duration } from '../../plugins/support/durations.ts'
import { IncompleteAccountError, NotFoundError } from '../../plugins/support/errors.ts'
import { duration, type Rules, readOptions } from '../../plugins/support/options.ts'
import { useSchemas, useStrictValidation } from '../../plugins/support/schemas.ts'
import { requiringProof } from '../auth/proof.ts'
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

const CHANGES =
  'What the body does not name stays. Users change their own displayName, email and password; administrators change everything, of other users the password without the old one. A new password ends all other sessions of the user; a new role, and `disabled`, all of them. The last administrator who can log in stays one.'
const PROOF =
  'Everything but displayName is changed, and users are created, only by a caller who logged in a moment ago or sends their own `currentPassword`; otherwise the answer is 401 `STATEFUL_FRESH_LOGIN_REQUIRED`.'

/** By `requireProof`. */
const PROOF_REFUSED = [
  'STATEFUL_FRESH_LOGIN_REQUIRED',
  'STATEFUL_INVALID_CREDENTIALS',
  'STATEFUL_TOO_MANY_ATTEMPTS',
] as const
const CHANGE_REFUSED = [
  'STATEFUL_INVALID_USERNAME',
  'STATEFUL_INVALID_PASSWORD',
  'STATEFUL_USERNAME_TAKEN',
  'STATEFUL_LAST_ADMINISTRATOR',
] as const

const Params = Type.Object({
  id: Type.String({
    minLength: 1,
    maxLength: 128,
    description: 'Of the user.',
    examples: ['0b7c9a52-6a3c-4e0d-9b53-5f7f1d1a7a10'],
  }),
})

/** The worked example: accounts over HTTP, read through the cache and invalidated by what changes them. */
export const userRoutes = defineRoutes<UserRoutesOptions>(
  'users',
  async (fastify, options) => {
    const { authorize, ttl, fresh } = readOptions(USER_ROUTE_RULES, options, 'userRoutes')
    const users = cachedUsers(fastify.accounts, fastify.cache, ttl)
    const requireProof = requiringProof(fastify, fresh)
    useSchemas(fastify, Problem, User, UserChange, NewUser, UserList)
    useStrictValidation(fastify)
    useProblems(fastify)

    /** Of a change that was made before, whose sessions did not get to be ended, or that came in between. */
    async function hasOtherRole(id: string, role: string): Promise<boolean> {
      const listed = await fastify.sessions.list(id)
      const sessions = await Promise.all(listed.map(({ handle }) => fastify.sessions.get(handle)))
      return sessions.some((session) => (session?.data['user'] as { role?: string } | undefined)?.role !== role)
    }

    const mayWrite = (request: FastifyRequest) => demand(authorize, request, 'users:write', { userId: idOf(request) })

    async function change(
      request: FastifyRequest<{ Body: UserChange }>,
      reply: FastifyReply,
      former: User,
    ): Promise<User> {
      const { id } = former
      const { currentPassword, ...patch } = request.body
      const own = presentedToken(request) ? false : userOf(request)?.id === id
      const { displayName, email, ...further } = patch
      // Their own password users change as well.
      const { password, ...administered } = further
      if (Object.keys(own ? administered : further).length > 0) {
        await demand(authorize, request, 'users:administer', { userId: id })
      }
      if (currentPassword !== undefined || email !== undefined || Object.keys(further).length > 0) {
        await requireProof(request, reply, currentPassword)
      }
      const user = await users.update(id, patch)
      // First the account, then the sessions: a login under way looks at the account once more when it has one.
      if (patch.disabled) {
        await fastify.sessions.revokeUser(id, { reason: 'account disabled' })
      } else if (patch.role !== undefined && (former.role !== patch.role || (await hasOtherRole(id, patch.role)))) {
        // The role is in the sessions: they end rather than keep what is no longer allowed.
        await fastify.sessions.revokeUser(id, { reason: 'role changed' })
      } else if (password !== undefined) {
        const except = own ? fastify.sessions.handleOf(request) : undefined
        await fastify.sessions.revokeUser(id, {
          reason: 'password changed',
          ...(except === undefined ? {} : { except }),
        })
      }
      return user
    }

    fastify.get(
      '/users',
      {
        schema: {
          operationId: 'listUsers',
          tags: ['users'],
          summary: 'List the users, by their names',
          description: 'As they are now, without the cache. Disabled ones too.',
          security: asks('users:list'),
          querystring: UsersQuery,
          response: { 200: reference(UserList), ...problems(400, 401, 403, 429) },
        },
        preValidation: (request) => {
          const { prefix } = request.query as { prefix?: unknown }
          return demand(authorize, request, 'users:list', { prefix: textOr(prefix, '') })
        },
      },
      ({ query }) => fastify.accounts.list(query),
    )

    fastify.post(
      '/users',
      {
        schema: {
          operationId: 'createUser',
          tags: ['users'],
          summary: 'Create a user',
          description: `Under an id that the server chooses.\n\n${PROOF}`,
          security: asks('users:administer'),
          body: reference(NewUser),
          response: {
            201: {
              description: 'The user.',
              headers: { location: { type: 'string', description: 'Where the user is.' } },
              ...reference(User),
            },
            ...problems(
              ...([400, 401, 403, 413, 415, 429, 507] as const),
              ...PROOF_REFUSED,
              ...(['STATEFUL_INVALID_USERNAME', 'STATEFUL_INVALID_PASSWORD', 'STATEFUL_USERNAME_TAKEN'] as const),
            ),
          },
        },
        preValidation: (request) => {
          const { username } = (request.body ?? {}) as { username?: unknown }
          return demand(authorize, request, 'users:administer', { username: textOr(username, '') })
        },
      },
      async (request, reply) => {
        const { currentPassword, role = 'user', ...account } = request.body
        await requireProof(request, reply, currentPassword)
        const user = await users.create(randomUUID(), { role, ...account })
        return reply.code(201).header('location', `${fastify.prefix}/users/${user.id}`).send(user)
      },
    )

    fastify.get(
      '/users/:id',
      {
        schema: {
          operationId: 'getUser',
          tags: ['users'],
          security: asks('users:read'),
          summary: 'A user, out of the cache when it is there',
          description:
            'Never out of date: what changes an account invalidates the entry. There is neither a password in it nor its hash.',
          params: Params,
          response: { 200: reference(User), ...problems(400, 401, 403, 404, 429) },
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
          description: `${CHANGES} For an id that is free an administrator creates a user by naming a username and a password.\n\n${PROOF}`,
          params: Params,
          body: reference(UserChange),
          response: {
            200: reference(User),
            201: reference(User),
            ...problems(
              ...([400, 401, 403, 404, 413, 415, 429, 507] as const),
              ...PROOF_REFUSED,
              ...CHANGE_REFUSED,
              'STATEFUL_INCOMPLETE_ACCOUNT',
            ),
          },
        },
        preValidation: mayWrite,
      },
      async (request, reply) => {
        const { id } = request.params
        const former = await fastify.accounts.get(id)
        if (former) return change(request, reply, former)
        const { currentPassword, disabled, username, password, role = 'user', ...rest } = request.body
        await demand(authorize, request, 'users:administer', { userId: id })
        await requireProof(request, reply, currentPassword)
        if (username === undefined || password === undefined) throw new IncompleteAccountError()
        const created = await users.create(id, { username, password, role, ...rest })
        const user = disabled ? await users.update(id, { disabled }) : created
        return reply.code(201).send(user)
      },
    )

    fastify.patch(
      '/users/:id',
      {
        schema: {
          operationId: 'changeUser',
          tags: ['users'],
          summary: 'Change a user',
          description: `${CHANGES} A user of an id that is free is not created.\n\n${PROOF}`,
          security: asks('users:write', 'users:administer'),
          params: Params,
          body: reference(UserChange),
          response: {
            200: reference(User),
            ...problems(...([400, 401, 403, 404, 413, 415, 429, 507] as const), ...PROOF_REFUSED, ...CHANGE_REFUSED),
          },
        },
        preValidation: mayWrite,
      },
      async (request, reply) => {
        const former = await fastify.accounts.get(request.params.id)
        if (!former) throw new NotFoundError('user of that id')
        return change(request, reply, former)
      },
    )

    fastify.delete(
      '/users/:id',
      {
        schema: {
          operationId: 'deleteUser',
          tags: ['users'],
          summary: 'Delete a user',
          description:
            'The account and all its sessions. The last administrator stays. It takes a login of the last minutes.',
          security: asks('users:administer'),
          params: Params,
          response: {
            204: Type.Null({ description: 'There is no such user any more.' }),
            ...problems(
              ...([400, 401, 403, 404, 413, 415, 429, 507] as const),
              ...PROOF_REFUSED,
              'STATEFUL_LAST_ADMINISTRATOR',
            ),
          },
        },
        preValidation: (request) => demand(authorize, request, 'users:administer', { userId: idOf(request) }),
      },
      async (request, reply) => {
        const { id } = request.params
        await requireProof(request, reply)
        // Disabled first: a login under way, which looks at the account once more, is none any more before the sessions
        // are ended, and what a process that ends here leaves behind opens nothing.
        await users.update(id, { disabled: true })
        await fastify.sessions.revokeUser(id, { reason: 'account deleted' })
        await users.delete(id)
        return reply.code(204).send(null)
      },
    )
  },
  { decorators: { fastify: ['accounts', 'loginThrottle', 'cache', 'sessions', 'sessionActions'] } },
)

/** Before validation, so its type is not known yet; the router gives it as text. */
function idOf(request: FastifyRequest): string {
  return (request.params as { id: string }).id
}
