import { type Clock, systemClock, type Timer } from '../support/clock.ts'
import {
  SessionConflictError,
  SessionRevokedError,
  StorageUnavailableError,
  TooManySessionsError,
} from '../support/errors.ts'
import { type RevocationBus, type SessionEvent, type SessionEventName, SessionEvents } from './events.ts'
import {
  type Device,
  difference,
  type OpenSession,
  parseValues,
  type SessionValues,
  stringifyValues,
  toOpen,
  toStored,
  valueField,
} from './record.ts'
import type { Admission, CreateOutcome, SessionStore } from './session-store.ts'
import { bucketOf, idOf, isWellFormed, newToken, ownerOf } from './token.ts'

/** All times in milliseconds. */
export interface SessionPolicy {
  /** A session ends when it was not used for so long. */
  idle: number
  /** A session ends after so long, however much it is used. */
  absolute: number
  /** A use is recorded when the last recorded one is at least so long ago. */
  touch: number
  /** Sessions that one user may have at a time, and what a login beyond does. */
  limit?: { sessions: number; action: 'evict' | 'refuse' }
}

export interface SessionsOptions extends SessionPolicy {
  store: SessionStore
  clock?: Clock
  bus?: RevocationBus
  /** Told of errors that belong to no caller: of listeners, of the sweep, of the bus. */
  onError?: (error: unknown, doing: string) => void
}

/** What the owner of a session may see of it. The handle names it and opens nothing. */
export interface SessionInfo extends Device {
  handle: string
  createdAt: Date
  lastActivity: Date
}

/** A session as `create`, `get` and `update` answer it. */
export interface UserSession extends SessionInfo {
  /** The handle again, under the name that a store of sessions uses. */
  id: string
  userId?: string
  expiresAt: Date
  loginCount: number
  data: SessionValues
}

export interface SessionStats {
  /** Live sessions, anonymous ones included. */
  total: number
  activeUsers: number
  /** Sessions by user; 0 without users. */
  averagePerUser: number
  /** Since this instance started, as are all below. */
  created: number
  rotated: number
  revoked: number
  expired: number
  saves: number
  /** Saves that found their session ended. */
  refusedSaves: number
  touches: number
  /** Reads that were no reason to write, because a recent use was on record. */
  touchesSkipped: number
}

/** How often `update` tries again when others changed the session meanwhile. */
const MAX_UPDATES = 20
/** Expired sessions that one round of the sweep takes from the store. */
const SWEEP_BATCH = 1_000

/**
 * Sessions of all kinds of storage: tokens, timeouts, changes, events. It knows no Fastify; shell.ts puts it
 * behind `request.session`.
 *
 * A method that talks to the store rejects with STATEFUL_STORAGE_UNAVAILABLE when the store fails.
 */
