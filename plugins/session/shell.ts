import type { CookieOptions, FastifySessionOptions, SessionStore as ShellStore } from '@fastify/session'
import type { FastifyInstance, FastifyReply, FastifyRequest, Session } from 'fastify'
import { InvalidSessionCookieError, SessionRevokedError, UnauthenticatedError } from '../support/errors.ts'
import { failReply, isHeaderError, removeUnsendableHeaders } from '../support/fail-reply.ts'
import { namesFor, refuseUnknown } from '../support/options.ts'
import { changedTexts, storedValues } from './changes.ts'
import { type Device, type OpenSession, type SessionValues, UnreadableSessionError } from './record.ts'
import { lifetimeOf } from './request/cookie.ts'
import { beginSaving, endSaving, ignoreSurplus, isSurplus } from './request/reply.ts'
import type { SessionSigner } from './request/signer.ts'
import type { SessionUser } from './session-data.ts'
import { detach, type SessionMethods, SessionObjects, type ShellSession, valuesOf } from './session-objects.ts'
import type { Sessions } from './sessions.ts'
import type { ShellHooks } from './shell-hooks.ts'
import { bucketOf, idOf, newToken, ownerOf } from './token.ts'
import { VISIT, Visit, type Visited, visitOf } from './visit.ts'

type Callback = (error?: unknown) => void

interface Opened {
  token: string
  open: OpenSession | 'ended' | undefined
}

/** What a call into the shell is about, which hands our store nothing but ids and objects. */
interface Rotation {
  visit: Visit
  login?: { user: SessionUser; device: Device }
  /** The user is taken out of the session. */
  anonymous?: boolean
}

export interface LoginOptions {
  /**
   * Which values of the session before the login stay. Default: all when it was anonymous or the same user's,
   * none when it was another user's.
   */
  keep?: boolean | string[]
}

const LOGIN_OPTIONS = namesFor<LoginOptions>({ keep: true })

export interface ShellOptions {
  sessions: Sessions
  cookieName: string
  cookiePrefix: string
  signer: SessionSigner
  saveUninitialized: boolean
  rolling: boolean
  /** What a session's cookie has unless the session was given others. */
  cookie: CookieOptions
  idGenerator?: FastifySessionOptions['idGenerator']
  serializeCookie: FastifyInstance['serializeCookie']
  /** Told of errors that belong to no request. */
  onError: (error: unknown) => void
}

/**
 * Between @fastify/session and our engine. `request.session` keeps the shell's API; this class supplies its store,
 * calls its hooks where they have something to do, and decides what is saved and when.
 */
export class Shell implements SessionMethods {
  readonly #sessions: Sessions
  readonly #options: ShellOptions
  /**
   * Set while the shell's `regenerate` runs, which calls `idGenerator`, `destroy` and `set` before it returns. An
   * AsyncLocalStorage would do without that knowledge, but slows down every promise of the process (Node 20).
   */
  #rotation: Rotation | undefined
  readonly #objects: SessionObjects
  /** The cookie is sent with each request, and always has the same end. */
  readonly #simple: boolean
  /** Those of @fastify/session, which run inside ours, `arrive` and `leave`. Set when it is registered. */
  hooks!: ShellHooks
  /** What was opened before the shell asks its store for it. */
  #opened: Opened | undefined
  /** What was opened for the shell's constructor, which has run when the callback of `get` returns. */
  #arrived: Opened | undefined

  constructor(options: ShellOptions) {
    this.#sessions = options.sessions
    this.#options = options
    this.#objects = new SessionObjects(this, options.cookie)
    this.#simple = (options.cookie.path ?? '/') === '/' && !options.cookie.expires
  }

