import { Type } from '@sinclair/typebox'
import { Preferences } from '../../openapi/schemas/account.ts'
import { Credentials, Identity, LoginResult, PreferencesResult, Profile } from '../../openapi/schemas/auth.ts'
import { Problem } from '../../openapi/schemas/problem.ts'
import { problems, reference } from '../../openapi/schemas/responses.ts'
import type { Role, User } from '../../openapi/schemas/user.ts'
import type {} from '../../plugins/accounts/index.ts'
import { useProblems } from '../../plugins/problems/index.ts'
import type {} from '../../plugins/session/index.ts'
import type { SessionUser } from '../../plugins/session/session-data.ts'
import { defineRoutes } from '../../plugins/support/define.ts'
import { InvalidCredentialsError, TooManyPreferencesError, UnauthenticatedError } from '../../plugins/support/errors.ts'
import { useSchemas, useStrictValidation } from '../../plugins/support/schemas.ts'
import { LoginThrottle, type ThrottleOptions } from './throttle.ts'

export interface AuthRoutesOptions {
  prefix?: string
  /** How many failed logins are too many. */
  throttle?: ThrottleOptions
}

const MAX_PREFERENCES = 50

/** Log in and out, and what the session knows of its user. */
export const authRoutes = defineRoutes<AuthRoutesOptions>(
  'auth',
  async (fastify, options) => {
    const throttle = new LoginThrottle(fastify.storage, options.throttle)
    useSchemas(fastify, Problem, Credentials, Identity, LoginResult, Preferences, PreferencesResult, Profile)
    useStrictValidation(fastify)
    useProblems(fastify)

    fastify.post(
      '/login',
      {
        schema: {
          operationId: 'login',
          tags: ['auth'],
          summary: 'Log in',
          description:
            'Begins a session under a fresh id and ends the one that the request came with. Failed attempts are counted by account and address; too many are answered with 429.',
          security: [],
          body: reference(Credentials),
          response: { 200: reference(LoginResult), ...problems(400, 401, 403, 409, 413, 415, 429) },
        },
      },
      async (request, reply) => {
        const { username, password } = request.body
        const user = await throttle
          .attempt(username.normalize('NFKC').toLowerCase(), request.ip, () =>
            fastify.accounts.verify(username, password),
          )
          .catch((error: Error & { retryAfter?: number }) => {
            if (error.retryAfter !== undefined) reply.header('retry-after', error.retryAfter)
            throw error
          })
        if (!user) throw new InvalidCredentialsError()
        await request.login(sessionUser(user))
        return { user: identity(request.session.user), ...loginOf(request.session) }
      },
    )

    fastify.post(
      '/logout',
      {
        schema: {
          operationId: 'logout',
          tags: ['auth'],
          summary: 'Log out',
          description: 'Ends the session on every instance and takes the cookie away. Does nothing without a session.',
          security: [],
          response: { 204: Type.Null({ description: 'There is no session any more.' }), ...problems(403, 413, 415) },
        },
      },
      async (request, reply) => {
        await request.logout()
        return reply.code(204).send(null)
      },
    )

    fastify.get(
      '/profile',
      {
        schema: {
          operationId: 'getProfile',
          tags: ['auth'],
          summary: 'Who is logged in, since when, and with which preferences',
          response: { 200: reference(Profile), ...problems(401) },
        },
        preValidation: async (request) => {
          if (!request.session.user) throw new UnauthenticatedError()
        },
      },
      async ({ session }) => ({
        user: identity(session.user),
        ...loginOf(session),
        lastActivity: (session.lastActivity ?? new Date(0)).toISOString(),
        preferences: session.preferences ?? {},
      }),
    )

    fastify.post(
      '/preferences',
      {
        schema: {
          operationId: 'changePreferences',
          tags: ['auth'],
          summary: "Merge preferences into the session's",
          description: `A name that is sent again gets the new value; up to ${MAX_PREFERENCES} names in all.`,
          body: reference(Preferences),
          response: { 200: reference(PreferencesResult), ...problems(400, 401, 403, 413, 415, 422) },
        },
        preValidation: async (request) => {
          if (!request.session.user) throw new UnauthenticatedError()
        },
      },
      async ({ session, body }) => {
        const preferences = { ...session.preferences, ...body }
        if (Object.keys(preferences).length > MAX_PREFERENCES) throw new TooManyPreferencesError(MAX_PREFERENCES)
        session.preferences = preferences
        return { preferences }
      },
    )
  },
  {
    decorators: {
      fastify: ['storage', 'accounts', 'sessions'],
      request: ['login', 'logout'],
    },
  },
)

function sessionUser({ id, username, role }: User): SessionUser {
  return { id, username, role }
}

function identity(user: SessionUser | undefined): Identity {
  if (!user) throw new UnauthenticatedError()
  const { id, username, role } = user
  return { id, ...(username === undefined ? {} : { username }), ...(role === undefined ? {} : { role: role as Role }) }
}

function loginOf(session: { loginCount: number; loginTime?: Date }) {
  return { loginCount: session.loginCount, loginTime: (session.loginTime ?? new Date(0)).toISOString() }
}

export default authRoutes
