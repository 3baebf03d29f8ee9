import type { CookieOptions } from '@fastify/session'
import { InvalidSessionCookieError } from '../../support/errors.ts'
import { type OpenSession, parsedValue, type SessionValues, UnreadableSessionError } from '../record.ts'
import { type KeptCookie, LiveCookie, restoredOptions } from './live-cookie.ts'
import type { Visit } from './visit.ts'

type Callback = (error?: unknown) => void

/** What the methods of a session come down to. */
export interface SessionActions {
  /** An unused token, for a session that has none. */
  newToken(state: SessionState): string
  sign(token: string): string
  /** Who the session belongs to by its values. */
  identityOf(session: object): string | undefined
  isModified(session: Session, state: SessionState): boolean
  save(session: Session, state: SessionState): Promise<void>
  regenerate(session: Session, state: SessionState, keep: string[]): Promise<void>
  reload(session: Session, state: SessionState): Promise<void>
  destroy(session: Session, state: SessionState): Promise<void>
  update(session: Session, state: SessionState, key: string, change: (value: unknown) => unknown): Promise<unknown>
  /** What a callback threw: it ends the request, not the process. */
  failed(visit: Visit, error: unknown): void
}

/**
 * What a session object is beside its values. A class, as all that refers to a request and waits for the store: V8
 * makes the objects of a literal old at once after it has seen a burst of them wait, and they keep whole requests until
 * the next full collection. That cost a third of the CPU time of each request.
 */
export class SessionState {
  readonly actions: SessionActions
  readonly visit: Visit
  /** Attributes of its cookie unless it has others. */
  usual: CookieOptions
  /** The credential; made when somebody asks for it. */
  token: string | undefined
  /** As the store has it; absent while nothing is stored. */
  open: OpenSession | undefined
  /** Made when somebody asks for it. */
  cookie: LiveCookie | undefined
  saved = false
  /** It ended while the request was at work: nothing of it is saved any more, and its cookie is left alone. */
  ended = false
  /** The browser does not have the right cookie yet. */
  cookieDue = false
  /** A use is to be recorded. */
  touchDue = false

  constructor(actions: SessionActions, visit: Visit, usual: CookieOptions, token?: string, open?: OpenSession) {
    this.actions = actions
    this.visit = visit
    this.usual = usual
    this.token = token
    this.open = open
    this.cookie = undefined
  }
}

/** Names that mean something else on a session than a value. */
const RESERVED: ReadonlySet<string> = new Set(['cookie', 'sessionId', 'encryptedSessionId', '__proto__'])

/**
 * The state of a session of ours; `undefined` for any other object, a copy of a session (`{ ...session }`) included.
 */
export let stateOf: (session: unknown) => SessionState | undefined

/**
 * `request.session`, with the API of @fastify/session. Its own enumerable properties are the values of the application;
 * everything else is a method or an accessor. The object stays the same for the whole request: `regenerate()` and
 * `login()` give it another id.
 */
export class Session {
  readonly #state: SessionState

  static {
    stateOf = (session) =>
      typeof session === 'object' && session !== null && #state in session ? session.#state : undefined
  }

  constructor(state: SessionState) {
    this.#state = state
  }

  /** Attributes of this session's cookie. Set single ones (`session.cookie.maxAge = …`). */
  get cookie(): LiveCookie {
    const state = this.#state
    state.cookie ??= new LiveCookie(optionsOf(state), state.visit.request)
    return state.cookie
  }

  set cookie(_cookie: unknown) {
    throw new InvalidSessionCookieError('it was replaced')
  }

  get sessionId(): string {
    const state = this.#state
    state.token ??= state.actions.newToken(state)
    return state.token
  }

  /** The signed id, as the cookie holds it. */
  get encryptedSessionId(): string {
    return this.#state.actions.sign(this.sessionId)
  }

  get(key: string): unknown {
    return (this as unknown as SessionValues)[key]
  }

  set(key: string, value: unknown): void {
    ;(this as unknown as SessionValues)[key] = value
  }

  /** Attributes of the cookie of this session; the others stay. */
  options(options: Partial<CookieOptions>): void {
    if (Object.keys(options).length === 0) return
    const state = this.#state
    state.cookie = new LiveCookie({ ...optionsOf(state), ...options }, state.visit.request)
    state.cookie.ageWasSet = 'maxAge' in options || 'expires' in options
  }

  /** Counts as a use: the next save records it, and the browser keeps the cookie as long as from now. */
  touch(): void {
    this.cookie.renew()
    this.#state.touchDue = true
  }

