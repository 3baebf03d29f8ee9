import type { SessionStats } from '../../openapi/schemas/session.ts'
import { type Clock, systemClock, type Timer } from '../support/clock.ts'
import { SessionConflictError, SessionRevokedError, TooManySessionsError } from '../support/errors.ts'
import { Listeners, ListenersByName } from '../support/listeners.ts'
import type { Sealer } from './encryption.ts'
import type { RevocationBus, SessionEvent, SessionEventName } from './events.ts'
import { StoreGuard } from './guard.ts'
import { PassedTime } from './passed-time.ts'
import {
  type Device,
  type OpenSession,
  parseValues,
  RecordCodec,
  type SessionValues,
  stringifyValues,
  UnreadableSessionError,
} from './record.ts'
import { Remembered } from './remembered.ts'
import type { Admission, CreateOutcome, SessionStore, StoredSession } from './stores/contract.ts'
import { bucketOf, idOf, isId, newToken, ownerOf } from './token.ts'
import type { SessionInfo, SessionPolicy, UserSession } from './types.ts'

export interface SessionsOptions extends SessionPolicy {
  store: SessionStore
  clock?: Clock
  bus?: RevocationBus
  /** Seals what the store keeps. Default: nothing does. */
  sealer?: Sealer
  /** Milliseconds that the store may take for an answer. Default 0: it keeps a deadline by itself. */
  deadline?: number
  /** Told of errors that belong to no caller: of listeners, of the sweep, of the bus. */
  onError?: (error: unknown, doing: string) => void
}

/** How often `update` tries again when others changed the session meanwhile. */
const MAX_UPDATES = 20
/** Expired sessions that one round of the sweep takes from the store. */
const SWEEP_BATCH = 1_000
/** Ids that are not worked out again; twice as many at most. */
const REMEMBERED_IDS = 5_000

/**
 * Sessions of all kinds of storage: tokens, timeouts, changes, events. It knows no Fastify; shell.ts puts it
 * behind `request.session`.
 *
 * A method that talks to the store rejects with STATEFUL_STORAGE_UNAVAILABLE when the store fails.
 */
