import type { SessionStats } from '../../openapi/schemas/session.ts'
import { type Clock, systemClock, type Timer } from '../support/clock.ts'
import { SessionConflictError, SessionRevokedError, TooManySessionsError } from '../support/errors.ts'
import { Listeners, ListenersByName } from '../support/listeners.ts'
import { type SessionSaveEvent, sessionLoad, sessionSave } from '../support/tracing.ts'
import type { Sealer } from './encryption.ts'
import type { RevocationBus, SessionEvent } from './events.ts'
import { StoreGuard } from './guard.ts'
import { PassedTime } from './passed-time.ts'
import {
  type Device,
  type KnownMeta,
  type OpenSession,
  parseValues,
  RecordCodec,
  type SessionValues,
  stringifyValues,
  UnreadableSessionError,
} from './record.ts'
import { Remembered } from './remembered.ts'
import type { Admission, CreateOutcome, Ended, SaveOutcome, SessionStore, StoredSession } from './stores/contract.ts'
import { idOf, isId, ownerOf } from './token.ts'
import type { SessionPolicy } from './types.ts'

export interface SessionEngineOptions extends SessionPolicy {
  store: SessionStore
  clock?: Clock
  /** Seals what the store keeps. Default: nothing does. */
  sealer?: Sealer
  /** Milliseconds that the store may take for an answer. Default 0: it keeps a deadline by itself. */
  deadline?: number
  /** Told of errors that belong to no caller: of listeners, of the sweep, of the bus. */
  onError?: (error: unknown, doing: string) => void
}

/** How a session begins. */
export interface Beginning {
  userId?: string
  device?: Device
  /** The user has just proved who they are: a new absolute lifetime begins. */
  login?: boolean
  /** The session that it replaces. */
  former?: OpenSession
  /** Milliseconds without a use after which it ends. Default: the policy's. */
  idle?: number
  /** Kept with the session, instead of the policy's. */
  ownIdle?: number
  /** When it ends however much it is used, unless it goes on with what `former` had. Default: by the policy. */
  ends?: number
  /** The token is not random: the second caller that begins a session under it gets the one that the first began. */
  once?: boolean
}

export interface Saving {
  /** Refuse unless the record still has this version. */
  version?: number
  /** Instead of the policy's. */
  idle?: number
  /** A later end than it has. */
  ends?: number
}

/** How often an update tries again when others changed the session meanwhile. */
const MAX_UPDATES = 20
/** Expired sessions that one round of the sweep takes from the store. */
const SWEEP_BATCH = 1_000
/** Sessions of which something is remembered; twice as many at most. */
const REMEMBERED_SESSIONS = 5_000

/** What hardly ever changes of a token's session: its id takes a SHA-256, its meta is JSON, and each request asks. */
interface KnownSession extends KnownMeta {
  readonly id: string
}

/**
 * Sessions by their tokens and ids, on any store: timeouts, changes, rotation, events. It knows neither requests nor
 * cookies. `app.sessions` is what applications see of it; request/lifecycle.ts puts it behind `request.session`.
 *
 * A method that talks to the store rejects with STATEFUL_STORAGE_UNAVAILABLE when the store fails.
 */
export class SessionEngine {
  readonly policy: Readonly<SessionPolicy>
  readonly clock: Clock
  readonly events: ListenersByName<SessionEvent>
  /** `revoked` of other instances may have gone by unheard. */
  readonly missed: Listeners<void>
  readonly #store: SessionStore
  readonly #guard: StoreGuard
  readonly #time: PassedTime
  readonly #codec: RecordCodec
  readonly #bus: RevocationBus | undefined
  readonly #onError: (error: unknown, doing: string) => void
  readonly #known = new Remembered<KnownSession>(REMEMBERED_SESSIONS)
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

  constructor({ store, clock, sealer, deadline, onError, ...policy }: SessionEngineOptions) {
    this.policy = policy
    this.clock = clock ?? systemClock
    this.#store = store
    this.#guard = new StoreGuard(this.clock, deadline ?? 0)
    this.#time = new PassedTime(this.clock, (until) => this.#endExpired(until))
    this.#codec = new RecordCodec(sealer)
    this.#bus = store.bus?.()
    this.#onError = onError ?? (() => {})
    const report = (error: unknown) => this.#onError(error, 'event listener')
    this.events = new ListenersByName(report)
    this.missed = new Listeners(report)
    store.onUnreadable = (error) => this.noteUnreadable(error)
  }

