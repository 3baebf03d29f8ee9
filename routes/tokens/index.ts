import { Type } from '@sinclair/typebox'
import type { FastifyRequest } from 'fastify'
import { Problem } from '../../openapi/schemas/problem.ts'
import { problems, reference } from '../../openapi/schemas/responses.ts'
import { CreatedToken, NewToken, Scope, TokenInfo, TokenList } from '../../openapi/schemas/token.ts'
import { asks } from '../../openapi/security.ts'
import { useProblems } from '../../plugins/problems/index.ts'
import { AUTHORIZE_RULES, type AuthorizeOption, demand, textOr } from '../../plugins/security/authorize.ts'
import { userOf } from '../../plugins/session/user.ts'
import { defineRoutes } from '../../plugins/support/define-routes.ts'
import { type Duration, milliseconds } from '../../plugins/support/durations.ts'
import { InvalidTtlError, MissingScopeError, NotFoundError } from '../../plugins/support/errors.ts'
import { duration, type Rules, readOptions } from '../../plugins/support/options.ts'
import { useSchemas, useStrictValidation } from '../../plugins/support/schemas.ts'
import type { AccessToken } from '../../plugins/tokens/index.ts'

export interface TokenRoutesOptions extends AuthorizeOption {
  /** How old a login may be that makes a token, which lasts longer than the session. Default `'10m'`. */
  fresh?: Duration
}

/** What each option must be, and what holds without it. */
export const TOKEN_ROUTE_RULES = {
  ...AUTHORIZE_RULES,
  fresh: duration('10m', { least: 0 }),
} satisfies Rules<TokenRoutesOptions>

const Params = Type.Object({
  id: Type.String({ minLength: 1, maxLength: 64, description: 'As in the list.', examples: ['5fJ2mQ8sVb1cQm2k'] }),
})

/** What is read of `app.sessionActions`, which need not be there. */
interface FreshLogins {
  requireFresh(request: FastifyRequest, maxAge?: Duration): void
}

/** Access tokens for machines: `GET|POST /tokens`, `DELETE /tokens/:id`. */
export const tokenRoutes = defineRoutes<TokenRoutesOptions>(
  'tokens',
  async (fastify, options) => {
    const { authorize, fresh } = readOptions(TOKEN_ROUTE_RULES, options, 'tokenRoutes')
    useSchemas(fastify, Problem, Scope, TokenInfo, TokenList, NewToken, CreatedToken)
    useStrictValidation(fastify)
    useProblems(fastify)

    fastify.get(
      '/tokens',
      {
        schema: {
          operationId: 'listTokens',
          tags: ['tokens'],
          summary: 'List the access tokens',
          description: 'With what they may do and when they were last used; never the secrets.',
          security: asks('tokens:list'),
          response: { 200: reference(TokenList), ...problems(401, 403, 429) },
        },
        preValidation: (request) => demand(authorize, request, 'tokens:list', { scope: 'cluster' }),
      },
      async () => ({ tokens: (await fastify.accessTokens.list()).map(toInfo) }),
    )

    fastify.post(
      '/tokens',
      {
        schema: {
          operationId: 'createToken',
          tags: ['tokens'],
          summary: 'Make an access token',
          description:
            'The answer holds the secret, which cannot be shown again. It takes a login of the last minutes, because a token outlives the session. A machine makes no token that may do more than its own.',
          security: asks('tokens:create'),
          body: reference(NewToken),
          response: {
            201: { description: 'The token with its secret.', ...reference(CreatedToken) },
            ...problems(
              ...([400, 401, 403, 413, 415, 429, 507] as const),
              ...(['STATEFUL_FRESH_LOGIN_REQUIRED', 'STATEFUL_INVALID_TTL'] as const),
              ...(['STATEFUL_MISSING_SCOPE', 'STATEFUL_TOO_MANY_TOKENS'] as const),
            ),
          },
        },
        preValidation: (request) => {
          const { name } = (request.body ?? {}) as { name?: unknown }
          return demand(authorize, request, 'tokens:create', { name: textOr(name, '') })
        },
      },
      async (request, reply) => {
        const { name, scopes, lifetime } = request.body
        const { accessToken: own } = request
        const user = own ? undefined : userOf(request)
        const excess = own && scopes.find((scope) => !own.scopes.includes(scope))
        if (excess) throw new MissingScopeError(excess)
        if (user) fastify.getDecorator<FreshLogins>('sessionActions').requireFresh(request, fresh)
        const { token, ...made } = await fastify.accessTokens.create({
          name,
          scopes,
          ...(lifetime === undefined ? {} : { lifetime: lifetimeOf(lifetime) }),
          ...(user ? { createdBy: user.id } : {}),
        })
        request.log.info({ token: made.id, scopes }, 'an access token was made')
        return reply
          .code(201)
          .header('cache-control', 'no-store')
          .send({ token, ...toInfo(made) })
      },
    )

    fastify.delete(
      '/tokens/:id',
      {
        schema: {
          operationId: 'revokeToken',
          tags: ['tokens'],
          summary: 'Revoke an access token',
          description: 'At once and on every instance, with the live connections that it has opened.',
          security: asks('tokens:revoke'),
          params: Params,
          response: {
            204: Type.Null({ description: 'It opens nothing any more.' }),
            ...problems(400, 401, 403, 404, 413, 415, 429, 507),
          },
        },
        preValidation: (request) =>
          demand(authorize, request, 'tokens:revoke', { token: (request.params as { id: string }).id }),
      },
      async (request, reply) => {
        const { id } = request.params
        if (!(await fastify.accessTokens.revoke(id))) throw new NotFoundError('access token of that id')
        request.log.info({ token: id }, 'an access token was revoked')
        return reply.code(204).send(null)
      },
    )
  },
  { decorators: { fastify: ['accessTokens'] } },
)

/** A duration that a client sends: its mistake, not a setting of ours. */
function lifetimeOf(given: number | string): number {
  try {
    const ms = milliseconds(given, 'lifetime')
    if (ms > 0) return ms
  } catch {
    // Answered below, in the same words.
  }
  throw new InvalidTtlError()
}

function toInfo({ id, name, scopes, createdAt, createdBy, expiresAt, lastUsedAt }: AccessToken): TokenInfo {
  return {
    id,
    name,
    scopes: [...scopes],
    createdAt: createdAt.toISOString(),
    ...(createdBy === undefined ? {} : { createdBy }),
    ...(expiresAt === undefined ? {} : { expiresAt: expiresAt.toISOString() }),
    ...(lastUsedAt === undefined ? {} : { lastUsedAt: lastUsedAt.toISOString() }),
  }
}