  /**
   * Takes a fresh id, and the session that there was is ended.
   * @param keep names of the values that stay; without it none does
   */
  regenerate(keep?: string[] | Callback, callback?: Callback): Promise<void> {
    const done = typeof keep === 'function' ? keep : callback
    return this.#settled(this.#state.actions.regenerate(this, this.#state, Array.isArray(keep) ? keep : []), done)
  }

  /** Saves what has changed by now, also when the request fails afterwards. */
  save(callback?: Callback): Promise<void> {
    return this.#settled(this.#state.actions.save(this, this.#state), callback)
  }

  /** Takes the values from the store again; what was changed meanwhile is lost. */
  reload(callback?: Callback): Promise<void> {
    return this.#settled(this.#state.actions.reload(this, this.#state), callback)
  }

  /** Ends the session; `request.session` is `null` afterwards. */
  destroy(callback?: Callback): Promise<void> {
    return this.#settled(this.#state.actions.destroy(this, this.#state), callback)
  }

  /**
   * Changes one value by what it is in the store now: `change` is called again when another request was faster.
   * @throws STATEFUL_SESSION_REVOKED, STATEFUL_SESSION_CONFLICT
   */
  update(key: string, change: (value: unknown) => unknown): Promise<unknown> {
    return this.#settled(this.#state.actions.update(this, this.#state, key, change))
  }

  isModified(): boolean {
    return this.#state.actions.isModified(this, this.#state)
  }

  isSaved(): boolean {
    return this.#state.saved
  }

  /** The how-manyeth login of the user this session came from; 0 while anonymous. */
  get loginCount(): unknown {
    return this.#state.open?.logins ?? 0
  }

  set loginCount(value: unknown) {
    this.#keep('loginCount', value)
  }

  /** When the user logged in. */
  get loginTime(): unknown {
    return date(this.#state.open?.authenticated)
  }

  set loginTime(value: unknown) {
    this.#keep('loginTime', value)
  }

  /** When the session was used before this request, to the precision of the option `touch`. */
  get lastActivity(): unknown {
    return date(this.#state.open?.seen)
  }

  set lastActivity(value: unknown) {
    this.#keep('lastActivity', value)
  }

  /** An application may keep a value of its own under a name that the engine knows. */
  #keep(name: string, value: unknown): void {
    Object.defineProperty(this, name, { value, writable: true, enumerable: true, configurable: true })
  }

  /**
   * Its rejection is held: callers that do not wait for it hear of it by the failed request. With a callback, what that
   * throws ends the request as well.
   */
  #settled<T>(result: Promise<T>, callback?: Callback): Promise<T> {
    if (callback) {
      result
        .then(() => callback(null), callback)
        .catch((error: unknown) => this.#state.actions.failed(this.#state.visit, error))
      return undefined as never
    }
    result.catch(() => {})
    return result
  }
}

function optionsOf({ usual, open }: SessionState): CookieOptions {
  const text = open?.texts['cookie']
  return text === undefined ? usual : restoredOptions(usual, JSON.parse(text) as KeptCookie)
}

function date(time: number | undefined): Date | undefined {
  return time === undefined ? undefined : new Date(time)
}

/** The values of the application. */
export function valuesOf(session: object): SessionValues {
  const values: SessionValues = {}
  for (const key of Object.keys(session)) {
    if (!RESERVED.has(key)) values[key] = (session as SessionValues)[key]
  }
  return values
}

/**
 * Puts in what the texts say.
 * @throws UnreadableSessionError when one of them is not what was written
 */
export function putValues(session: Session, texts: Readonly<Record<string, string>>): void {
  const values = session as unknown as SessionValues
  for (const key in texts) {
    if (!RESERVED.has(key)) values[key] = parsedValue(texts[key] as string)
    else if (key === 'cookie') checkKept(texts[key] as string)
  }
}

function checkKept(text: string): void {
  const kept = parsedValue(text)
  if (typeof kept !== 'object' || kept === null) throw new UnreadableSessionError('the cookie of a session is none')
}

/** Puts in the place of what changed what the texts say: values that did not change stay the very objects they are. */
export function revertValues(session: Session, texts: Readonly<Record<string, string>>): void {
  const values = session as unknown as SessionValues
  for (const key of Object.keys(values)) if (!(key in texts)) delete values[key]
  for (const key in texts) {
    if (RESERVED.has(key)) continue
    const text = texts[key] as string
    if (textIfAny(values[key]) !== text) values[key] = parsedValue(text)
  }
}

function textIfAny(value: unknown): string | undefined {
  try {
    return JSON.stringify(value)
  } catch {
    return undefined
  }
}
