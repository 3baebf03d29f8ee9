import type { CookieOptions, FastifySessionOptions, SessionStore as ShellStore } from '@fastify/session'
import type { FastifyRequest, Session } from 'fastify'
import { SessionRevokedError, UnauthenticatedError } from '../support/errors.ts'
import { lifetimeOf, ownCookie } from './cookie.ts'
import { type Device, type OpenSession, parseValues, type SessionValues, stringifyValues } from './record.ts'
import type { SessionUser } from './session-data.ts'
import type { Sessions } from './sessions.ts'
import { bucketOf, idOf, newToken, ownerOf } from './token.ts'
import { BINDING, type Bound, VISIT, Visit, type Visited, visitOf } from './visit.ts'

/**
 * What @fastify/session's per-request session objects are, seen from here. `request.session` keeps the shell's
 * API; this class supplies its store and, between the hooks of the shell, decides what is saved and when.
 */
type ShellSession = FastifyRequest['session']
type Callback = (error?: unknown) => void

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

export interface ShellOptions {
  sessions: Sessions
  cookieName: string
  cookiePrefix: string
  saveUninitialized: boolean
  rolling: boolean
  /** What a session's cookie has unless the session was given others. */
  cookie: CookieOptions
  idGenerator?: FastifySessionOptions['idGenerator']
}

export class Shell {
  readonly #sessions: Sessions
  readonly #options: ShellOptions
  /**
   * Set while the shell's `regenerate` runs, which calls `idGenerator`, `destroy` and `set` before it returns. An
   * AsyncLocalStorage would do without that knowledge, but slows down every promise of the process (Node 20).
   */
  #rotation: Rotation | undefined
  /** The shell's own prototype with our methods before it; made when the first session is seen. */
  #prototype: object | undefined
  /** What the shell's constructor copies its values from inherits this; see #carry. */
  #carrier: object = Object.prototype
  /** What was opened for the shell's constructor, which has run when the callback of `get` returns. */
  #arrived: { token: string; open: OpenSession | 'ended' } | undefined

  constructor(options: ShellOptions) {
    this.#sessions = options.sessions
    this.#options = options
  }

