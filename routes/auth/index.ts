import { Type } from '@sinclair/typebox'
import type { FastifyRequest } from 'fastify'
import { PasswordChange, Preferences } from '../../openapi/schemas/account.ts'
import { Credentials, Identity, LoginResult, PreferencesResult, Profile } from '../../openapi/schemas/auth.ts'
import { Problem } from '../../openapi/schemas/problem.ts'
import { problems, reference } from '../../openapi/schemas/responses.ts'
import type { Role, User } from '../../openapi/schemas/user.ts'
import { bySession } from '../../openapi/security.ts'
import { nameKey } from '../../plugins/accounts/credentials.ts'
import type { Authentication, ThrottleOptions } from '../../plugins/accounts/index.ts'
import { KnownDevice } from '../../plugins/accounts/known-device.ts'
import { useProblems } from '../../plugins/problems/index.ts'
import type {} from '../../plugins/session/index.ts'
import { type SessionUser, userOf } from '../../plugins/session/user.ts'
import { defineRoutes } from '../../plugins/support/define-routes.ts'
import type { Duration } from '../../plugins/support/durations.ts'
import {
  InvalidCredentialsError,
  SessionRevokedError,
  TooManyPreferencesError,
  UnauthenticatedError,
} from '../../plugins/support/errors.ts'
import { asGiven, duration, type Rules, readOptions } from '../../plugins/support/options.ts'
import { useSchemas, useStrictValidation } from '../../plugins/support/schemas.ts'
import { requiringProof } from './proof.ts'
import { tellingWhen } from './retry-after.ts'

export interface AuthRoutesOptions {
  /** How many failed logins are too many: instead of what the plugin `accounts` was told. */
  throttle?: ThrottleOptions
  /** How old a login may be that sets a new password without the old one. Default `'10m'`. */
  fresh?: Duration
}

/** The throttle checks its own. */
export const AUTH_ROUTE_RULES = {
  throttle: asGiven<ThrottleOptions>(),
  fresh: duration('10m', { least: 0 }),
} satisfies Rules<AuthRoutesOptions>

const MAX_PREFERENCES = 50

