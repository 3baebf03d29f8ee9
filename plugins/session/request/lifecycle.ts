import { Socket } from 'node:net'
import type { CookieOptions } from '@fastify/session'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { type Duration, milliseconds } from '../../support/durations.ts'
import { endOfTurn } from '../../support/end-of-turn.ts'
import { UnauthenticatedError, UnidentifiedUserError } from '../../support/errors.ts'
import { checkStatusText, failReply, removeUnsendableHeaders } from '../../support/fail-reply.ts'
import { namesFor, refuseUnknown } from '../../support/options.ts'
import type { Adopt } from '../compat/adopt.ts'
import type { SessionEngine } from '../engine.ts'
import { type OpenSession, UnreadableSessionError } from '../record.ts'
import { inOwnWords, keepOwnWords } from '../stores/callback.ts'
import type { Ended } from '../stores/contract.ts'
import { BrowserCookie, type BrowserCookieOptions, type SignedToken } from './browser-cookie.ts'
import { changedTexts } from './changes.ts'
import { cookiesNamed } from './cookie.ts'
import { putValues, revertValues, Session, type SessionActions, SessionState, stateOf, valuesOf } from './session.ts'
import { SessionWriter, type SessionWriterOptions } from './session-writer.ts'
import { type Arrival, beginVisit, Visit, visitOf } from './visit.ts'

type Done = (error?: unknown) => void

/** Options of `request.login`. */
export interface LoginOptions {
  /**
   * Which values of the session before the login stay. Default: all when it was anonymous or the same user's,
   * none when it was another user's.
   */
  keep?: boolean | string[]
  /**
   * How long the session lasts, however much it is used; the cookie stays in the browser as long ("remember me").
   * Default: the option `absolute`.
   */
  lifetime?: Duration
  /**
   * The session ends when it was not used for so long. Default: `lifetime` if that is given, else the option `idle`.
   */
  idle?: Duration
}

const LOGIN_OPTIONS = namesFor<LoginOptions>({ keep: true, lifetime: true, idle: true })

/** Cookies of one name that are looked at in one request. */
const MAX_CANDIDATES = 4

export interface LifecycleOptions extends BrowserCookieOptions, SessionWriterOptions {
  saveOnError: boolean
  rolling: boolean
  adopt?: Adopt | undefined
  /** The store is one of the application's own, not one of ours. */
  ownStore: boolean
  /** The store answers at once: requests over a network wait for those that come in the same turn of the event loop. */
  gathers: boolean
}

/**
 * What becomes of a request's session from the moment when the request arrives until its reply is sent.
 *
 * ```
 * arrive ─▶ none ──────────┐ nothing is stored until the application puts something into it
 *           ended ─────────┤ as `none`, and the cookie is taken away
 *           replaced ──────┤ as `none`, but the browser has another cookie by now, which is left alone
 *           live ──────────┤
 *                          ▼
 *                    the handler reads, changes, logs in, regenerates, ends
 *                          │                    │ throws
 *                          │                    ▼
 *                          │           the values are again what is stored (unless `saveOnError`);
 *                          │           the error handler may change them
 *                          ▼                    │
 * leave ─▶ 1. what the handler did not wait for is waited for
 *          2. `request.session = null`, `destroy()`, `logout()`: it is ended, the cookie taken away
 *             another user than before: a fresh id (fixation); changed: saved; else a use is recorded when it is due
 *          3. the cookie is set when the browser does not have it yet, or lives on by a save
 * ```
 *
 * What ends while the request is at work refuses its save (401) and leaves the cookie alone. What fails in `leave`
 * fails this request: the reply that tells of it goes out without a session. How often something is sent is the
 * business of {@link Answer}.
 */
export class Lifecycle implements SessionActions {
  readonly #engine: SessionEngine
  readonly #options: LifecycleOptions
  readonly #usual: CookieOptions
  readonly #path: string
  readonly #cookie: BrowserCookie
  readonly #writer: SessionWriter

  constructor(options: LifecycleOptions) {
    this.#engine = options.engine
    this.#options = options
    this.#usual = options.cookie.options
    this.#path = options.cookie.options.path ?? '/'
    this.#cookie = new BrowserCookie(options)
    this.#writer = new SessionWriter(options)
  }

  // --- arrival ------------------------------------------------------------------------------------