export class Sessions<Values extends object = SessionValues> {
  readonly policy: Readonly<SessionPolicy>
  readonly clock: Clock
  readonly #store: SessionStore
  readonly #guard: StoreGuard
  readonly #time: PassedTime
  readonly #codec: RecordCodec
  readonly #bus: RevocationBus | undefined
  readonly #events: ListenersByName<SessionEvent>
  readonly #missed: Listeners<void>
  readonly #onError: (error: unknown, doing: string) => void
  /** Where whoever asks has its session; a property costs each request less than an entry of a WeakMap. */
  readonly #current = Symbol('stateful.session.open')
  /** Ids by token: a SHA-256 once, not with each request. */
  readonly #ids = new Remembered<string>(REMEMBERED_IDS)
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
    unreadable: 0,
  }

  constructor({ store, clock, bus, sealer, deadline, onError, ...policy }: SessionsOptions) {
    this.policy = policy
    this.clock = clock ?? systemClock
    this.#store = store
    this.#guard = new StoreGuard(this.clock, deadline ?? 0)
    this.#time = new PassedTime(this.clock, (until) => this.#endExpired(until))
    this.#codec = new RecordCodec(sealer)
    this.#bus = bus
    this.#onError = onError ?? (() => {})
    const report = (error: unknown) => this.#onError(error, 'event listener')
    this.#events = new ListenersByName(report)
    this.#missed = new Listeners(report)
    store.onUnreadable = (error) => this.noteUnreadable(error)
  }

  /** Begins to listen to other instances and to remove expired sessions each `sweepInterval` milliseconds. */
  async start(sweepInterval: number): Promise<void> {
    await this.#bus?.listen(
      (event) => this.#events.tell('revoked', event),
      () => this.#missed.tell(),
    )
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
    return this.#events.add(name, listener)
  }

  off(name: SessionEventName, listener: (event: SessionEvent) => void): void {
    this.#events.delete(name, listener)
  }

  /**
   * `listener` runs when `revoked` of other instances may have gone by unheard (a lost connection to Redis), and again
   * when they are heard once more: whatever rests on a session has to look at it. It must not throw.
   * @returns a function that ends it
   */
  onMissed(listener: () => void): () => void {
    return this.#missed.add(listener)
  }

  // --- the store of a user's sessions -----------------------------------------------------------

  /**
   * A session of the user beside their others. Only here is the token told: it is the credential.
   * @throws STATEFUL_TOO_MANY_SESSIONS
   */
  async create(
    userId: string,
    data: Partial<Values> = {},
    device: Device = {},
  ): Promise<UserSession<Values> & { token: string }> {
    const token = newToken(bucketOf(ownerOf(userId)))
    const open = await this.begin(token, { user: { id: userId }, ...data }, { userId, device, login: true })
    return { ...this.#describe(open), token }
  }

  /** @param id the session's handle */
  async get(id: string): Promise<UserSession<Values> | undefined> {
    const open = isId(id) ? await this.#load(id) : undefined
    return typeof open === 'object' ? this.#described(open) : undefined
  }

  /**
   * Changes the top-level values that the patch names (`undefined` removes one) and leaves the others as they
   * are, whoever changes them meanwhile. A function gets the present values and is called again when someone
   * else was faster.
   * @throws STATEFUL_SESSION_CONFLICT when others are faster each time
   */
  async update(
    id: string,
    patch: Partial<Values> | ((data: Values) => Partial<Values> | Promise<Partial<Values>>),
  ): Promise<UserSession<Values> | undefined> {
    for (let attempt = 0; attempt < MAX_UPDATES; attempt++) {
      const open = isId(id) ? await this.#load(id) : undefined
      if (typeof open !== 'object') return undefined
      const values = this.valuesOf(open)
      if (!values) return undefined
      const change = typeof patch === 'function' ? await patch(values as Values) : patch
      const after = stringifyValues({ ...values, ...change })
      const outcome = await this.#save(open, after, typeof patch === 'function' ? { version: open.version } : {})
      if (outcome === 'gone') return undefined
      if (outcome === 'saved') return this.#describe(open)
    }
    throw new SessionConflictError()
  }

  /** `false` when it was not live. */
  destroy(id: string, reason = 'revoked'): Promise<boolean> {
    return this.revoke(id, reason)
  }

  async list(userId: string): Promise<SessionInfo[]> {
    const stored = await this.#ask((now) => this.#store.list(ownerOf(userId), now))
    return stored.flatMap((session) => {
      const open = this.#codec.toOpen(session)
      return open ? info(open) : []
    })
  }

  /** Ends the session with that handle. `false` when it was not live. */
  async revoke(handle: string, reason = 'revoked'): Promise<boolean> {
    const open = isId(handle) ? await this.#load(handle) : undefined
    return typeof open === 'object' && this.end(open, reason)
  }

  /** The handle of the session that a request came with or got; `undefined` when it has none. */
  handleOf(request: object): string | undefined {
    return this.#openOf(request)?.id
  }

  /** Ends all sessions of the request's user but the request's own. @returns how many there were */
  async revokeOthers(request: object, reason = 'revoked'): Promise<number> {
    const open = this.#openOf(request)
    if (open?.userId === undefined) return 0
    return this.revokeUser(open.userId, { except: open.id, reason })
  }

  /** When the request's user last proved who they are, in milliseconds since the Unix epoch. */
  authenticatedAt(request: object): number | undefined {
    return this.#openOf(request)?.authenticated
  }

  /** Ends all sessions of the user, one handle perhaps excepted. @returns how many there were */
  async revokeUser(userId: string, { except, reason = 'revoked' }: { except?: string; reason?: string } = {}) {
    const ids = await this.#ask((now) => this.#store.revokeOwner(ownerOf(userId), now, except))
    for (const id of ids) this.#announceEnd({ handle: id, userId, reason })
    return ids.length
  }

  async count(): Promise<number> {
    return (await this.#ask((now) => this.#store.count(now))).sessions
  }

  async stats(): Promise<SessionStats> {
    const { sessions, owners } = await this.#ask((now) => this.#store.count(now))
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
  open(token: string): Promise<OpenSession | 'ended' | undefined> {
    let id = this.#ids.get(token)
    if (id === undefined) {
      id = idOf(token)
      this.#ids.set(token, id)
    }
    return this.#load(id)
  }

  /**
   * Begins a session under a fresh token; with `former`, in its place. Only a login may replace one that has ended
   * meanwhile.
   * @throws STATEFUL_TOO_MANY_SESSIONS, STATEFUL_SESSION_REVOKED
   */
  async begin(
    token: string,
    values: SessionValues,
    options: {
      userId?: string
      device?: Device
      login?: boolean
      former?: OpenSession
      /** Instead of the policy's. */
      idle?: number
    } = {},
  ): Promise<OpenSession> {
    const { userId, former, login = false } = options
    const now = this.clock.now()
    const id = idOf(token)
    // What is known of the user stays with the user.
    const kept = former && former.userId === userId ? former : undefined
    const authenticated = login ? now : kept?.authenticated
    // Only a login begins a new absolute lifetime: otherwise rotating would keep a session alive for ever.
    const begun = login ? undefined : former
    const ends = begun?.ends ?? now + this.policy.absolute
    const open: OpenSession = {
      id,
      created: begun?.created ?? now,
      seen: now,
      expires: Math.min(ends, now + (options.idle ?? this.policy.idle)),
      ends,
      version: 1,
      logins: kept?.logins ?? 0,
      device: options.device ?? kept?.device ?? {},
      texts: stringifyValues(values),
      stale: false,
      ...(userId === undefined ? {} : { userId, owner: ownerOf(userId) }),
      ...(authenticated === undefined ? {} : { authenticated }),
    }
    const { limit } = this.policy
    const stored = this.#codec.toStored(open)
    const outcome = await this.#ask<CreateOutcome>((now) => {
      const admission: Admission = { now, login, ...(limit ? { limit } : {}) }
      return former
        ? this.#store.rotate(former, stored, { ...admission, requireLive: !login })
        : this.#store.create(stored, admission)
    })
    if (outcome.outcome === 'full') throw new TooManySessionsError()
    if (outcome.outcome === 'gone') throw new SessionRevokedError()
    this.#announceBegin(open, former, login, outcome.evicted)
    return { ...open, logins: outcome.logins }
  }

  /** Makes `open` the session of whoever asks, until they are gone. */
  attach(requester: object, open: OpenSession): void {
    ;(requester as Record<symbol, OpenSession>)[this.#current] = open
  }

  /** Whether a use now should be recorded. */
  isTouchDue(open: OpenSession): boolean {
    const due = this.clock.now() - open.seen >= Math.min(this.policy.touch, (open.expires - open.seen) / 10)
    if (!due) this.#stats.touchesSkipped += 1
    return due
  }

  /**
   * Saves what changed since the session was opened; without a change, records that it was used.
   * @returns `false` when there was no change and the session has ended
   * @throws STATEFUL_SESSION_REVOKED when there was a change and the session has ended
   */
  async save(open: OpenSession, texts: Record<string, string>, idle = this.policy.idle): Promise<boolean> {
    const changed = texts !== open.texts
    if ((await this.#save(open, texts, { idle })) !== 'gone') return true
    if (changed) throw new SessionRevokedError()
    return false
  }

  /** Ends an open session. `false` when it was not live any more. */
  async end(open: OpenSession, reason: string): Promise<boolean> {
    const ended = await this.#ask((now) => this.#store.revoke(open.id, now))
    if (ended) this.#announceEnd({ ...eventOf(open), reason })
    return ended
  }

  /** What the session holds; `undefined`, and told, when that cannot be read. */
  valuesOf(open: OpenSession): SessionValues | undefined {
    try {
      return parseValues(open.texts)
    } catch (error) {
      this.noteUnreadable(error)
      return undefined
    }
  }

  /** Each counts; the first is told, for of damage there may be much. */
  noteUnreadable(error: unknown): void {
    if (this.#stats.unreadable++ === 0) this.#onError(error, 'reading a record, which is taken for no session,')
  }

  #openOf(requester: object): OpenSession | undefined {
    return (requester as Record<symbol, OpenSession | undefined>)[this.#current]
  }

  readonly #opened = (stored: StoredSession | 'ended' | undefined): OpenSession | 'ended' | undefined => {
    if (typeof stored !== 'object') return stored
    const open = this.#codec.toOpen(stored)
    if (!open) this.noteUnreadable(new UnreadableSessionError('it is damaged, or sealed under a secret that is gone'))
    return open
  }

  #load(id: string): Promise<OpenSession | 'ended' | undefined> {
    return this.#time.ask((now) => this.#guard.ask(() => this.#store.load(id, now), this.#opened))
  }

  async #save(open: OpenSession, texts: Record<string, string>, options: { version?: number; idle?: number }) {
    const now = this.clock.now()
    const change = {
      ...this.#codec.change(open, texts),
      seen: now,
      expires: Math.min(open.ends, now + (options.idle ?? this.policy.idle)),
      ...(options.version === undefined ? {} : { version: options.version }),
    }
    const outcome = await this.#ask((now) => this.#store.save(open.id, open.owner, change, now))
    if (outcome === 'gone') this.#stats.refusedSaves += 1
    if (outcome !== 'saved') return outcome
    if (texts === open.texts) this.#stats.touches += 1
    else this.#stats.saves += 1
    open.texts = texts
    open.stale = false
    open.seen = now
    open.expires = change.expires
    return outcome
  }

  async #sweep(): Promise<number> {
    let removed = 0
    for (;;) {
      const expired = await this.#ask((now) => this.#store.sweep(now, SWEEP_BATCH))
      this.#announceExpired(expired)
      removed += expired.length
      if (expired.length < SWEEP_BATCH) return removed
    }
  }

  async #endExpired(until: number): Promise<void> {
    let expired: StoredSession[]
    do {
      expired = await this.#guard.ask(() => this.#store.sweep(until, SWEEP_BATCH), same)
      this.#announceExpired(expired)
    } while (expired.length > 0)
  }

  #announceExpired(expired: StoredSession[]): void {
    for (const session of expired) {
      const open = this.#codec.toOpen(session)
      this.#stats.expired += 1
      this.#events.tell('expired', open ? eventOf(open) : { handle: session.id })
    }
  }

  #announceBegin(open: OpenSession, former: OpenSession | undefined, login: boolean, evicted: string[]): void {
    const event = eventOf(open)
    for (const id of evicted) {
      this.#announceEnd({ ...event, handle: id, reason: 'evicted' })
    }
    if (former) {
      this.#stats.rotated += 1
      this.#events.tell('rotated', event)
      this.#announceEnd({ ...eventOf(former), reason: login ? 'login' : 'rotation' })
    }
    if (!former || login) {
      this.#stats.created += 1
      this.#events.tell('created', event)
    }
  }

  #announceEnd(event: SessionEvent): void {
    this.#stats.revoked += 1
    this.#events.tell('revoked', event)
    this.#bus?.publish(event).catch((error) => this.#onError(error, 'publishing a revocation'))
  }

  #ask<T>(question: (now: number) => Promise<T>): Promise<T> {
    return this.#time.ask((now) => this.#guard.ask(() => question(now), same))
  }

  #described(open: OpenSession): UserSession<Values> | undefined {
    return this.valuesOf(open) && this.#describe(open)
  }

  #describe(open: OpenSession): UserSession<Values> {
    return {
      ...info(open),
      id: open.id,
      ...(open.userId === undefined ? {} : { userId: open.userId }),
      expiresAt: new Date(open.expires),
      loginCount: open.logins,
      data: parseValues(open.texts) as Values,
    }
  }
}

function same<T>(answer: T): T {
  return answer
}

function eventOf({ id, userId }: OpenSession): SessionEvent {
  return { handle: id, ...(userId === undefined ? {} : { userId }) }
}

function info(open: OpenSession): SessionInfo {
  return {
    handle: open.id,
    createdAt: new Date(open.created),
    lastActivity: new Date(open.seen),
    ...open.device,
  }
}
