import { EventEmitter } from 'node:events'
import type { Clock } from '../../support/clock.ts'
import type { Duration } from '../../support/durations.ts'
import { SessionRevokedError } from '../../support/errors.ts'
import { asGiven, clock, duration, type Rules, readOptions, supplied } from '../../support/options.ts'
import { checkedSecrets } from '../../support/secrets.ts'
import { aesSealer } from '../encryption.ts'
import { SessionEngine } from '../engine.ts'
import { type OpenSession, type SessionValues, stringifyValues } from '../record.ts'
import type { Ended, SessionStore } from '../stores/contract.ts'
import { MemorySessionStore } from '../stores/memory.ts'
import { answer, type ForeignCookie, lifetimeOf, type StoreCallback } from './foreign-session.ts'

export interface ExpressStoreOptions {
  /** Default: in memory. `sessionStoreOn(storage)` gives one on LMDB or Redis. */
  store?: SessionStore
  /** How long a session lives whose cookie has no expiry. Default `'24h'`. */
  ttl?: Duration
  /** The option of that name of the plugin `session`, when both use one store. Default: not encrypted. */
  encryption?: string | string[]
  clock?: Clock
}

const EXPRESS_STORE_RULES = {
  store: supplied<SessionStore>(),
  ttl: duration('24h'),
  encryption: asGiven<ExpressStoreOptions['encryption']>(),
  clock,
} satisfies Rules<ExpressStoreOptions>

/**
 * A session as express-session hands it to a store, and gets it back. Methods that answer one are generic, so that the
 * types of express-session, a package of their own, fit without being needed.
 */
export interface ExpressSession {
  cookie: ForeignCookie
}

/** The request, as far as a store has to do with it. */
export interface ExpressRequest {
  sessionID?: string
  sessionStore?: unknown
  session?: object
}

/** What express-session makes sessions of. */
interface ExpressClasses {
  Session: new (req: ExpressRequest, values: ExpressSession) => ExpressSession
  /** Prototype of its cookies, which are made by no class. */
  cookie: ForeignCookie
}

/** How often expired sessions are removed, in milliseconds: by the next call that stores one. */
const SWEEP_INTERVAL = 60_000
/** There is no absolute end in the contract of express-session; a time that no session reaches stands for it. */
const NEVER = 10 * 365 * 24 * 60 * 60 * 1_000
/** What a session that another than Express began tells of its cookie: that one is not ours to prolong. */
const NO_COOKIE = { originalMaxAge: null, expires: null, httpOnly: true, path: '/' }

/**
 * The store of an express-session, on one of our session stores. Each method takes a callback or returns a promise.
 *
 * - What is kept is under a hash of the session's id, so `ids()` and the keys of `all()` are hashes as well.
 * - A session that was destroyed in the last 30 seconds is not brought back: a slow request that saves after a logout
 *   changes nothing. The contract hands over whole sessions, so it cannot merge what parallel requests change.
 * - It shares its sessions with the plugin `session` on the same store, see docs/sessions.md.
 * - A storage that is away fails the request (503). It is not told as `disconnect`, upon which express-session goes on
 *   as if no user were logged in; an application that wants that may emit it.
 *
 * It loads no express-session, of which an application may have several: which classes a session is made of is learned
 * from `generate`, which express-session gives to each store. @fastify/session has `sessionStore` instead.
 *
 * @example
 * ```ts
 * app.use(expressSession({ secret, store: new ExpressStore({ store: sessionStoreOn(storage) }) }))
 * ```
 */
export class ExpressStore extends EventEmitter {
  /** Set by express-session: gives a request a new session. */
  generate?: (req: ExpressRequest) => void
  readonly #engine: SessionEngine
  #classes: ExpressClasses | undefined
  #sweepAt = Number.NEGATIVE_INFINITY