export class Sessions {
  readonly policy: Readonly<SessionPolicy>
  readonly clock: Clock
  readonly #store: SessionStore
  readonly #bus: RevocationBus | undefined
  readonly #events: SessionEvents
  readonly #onError: (error: unknown, doing: string) => void
  readonly #current = new WeakMap<object, OpenSession>()
  #sweeper: Timer | undefined
  #sweeping: Promise<number> | undefined
  #stats = {
    created: 0,
    rotated: 0,
    revoked: 0,
    expired: 0,
    saves: 0,
    refusedSaves: 0,
    touches: 0,
    touchesSkipped: 0,
  }

  constructor({ store, clock, bus, onError, ...policy }: SessionsOptions) {
    this.policy = policy
    this.clock = clock ?? systemClock
    this.#store = store
    this.#bus = bus
    this.#onError = onError ?? (() => {})
    this.#events = new SessionEvents((error) => this.#onError(error, 'event listener'))
  }

  /** Begins to listen to other instances and to remove expired sessions each `sweepInterval` milliseconds. */
  async start(sweepInterval: number): Promise<void> {
    await this.#bus?.listen((event) => this.#events.emit('revoked', event))
    this.#sweeper = this.clock.every(sweepInterval, () => {
      // One that takes longer than the interval is not joined by more and more others.
      if (this.#sweeping) return
      this.sweep().catch((error) => this.#onError(error, 'sweep'))
    })
  }

  async close(): Promise<void> {
    this.#sweeper?.cancel()
    await this.#sweeping?.catch(() => {})
    await this.#bus?.close()
  }

  /**
   * `revoked` is heard on every instance, also for a logout and for the session that a login replaced; the
   * others where they happen. @returns a function that ends it
   */
  on(name: SessionEventName, listener: (event: SessionEvent) => void): () => void {
    return this.#events.on(name, listener)
  }

  off(name: SessionEventName, listener: (event: SessionEvent) => void): void {
    this.#events.off(name, listener)
  }

  // --- the store of a user's sessions -----------------------------------------------------------

  /**
   * A session of the user beside their others. Only here is the token told: it is the credential.
   * @throws STATEFUL_TOO_MANY_SESSIONS
   */
  async create(
    userId: string,
    data: SessionValues = {},
    device: Device = {},
  ): Promise<UserSession & { token: string }> {
    const token = newToken(bucketOf(ownerOf(userId)))
    const open = await this.begin(token, { user: { id: userId }, ...data }, { userId, device, login: true })
    return { ...describe(open), token }
  }

  /** @param id the session's handle */
  async get(id: string): Promise<UserSession | undefined> {
    const open = await this.#load(id)
    return typeof open === 'object' ? describe(open) : undefined
  }

  /**
   * Changes the top-level values that the patch names (`undefined` removes one) and leaves the others as they
   * are, whoever changes them meanwhile. A function gets the present values and is called again when someone
   * else was faster.
   * @throws STATEFUL_SESSION_CONFLICT when others are faster each time
   */
  async update(
    id: string,
    patch: SessionValues | ((data: SessionValues) => SessionValues | Promise<SessionValues>),
  ): Promise<UserSession | undefined> {
    for (let attempt = 0; attempt < MAX_UPDATES; attempt++) {
      const open = await this.#load(id)
      if (typeof open !== 'object') return undefined
      const values = parseValues(open.texts)
      const change = typeof patch === 'function' ? await patch(values) : patch
      const after = stringifyValues({ ...values, ...change })
      const outcome = await this.#save(open, after, typeof patch === 'function' ? open.version : undefined)
      if (outcome === 'gone') return undefined
      if (outcome === 'saved') return describe(open)
    }
    throw new SessionConflictError()
  }

  /** `false` when it was not live. */
  destroy(id: string, reason = 'revoked'): Promise<boolean> {
    return this.revoke(id, reason)
  }

  async list(userId: string): Promise<SessionInfo[]> {
    const stored = await this.#ask(() => this.#store.list(ownerOf(userId), this.clock.now()))
    return stored.map((session) => info(toOpen(session)))
  }

  /** Ends the session with that handle. `false` when it was not live. */
  async revoke(handle: string, reason = 'revoked'): Promise<boolean> {
    const open = await this.#load(handle)
    if (typeof open !== 'object') return false
    return this.end(open, reason)
  }

  /** The handle of the session that a request came with or got; `undefined` when it has none. */
  handleOf(request: object): string | undefined {
    return this.#current.get(request)?.id
  }

  /** Ends all sessions of the request's user but the request's own. @returns how many there were */
  async revokeOthers(request: object, reason = 'revoked'): Promise<number> {
    const open = this.#current.get(request)
    if (open?.userId === undefined) return 0
    return this.revokeUser(open.userId, { except: open.id, reason })
  }

  /** When the request's user last proved who they are, in milliseconds since the Unix epoch. */
  authenticatedAt(request: object): number | undefined {
    return this.#current.get(request)?.authenticated
  }

  /** Ends all sessions of the user, one handle perhaps excepted. @returns how many there were */
  async revokeUser(userId: string, { except, reason = 'revoked' }: { except?: string; reason?: string } = {}) {
    const ids = await this.#ask(() => this.#store.revokeOwner(ownerOf(userId), this.clock.now(), except))
    for (const handle of ids) this.#announceEnd({ handle, userId, reason })
    return ids.length
  }

  async count(): Promise<number> {
    return (await this.#ask(() => this.#store.count(this.clock.now()))).sessions
  }

  async stats(): Promise<SessionStats> {
    const { sessions, owners } = await this.#ask(() => this.#store.count(this.clock.now()))
    const ofUsers = owners === 0 ? 0 : sessions / owners
    return { total: sessions, activeUsers: owners, averagePerUser: ofUsers, ...this.#stats }
  }

  /** Removes what has expired by now. Runs by itself, too; @returns how many sessions it removed */
  sweep(): Promise<number> {
    const sweeping = (this.#sweeping ?? Promise.resolve(0)).catch(() => 0).then(() => this.#sweep())
    this.#sweeping = sweeping
    const clear = () => {
      if (this.#sweeping === sweeping) this.#sweeping = undefined
    }
    sweeping.then(clear, clear)
    return sweeping
  }

  // --- what the shell is made of ----------------------------------------------------------------

  /** The session of a token; `ended` when it was revoked or replaced a moment ago. */
  async open(token: string): Promise<OpenSession | 'ended' | undefined> {
    return this.#load(idOf(token))
  }

  /**
   * Begins a session under a fresh token; with `former`, in its place.
   * @throws STATEFUL_TOO_MANY_SESSIONS, STATEFUL_SESSION_REVOKED (the former must be live, and is not)
   */
  async begin(
    token: string,
    values: SessionValues,
    options: {
      userId?: string
      device?: Device
      login?: boolean
      former?: OpenSession
      requireLive?: boolean
    } = {},
  ): Promise<OpenSession> {
    const { userId, former, login = false } = options
    const now = this.clock.now()
    const authenticated = login ? now : former?.authenticated
    // Only a login begins a new absolute lifetime: otherwise rotating would keep a session alive for ever.
    const ends = login || !former ? now + this.policy.absolute : former.ends
    const open: OpenSession = {
      id: idOf(token),
      created: login || !former ? now : former.created,
      seen: now,
      expires: Math.min(ends, now + this.policy.idle),
      ends,
      version: 1,
      logins: former?.logins ?? 0,
      device: options.device ?? former?.device ?? {},
      texts: stringifyValues(values),
      ...(userId === undefined ? {} : { userId, owner: ownerOf(userId) }),
      ...(authenticated === undefined ? {} : { authenticated }),
    }
    const admission: Admission = { now, login, ...(this.policy.limit ? { limit: this.policy.limit } : {}) }
    const outcome = await this.#ask<CreateOutcome>(() =>
      former
        ? this.#store.rotate(former, toStored(open), { ...admission, requireLive: options.requireLive ?? !login })
        : this.#store.create(toStored(open), admission),
    )
    if (outcome.outcome === 'full') throw new TooManySessionsError()
    if (outcome.outcome === 'gone') throw new SessionRevokedError()
    for (const handle of outcome.evicted) {
      this.#announceEnd({ handle, reason: 'evicted', ...(userId === undefined ? {} : { userId }) })
    }
    const event = { handle: open.id, ...(userId === undefined ? {} : { userId }) }
    if (former) {
      this.#stats.rotated += 1
      this.#events.emit('rotated', event)
      const reason = login ? 'login' : 'rotation'
      this.#announceEnd({
        handle: former.id,
        reason,
        ...(former.userId === undefined ? {} : { userId: former.userId }),
      })
    }
    if (!former || login) {
      this.#stats.created += 1
      this.#events.emit('created', event)
    }
    return { ...open, logins: outcome.logins }
  }

  /** Makes `open` the session of whoever asks, until they are gone. */
  attach(requester: object, open: OpenSession): void {
    this.#current.set(requester, open)
  }

  /** Whether a use now should be recorded. */
  isTouchDue(open: OpenSession): boolean {
    const due = this.clock.now() - open.seen >= this.policy.touch
    if (!due) this.#stats.touchesSkipped += 1
    return due
  }

  /**
   * Saves what changed since the session was opened; without a change, records that it was used.
   * @returns `false` when there was no change and the session has ended
   * @throws STATEFUL_SESSION_REVOKED when there was a change and the session has ended
   */
  async save(open: OpenSession, texts: Record<string, string>): Promise<boolean> {
    const changed = texts !== open.texts
    if ((await this.#save(open, texts)) !== 'gone') return true
    if (changed) throw new SessionRevokedError()
    return false
  }

  /** Ends an open session. `false` when it was not live any more. */
  async end(open: Pick<OpenSession, 'id' | 'userId'>, reason: string): Promise<boolean> {
    const ended = await this.#ask(() => this.#store.revoke(open.id, this.clock.now()))
    if (ended)
      this.#announceEnd({ handle: open.id, reason, ...(open.userId === undefined ? {} : { userId: open.userId }) })
    return ended
  }

  async #load(id: string): Promise<OpenSession | 'ended' | undefined> {
    if (!isWellFormed(id)) return undefined
    const stored = await this.#ask(() => this.#store.load(id, this.clock.now()))
    return typeof stored === 'object' ? toOpen(stored) : stored
  }

  async #save(open: OpenSession, texts: Record<string, string>, version?: number) {
    const { set, remove } = difference(open.texts, texts)
    const now = this.clock.now()
    const change = {
      set: Object.fromEntries(Object.entries(set).map(([key, text]) => [valueField(key), text])),
      remove: remove.map(valueField),
      seen: now,
      expires: Math.min(open.ends, now + this.policy.idle),
      ...(version === undefined ? {} : { version }),
    }
    const outcome = await this.#ask(() => this.#store.save(open.id, open.owner, change, now))
    if (outcome === 'gone') this.#stats.refusedSaves += 1
    if (outcome !== 'saved') return outcome
    if (texts === open.texts) this.#stats.touches += 1
    else this.#stats.saves += 1
    open.texts = texts
    open.seen = now
    open.expires = change.expires
    return outcome
  }

  async #sweep(): Promise<number> {
    let removed = 0
    for (;;) {
      const expired = await this.#ask(() => this.#store.sweep(this.clock.now(), SWEEP_BATCH))
      for (const session of expired) {
        const { userId } = toOpen(session)
        this.#stats.expired += 1
        this.#events.emit('expired', { handle: session.id, ...(userId === undefined ? {} : { userId }) })
      }
      removed += expired.length
      if (expired.length < SWEEP_BATCH) return removed
    }
  }

  #announceEnd(event: SessionEvent): void {
    this.#stats.revoked += 1
    this.#events.emit('revoked', event)
    this.#bus?.publish(event).catch((error) => this.#onError(error, 'publishing a revocation'))
  }

  async #ask<T>(question: () => Promise<T>): Promise<T> {
    try {
      return await question()
    } catch (cause) {
      if ((cause as { code?: unknown }).code === 'STATEFUL_STORAGE_UNAVAILABLE') throw cause
      throw new StorageUnavailableError(`sessions: ${(cause as Error).message}`, { cause })
    }
  }
}

function info(open: OpenSession): SessionInfo {
  return {
    handle: open.id,
    createdAt: new Date(open.created),
    lastActivity: new Date(open.seen),
    ...open.device,
  }
}

function describe(open: OpenSession): UserSession {
  return {
    ...info(open),
    id: open.id,
    ...(open.userId === undefined ? {} : { userId: open.userId }),
    expiresAt: new Date(open.expires),
    loginCount: open.logins,
    data: parseValues(open.texts),
  }
}