  /** Begins to listen to other instances and to remove expired sessions each `sweepInterval` milliseconds. */
  async start(sweepInterval: number): Promise<void> {
    await this.#bus?.listen(
      (event) => this.events.tell('revoked', event),
      () => this.missed.tell(),
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

  // --- one session --------------------------------------------------------------------------------

  /** The session of a token, or how it ended if that was a moment ago. */
  open(token: string): Promise<OpenSession | Ended | undefined> {
    let known = this.#known.get(token)
    if (known === undefined) {
      known = { id: idOf(token), text: undefined, meta: undefined }
      this.#known.set(token, known)
    }
    return this.#load(known)
  }

  /** @param id anything that may be a handle */
  async find(id: string): Promise<OpenSession | undefined> {
    const found = isId(id) ? await this.#load({ id }) : undefined
    return typeof found === 'object' ? found : undefined
  }

  /**
   * Begins a session under a fresh token; with `former`, in its place. Only a login may replace one that has ended
   * meanwhile.
   * @throws STATEFUL_TOO_MANY_SESSIONS, STATEFUL_SESSION_REVOKED
   */
  begin(token: string, values: SessionValues, options: Beginning = {}): Promise<OpenSession> {
    if (!sessionSave.hasSubscribers) return this.#begin(token, values, options)
    const event: SessionSaveEvent = { operation: options.former ? 'rotate' : 'create' }
    return sessionSave.trace(
      event,
      () => this.#begin(token, values, options),
      (event) => {
        event.outcome = 'saved'
      },
    )
  }

  async #begin(token: string, values: SessionValues, options: Beginning): Promise<OpenSession> {
    const { userId, former, login = false } = options
    const now = this.clock.now()
    const id = idOf(token)
    // What is known of the user stays with the user.
    const kept = former && former.userId === userId ? former : undefined
    const authenticated = login ? now : kept?.authenticated
    const ownIdle = options.ownIdle ?? (login ? undefined : kept?.idle)
    // Only a login begins a new absolute lifetime: otherwise rotating would keep a session alive for ever.
    const begun = login ? undefined : former
    const ends = begun?.ends ?? options.ends ?? now + this.policy.absolute
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
      ...(ownIdle === undefined ? {} : { idle: ownIdle }),
      ...(userId === undefined ? {} : { userId, owner: ownerOf(userId) }),
      ...(authenticated === undefined ? {} : { authenticated }),
    }
    const { limit } = this.policy
    const stored = this.#codec.toStored(open)
    const outcome = await this.#ask<CreateOutcome>((now) => {
      const admission: Admission = { now, login, once: options.once ?? false, ...(limit ? { limit } : {}) }
      return former
        ? this.#store.rotate(former, stored, { ...admission, requireLive: !login })
        : this.#store.create(stored, admission)
    })
    if (outcome.outcome === 'full') throw new TooManySessionsError()
    if (outcome.outcome === 'taken') {
      const there = await this.open(token)
      if (typeof there === 'object') return there
    }
    if (outcome.outcome !== 'created') throw new SessionRevokedError()
    this.#announceBegin(open, former, login, outcome.evicted)
    return { ...open, logins: outcome.logins }
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
  async save(open: OpenSession, texts: Record<string, string>, options: Saving = {}): Promise<boolean> {
    const changed = texts !== open.texts
    if ((await this.#save(open, texts, options)) !== 'gone') return true
    if (changed) throw new SessionRevokedError()
    return false
  }

  /**
   * Changes values by what they are in the store: `change` is called again when somebody else was faster.
   * @returns the session as it is then; `undefined` when it is not live
   * @throws STATEFUL_SESSION_CONFLICT when others are faster each time
   */
  async update(
    id: string,
    change: (values: SessionValues) => SessionValues | Promise<SessionValues>,
    { compare = true }: { compare?: boolean } = {},
  ): Promise<OpenSession | undefined> {
    for (let attempt = 0; attempt < MAX_UPDATES; attempt++) {
      const open = await this.find(id)
      const values = open && this.valuesOf(open)
      if (!open || !values) return undefined
      const after = stringifyValues({ ...values, ...(await change(values)) })
      const outcome = await this.#save(open, after, {
        idle: open.idle ?? this.policy.idle,
        ...(compare ? { version: open.version } : {}),
      })
      if (outcome === 'gone') return undefined
      if (outcome === 'saved') return open
    }
    throw new SessionConflictError()
  }

  /**
   * Changes one value of an open session, which then has it as saved.
   * @throws STATEFUL_SESSION_REVOKED, STATEFUL_SESSION_CONFLICT
   */
  async updateValue(open: OpenSession, key: string, change: (value: unknown) => unknown): Promise<unknown> {
    const updated = await this.update(open.id, async (stored) => ({ [key]: await change(stored[key]) }))
    if (!updated) throw new SessionRevokedError()
    const text = updated.texts[key]
    const { [key]: _former, ...others } = open.texts
    open.texts = text === undefined ? others : { ...others, [key]: text }
    return text === undefined ? undefined : JSON.parse(text)
  }

  /** Ends an open session. `false` when it was not live any more. */
  async end(open: OpenSession, reason: string): Promise<boolean> {
    const ended = await this.#ask((now) => this.#store.revoke(open.id, now))
    if (ended) this.#announceEnd({ ...eventOf(open), reason })
    return ended
  }

  /** Ends what the store has of a token, if anything: for a session that was not opened. */
  async endToken(token: string, reason: string): Promise<void> {
    await this.#endUnopened(idOf(token), reason)
  }

  /**
   * Ends the session of an id, also when it cannot be read here: damaged, or encrypted with a secret of another
   * process.
   * @param id anything that may be a handle
   * @returns `false` when it is not live
   */
  async endId(id: string, reason: string): Promise<boolean> {
    const open = await this.find(id)
    if (open) return this.end(open, reason)
    return isId(id) && this.#endUnopened(id, reason)
  }

  async #endUnopened(id: string, reason: string): Promise<boolean> {
    const ended = await this.#ask((now) => this.#store.revoke(id, now))
    if (ended) this.#announceEnd({ handle: id, reason })
    return ended
  }

  // --- the sessions of a user, and all ------------------------------------------------------------

  async list(userId: string): Promise<OpenSession[]> {
    const stored = await this.#ask((now) => this.#store.list(ownerOf(userId), now))
    return stored.flatMap((session) => this.#codec.toOpen(session) ?? [])
  }

  /** Every live session: O(n), for administration and for the contract of express-session. */
  async all(): Promise<OpenSession[]> {
    const stored = await this.#ask((now) => this.#store.all(now))
    return stored.flatMap((session) => this.#codec.toOpen(session) ?? [])
  }

  /** Ends all sessions of the user, one handle perhaps excepted. @returns how many there were */
  async endAll(userId: string, reason: string, except?: string): Promise<number> {
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

  // --- reading ------------------------------------------------------------------------------------

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

  #opened(stored: StoredSession | Ended | undefined, known: KnownSession): OpenSession | Ended | undefined {
    if (typeof stored !== 'object') return stored
    const open = this.#codec.toOpen(stored, known)
    if (!open) this.noteUnreadable(new UnreadableSessionError('it is damaged, or sealed under a secret that is gone'))
    return open
  }

  #load(known: KnownSession): Promise<OpenSession | Ended | undefined> {
    if (!sessionLoad.hasSubscribers) return this.#read(known)
    return sessionLoad.trace(
      {},
      () => this.#read(known),
      (event, found) => {
        event.outcome = typeof found === 'object' ? 'live' : (found ?? 'unknown')
      },
    )
  }

  #read(known: KnownSession): Promise<OpenSession | Ended | undefined> {
    const load = (now: number) =>
      this.#guard.ask(
        () => this.#store.load(known.id, now),
        (stored) => this.#opened(stored, known),
      )
    return this.#time.ask(load)
  }

  #save(open: OpenSession, texts: Record<string, string>, options: Saving): Promise<SaveOutcome> {
    if (!sessionSave.hasSubscribers) return this.#write(open, texts, options)
    const event: SessionSaveEvent = { operation: texts === open.texts ? 'touch' : 'save' }
    return sessionSave.trace(
      event,
      () => this.#write(open, texts, options),
      (event, outcome) => {
        event.outcome = outcome
      },
    )
  }

  async #write(open: OpenSession, texts: Record<string, string>, options: Saving): Promise<SaveOutcome> {
    const now = this.clock.now()
    const ends = Math.max(open.ends, options.ends ?? 0)
    const change = {
      ...this.#codec.change(open, texts),
      seen: now,
      expires: Math.min(ends, now + (options.idle ?? this.policy.idle)),
      ...(ends === open.ends ? {} : { ends }),
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
    open.ends = ends
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
      this.events.tell('expired', open ? eventOf(open) : { handle: session.id })
    }
  }

  #announceBegin(open: OpenSession, former: OpenSession | undefined, login: boolean, evicted: string[]): void {
    const event = eventOf(open)
    for (const id of evicted) {
      this.#announceEnd({ ...event, handle: id, reason: 'evicted' })
    }
    if (former) {
      this.#stats.rotated += 1
      this.events.tell('rotated', event)
      this.#announceEnd({ ...eventOf(former), reason: login ? 'login' : 'rotation' })
    }
    if (!former || login) {
      this.#stats.created += 1
      this.events.tell('created', event)
    }
  }

  #announceEnd(event: SessionEvent): void {
    this.#stats.revoked += 1
    this.events.tell('revoked', event)
    this.#bus?.publish(event).catch((error) => this.#onError(error, 'publishing a revocation'))
  }

  #ask<T>(question: (now: number) => Promise<T>): Promise<T> {
    return this.#time.ask((now) => this.#guard.ask(() => question(now), same))
  }
}

function same<T>(answer: T): T {
  return answer
}

function eventOf({ id, userId }: OpenSession): SessionEvent {
  return { handle: id, ...(userId === undefined ? {} : { userId }) }
}