  /** Gives the request its session. @returns a promise if the store is asked */
  arrive(request: FastifyRequest, reply: FastifyReply): Promise<void> | undefined {
    if (!this.#covers(request)) {
      request.session = {} as never
      return undefined
    }
    const { cookie } = this.#options
    const visit = new Visit(request, reply)
    const signed = request.cookies[cookie.name]
    if (signed !== undefined) {
      const read = this.#cookie.read(signed)
      if (read) return this.#find(visit, read)
      const others = cookiesNamed(request, cookie.name)
      if (others.length > 1) return this.#findAmong(visit, others)
    }
    return this.#beginOrAdopt(visit, 'none')
  }

  #covers({ raw }: FastifyRequest): boolean {
    const path = this.#path
    if (path === '/') return true
    const url = (raw.url ?? '').split('?', 1)[0] as string
    return url.startsWith(path) && (path.endsWith('/') || url.length === path.length || url[path.length] === '/')
  }

  #find(visit: Visit, signed: SignedToken): Promise<void> {
    const gathered = this.#options.gathers && visit.request.raw.socket instanceof Socket
    const found = gathered ? endOfTurn().then(() => this.#engine.open(signed.token)) : this.#engine.open(signed.token)
    return found.then((open) => {
      if (typeof open === 'object' && this.#restore(visit, signed.token, open)) {
        this.#due(visit, open, signed)
        return
      }
      const others = cookiesNamed(visit.request, this.#options.cookie.name)
      if (others.length > 1) return this.#findAmong(visit, others)
      return this.#beginOrAdopt(visit, arrivalOf(open))
    })
  }

  /** A sibling domain may have set a cookie of the same name: each is tried, in the order in which they were sent. */
  async #findAmong(visit: Visit, cookies: string[]): Promise<void> {
    let arrival: Arrival = 'none'
    for (const cookie of cookies.slice(0, MAX_CANDIDATES)) {
      const signed = this.#cookie.read(cookie)
      if (!signed) continue
      const open = await this.#engine.open(signed.token)
      if (typeof open === 'object' && this.#restore(visit, signed.token, open)) {
        this.#due(visit, open, signed)
        return
      }
      if (arrival !== 'replaced') arrival = arrivalOf(open)
    }
    await this.#beginOrAdopt(visit, arrival)
  }

  #due(visit: Visit, open: OpenSession, { renew }: SignedToken): void {
    const state = stateOf(visit.session) as SessionState
    state.touchDue = this.#engine.isTouchDue(open) || this.#options.rolling
    // The browser gets a newly signed cookie, and no user is logged out.
    state.cookieDue = renew
  }

  #restore(visit: Visit, token: string, open: OpenSession): boolean {
    const state = new SessionState(this, visit, this.#usual, token, open)
    const session = new Session(state)
    try {
      putValues(session, open.texts)
    } catch (error) {
      if (!(error instanceof UnreadableSessionError)) throw error
      this.#engine.noteUnreadable(error)
      return false
    }
    visit.arrival = 'live'
    this.#give(visit, session)
    return true
  }

  /** A cookie of ours that is unknown may be that of the plugin which was here before, under the same name. */
  #beginOrAdopt(visit: Visit, arrival: Arrival): Promise<void> | undefined {
    const adopting =
      arrival === 'none'
        ? this.#options.adopt?.(visit.request, (values, secret) =>
            this.#writer.beginAdopted(visit.request, values, secret),
          )
        : undefined
    if (!adopting) {
      this.#begin(visit, arrival)
      return undefined
    }
    return adopting.then((adopted) => {
      if (!adopted || !this.#restore(visit, adopted.token, adopted.open)) this.#begin(visit, arrival)
      else (stateOf(visit.session) as SessionState).cookieDue = true
    })
  }

  #begin(visit: Visit, arrival: Arrival): void {
    visit.arrival = arrival
    this.#give(visit, new Session(new SessionState(this, visit, this.#usual)))
  }

  #give(visit: Visit, session: Session): void {
    visit.session = session
    beginVisit(visit)
    visit.request.session = session as never
  }

  /**
   * Gives a request the session of a signed cookie: for what is no request of Fastify's hooks (a WebSocket, a script).
   * @param cookie attributes of the session's cookie, beside the usual ones
   */
  async decrypt(signed: string, request: FastifyRequest, cookie: CookieOptions): Promise<void> {
    const visit = new Visit(request)
    const { valid, value } = this.#options.signer.unsign(signed)
    const open = valid && value !== null ? await this.#engine.open(value) : undefined
    if (value === null || typeof open !== 'object' || !this.#restore(visit, value, open)) {
      this.#begin(visit, arrivalOf(open))
    }
    const state = stateOf(visit.session) as SessionState
    if (Object.keys(cookie).length > 0) state.usual = { ...this.#usual, ...cookie }
  }

  // --- departure ----------------------------------------------------------------------------------

  /** The request failed: what it changed in its session is undone, unless its reply is on its way already. */
  fail(request: FastifyRequest, reply: FastifyReply, error: unknown): void {
    if (this.#options.ownStore) keepOwnWords(error)
    const visit = visitOf(request)
    if (visit && !visit.answer.fail()) {
      request.log.error({ err: error }, 'failed after the reply was sent; the reply stands')
      return
    }
    // Also for error handlers of the application, which keep the headers that their reply has, and for Fastify's last
    // one: nothing catches what that throws.
    removeUnsendableHeaders(reply)
    if (!visit) return
    if (this.#options.saveOnError || visit.answer.stage === 'unsaved') return
    const state = stateOf(request.session)
    if (!state) return
    revertValues(visit.session, state.open?.texts ?? {})
    state.cookie = undefined
  }

  /** Saves what has changed and sets the cookie, then goes on. What is sent beside another reply never does. */
  leave(request: FastifyRequest, reply: FastifyReply, payload: unknown, done: Done): void {
    const visit = visitOf(request)
    const answer = visit?.answer
    if (!answer) {
      done()
    } else if (answer.isSurplus(reply)) {
      answer.letGo(reply)
    } else {
      const end = (error?: unknown) => {
        if (error === undefined) answer.send(reply, payload)
        else answer.stage = 'unsaved'
        proceed(visit, reply, done, error)
      }
      if (answer.stage === 'unsaved') end()
      else this.#leave(visit, reply, end)
    }
  }

  #leave(visit: Visit, reply: FastifyReply, end: Done): void {
    const setCookie = () => {
      let failure: unknown
      try {
        checkStatusText(reply)
        this.#cookie.answer(visit, reply)
      } catch (error) {
        failure = error
      }
      end(failure)
    }
    let saving: Promise<void> | undefined
    try {
      saving =
        visit.pending || visit.updates?.size
          ? this.#waitedFor(visit).then(() => this.#persist(visit))
          : this.#persist(visit)
    } catch (error) {
      end(error)
      return
    }
    if (saving) {
      visit.answer.beginSaving(reply)
      saving.then(
        () => {
          visit.answer.endSaving(reply)
          setCookie()
        },
        (error) => {
          visit.answer.endSaving(reply)
          end(error)
        },
      )
    } else {
      setCookie()
    }
  }

  /** What the handler did not wait for: if that fails, so does the request. */
  async #waitedFor(visit: Visit): Promise<void> {
    while (visit.pending || visit.updates?.size) await Promise.all([visit.pending, ...(visit.updates ?? [])])
  }

  /** @returns a promise if the store is asked */
  #persist(visit: Visit): Promise<void> | undefined {
    const { session } = visit.request
    if (session === null || session === undefined) return this.#endOf(visit)
    const state = stateOf(session)
    if (!state || session !== (visit.session as unknown)) return undefined
    const needsSave = this.#needsSave(visit.session, state)
    if (needsSave || state.cookieDue) this.#cookie.check(visit.session, state)
    return needsSave ? this.#writer.store(visit.session, state) : undefined
  }

  #needsSave(session: Session, state: SessionState): boolean {
    if (state.open) return (state.touchDue && !state.ended) || this.isModified(session, state)
    // A browser that has another cookie by now is not given a third one because a parallel request counted something.
    if (state.visit.arrival === 'replaced') return false
    if (!this.#options.saveUninitialized && !this.isModified(session, state)) return false
    // The session could not be used again.
    return !this.#cookie.isWithheld(state.visit)
  }

  #endOf(visit: Visit): Promise<void> | undefined {
    const state = stateOf(visit.session) as SessionState
    const { open } = state
    if (!open || state.ended) return undefined
    state.ended = true
    return this.#engine.end(open, 'logout').then(() => {})
  }

  // --- what a request can do ----------------------------------------------------------------------

  /** Begins a session of the user under a fresh id, in the place of the one that there is. */
  login(request: FastifyRequest, user: unknown, options: LoginOptions = {}): Promise<void> {
    const visit = visitOf(request)
    if (!visit) return Promise.reject(new UnauthenticatedError())
    return this.#run(visit, async () => {
      refuseUnknown(options, LOGIN_OPTIONS)
      const lifetime = options.lifetime === undefined ? undefined : milliseconds(options.lifetime, 'lifetime')
      const idle = options.idle === undefined ? lifetime : milliseconds(options.idle, 'idle')
      // It was ended in this request, one way or another.
      if (!stateOf(request.session)) {
        await this.#endOf(visit)
        this.#begin(visit, visit.arrival)
      }
      const { session } = visit
      const state = stateOf(session) as SessionState
      const before = valuesOf(session)
      const beforeCookie = state.cookie?.copy()
      const former = state.open?.userId
      ;(session as unknown as { user: unknown }).user = user
      try {
        const userId = this.#options.identityOf(session)
        if (userId === undefined) throw new UnidentifiedUserError()
        const keep = options.keep ?? (former === undefined || former === userId)
        if (keep !== true) {
          const kept = new Set(keep === false ? ['user'] : [...keep, 'user'])
          for (const key of Object.keys(session)) if (!kept.has(key)) delete (session as never)[key]
        }
        const longest = Math.max(lifetime ?? 0, idle ?? 0)
        if (lifetime !== undefined || longest > (session.cookie.originalMaxAge ?? Number.POSITIVE_INFINITY)) {
          session.cookie.maxAge = longest
        }
        await this.#writer.rotate(session, state, {
          userId,
          login: true,
          ...(idle === undefined ? {} : { idle }),
          lifetime,
        })
      } catch (error) {
        for (const key of Object.keys(session)) delete (session as never)[key]
        Object.assign(session, before)
        state.cookie = beforeCookie
        throw error
      }
    })
  }

  /** Begins a session of the user without a request. @returns its cookie, as a browser sends it */
  async issue(user: unknown, options?: LoginOptions): Promise<string> {
    const { cookie, fastify } = this.#options
    const request = { ip: '127.0.0.1', headers: {}, protocol: 'https', log: fastify.log } as FastifyRequest
    const visit = new Visit(request)
    this.#begin(visit, 'none')
    await this.login(request, user, options)
    const { token } = stateOf(visit.session) as SessionState
    return `${cookie.name}=${encodeURIComponent(this.#cookie.valueOf(token as string))}`
  }

  /** Ends the session of the request; `request.session` is `null` afterwards. */
  logout(request: FastifyRequest): Promise<void> {
    const visit = visitOf(request)
    if (!visit) return Promise.resolve()
    return this.#run(visit, async () => {
      visit.loggedOut = true
      await this.#endOf(visit)
      request.session = null as never
    })
  }

  identityOf(session: object): string | undefined {
    return this.#options.identityOf(session)
  }

  /** Whether the request came with a session or got one: its answer is for this client only. */
  isPersonal(request: FastifyRequest): boolean {
    const visit = visitOf(request)
    if (!visit) return false
    return visit.arrival !== 'none' || stateOf(visit.session)?.open !== undefined
  }

  // --- SessionActions -----------------------------------------------------------------------------

  newToken(state: SessionState): string {
    return this.#writer.tokenFor(state.visit.request, this.#options.identityOf(state.visit.session), state.open)
  }

  sign(token: string): string {
    return this.#options.signer.sign(token)
  }

  isModified(session: Session, state: SessionState): boolean {
    if (!state.open) return Object.keys(session).length > 0
    return changedTexts(session, state, state.open) !== state.open.texts
  }

  save(session: Session, state: SessionState): Promise<void> {
    return this.#asked(state.visit, async () => {
      this.#cookie.check(session, state)
      await this.#writer.store(session, state)
    })
  }

  regenerate(session: Session, state: SessionState, keep: string[]): Promise<void> {
    const before = valuesOf(session)
    // It has been told, if not stored.
    if (!state.open) state.token = undefined
    // A generator sees the session as it was.
    const secret = this.#options.idGenerator?.(state.visit.request)
    // At once, so that what a handler writes next is not lost if it does not wait.
    for (const key of Object.keys(session)) if (!keep.includes(key)) delete (session as never)[key]
    return this.#asked(state.visit, async () => {
      try {
        if (state.visit.request.session === null) this.#give(state.visit, session)
        await this.#writer.rotate(session, state, { userId: this.#options.identityOf(session), secret })
      } catch (error) {
        Object.assign(session, before, valuesOf(session))
        throw error
      }
    })
  }

  reload(session: Session, state: SessionState): Promise<void> {
    return this.#asked(state.visit, async () => {
      const token = this.#knownToken(state)
      const open = token === undefined ? undefined : await this.#engine.open(token)
      state.cookie = undefined
      if (typeof open === 'object') {
        state.open = open
      } else {
        state.open = undefined
        state.token = undefined
        state.cookieDue = false
      }
      revertValues(session, state.open?.texts ?? {})
    })
  }

  destroy(session: Session, state: SessionState): Promise<void> {
    const { visit } = state
    return this.#asked(visit, async () => {
      const token = this.#knownToken(state)
      if (state.open && !state.ended) {
        state.ended = true
        await this.#engine.end(state.open, 'logout')
      } else if (!state.open && token !== undefined) {
        await this.#engine.endToken(token, 'logout')
      }
      if (visit.request.session === (session as never)) visit.request.session = null as never
    })
  }

  update(session: Session, state: SessionState, key: string, change: (value: unknown) => unknown): Promise<unknown> {
    const values = session as unknown as Record<string, unknown>
    const { visit, open } = state
    const updating = (async () => {
      const value = open ? await this.#engine.updateValue(open, key, change) : await change(values[key])
      values[key] = value
      return value
    })()
    visit.updates ??= new Set()
    visit.updates.add(updating)
    this.#onSettled(visit, updating, () => visit.updates?.delete(updating))
    return updating
  }

  failed(visit: Visit, error: unknown): void {
    if (visit.reply) failReply(visit.reply, error)
    else visit.request.log?.error({ err: error }, 'a callback failed')
  }

  // --- inside -------------------------------------------------------------------------------------

  /** One thing after the other, in the order in which the handler asks for them. The reply waits for the last. */
  #run<T>(visit: Visit, action: () => Promise<T>): Promise<T> {
    const before = visit.pending
    const result = before ? before.then(action, action) : action()
    visit.pending = result
    this.#onSettled(visit, result, () => {
      if (visit.pending === result) visit.pending = undefined
    })
    return result
  }

  /** By a method of the session: a store of the application's own speaks to it in its own words. */
  #asked<T>(visit: Visit, action: () => Promise<T>): Promise<T> {
    const result = this.#run(visit, action)
    return this.#options.ownStore ? result.catch((error) => Promise.reject(inOwnWords(error))) : result
  }

  /**
   * The token by which the store may know the session: also when we have stored nothing, but the id was told (and the
   * application may use `sessionStore` by itself), or each session is stored.
   */
  #knownToken(state: SessionState): string | undefined {
    if (this.#options.saveUninitialized) state.token ??= this.newToken(state)
    return state.token
  }

  /** Also catches and logs rejections that no caller awaits, which would end the process. */
  #onSettled(visit: Visit, result: Promise<unknown>, settle: () => void): void {
    result.then(settle, (err: { statusCode?: number } | undefined) => {
      settle()
      const refused = err?.statusCode !== undefined && err.statusCode < 500
      visit.request.log?.[refused ? 'info' : 'error']({ err }, 'what the request asked of its session failed')
    })
  }
}

function arrivalOf(open: OpenSession | Ended | undefined): Arrival {
  return open === 'ended' || open === 'replaced' ? open : 'none'
}

/** Goes on with the request. Errors thrown past all handlers are answered here, or they would be lost. */
function proceed(visit: Visit, reply: FastifyReply, done: Done, error: unknown): void {
  try {
    done(error)
  } catch (thrown) {
    // The reply could not be written: another one tells of that, by Fastify's next handler each time that it fails.
    if (visit.answer.stage === 'sent') visit.answer.stage = 'handling'
    try {
      done(thrown)
    } catch (again) {
      failReply(reply, again)
    }
  }
}
