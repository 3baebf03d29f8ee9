import fastifyCookie from '@fastify/cookie'
import type { CookieOptions, FastifySessionOptions } from '@fastify/session'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Storage } from '../storage/storage.ts'
import type { Clock } from '../support/clock.ts'
import { defineService } from '../support/define.ts'
import { type Duration, milliseconds } from '../support/durations.ts'
import { FreshLoginRequiredError, UnauthenticatedError } from '../support/errors.ts'
import {
  asGiven,
  choice,
  clock,
  duration,
  flag,
  invalidOption,
  type Read,
  type Rules,
  readOptions,
  supplied,
  text,
  texts,
  wholeNumber,
} from '../support/options.ts'
import { inProduction } from '../support/production.ts'
import { checkedSecrets } from '../support/secrets.ts'
import { aesSealer } from './encryption.ts'
import {
  COOKIE_RULES,
  clearSessionCookie,
  type SessionCookieOptions,
  sessionCookie,
  tidyCookieHeader,
} from './request/cookie.ts'
import { type SessionCookies, sessionCookies } from './request/signed-cookies.ts'
import { liveSigner, type SessionSigner } from './request/signer.ts'
import type { SessionUser } from './session-data.ts'
import { owned } from './session-objects.ts'
import { Sessions } from './sessions.ts'
import { type LoginOptions, Shell } from './shell.ts'
import { registerShell } from './shell-hooks.ts'
import { CallbackSessionStore, type CallbackStore } from './stores/callback.ts'
import type { SessionStore } from './stores/contract.ts'
import { MemorySessionStore } from './stores/memory.ts'
import { sessionStoreOn } from './stores/on-storage.ts'
import { RedisRevocationBus } from './stores/redis-bus.ts'

export type { SessionEvent, SessionEventName } from './events.ts'
export type { Device, SessionValues } from './record.ts'
export type { SessionCookieOptions } from './request/cookie.ts'
export type { SessionCookies } from './request/signed-cookies.ts'
export type { SessionUser } from './session-data.ts'
export { Sessions } from './sessions.ts'
export type { LoginOptions } from './shell.ts'
export type * from './stores/contract.ts'
export { MemorySessionStore } from './stores/memory.ts'
export type { SessionInfo, SessionPolicy, UserSession } from './types.ts'

declare module 'fastify' {
  interface FastifyInstance {
    sessions: Sessions
    /** For cookies beside the session's. */
    sessionCookies: SessionCookies
  }
  interface FastifyRequest {
    /**
     * Begins a session of the user under a fresh id and ends the one the request came with.
     * @throws STATEFUL_TOO_MANY_SESSIONS, STATEFUL_STORAGE_UNAVAILABLE
     */
    login(user: SessionUser, options?: LoginOptions): Promise<void>
    /** Ends the request's session, on every instance, and takes its cookie away. Does nothing without one. */
    logout(): Promise<void>
    /**
     * For what is too sensitive for an old login.
     * @param maxAge how old the login may be; default `'10m'`
     * @throws STATEFUL_UNAUTHENTICATED, STATEFUL_FRESH_LOGIN_REQUIRED
     */
    requireFresh(maxAge?: Duration): void
  }
}

/** @fastify/session's options beside ours; what differs from it is in docs/sessions.md. */
export interface SessionOptions extends Omit<FastifySessionOptions, 'secret' | 'store' | 'cookie'> {
  /**
   * Signs the cookie: one or more of at least 32 characters, or a signer. The first signs, all verify. The array
   * may be changed while the server runs.
   */
  secret: string | string[] | SessionSigner
  /** `Secure` cookies and the name prefix `__Host-`. Default: whether `NODE_ENV` is set to anything but
   * `development` and `test`. */
  production?: boolean
  /** Default `__Host-sid` when the cookie is secure, else `sid`. */
  cookieName?: string
  /** Attributes; defaults `path: '/'`, `httpOnly`, `sameSite: 'lax'`, `maxAge: '24h'`. */
  cookie?: SessionCookieOptions
  /** A session ends when it was not used for so long. Default `'30m'`. */
  idle?: Duration
  /** A session ends so long after the login, however much it is used. Default `'12h'`. */
  absolute?: Duration
  /** How exactly uses are recorded: at most one write in this time. Default a tenth of `idle`, at most `'1m'`. */
  touch?: Duration
  /** How many sessions a user may have at a time. Default: any number. */
  maxSessions?: number
  /** What a login beyond `maxSessions` does: `evict` ends the least recently used. Default `evict`. */
  onLimit?: 'evict' | 'refuse'
  /** How often expired sessions are removed. Default `'1m'`. */
  sweep?: Duration
  /**
   * Ours, or one made for express-session or @fastify/session, with the guarantees that its contract allows (see
   * docs/sessions.md). Default: by `app.storage`; without that plugin, in the memory of this process.
   */
  store?: SessionStore | CallbackStore
  /** Default `false`: nothing is stored and no cookie set until a request puts something into its session. */
  saveUninitialized?: boolean
  /** Default `false`: the cookie is sent when it is new or a use is recorded, not with each response. */
  rolling?: boolean
  /**
   * Encrypts what the store keeps of a session (AES-256-GCM), the user's id included: one or more secrets of at
   * least 32 characters, of which the first encrypts and all decrypt. Sessions from before it was set, or of a
   * secret that is gone, are no sessions any more. Default: not encrypted.
   */
  encryption?: string | string[]
  /** How long a `store` of yours may take to answer; the built-in ones keep a deadline. Default `'1s'`. */
  deadline?: Duration
  /** What a logout lets the browser clear (`Clear-Site-Data`). Default `['cache', 'storage']`; `[]` sends nothing. */
  clearSiteData?: ('cache' | 'cookies' | 'storage')[]
  /**
   * What a Redis that may evict sessions under memory pressure (`maxmemory-policy` other than `noeviction`) does to
   * the boot. Default `refuse`.
   */
  onEviction?: 'refuse' | 'warn'
  clock?: Clock
}

