import type { CookieOptions } from '@fastify/session'
import type { FastifyRequest } from 'fastify'
import { parseValues, type SessionValues } from './record.ts'
import { BINDING, type Bound, type Visit, visitOf } from './visit.ts'

/** `request.session` as @fastify/session makes it. */
export type ShellSession = FastifyRequest['session']
type Callback = (error?: unknown) => void

/** What the methods of a session, where they are not the shell's, come down to. */
export interface SessionMethods {
  isModified(session: ShellSession, visit: Visit): boolean
  regenerate(visit: Visit, keys: string[]): Promise<void>
  update(session: ShellSession, key: string, change: (value: unknown) => unknown): Promise<unknown>
  /** What a callback or a promise that nobody holds failed with: it ends the request, not the process. */
  failed(visit: Visit, error: unknown): void
  /** The shell has put another object in the place of the request's session. */
  adoptInto(request: FastifyRequest): void
}

/** What the shell knows its session by; these differ between two sessions, the rest of its symbols do not. */
const OWN = ['request', 'sessionId', 'encryptedSessionId'] as const
const SHARED = ['sessionStore', 'generateId', 'cookieOpts', 'cookieSignerKey', 'saved', 'persistedHash'] as const

/**
 * The session objects of one registration of @fastify/session: its own ones, which get our methods before theirs, and
 * those that we make in its place.
 */
export class SessionObjects {
  readonly #methods: SessionMethods
  readonly #cookie: CookieOptions
  /** The shell's own prototype; known when its first session is seen. */
  #base: ShellSession | undefined
  #prototype: object | undefined
  #make: ((request: FastifyRequest, token: string, signed: string) => ShellSession) | undefined

  /** @param cookie what a session's cookie has unless the session was given others */
  constructor(methods: SessionMethods, cookie: CookieOptions) {
    this.#methods = methods
    this.#cookie = cookie
  }

  /** The shell's methods without ours. */
  get base(): ShellSession {
    return this.#base as ShellSession
  }

