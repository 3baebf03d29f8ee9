import fastifyCookie from '@fastify/cookie'
import type { CookieOptions } from '@fastify/session'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { defineService } from '../support/define.ts'
import { milliseconds } from '../support/durations.ts'
import { FreshLoginRequiredError, InvalidOptionError, UnauthenticatedError } from '../support/errors.ts'
import { failReply } from '../support/fail-reply.ts'
import { invalidOption, readOptions } from '../support/options.ts'
import { inProduction } from '../support/production.ts'
import { checkedSecrets } from '../support/secrets.ts'
import { adopting } from './compat/adopt.ts'
import { FastifySessionStore } from './compat/fastify-session-store.ts'
import { aesSealer } from './encryption.ts'
import { SessionEngine } from './engine.ts'
import { policyOf, type ReadSessionOptions, SESSION_RULES, type SessionOptions } from './options.ts'
import { type SessionCookie, sessionCookie } from './request/cookie.ts'
import { decorateRequests, type RequestActions } from './request/decorators.ts'
import { identityBy } from './request/identity.ts'
import { Lifecycle } from './request/lifecycle.ts'
import { type SessionCookies, sessionCookies } from './request/signed-cookies.ts'
import { liveSigner, type SessionSigner } from './request/signer.ts'
import { openOf } from './request/visit.ts'
import { Sessions } from './sessions.ts'
import { CallbackSessionStore, type CallbackStore } from './stores/callback.ts'
import type { SessionStore } from './stores/contract.ts'
import { LmdbSessionStore } from './stores/lmdb.ts'
import { MemorySessionStore } from './stores/memory.ts'
import { sessionStoreOn } from './stores/on-storage.ts'
import { userOf } from './user.ts'

export type { AdoptOptions } from './compat/adopt.ts'
export { type SessionStoreOptions, sessionStore } from './compat/fastify-session-store.ts'
export type { SessionEvent, SessionEventName } from './events.ts'
export type { DecoratorNames, SessionOptions } from './options.ts'
export type { Device, SessionValues } from './record.ts'
export type { SessionCookieOptions } from './request/cookie.ts'
export type { IdentityOption } from './request/identity.ts'
export type { LoginOptions } from './request/lifecycle.ts'
export type { SessionCookies } from './request/signed-cookies.ts'
export { Sessions } from './sessions.ts'
export type * from './stores/contract.ts'
export { MemorySessionStore } from './stores/memory.ts'
export type { SessionInfo, SessionPolicy, UserSession } from './types.ts'
export type { SessionUser } from './user.ts'

declare module 'fastify' {
  interface FastifyInstance {
    sessions: Sessions
    /** For cookies beside the session's. */
    sessionCookies: SessionCookies
    /** What a request can do with its session, under whichever names. */
    sessionActions: RequestActions
  }
}

const DEFAULT_FRESH = '10m'

/**
 * Sessions behind `request.session`, with the API of @fastify/session, by an engine of our own.
 *
 * @throws at boot STATEFUL_INVALID_OPTION, STATEFUL_INVALID_DURATION
 */
export const session = defineService<SessionOptions>('session', async (fastify, options) => {
  const read = readOptions(SESSION_RULES, options, 'session')
  const { store: given, encryption } = read
  const log = fastify.log.child({ plugin: 'session' })
  const warn = (message: string) => log.warn(message)
  const production = inProduction(read.production, fastify)
  const cookie = sessionCookie(production, read.cookie, warn, read.cookieName, read.name)
  const signer = signerOf(read, production)
  if (!given) await checkEviction(fastify, read.onEviction, warn)

  const store = storeOf(fastify, read, production)
  const engine = new SessionEngine({
    ...policyOf(read, warn),
    ...(encryption === undefined ? {} : { sealer: sealerOf(encryption, production) }),
    deadline: given ? read.deadline : 0,
    store,
    clock: read.clock,
    onError: (err, doing) => log.warn({ err }, `sessions: ${doing} failed`),
  })
  if (!fastify.hasPlugin('@fastify/cookie')) await fastify.register(fastifyCookie)
  const lifecycle = new Lifecycle({
    engine,
    cookie,
    fastify,
    signer,
    cookiePrefix: read.cookiePrefix,
    saveUninitialized: read.saveUninitialized,
    saveOnError: read.saveOnError,
    rolling: read.rolling,
    identityOf: identityBy(read.user),
    idGenerator: read.idGenerator,
    ownStore: given !== undefined && !isOurs(given),
    gathers: store instanceof MemorySessionStore || store instanceof LmdbSessionStore,
    warn,
    clearSiteData: read.clearSiteData.map((what) => `"${what}"`).join(', '),
    adopt: adoptionOf(read, cookie, engine),
  })
  const sessions = new Sessions(engine)
  const actions: RequestActions = {
    now: () => engine.clock.now(),
    login: (request, user, loginOptions) => lifecycle.login(request, user, loginOptions),
    logout: (request) => lifecycle.logout(request),
    issue: (user, loginOptions) => lifecycle.issue(user, loginOptions),
    requireFresh(request, maxAge = DEFAULT_FRESH) {
      const authenticated = openOf(request)?.authenticated
      if (authenticated === undefined || !userOf(request)) throw new UnauthenticatedError()
      // A login that lies ahead is none that is known to be fresh: the clock went back meanwhile.
      const age = Math.abs(engine.clock.now() - authenticated)
      if (age > milliseconds(maxAge, 'maxAge')) throw new FreshLoginRequiredError()
    },
  }

  fastify.decorate('sessions', sessions)
  fastify.decorate('sessionActions', actions)
  fastify.decorate('sessionCookies', sessionCookies(fastify, signer, cookie))
  fastify.decorateRequest('session', null as never)
  const requestStore = new FastifySessionStore(engine)
  fastify.decorateRequest('sessionStore', { getter: () => requestStore as never })
  decorateRequests(fastify, actions, read.decorators)
  fastify.decorate('decryptSession', (signed: string, request: FastifyRequest, ...rest: unknown[]) => {
    const callback = rest.pop() as (error?: unknown) => void
    const [cookieOptions = {}] = rest as [CookieOptions?]
    lifecycle
      .decrypt(signed, request, cookieOptions)
      .then(() => callback(), callback)
      .catch((err) => log.error({ err }, 'a callback failed'))
  })

  // With callbacks where nothing is waited for: a promise for each hook of each request would be.
  fastify.addHook('onRequest', (request, reply, done) => {
    const asked = lifecycle.arrive(request, reply)
    if (!asked) return done()
    // The rest of the request runs inside of `done`. What it throws past all handlers is this request's.
    asked.then(() => done(), done).catch((error) => failReply(reply, error))
  })
  fastify.addHook('onError', (request, reply, error, done) => {
    lifecycle.fail(request, reply, error)
    done()
  })
  fastify.addHook('onSend', (request, reply, payload, done) => {
    lifecycle.leave(request, reply, payload, (error) => {
      if (error) return done(error as Error)
      // Neither a shared cache nor the browser of the next person keeps what is for one person. A handler may say
      // otherwise, and the response cache does: it knows what of it is the same for everybody.
      const personal = reply.hasHeader('set-cookie') || (lifecycle.isPersonal(request) && !isInResponseCache(request))
      if (personal && !reply.hasHeader('cache-control')) reply.header('cache-control', 'private, no-store')
      done()
    })
  })
  fastify.addHook('onReady', () => engine.start(read.sweep))
  fastify.addHook('onClose', () => engine.close())
})