  /** The store that the shell talks to. */
  readonly store: ShellStore = {
    get: (token, callback) => {
      const give = (open: Opened['open']) => {
        if (open === undefined) return callback(null, null as unknown as Session)
        const values = open === 'ended' ? {} : this.#sessions.valuesOf(open)
        if (!values) return callback(null, null as unknown as Session)
        this.#arrived = { token, open }
        callback(null, values as unknown as Session)
        this.#arrived = undefined
      }
      const opened = this.#opened
      this.#opened = undefined
      if (opened?.token === token) give(opened.open)
      else this.#answer(this.#sessions.open(token).then(give, (error) => callback(error)))
    },
    set: (token, session, callback) => {
      const visit = this.#rotation?.visit ?? visitOf(session)
      this.#answer(
        this.#set(token, session as ShellSession).then(() => callback(), callback),
        visit,
      )
    },
    destroy: (token, callback) => {
      // The second half of a rotation, `set`, replaces the former session in one step.
      if (this.#rotation) callback()
      else this.#answer(this.#destroy(token).then(() => callback(), callback))
    },
  }

  /** Of a store's answer, whose callback may throw: it runs what the application does next. */
  #answer(called: Promise<void>, visit?: Visit): void {
    called.catch((error) => (visit ? this.failed(visit, error) : this.#options.onError(error)))
  }

  /** Tokens of the shell's new sessions lie in the bucket of their user. */
  readonly idGenerator: NonNullable<FastifySessionOptions['idGenerator']> = (request) => {
    const secret = this.#options.idGenerator?.(request)
    const rotation = this.#rotation
    if (rotation?.login) return newToken(bucketOf(ownerOf(rotation.login.user.id)), secret)
    const former = rotation?.anonymous ? undefined : rotation?.visit.open
    // Nobody's session may lie anywhere: what the application generates stays as it is.
    if (secret !== undefined && former?.owner === undefined) return secret
    return newToken(former ? bucketOf(former.id) : undefined, secret)
  }

  // --- hooks --------------------------------------------------------------------------------------

  /** Loads the session of the request's cookie. */
  arrive(request: FastifyRequest, reply: FastifyReply, done: Callback): void {
    const signed = this.#signedIn(request)
    const verified = signed ? this.#options.signer.unsign(signed) : undefined
    const token = verified?.valid ? verified.value : null
    if (signed && token && this.#simple) {
      this.#sessions
        .open(token)
        .then((open) => {
          let restored = false
          try {
            restored = typeof open === 'object' && this.#restore(request, reply, signed, token, open)
          } catch (error) {
            if (!(error instanceof UnreadableSessionError)) return done(error)
            // Told when the shell asks for it below.
          }
          if (restored) done()
          else this.#construct(request, reply, done, { token, open })
        }, done)
        // The rest of the request runs inside of `done`. What it throws past all handlers is this request's.
        .catch((error) => failReply(reply, error))
    } else {
      this.#construct(request, reply, done)
    }
  }

  #signedIn(request: FastifyRequest): string | undefined {
    const cookie = request.cookies[this.#options.cookieName]
    const prefix = this.#options.cookiePrefix
    if (prefix === '') return cookie
    return cookie?.startsWith(prefix) ? cookie.slice(prefix.length) : undefined
  }

  /** A live session, without the constructor of the shell. */
  #restore(request: FastifyRequest, reply: FastifyReply, signed: string, token: string, open: OpenSession): boolean {
    const { texts } = open
    // Names that mean something to the shell.
    if ('cookie' in texts || 'sessionId' in texts || 'encryptedSessionId' in texts) return false
    const visit = new Visit(request, reply)
    const signedNow = this.#options.signer.sign(token)
    const session = this.#objects.restore(visit, token, signedNow, texts)
    if (!session) return false
    request.session = session
    ;(request as Visited)[VISIT] = visit
    this.#open(visit, open)
    this.#due(visit, open, signed === signedNow)
    return true
  }