  bind(session: ShellSession, visit: Visit): void {
    ;(session as Bound)[BINDING] = { session, visit }
    if (!this.#prototype) this.#learn(session)
    if (Object.getPrototypeOf(session) !== this.#prototype) Object.setPrototypeOf(session, this.#prototype as object)
  }

  /**
   * The session of a request as the shell would make it, bound to its visit. The shell's constructor copies the
   * cookie's options several times and takes a SHA-256 of all that the session holds, which together costs as much as
   * half of what Fastify does for a request.
   * @returns `undefined` when the shell must do it: no session has been seen yet, or it is one of another make
   */
  restore(visit: Visit, token: string, signed: string, texts: Readonly<Record<string, string>>) {
    const session = this.#make?.(visit.request, token, signed)
    if (!session) return undefined
    ;(session as Bound)[BINDING] = { session, visit }
    return parseValues(texts, session as unknown as SessionValues) as unknown as ShellSession
  }

  #learn(first: ShellSession): void {
    const base = Object.getPrototypeOf(first) as ShellSession
    this.#base = base
    const prototype = this.#extend(base)
    this.#prototype = prototype
    const symbols = new Map(Object.getOwnPropertySymbols(first).map((symbol) => [symbol.description, symbol]))
    if (![...OWN, ...SHARED].every((name) => symbols.has(name))) return
    const [requestKey, tokenKey, signedKey] = OWN.map((name) => symbols.get(name)) as [symbol, symbol, symbol]
    // What all of them have alike lies in the prototype; the shell's methods set it in the session when it changes.
    for (const name of SHARED) {
      const symbol = symbols.get(name) as symbol
      const value = name === 'cookieOpts' ? { ...this.#cookie } : name === 'saved' ? false : first[symbol as never]
      Object.defineProperty(prototype, symbol, { value, writable: true })
    }
    const Cookie = first.cookie.constructor as new (options: CookieOptions, request: FastifyRequest) => object
    const options = this.#cookie
    class RestoredSession {
      readonly cookie: object
      constructor(request: FastifyRequest, token: string, signed: string) {
        const own = this as unknown as Record<symbol, unknown>
        own[requestKey] = request
        own[tokenKey] = token
        own[signedKey] = signed
        this.cookie = new Cookie(options, request)
      }
    }
    Object.setPrototypeOf(RestoredSession.prototype, prototype)
    this.#make = (request, token, signed) => new RestoredSession(request, token, signed) as unknown as ShellSession
  }

  #extend(base: ShellSession): object {
    const methods = this.#methods
    const settled = <T>(visit: Visit | undefined, result: Promise<T>, callback?: Callback) => {
      if (!callback) return visit ? owned(visit.request, result) : result
      result
        .then(() => callback(null), callback)
        .catch((error: unknown) => {
          if (!visit) throw error
          methods.failed(visit, error)
        })
      return undefined
    }
    const hash = Object.getOwnPropertySymbols(base).find(({ description }) => description === 'hash')
    return Object.create(base, {
      // isModified() has no use for it, and it costs more than all the rest.
      ...(hash ? { [hash]: { value: () => '' } } : {}),
      // Instead of a SHA-256 over all that the session holds.
      isModified: {
        value(this: ShellSession) {
          const visit = visitOf(this)
          return visit ? methods.isModified(this, visit) : base.isModified.call(this)
        },
      },
      regenerate: {
        value(this: ShellSession, keys?: string[] | Callback, callback?: Callback) {
          const visit = visitOf(this)
          const done = typeof keys === 'function' ? keys : callback
          const kept = Array.isArray(keys) ? keys : []
          const rotated = visit ? methods.regenerate(visit, kept) : base.regenerate.call(this, kept)
          return settled(visit, rotated, done)
        },
      },
      save: {
        value(this: ShellSession, callback?: Callback) {
          // What the callback throws comes back from the store's answer, which knows the visit.
          if (callback) return (base.save as (callback: Callback) => void).call(this, callback)
          return settled(visitOf(this), base.save.call(this))
        },
      },
      destroy: {
        value(this: ShellSession, callback?: Callback) {
          return settled(visitOf(this), base.destroy.call(this), callback)
        },
      },
      reload: {
        value(this: ShellSession, callback?: Callback) {
          const visit = visitOf(this)
          const reloaded = new Promise<void>((resolve, reject) =>
            (base.reload as (callback: Callback) => void).call(this, (error) => {
              if (error) return reject(error)
              if (visit) methods.adoptInto(visit.request)
              resolve()
            }),
          )
          return settled(visit, reloaded, callback)
        },
      },
      update: {
        value(this: ShellSession, key: string, change: (value: unknown) => unknown) {
          return settled(visitOf(this), methods.update(this, key, change))
        },
      },
      loginCount: computed('loginCount', (session) => visitOf(session)?.open?.logins ?? 0),
      loginTime: computed('loginTime', (session) => date(visitOf(session)?.open?.authenticated)),
      lastActivity: computed('lastActivity', (session) => date(visitOf(session)?.open?.seen)),
    }) as object
  }
}

/**
 * A promise given to a handler that may not wait for it. Whoever does gets its error all the same; without that, it
 * would be a rejection that nobody holds, which ends the process and with it everybody's requests.
 */
export function owned<T>(request: FastifyRequest, promise: Promise<T>): Promise<T> {
  promise.catch((err: { statusCode?: number } | undefined) => {
    const refused = err?.statusCode !== undefined && err.statusCode < 500
    // Tests pass objects that are no requests of Fastify.
    request.log?.[refused ? 'info' : 'error']({ err }, 'what the request asked of its session failed')
  })
  return promise
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

export function valuesOf(session: ShellSession): SessionValues {
  const values: SessionValues = {}
  for (const key of Object.keys(session)) {
    if (key !== 'cookie' && key !== '__proto__') values[key] = session[key as keyof ShellSession]
  }
  return values
}

/** The shell leaves a session without a signed id alone, and its cookie as well. */
export function detach(session: ShellSession): void {
  Object.defineProperty(session, 'encryptedSessionId', { value: '' })
}