/** What each option must be, and what holds without it. */
export const SESSION_RULES = {
  // Checked once it is known whether this is production.
  secret: asGiven<SessionOptions['secret']>(),
  encryption: asGiven<SessionOptions['encryption']>(),
  production: flag(undefined),
  cookieName: text(undefined),
  cookiePrefix: text(''),
  cookie: COOKIE_RULES,
  algorithm: text(undefined),
  idGenerator: supplied<NonNullable<SessionOptions['idGenerator']>>(),
  idle: duration('30m'),
  absolute: duration('12h'),
  touch: duration(undefined, { least: 0 }),
  maxSessions: wholeNumber(undefined),
  onLimit: choice(['evict', 'refuse'], 'evict'),
  sweep: duration('1m'),
  store: supplied<SessionStore | CallbackStore>(),
  saveUninitialized: flag(false),
  rolling: flag(false),
  deadline: duration('1s'),
  clearSiteData: texts(['cache', 'storage']),
  onEviction: choice(['refuse', 'warn'], 'refuse'),
  clock,
} satisfies Rules<SessionOptions>

type ReadOptions = Read<typeof SESSION_RULES>

const DEFAULT_FRESH = '10m'

/**
 * Sessions behind `request.session`, the API of @fastify/session, by an engine of our own.
 *
 * @throws at boot STATEFUL_INVALID_OPTION, STATEFUL_INVALID_DURATION
 */
export const session = defineService<SessionOptions>('session', async (fastify, options) => {
  const read = readOptions(SESSION_RULES, options, 'session')
  const { saveUninitialized, rolling, cookiePrefix, store, encryption } = read
  const log = fastify.log.child({ plugin: 'session' })
  const production = inProduction(read.production, fastify)
  const cookie = sessionCookie(production, read.cookie, read.cookieName)
  const signer = signerOf(read, production)

  const clearSiteData = read.clearSiteData.map((what) => `"${what}"`).join(', ')
  if (!store) await checkEviction(fastify, read.onEviction, (message) => log.warn(message))

  const sessions = new Sessions({
    ...policyOf(read),
    ...(encryption === undefined ? {} : { sealer: sealerOf(encryption, production) }),
    deadline: store ? read.deadline : 0,
    store: storeOf(fastify, store, production),
    clock: read.clock,
    ...busOf(store ? undefined : fastify.storage),
    onError: (err, doing) => log.warn({ err }, `sessions: ${doing} failed`),
  })
  if (!fastify.hasPlugin('@fastify/cookie')) await fastify.register(fastifyCookie)
  const shell = new Shell({
    sessions,
    cookieName: cookie.name,
    cookiePrefix,
    signer,
    saveUninitialized,
    rolling,
    cookie: cookie.options,
    serializeCookie: fastify.serializeCookie,
    onError: (err) => log.error({ err }, 'a callback failed'),
    ...(read.idGenerator ? { idGenerator: read.idGenerator } : {}),
  })

  shell.hooks = await registerShell(fastify, {
    ...(read.algorithm === undefined ? {} : { algorithm: read.algorithm }),
    secret: signer as FastifySessionOptions['secret'],
    cookieName: cookie.name,
    cookiePrefix,
    // The shell writes into the object it is given.
    cookie: { ...cookie.options },
    store: shell.store,
    idGenerator: shell.idGenerator,
    // What is saved is decided before its hook comes; by itself it would also save what ended or failed.
    saveUninitialized: false,
    rolling: false,
  })
  const { decryptSession } = fastify
  fastify.decryptSession = (sessionId: string, request: FastifyRequest, ...rest: unknown[]) => {
    const callback = rest.pop() as (error?: Error) => void
    const [cookieOptions = {}] = rest as [CookieOptions?]
    decryptSession(sessionId, request, cookieOptions, (error?: Error) => {
      if (!error) shell.adoptInto(request)
      shell.call(request, () => callback(error))
    })
  }
  // With callbacks: a promise for each request and hook would be waited for.
  fastify.addHook('onRequest', (request, reply, done) =>
    shell.arrive(request, reply, done as (error?: unknown) => void),
  )
  fastify.addHook('onError', (request, reply, error, done) => {
    shell.fail(request, reply, error)
    done()
  })
  fastify.addHook('onSend', (request, reply, payload, done) =>
    shell.leave(request, reply, payload, (error) => {
      if (error) return done(error as Error)
      if (shell.hasEnded(request)) {
        clearSessionCookie(reply, cookie)
        if (clearSiteData !== '') reply.header('clear-site-data', clearSiteData)
      }
      tidyCookieHeader(fastify, reply, cookie)
      // Neither a shared cache nor the browser of whoever comes next keeps what is for one person. A handler may say
      // otherwise, and the response cache does: it knows what of it is the same for everybody.
      const personal = reply.hasHeader('set-cookie') || (shell.isPersonal(request) && !isInResponseCache(request))
      if (personal && !reply.hasHeader('cache-control')) reply.header('cache-control', 'private, no-store')
      done()
    }),
  )

  fastify.decorate('sessions', sessions)
  fastify.decorate('sessionCookies', sessionCookies(fastify, signer, cookie.options))
  fastify.decorateRequest('login', function (this: FastifyRequest, user: SessionUser, loginOptions?: LoginOptions) {
    return owned(this, shell.login(this, user, loginOptions))
  })
  fastify.decorateRequest('logout', function (this: FastifyRequest) {
    return owned(this, shell.logout(this))
  })
  fastify.decorateRequest('requireFresh', function (this: FastifyRequest, maxAge: Duration = DEFAULT_FRESH) {
    const authenticated = sessions.authenticatedAt(this)
    if (!this.session?.user || authenticated === undefined) throw new UnauthenticatedError()
    // A login that lies ahead is none that is known to be fresh: the clock went back meanwhile.
    const age = Math.abs(sessions.clock.now() - authenticated)
    if (age > milliseconds(maxAge, 'maxAge')) throw new FreshLoginRequiredError()
  })

  fastify.addHook('onReady', () => sessions.start(read.sweep))
  fastify.addHook('onClose', () => sessions.close())
})

