import type { FastifyRequest } from 'fastify'
import { openCounts } from '../storage/counts/open.ts'
import type { Clock } from '../support/clock.ts'
import { defineService } from '../support/define.ts'
import type { Duration } from '../support/durations.ts'
import { InvalidTokenError } from '../support/errors.ts'
import { clock, duration, type Rules, readOptions, wholeNumber } from '../support/options.ts'
import { tokenStoreOn } from './stores/on-storage.ts'
import { RedisTokenBus } from './stores/redis-bus.ts'
import { TokenThrottle } from './token-throttle.ts'
import { type AccessToken, type NewAccessToken, type PresentedToken, TOKEN_PREFIX, Tokens } from './tokens.ts'

export type { AccessToken, NewAccessToken } from './tokens.ts'

/** What `app.accessTokens` offers. */
export type AccessTokens = Pick<Tokens, 'create' | 'list' | 'revoke' | 'onRevoked' | 'onMissed'> & {
  /**
   * The token that the request came with; `undefined` without one of ours. Asked once a request.
   * @throws STATEFUL_INVALID_TOKEN, STATEFUL_TOO_MANY_ATTEMPTS, STATEFUL_STORAGE_UNAVAILABLE
   *
   * @example
   * ```ts
   * app.get('/export', async (request) => {
   *   const token = await app.accessTokens.verify(request)
   *   if (!token?.scopes.includes('state:snapshot')) throw app.httpErrors.forbidden()
   *   …
   * })
   * ```
   */
  verify(request: FastifyRequest): Promise<AccessToken | undefined>
}

declare module 'fastify' {
  interface FastifyInstance {
    accessTokens: AccessTokens
  }
  interface FastifyRequest {
    /** The access token of this request, once its access was asked for; `null` without one. */
    accessToken: AccessToken | null
  }
}

/** Options of the plugin {@link tokens}. */
export interface TokensPluginOptions {
  /** How many tokens there may be. Default 1,000. */
  most?: number
  /** How many wrong tokens are too many. */
  throttle?: {
    /** Wrong tokens from one address (of IPv6: one /64), in `window`. Default 100. */
    perAddress?: number
    /** Default `'15m'`. */
    window?: Duration
  }
  /** For tests. */
  clock?: Clock
}

/** What each option must be, and what holds without it. @internal */
export const TOKEN_RULES = {
  most: wholeNumber(1_000),
  throttle: { perAddress: wholeNumber(100), window: duration('15m', { least: '1s' }) },
  clock,
} satisfies Rules<TokensPluginOptions>

/**
 * Access tokens for machines: `Authorization: Bearer fst_…`. The routes of this package ask for them by themselves; an
 * application's own ask `app.accessTokens.verify(request)`. Other bearer tokens are the application's.
 *
 * @throws at boot STATEFUL_INVALID_OPTION, STATEFUL_INVALID_DURATION, STATEFUL_STORAGE_UNAVAILABLE
 */
export const tokens = defineService<TokensPluginOptions>(
  'tokens',
  async (fastify, options) => {
    const { most, throttle, clock } = readOptions(TOKEN_RULES, options, 'tokens')
    const log = fastify.log.child({ plugin: 'tokens' })
    const { storage } = fastify
    const engine = new Tokens({
      store: tokenStoreOn(storage),
      ...(storage.kind === 'redis' ? { bus: new RedisTokenBus(storage) } : {}),
      throttle: new TokenThrottle(openCounts(storage, 'token', clock), throttle.perAddress, throttle.window),
      most,
      clock,
      onError: (err, doing) => log.warn({ err }, `access tokens: ${doing} failed`),
    })
    /** What was found for a header, so that the store is asked once a request and once a connection. */
    const found = new WeakMap<FastifyRequest, { header: string; opening: Promise<PresentedToken> }>()

    fastify.decorateRequest('accessToken', null)
    fastify.decorate<AccessTokens>('accessTokens', {
      create: (token: NewAccessToken) => engine.create(token),
      list: () => engine.list(),
      revoke: (id) => engine.revoke(id),
      onRevoked: (listener) => engine.onRevoked(listener),
      onMissed: (listener) => engine.onMissed(listener),
      async verify(request) {
        const header = request.headers.authorization
        const secret = header === undefined ? undefined : secretOf(header)
        if (header === undefined || secret === undefined) return undefined
        let known = found.get(request)
        if (known?.header !== header) {
          known = { header, opening: engine.open(secret, request.ip) }
          found.set(request, known)
        }
        const token = await known.opening
        // A live connection asks again with each message.
        if (engine.isExpired(token)) throw new InvalidTokenError()
        request.accessToken = token
        return token
      },
    })
    // RFC 6750 §3: what a client needs to know that a token would do.
    fastify.addHook('onError', (_request, reply, error, done) => {
      const challenge = CHALLENGES[(error as { code?: string }).code ?? '']
      if (challenge !== undefined && !reply.hasHeader('www-authenticate')) reply.header('www-authenticate', challenge)
      done()
    })
    fastify.addHook('onReady', () => engine.start())
    fastify.addHook('onClose', () => engine.close())
  },
  { decorators: { fastify: ['storage'] } },
)

const CHALLENGES: { [code: string]: string } = {
  STATEFUL_UNAUTHENTICATED: 'Bearer',
  STATEFUL_INVALID_TOKEN: 'Bearer error="invalid_token"',
  STATEFUL_MISSING_SCOPE: 'Bearer error="insufficient_scope"',
}

/** Of a header `Authorization`, if it is one of ours. */
function secretOf(header: string): string | undefined {
  const [, secret] = /^bearer +(\S+) *$/i.exec(header) ?? []
  return secret?.startsWith(TOKEN_PREFIX) ? secret : undefined
}