/** Whether the response cache has made the answer, or will look at it: then it says who may keep it. */
function isInResponseCache(request: FastifyRequest): boolean {
  const { cacheExchange } = request as { cacheExchange?: { work: unknown; served: unknown } | null }
  return (cacheExchange?.work ?? cacheExchange?.served) !== undefined
}

function signerOf({ secret, algorithm }: ReadSessionOptions, production: boolean): SessionSigner {
  if (isSigner(secret)) return secret
  // In the words of @fastify/session: who moves here and searches for them finds what to do.
  if (typeof secret !== 'string' && !Array.isArray(secret)) {
    throw new InvalidOptionError(
      'the secret option is required, and must be a String, Array of Strings, or a signer object with .sign and .unsign methods',
    )
  }
  if (secret.length === 0) throw new InvalidOptionError('at least one secret is required')
  return liveSigner(checkedSecrets(secret, 'secret', production), algorithm)
}

function isSigner(secret: ReadSessionOptions['secret']): secret is SessionSigner {
  const { sign, unsign } = (secret ?? {}) as Partial<SessionSigner>
  return typeof sign === 'function' && typeof unsign === 'function'
}

/**
 * A store of another plugin may hold that one's sessions: without a word about where to take sessions over from, it is
 * from there, by the cookie that both have.
 */
function adoptionOf(
  { adopt, store, secret, deadline }: ReadSessionOptions,
  { name }: SessionCookie,
  engine: SessionEngine,
) {
  if (adopt) return adopting(adopt, engine, deadline)
  if (!store || isOurs(store) || secret === undefined || isSigner(secret)) return undefined
  return adopting({ store, secret, cookieName: name }, engine, deadline)
}

function sealerOf(given: string | string[], production: boolean) {
  const secrets = checkedSecrets(given, 'session.encryption', production)
  return aesSealer(typeof secrets === 'string' ? [secrets] : secrets)
}

/** A Redis that evicts may end any session, or forget that one was ended. */
async function checkEviction(fastify: FastifyInstance, action: 'refuse' | 'warn', warn: (message: string) => void) {
  const { storage } = fastify as Partial<FastifyInstance>
  if (storage?.kind !== 'redis') return
  // A server that cannot be asked now does not stop the boot: it may come back.
  const policy = await storage.client.evictionPolicy().catch(() => 'noeviction')
  if (policy === 'noeviction') return
  const message = `Redis has maxmemory-policy '${policy}' and may evict sessions; set it to 'noeviction'`
  if (action === 'refuse') throw invalidOption('storage', `cannot keep sessions: ${message}.`)
  warn(message)
}

function storeOf(fastify: FastifyInstance, { store, name }: ReadSessionOptions, production: boolean): SessionStore {
  if (store) return isOurs(store) ? store : new CallbackSessionStore(checkedStore(store))
  const { storage } = fastify as Partial<FastifyInstance>
  if (storage) return sessionStoreOn(storage, name)
  if (production) fastify.log.warn('sessions: neither a storage nor a store; they end with this process')
  return new MemorySessionStore()
}

/** Stores of express-session may have any other method beside those that we call. */
function isOurs(store: SessionStore | CallbackStore): store is SessionStore {
  return 'rotate' in store && 'revokeOwner' in store
}

function checkedStore(store: CallbackStore): CallbackStore {
  const methods: (keyof CallbackStore)[] = ['get', 'set', 'destroy']
  if (methods.every((method) => typeof store[method] === 'function')) return store
  throw invalidOption('session.store', 'must be one of ours, or have the methods get, set and destroy.')
}