function isInResponseCache(request: FastifyRequest): boolean {
  const { cache } = request.routeOptions.config as { cache?: { ttl?: unknown } }
  return cache?.ttl !== undefined && request.server.hasRequestDecorator('cacheFill')
}

function signerOf({ secret, algorithm }: ReadOptions, production: boolean): SessionSigner {
  if (typeof secret === 'object' && !Array.isArray(secret)) return secret
  return liveSigner(checkedSecrets(secret, 'secret', production), algorithm)
}

function sealerOf(given: string | string[], production: boolean) {
  const secrets = checkedSecrets(given, 'session.encryption', production)
  return aesSealer(typeof secrets === 'string' ? [secrets] : secrets)
}

/** A Redis that evicts may end any session, or forget that one was ended. */
async function checkEviction(fastify: FastifyInstance, action: 'refuse' | 'warn', warn: (message: string) => void) {
  const { storage } = fastify as Partial<FastifyInstance>
  if (storage?.kind !== 'redis') return
  // One that cannot be asked now keeps nobody from booting: it may come back.
  const policy = await storage.client.evictionPolicy().catch(() => 'noeviction')
  if (policy === 'noeviction') return
  const message = `Redis has maxmemory-policy '${policy}' and may evict sessions; set it to 'noeviction'`
  if (action === 'refuse') throw invalidOption('storage', `cannot keep sessions: ${message}.`)
  warn(message)
}

function policyOf({ idle, absolute, touch, maxSessions, onLimit }: ReadOptions) {
  const policy = { idle, absolute, touch: touch ?? Math.min(idle / 10, 60_000) }
  if (policy.touch >= idle) {
    throw invalidOption('session.touch', 'must be shorter than idle: a session in use would expire.')
  }
  return maxSessions === undefined ? policy : { ...policy, limit: { sessions: maxSessions, action: onLimit } }
}

function storeOf(fastify: FastifyInstance, store: SessionOptions['store'], production: boolean): SessionStore {
  if (store) return 'load' in store ? store : new CallbackSessionStore(checkedStore(store))
  const { storage } = fastify as Partial<FastifyInstance>
  if (storage) return sessionStoreOn(storage)
  if (production) fastify.log.warn('sessions: neither a storage nor a store; they end with this process')
  return new MemorySessionStore()
}

function checkedStore(store: CallbackStore): CallbackStore {
  const methods: (keyof CallbackStore)[] = ['get', 'set', 'destroy']
  if (methods.every((method) => typeof store[method] === 'function')) return store
  throw invalidOption('session.store', 'must be one of ours, or have the methods get, set and destroy.')
}

function busOf(storage: Storage | undefined) {
  return storage?.kind === 'redis' ? { bus: new RedisRevocationBus(storage) } : {}
}