  /** The store that the shell talks to. */
  readonly store: ShellStore = {
    get: (token, callback) => {
      this.#sessions.open(token).then(
        (open) => {
          if (open === undefined) return callback(null, null as unknown as Session)
          this.#arrived = { token, open }
          callback(null, this.#carry(open) as unknown as Session)
          this.#arrived = undefined
        },
        (error) => callback(error),
      )
    },
    set: (token, session, callback) => {
      this.#set(token, session as ShellSession).then(() => callback(), callback)
    },
    destroy: (token, callback) => {
      // The second half of a rotation, `set`, replaces the former session in one step.
      if (this.#rotation) callback()
      else this.#destroy(token).then(() => callback(), callback)
    },
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

  /** After the shell has loaded the session. */
  arrive(request: FastifyRequest): void {
    const session = request.session
    if (!(session?.sessionId && session.encryptedSessionId)) return
    const visit = new Visit(request)
    ;(request as Visited)[VISIT] = visit
    this.#adopt(session, visit)
    if (visit.open) {
      visit.touchDue = this.#sessions.isTouchDue(visit.open) || this.#options.rolling
      // Signed with a former secret: the browser gets the cookie anew, and nobody is logged out.
      visit.cookieDue =
        request.cookies[this.#options.cookieName] !== this.#options.cookiePrefix + session.encryptedSessionId
    }
  }

  fail(request: FastifyRequest): void {
    const visit = (request as Visited)[VISIT]
    if (!visit) return
    visit.discard = true
    visit.sending = false
  }

  /** Before the shell's own onSend: saves, so that the shell has nothing left but the cookie. */
  leave(request: FastifyRequest, done: Callback): void {
    const visit = (request as Visited)[VISIT]
    // An `async` handler that calls `reply.send()` and returns nothing makes Fastify send a second time while
    // the first waits for the store. That one must not come through: its headers would be written twice.
    if (visit?.sending) return
    if (visit) visit.sending = true
    const session = request.session
    if (!visit || !session || visitOf(session) !== visit) {
      done()
    } else if (visit.failed) {
      detach(session)
      done()
    } else {
      const failed = (error: unknown) => {
        visit.failed = true
        done(error)
      }
      const bound = visit.discard || !this.#isRebound(session, visit) ? undefined : this.#rebind(request, visit)
      if (bound) bound.then(() => this.#save(request.session, visit, done, failed), failed)
      else this.#save(session, visit, done, failed)
    }
  }

  #save(session: ShellSession, visit: Visit, done: Callback, failed: (error: unknown) => void): void {
    if (this.#needsSave(session, visit)) {
      session.save((error) => (error ? failed(error) : done()))
    } else {
      // The browser may have the cookie of another session by now.
      if (visit.ended) detach(session)
      // The shell's own onSend runs inside.
      visit.unchanged = !visit.ended
      done()
      visit.unchanged = false
    }
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
    this.#bind(session, visit)
  }

  #bind(session: ShellSession, visit: Visit): void {
    ;(session as Bound)[BINDING] = { session, visit }
    if (!this.#prototype) {
      this.#prototype = this.#extend(Object.getPrototypeOf(session))
      // In brackets: without them it would be the prototype of this very literal.
      this.#carrier = Object.create(null, { ['__proto__']: { value: this.#prototype, enumerable: true } })
    }
    if (Object.getPrototypeOf(session) !== this.#prototype) Object.setPrototypeOf(session, this.#prototype)
  }

  /**
   * What the shell's constructor is to take over from the store. It copies what a `for in` finds, and so sets the
   * prototype of the session to ours; then it asks for the hash of all that the session holds, which costs more than
   * all the rest, and which ours answers at once because isModified() has no use for it.
   */
  #carry(open: OpenSession | 'ended'): SessionValues {
    return parseValues(open === 'ended' ? {} : open.texts, Object.create(this.#carrier))
  }

  #extend(base: ShellSession): object {
    const shell = this
    const hash = Object.getOwnPropertySymbols(base).find(({ description }) => description === 'hash')
    return Object.create(base, {
      ...(hash ? { [hash]: { value: () => '' } } : {}),
      // Instead of a SHA-256 over all that the session holds.
      isModified: {
        value(this: ShellSession) {
          const visit = visitOf(this)
          return visit ? shell.#isModified(this, visit) : base.isModified.call(this)
        },
      },
      regenerate: {
        value(this: ShellSession, keys?: string[] | Callback, callback?: Callback) {
          const visit = visitOf(this)
          const done = typeof keys === 'function' ? keys : callback
          const kept = Array.isArray(keys) ? keys : []
          const rotated = visit ? shell.#rotate(visit.request, { visit }, kept) : base.regenerate.call(this, kept)
          if (!done) return rotated
          rotated.then(() => done(), done)
        },
      },
      reload: {
        value(this: ShellSession, callback?: Callback) {
          const request = visitOf(this)?.request
          const reloaded = new Promise<void>((resolve, reject) =>
            (base.reload as (callback: Callback) => void).call(this, (error) => {
              if (error) return reject(error)
              if (request) shell.adoptInto(request)
              resolve()
            }),
          )
          if (!callback) return reloaded
          reloaded.then(() => callback(null), callback)
        },
      },
      update: {
        value(this: ShellSession, key: string, change: (value: unknown) => unknown) {
          return shell.#update(this, key, change)
        },
      },
      loginCount: computed('loginCount', (session) => visitOf(session)?.open?.logins ?? 0),
      loginTime: computed('loginTime', (session) => date(visitOf(session)?.open?.authenticated)),
      lastActivity: computed('lastActivity', (session) => date(visitOf(session)?.open?.seen)),
    }) as object
  }

  async #update(session: ShellSession, key: string, change: (value: unknown) => unknown): Promise<unknown> {
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

  #isModified(session: ShellSession, visit: Visit): boolean {
    if (visit.discard || visit.unchanged) return false
    if (!visit.open) return Object.keys(valuesOf(session)).length > 0
    return this.#changedTexts(session, visit.open) !== visit.open.texts
  }

  #needsSave(session: ShellSession, visit: Visit): boolean {
    if (visit.ended) return this.#isModified(session, visit)
    if (!visit.open) return !visit.discard && (this.#options.saveUninitialized || this.#isModified(session, visit))
    return visit.touchDue || visit.cookieDue || this.#isModified(session, visit)
  }

  async #rotate(request: FastifyRequest, rotation: Rotation, keys: string[]): Promise<void> {
    const former = request.session
    const base = Object.getPrototypeOf(this.#prototype) as ShellSession
    try {
      await this.#within(rotation, () => base.regenerate.call(former, keys))
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
      const open = await this.#sessions.begin(token, this.#storedValues(session), { idle })
      if (!visit) return
      this.#open(visit, open)
      // Also when the session is loaded again before the answer leaves.
      visit.cookieDue = true
      return
    }
    const texts = visit.discard ? visit.open.texts : this.#changedTexts(session, visit.open)
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
      const open = await this.#sessions.begin(token, this.#storedValues(session), {
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
    this.#bind(session, visit)
  }

  async #destroy(token: string): Promise<void> {
    await this.#sessions.revoke(idOf(token), 'logout')
  }

  /** A session lives no longer than a browser keeps its cookie. */
  #idleOf({ cookie }: ShellSession): number {
    return Math.min(this.#sessions.policy.idle, lifetimeOf(cookie, this.#sessions.clock.now()))
  }

  /** Beside the values: the attributes of the cookie, when the session has others than the rest. */
  #storedValues(session: ShellSession): SessionValues {
    const values = valuesOf(session)
    // Whoever talks to `request.sessionStore` may pass any object.
    const cookie = session.cookie && ownCookie(session.cookie, this.#options.cookie)
    return cookie ? { ...values, cookie } : values
  }

  /** The very texts of `open` when nothing has changed. */
  #changedTexts(session: ShellSession, open: OpenSession): Record<string, string> {
    const texts = stringifyValues(this.#storedValues(session))
    const before = open.texts
    let keys = 0
    for (const key in texts) {
      if (texts[key] !== before[key]) return texts
      keys++
    }
    return keys === Object.keys(before).length ? before : texts
  }

  #open(visit: Visit, open: OpenSession): void {
    visit.open = open
    this.#sessions.attach(visit.request, open)
  }
}

/** A value that the engine knows; an application may still keep one of its own under that name. */
function computed(name: string, get: (session: object) => unknown): PropertyDescriptor {
  return {
    get(this: object) {
      return get(this)
    },
    set(this: object, value: unknown) {
      Object.defineProperty(this, name, { value, writable: true, enumerable: true, configurable: true })
    },
  }
}

function date(time: number | undefined): Date | undefined {
  return time === undefined ? undefined : new Date(time)
}

function valuesOf(session: ShellSession): SessionValues {
  const values: SessionValues = {}
  for (const key of Object.keys(session)) {
    if (key !== 'cookie' && key !== '__proto__') values[key] = session[key as keyof ShellSession]
  }
  return values
}

/** The shell leaves a session without a signed id alone, and its cookie as well. */
function detach(session: ShellSession): void {
  Object.defineProperty(session, 'encryptedSessionId', { value: '' })
}