  /** Whatever is not simple: new sessions, ended ones, cookies of their own. */
  #construct(request: FastifyRequest, reply: FastifyReply, done: Callback, opened?: Opened): void {
    // The shell asks its store before it returns, if at all.
    this.#opened = opened
    this.hooks.onRequest(request, reply, (error) => {
      if (error) return done(error)
      const session = request.session
      if (session?.sessionId && session.encryptedSessionId) {
        const visit = new Visit(request, reply)
        ;(request as Visited)[VISIT] = visit
        this.#adopt(session, visit)
        if (visit.open) this.#due(visit, visit.open, this.#signedIn(request) === session.encryptedSessionId)
      }
      done()
    })
    this.#opened = undefined
  }

  #due(visit: Visit, open: OpenSession, sameCookie: boolean): void {
    visit.touchDue = this.#sessions.isTouchDue(open) || this.#options.rolling
    // Signed with a former secret: the browser gets the cookie anew, and nobody is logged out.
    visit.cookieDue = !sameCookie
  }

  /** The request failed. What it changed in its session is not saved, unless its reply is on its way already. */
  fail(request: FastifyRequest, reply: FastifyReply, error: unknown): void {
    // Also for error handlers of the application, which keep the headers that their reply has.
    if (isHeaderError(error)) removeUnsendableHeaders(reply)
    const visit = (request as Visited)[VISIT]
    if (!visit) return
    if (visit.stage === 'saving') {
      visit.disturbed = true
      request.log.error({ err: error }, 'failed after the reply was sent; the reply stands')
      return
    }
    visit.discard = true
    visit.failing = true
  }

  /** Saves what has changed, and lets the shell set the cookie. */
  leave(request: FastifyRequest, reply: FastifyReply, payload: unknown, done: Callback): void {
    const visit = (request as Visited)[VISIT]
    if (!visit) {
      this.hooks.onSend(request, reply, payload, done)
      return
    }
    if (isSurplus(visit, reply)) {
      ignoreSurplus(visit, reply)
      return
    }
    if (visit.stage === 'handling' && reply.raw.headersSent) visit.raw = true
    const end = (error?: unknown) => {
      const failed = error !== undefined && error !== null
      visit.failed = failed
      visit.failing = failed
      if (failed) visit.stage = 'handling'
      else endSaving(visit, reply, payload)
      try {
        done(error)
      } catch (thrown) {
        // The reply could not be written. From a promise, nobody else would hear of it.
        visit.stage = 'handling'
        this.#doneAgain(reply, done, thrown)
      }
    }
    try {
      this.#leave(request, reply, payload, visit, end)
    } catch (error) {
      end(error)
    }
  }

  /** Fastify turns the error into a reply, with its next handler each time that this fails. */
  #doneAgain(reply: FastifyReply, done: Callback, thrown: unknown): void {
    try {
      done(thrown)
    } catch (error) {
      failReply(reply, error)
    }
  }

  #leave(request: FastifyRequest, reply: FastifyReply, payload: unknown, visit: Visit, end: Callback): void {
    const { session } = request
    const setCookie = () => this.hooks.onSend(request, reply, payload, end)
    if (visit.failed) {
      if (session) detach(session)
      setCookie()
    } else if (!session || visitOf(session) !== visit) {
      setCookie()
    } else {
      const bound = visit.discard || !this.#isRebound(session, visit) ? undefined : this.#rebind(request, visit)
      if (bound) {
        beginSaving(visit, reply)
        bound.then(() => this.#save(request.session, visit, reply, setCookie, end)).catch(end)
      } else {
        this.#save(session, visit, reply, setCookie, end)
      }
    }
  }

  #save(session: ShellSession, visit: Visit, reply: FastifyReply, setCookie: () => void, end: Callback): void {
    if (this.#needsSave(session, visit)) {
      this.#checkCookie(session)
      beginSaving(visit, reply)
      session.save((error) => {
        if (error) return end(error)
        try {
          this.#asCompared(visit, setCookie)
        } catch (thrown) {
          end(thrown)
        }
      })
    } else if (visit.open && !visit.ended && !session.isSaved()) {
      // The browser has the right cookie.
      end()
    } else {
      // The browser may have the cookie of another session by now.
      if (visit.ended) detach(session)
      else if (session.isSaved()) this.#checkCookie(session)
      this.#asCompared(visit, setCookie)
    }
  }

  /**
   * A cookie that cannot be written fails this request, and before anything is saved. Once @fastify/cookie has it, the
   * answer that tells of the failure would fail as well.
   */
  #checkCookie(session: ShellSession): void {
    const { cookie } = session as { cookie?: { toJSON?: () => object } | null }
    if (typeof cookie?.toJSON !== 'function') throw new InvalidSessionCookieError('it is no cookie any more')
    try {
      this.#options.serializeCookie(this.#options.cookieName, session.encryptedSessionId, cookie.toJSON())
    } catch (cause) {
      throw new InvalidSessionCookieError((cause as Error).message, { cause })
    }
  }

  /** Nothing can have changed since it was compared or saved: the shell's own onSend, inside, need not look again. */
  #asCompared(visit: Visit, setCookie: () => void): void {
    visit.unchanged = !visit.ended
    setCookie()
    visit.unchanged = false
  }

  /** Whether a handler put another user into the session, or took the user out, without login() and logout(). */
  #isRebound(session: ShellSession, visit: Visit): boolean {
    const id = session.user?.id
    return (typeof id === 'string' ? id : undefined) !== visit.open?.userId
  }

  /** Whoever becomes someone else gets a fresh id, however it was done: an id known from before is worth nothing. */
  #rebind(request: FastifyRequest, visit: Visit): Promise<void> {
    const { user } = request.session
    if (typeof user?.id === 'string') return this.login(request, user, { keep: true })
    return this.#rotate(request, { visit, anonymous: true }, Object.keys(valuesOf(request.session)))
  }

  // --- what a request can do ----------------------------------------------------------------------

  async login(request: FastifyRequest, user: SessionUser, options: LoginOptions = {}): Promise<void> {
    refuseUnknown(options, LOGIN_OPTIONS)
    const visit = this.#visitOf(request)
    const userAgent = request.headers['user-agent']
    const device = { ip: request.ip, ...(userAgent === undefined ? {} : { userAgent: userAgent.slice(0, 512) }) }
    const keep = options.keep ?? (visit.open?.userId === undefined || visit.open.userId === user.id)
    const present = Object.keys(valuesOf(request.session))
    const keys = Array.isArray(keep) ? present.filter((key) => keep.includes(key)) : keep ? present : []
    await this.#rotate(request, { visit, login: { user, device } }, keys)
  }

  async logout(request: FastifyRequest): Promise<void> {
    const visit = (request as Visited)[VISIT]
    if (visit?.open) await this.#sessions.end(visit.open, 'logout')
    request.session = null as unknown as ShellSession
  }

  /** Whether the request had a session that is no more. */
  hasEnded(request: FastifyRequest): boolean {
    return request.session === null && (request as Visited)[VISIT] !== undefined
  }

  /** Whether the request came with a session or got one: its answer is for nobody else. */
  isPersonal(request: FastifyRequest): boolean {
    const visit = (request as Visited)[VISIT]
    return visit?.open !== undefined || visit?.ended === true
  }

  /** Takes a session over that the shell made outside its hooks (`decryptSession`, `reload`). */
  adoptInto(request: FastifyRequest): void {
    const session = request.session
    if (!session || visitOf(session)) return
    const visit = (request as Visited)[VISIT] ?? new Visit(request)
    ;(request as Visited)[VISIT] = visit
    this.#adopt(session, visit)
  }

  // --- inside -------------------------------------------------------------------------------------

  #visitOf(request: FastifyRequest): Visit {
    const visit = (request as Visited)[VISIT]
    if (!visit || !request.session) throw new UnauthenticatedError()
    return visit
  }

  #adopt(session: ShellSession, visit: Visit): void {
    const arrived = this.#arrived?.token === session.sessionId ? this.#arrived.open : undefined
    this.#arrived = undefined
    visit.ended = arrived === 'ended'
    if (typeof arrived === 'object') this.#open(visit, arrived)
    this.#objects.bind(session, visit)
  }

  /** Calls back, and ends the request with what that throws. */
  call(request: FastifyRequest, callback: () => void): void {
    try {
      callback()
    } catch (thrown) {
      const visit = (request as Visited)[VISIT]
      if (visit) this.failed(visit, thrown)
      else this.#options.onError(thrown)
    }
  }

  failed(visit: Visit, error: unknown): void {
    if (visit.reply) failReply(visit.reply, error)
    else visit.request.log.error({ err: error }, 'a callback failed')
  }

  async update(session: ShellSession, key: string, change: (value: unknown) => unknown): Promise<unknown> {
    const values = session as unknown as SessionValues
    const open = visitOf(session)?.open
    if (!open) {
      values[key] = await change(values[key])
      return values[key]
    }
    const updated = await this.#sessions.update(open.id, async (stored) => ({ [key]: await change(stored[key]) }))
    if (!updated) throw new SessionRevokedError()
    const value = updated.data[key]
    values[key] = value
    // Saved already: what the end of the request compares with has it, too.
    const { [key]: _former, ...others } = open.texts
    open.texts = value === undefined ? others : { ...others, [key]: JSON.stringify(value) }
    return value
  }

  isModified(session: ShellSession, visit: Visit): boolean {
    if (visit.discard || visit.unchanged) return false
    if (!visit.open) return Object.keys(valuesOf(session)).length > 0
    return changedTexts(session, visit.open, this.#options.cookie) !== visit.open.texts
  }

  #needsSave(session: ShellSession, visit: Visit): boolean {
    if (visit.ended) return this.isModified(session, visit)
    if (!visit.open) return !visit.discard && (this.#options.saveUninitialized || this.isModified(session, visit))
    return visit.touchDue || visit.cookieDue || this.isModified(session, visit)
  }

  regenerate(visit: Visit, keys: string[]): Promise<void> {
    return this.#rotate(visit.request, { visit }, keys)
  }

  async #rotate(request: FastifyRequest, rotation: Rotation, keys: string[]): Promise<void> {
    const former = request.session
    try {
      await this.#within(rotation, () => this.#objects.base.regenerate.call(former, keys))
    } catch (error) {
      // The shell swaps the session even when it could not be stored.
      request.session = former
      throw error
    }
  }

  #within<T>(rotation: Rotation, call: () => T): T {
    this.#rotation = rotation
    try {
      return call()
    } finally {
      this.#rotation = undefined
    }
  }

  async #set(token: string, session: ShellSession): Promise<void> {
    const rotation = this.#rotation
    if (rotation) return this.#replace(token, session, rotation)
    const visit = visitOf(session)
    if (visit?.ended) throw new SessionRevokedError()
    if (!visit?.open) {
      const idle = this.#idleOf(session)
      if (idle <= 0) return this.#destroy(token)
      const open = await this.#sessions.begin(token, storedValues(session, this.#options.cookie), { idle })
      if (!visit) return
      this.#open(visit, open)
      // Also when the session is loaded again before the answer leaves.
      visit.cookieDue = true
      return
    }
    const texts = visit.discard ? visit.open.texts : changedTexts(session, visit.open, this.#options.cookie)
    if (texts === visit.open.texts && !visit.touchDue) return
    visit.touchDue = false
    if (await this.#sessions.save(visit.open, texts, this.#idleOf(session))) return
    // It ended while this request was at work. The browser may have the cookie of another by now.
    visit.ended = true
    detach(session)
  }

  async #replace(token: string, session: ShellSession, { visit, login, anonymous }: Rotation): Promise<void> {
    if (login) session.user = login.user
    const values = valuesOf(session)
    const former = visit.open
    const userId = anonymous ? undefined : (login?.user.id ?? former?.userId)
    if (former || login || this.#options.saveUninitialized || Object.keys(values).length > 0) {
      const open = await this.#sessions.begin(token, storedValues(session, this.#options.cookie), {
        ...(userId === undefined ? {} : { userId }),
        ...(former ? { former } : {}),
        ...(login ? { login: true, device: login.device } : {}),
        idle: this.#idleOf(session),
      })
      this.#open(visit, open)
      visit.cookieDue = true
    }
    visit.ended = false
    visit.touchDue = false
    this.#objects.bind(session, visit)
  }

  async #destroy(token: string): Promise<void> {
    await this.#sessions.revoke(idOf(token), 'logout')
  }

  /** A session lives no longer than a browser keeps its cookie. */
  #idleOf({ cookie }: ShellSession): number {
    return Math.min(this.#sessions.policy.idle, lifetimeOf(cookie, this.#sessions.clock.now()))
  }

  #open(visit: Visit, open: OpenSession): void {
    visit.open = open
    this.#sessions.attach(visit.request, open)
  }
}