  constructor(options: ExpressStoreOptions = {}) {
    super()
    const { store, ttl, encryption, clock } = readOptions(EXPRESS_STORE_RULES, options)
    const secrets = encryption && checkedSecrets(encryption, 'encryption', false)
    this.#engine = new SessionEngine({
      ...{ idle: ttl, absolute: NEVER, touch: 0, clock },
      ...(secrets ? { sealer: aesSealer(typeof secrets === 'string' ? [secrets] : secrets) } : {}),
      store: store ?? new MemorySessionStore(),
    })
  }

  // --- what express-session asks of the store -----------------------------------------------------

  get<Session = ExpressSession>(sid: string, callback?: StoreCallback<Session | null>) {
    return answered(this.#get(sid) as Promise<Session | null>, callback)
  }

  set(sid: string, session: object, callback?: StoreCallback) {
    return answered(this.#set(sid, session), callback)
  }

  touch(sid: string, session: { cookie?: ForeignCookie }, callback?: StoreCallback) {
    return answered(this.#touch(sid, session), callback)
  }

  destroy(sid: string, callback?: StoreCallback) {
    return answered(this.#destroy(sid), callback)
  }

  /** Puts a new session in the place of the request's. */
  regenerate(req: ExpressRequest, callback: (error?: unknown) => void): void {
    this.destroy(req.sessionID as string, (error) => {
      this.generate?.(req)
      callback(error)
    })
  }

  /** The session of an id, for what is no request: a WebSocket, a script. */
  load<Session = ExpressSession>(sid: string, callback: StoreCallback<Session | undefined>): void {
    const request = { sessionID: sid, sessionStore: this }
    const loaded = this.#get(sid).then((values) => values && this.createSession<Session>(request, values))
    answer(
      loaded.then((session) => session ?? undefined),
      callback,
    )
  }

  /** Gives the request the session that these values were stored of. */
  createSession<Session = ExpressSession>(req: ExpressRequest, values: ExpressSession): Session {
    this.#classes ??= this.#learnClasses(req)
    const { Session, cookie: prototype } = this.#classes
    const originalMaxAge = values.cookie.originalMaxAge
    const cookie: ForeignCookie = Object.assign(Object.create(prototype), NO_COOKIE, values.cookie)
    if (typeof cookie.expires === 'string') cookie.expires = new Date(cookie.expires)
    // Setting the expiry makes it count from now.
    cookie.originalMaxAge = originalMaxAge
    values.cookie = cookie
    req.session = new Session(req, values)
    return req.session as Session
  }

  /** Has a session made that is thrown away, for a request that this one does not notice. */
  #learnClasses(req: ExpressRequest): ExpressClasses {
    if (!this.generate) throw new TypeError('createSession and load need a store that express-session was given')
    const probe: ExpressRequest = Object.assign(Object.create(req), 'headers' in req ? {} : { headers: {} })
    this.generate(probe)
    const session = probe.session as ExpressSession
    return {
      Session: session.constructor as ExpressClasses['Session'],
      cookie: Object.getPrototypeOf(session.cookie),
    }
  }

  // --- what applications may ask of it ------------------------------------------------------------

  all<Session = ExpressSession>(callback?: StoreCallback<Record<string, Session>>) {
    return answered(this.#all() as Promise<Record<string, Session>>, callback)
  }

  ids(callback?: StoreCallback<string[]>) {
    return answered(this.#all().then(Object.keys), callback)
  }

  length(callback?: StoreCallback<number>) {
    return answered(this.#engine.count(), callback)
  }

  clear(callback?: StoreCallback) {
    return answered(this.#clear(), callback)
  }

  async #get(sid: string): Promise<ExpressSession | null> {
    const open = await this.#engine.open(sid)
    if (typeof open !== 'object') return null
    const session = this.#read(open)
    if (session !== 'expired') return session
    // A save can make a session end later, never earlier; the cookie says earlier.
    await this.#engine.end(open, 'expired')
    return null
  }

  /** One that cannot be read is none; one may have expired by its cookie. */
  #read(open: OpenSession): ExpressSession | 'expired' | null {
    const values = this.#engine.valuesOf(open)
    if (!values) return null
    if (!isOfExpress(open)) values['cookie'] ??= { ...NO_COOKIE }
    const session = values as unknown as ExpressSession
    const now = this.#engine.clock.now()
    if ((lifetimeOf(session.cookie, now) ?? 1) > 0) return session
    // The plugin `session` records a use without the cookie that lasts longer by it.
    const used = open.seen + (session.cookie.originalMaxAge ?? 0)
    session.cookie.expires = new Date(used).toISOString()
    return used > now ? session : 'expired'
  }

  async #set(sid: string, session: { cookie?: ForeignCookie }): Promise<void> {
    this.#sweepNowAndThen()
    const open = await this.#engine.open(sid)
    const idle = this.#idleOf(session.cookie, open)
    if (idle <= 0) {
      await this.#end(open)
    } else if (open === undefined) {
      const ends = this.#engine.clock.now() + Math.max(NEVER, idle)
      await this.#engine.begin(sid, session as SessionValues, { idle, ends })
    } else if (typeof open === 'object') {
      const { cookie, ...texts } = stringifyValues(session as SessionValues)
      const kept = cookie === undefined || isCookieForeign(open, session.cookie) ? texts : { ...texts, cookie }
      await this.#save(open, kept, idle)
    }
  }

  async #touch(sid: string, { cookie }: { cookie?: ForeignCookie }): Promise<void> {
    const open = await this.#engine.open(sid)
    if (typeof open !== 'object') return
    const kept = cookie && !isCookieForeign(open, cookie) ? { cookie: JSON.stringify(cookie) } : {}
    await this.#save(open, { ...open.texts, ...kept }, this.#idleOf(cookie, open))
  }

  async #save(open: OpenSession, texts: Record<string, string>, idle: number): Promise<void> {
    try {
      await this.#engine.save(open, texts, { idle })
    } catch (error) {
      // Once its reply is on its way, express-session can tell of an error by nothing but a broken connection.
      if (!(error instanceof SessionRevokedError)) throw error
    }
  }

  async #destroy(sid: string): Promise<void> {
    await this.#end(await this.#engine.open(sid))
  }

  async #end(open: OpenSession | Ended | undefined): Promise<void> {
    if (typeof open === 'object') await this.#engine.end(open, 'logout')
  }

  async #all(): Promise<Record<string, ExpressSession>> {
    const all = await this.#engine.all()
    return Object.fromEntries(
      all.flatMap((open) => {
        const session = this.#read(open)
        return typeof session === 'object' && session ? [[open.id, session]] : []
      }),
    )
  }

  async #clear(): Promise<void> {
    for (const open of await this.#engine.all()) await this.#engine.end(open, 'clear')
  }

  #idleOf(cookie: ForeignCookie | undefined, open: OpenSession | Ended | undefined): number {
    const lifetime = lifetimeOf(cookie, this.#engine.clock.now())
    if (lifetime !== undefined) return lifetime
    return typeof open === 'object' && isCookieForeign(open, cookie)
      ? open.expires - open.seen
      : this.#engine.policy.idle
  }

  #sweepNowAndThen(): void {
    const now = this.#engine.clock.now()
    if (now < this.#sweepAt) return
    this.#sweepAt = now + SWEEP_INTERVAL
    // If the storage is away, the next caller that asks for a session gets the error.
    this.#engine.sweep().catch(() => {})
  }
}

/** Whether an `ExpressStore` began it, and not the plugin `session` on the same store. */
function isOfExpress({ created, ends }: OpenSession): boolean {
  return ends - created >= NEVER
}

/** Whether its cookie is none of Express's business: another began it, and Express has said nothing of it. */
function isCookieForeign(open: OpenSession, cookie: ForeignCookie | undefined): boolean {
  return !isOfExpress(open) && !('cookie' in open.texts) && !cookie?.expires && !cookie?.originalMaxAge
}

function answered<Value>(
  result: Promise<Value>,
  callback: StoreCallback<Value> | undefined,
): Promise<Value> | undefined {
  if (!callback) return result
  answer(result, callback)
  return undefined
}