/** Log in and out, and what the session knows of its user. */
export const authRoutes = defineRoutes<AuthRoutesOptions>(
  'auth',
  async (fastify, options) => {
    const { throttle, fresh } = readOptions(AUTH_ROUTE_RULES, options, 'authRoutes')
    if (throttle) fastify.loginThrottle.configure(throttle)
    const requireProof = requiringProof(fastify, fresh)
    const devices = new KnownDevice(fastify.sessionCookies, () => fastify.sessionActions.now())
    /** Of requests that have logged in: the account. */
    const loggedIn = new WeakMap<FastifyRequest, string>()
    useSchemas(
      fastify,
      Problem,
      Credentials,
      Identity,
      LoginResult,
      PasswordChange,
      Preferences,
      PreferencesResult,
      Profile,
    )
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
            'Begins a session under a fresh id and ends the one that the request came with. Failed attempts are counted by account and address; too many are answered with 429. A second cookie makes the device known to the account: while others guess its password, they wait and it does not.',
          security: [],
          body: reference(Credentials),
          response: {
            200: {
              description: 'The session that the login began.',
              headers: {
                'set-cookie': { type: 'string', description: "The session's cookie, and that of the device." },
              },
              ...reference(LoginResult),
            },
            ...problems(
              ...([400, 413, 415, 507] as const),
              ...(['STATEFUL_INVALID_CREDENTIALS', 'STATEFUL_ACCOUNT_DISABLED', 'STATEFUL_SESSION_REVOKED'] as const),
              ...(['STATEFUL_TOO_MANY_SESSIONS', 'STATEFUL_TOO_MANY_ATTEMPTS'] as const),
            ),
          },
        },
      },
      async (request, reply) => {
        const { username, password } = request.body
        const account = nameKey(username)
        const device = devices.of(request, account)
        const by = { account, address: request.ip, ...(device === undefined ? {} : { device }) }
        const found = await tellingWhen(
          reply,
          fastify.loginThrottle.attempt(by, () => fastify.accounts.authenticate(username, password)),
        )
        if (!found) throw new InvalidCredentialsError()
        await fastify.sessionActions.login(request, sessionUser(found.user))
        await endUnlessCurrent(request, found)
        loggedIn.set(request, account)
        return { user: identity(userOf(request)), ...loginOf(request.session) }
      },
    )

    // The hooks of the session have run by now: its cookie stands first.
    fastify.addHook('onSend', (request, reply, _payload, done) => {
      const account = loggedIn.get(request)
      if (account !== undefined && reply.statusCode === 200) devices.remember(request, reply, account)
      done()
    })

    fastify.post(
      '/logout',
      {
        schema: {
          operationId: 'logout',
          tags: ['auth'],
          summary: 'Log out',
          description: 'Ends the session on every instance and takes the cookie away. Does nothing without a session.',
          security: [],
          response: {
            204: Type.Null({ description: 'There is no session any more.' }),
            ...problems(400, 413, 415, 507),
          },
        },
      },
      async (request, reply) => {
        await fastify.sessionActions.logout(request)
        return reply.code(204).send(null)
      },
    )

    fastify.get(
      '/profile',
      {
        schema: {
          operationId: 'getProfile',
          tags: ['auth'],
          security: bySession,
          summary: 'Who is logged in, since when, and with which preferences',
          description: 'Of the session that the request comes with. What is told of the user is what the login told.',
          response: { 200: reference(Profile), ...problems(401) },
        },
        preValidation: async (request) => {
          if (!userOf(request)) throw new UnauthenticatedError()
        },
      },
      async ({ session }) => ({
        user: identity(userOf({ session })),
        ...loginOf(session),
        lastActivity: (session.lastActivity ?? new Date(0)).toISOString(),
        preferences: preferencesOf(session),
      }),
    )

    fastify.post(
      '/password',
      {
        schema: {
          operationId: 'changePassword',
          tags: ['auth'],
          summary: 'Set a new password for who is logged in',
          description:
            "This session goes on, all others of the user end. It takes a login of the last minutes, or the user's `currentPassword`; otherwise the answer is 401 `STATEFUL_FRESH_LOGIN_REQUIRED`.",
          security: bySession,
          body: reference(PasswordChange),
          response: {
            204: Type.Null({ description: 'From now on the new one opens the account.' }),
            ...problems(
              ...([400, 401, 403, 404, 413, 415, 507] as const),
              ...(['STATEFUL_INVALID_PASSWORD', 'STATEFUL_FRESH_LOGIN_REQUIRED'] as const),
              ...(['STATEFUL_INVALID_CREDENTIALS', 'STATEFUL_TOO_MANY_ATTEMPTS'] as const),
            ),
          },
        },
        preValidation: async (request) => {
          if (!userOf(request)) throw new UnauthenticatedError()
        },
      },
      async (request, reply) => {
        const { password, currentPassword } = request.body
        const { id } = userOf(request) as SessionUser
        await requireProof(request, reply, currentPassword)
        // First the account, then the sessions: a login under way looks at the account once more when it has one.
        await fastify.accounts.update(id, { password })
        const except = fastify.sessions.handleOf(request)
        await fastify.sessions.revokeUser(id, {
          reason: 'password changed',
          ...(except === undefined ? {} : { except }),
        })
        return reply.code(204).send(null)
      },
    )

    fastify.post(
      '/preferences',
      {
        schema: {
          operationId: 'changePreferences',
          tags: ['auth'],
          security: bySession,
          summary: "Merge preferences into the session's",
          description: `A name that is sent again gets the new value; up to ${MAX_PREFERENCES} names in all.`,
          body: reference(Preferences),
          response: {
            200: reference(PreferencesResult),
            ...problems(400, 401, 413, 415, 'STATEFUL_TOO_MANY_PREFERENCES', 'STATEFUL_SESSION_CONFLICT', 507),
          },
        },
        preValidation: async (request) => {
          if (!userOf(request)) throw new UnauthenticatedError()
        },
      },
      async ({ session, body }) => {
        const preferences = { ...preferencesOf(session), ...body }
        if (Object.keys(preferences).length > MAX_PREFERENCES) throw new TooManyPreferencesError(MAX_PREFERENCES)
        session.set(PREFERENCES, preferences as never)
        return { preferences }
      },
    )
  },
  {
    decorators: {
      fastify: ['accounts', 'loginThrottle', 'sessions', 'sessionActions', 'sessionCookies'],
    },
  },
)

/** What of a session `POST /preferences` keeps. */
const PREFERENCES = 'preferences' as never

function preferencesOf(session: FastifyRequest['session']): Preferences {
  return (session.get(PREFERENCES) as Preferences | undefined) ?? {}
}

function sessionUser({ id, username, role }: User): SessionUser {
  return { id, username, role }
}

/**
 * A password or role that is changed while somebody logs in with the old one: who changes it ends the sessions that
 * there are, and this one may have come after. It was made before the account is read here, so one of both sees the
 * other.
 */
async function endUnlessCurrent(request: FastifyRequest, found: Authentication): Promise<void> {
  let current = false
  try {
    current = await found.isCurrent()
  } finally {
    if (!current) {
      // Its token has not left the server yet. When the store cannot be reached, it stays so: no cookie is set.
      await request.server.sessionActions.logout(request).catch(() => {})
      request.session = null as unknown as FastifyRequest['session']
    }
  }
  if (!current) throw new SessionRevokedError()
}

function identity(user: SessionUser | undefined): Identity {
  if (!user) throw new UnauthenticatedError()
  const { id, username, role } = user
  return { id, ...(username === undefined ? {} : { username }), ...(role === undefined ? {} : { role: role as Role }) }
}

function loginOf(session: { loginCount: number; loginTime?: Date }) {
  return { loginCount: session.loginCount, loginTime: (session.loginTime ?? new Date(0)).toISOString() }
}
