import { StorageUnavailableError } from '../../support/errors.ts'
import { isPromiseLike } from '../../support/promise-like.ts'
import { applyChange } from './apply-change.ts'
import {
  type Admission,
  type CreateOutcome,
  type Ended,
  type FormerSession,
  isStoredSession,
  LOGIN_COUNT_TTL,
  type SaveOutcome,
  type SessionChange,
  type SessionCount,
  type SessionStore,
  type StoredSession,
  TOMBSTONE_TTL,
} from './contract.ts'
import { KeyedQueue } from './keyed-queue.ts'

/** What express-session and @fastify/session ask of a store: three methods with a callback. */
export interface CallbackStore {
  get(sid: string, callback: (error: unknown, session?: unknown) => void): void
  set(sid: string, session: object, callback: (error?: unknown) => void): void
  destroy(sid: string, callback: (error?: unknown) => void): void
}

/** Such stores read from `cookie` how long to keep what they get. */
interface Expiry {
  cookie: { expires: Date; originalMaxAge: number; maxAge: number }
}
interface Owner {
  ids: string[]
  logins: number
  forgottenAt: number
}

/**
 * Sessions in a store of express-session (or of @fastify/session), by what its contract allows: it knows no index and
 * nothing atomic. Steps on one user's sessions run one after the other in this process; between processes the last
 * write wins. A session that ended in this process stays ended; counts and the sweep know the sessions of this
 * process only.
 */
export class CallbackSessionStore implements SessionStore {
  onUnreadable?: (error: unknown) => void
  readonly #store: CallbackStore
  /** By user; a session without a user, by its id. */
  readonly #queue = new KeyedQueue()
  /** Id → how it ended, and until when it is told apart from one that never was. */
  readonly #ended = new Map<string, { how: Ended; until: number }>()
  /** What was created or seen here. */
  readonly #known = new Map<string, { owner?: string; expires: number }>()

  constructor(store: CallbackStore) {
    this.#store = store
  }

  async load(id: string, now: number): Promise<StoredSession | Ended | undefined> {
    return (await this.#live(id, now)) ?? this.#endedBy(id, now)
  }

  #endedBy(id: string, now: number): Ended | undefined {
    const ended = this.#ended.get(id)
    return ended && ended.until > now ? ended.how : undefined
  }

  create(session: StoredSession, admission: Admission): Promise<CreateOutcome> {
    return this.#queue.run(session.owner ?? session.id, async () => {
      if (admission.once && (await this.load(session.id, admission.now))) return { outcome: 'taken' }
      return this.#create(session, admission)
    })
  }

  async rotate(
    former: FormerSession,
    session: StoredSession,
    admission: Admission & { requireLive: boolean },
  ): Promise<CreateOutcome> {
    const { now } = admission
    if (admission.requireLive && !(await this.#live(former.id, now))) return { outcome: 'gone' }
    return this.#queue.run(session.owner ?? former.id, async () => {
      const old = await this.#live(former.id, now)
      if (!old && admission.requireLive) return { outcome: 'gone' }
      const outcome = await this.#create(session, admission, former.id)
      if (outcome.outcome === 'created' && old) await this.#end(old.id, now, 'replaced')
      return outcome
    })
  }

  save(id: string, owner: string | undefined, change: SessionChange, now: number): Promise<SaveOutcome> {
    return this.#queue.run(owner ?? id, async () => {
      const session = await this.#live(id, now)
      if (!session) return 'gone'
      if (change.version !== undefined && change.version !== session.version) return 'conflict'
      await this.#put(applyChange(session, change), now)
      return 'saved'
    })
  }

  async revoke(id: string, now: number): Promise<boolean> {
    const session = await this.#live(id, now)
    return this.#queue.run(session?.owner ?? id, async () => {
      const live = await this.#live(id, now)
      // Also what we cannot read, or take for expired: the store is to have nothing under this id.
      await this.#end(id, now)
      return live !== undefined
    })
  }

  revokeOwner(owner: string, now: number, except?: string): Promise<string[]> {
    return this.#queue.run(owner, async () => {
      const sessions = (await this.#ofOwner(owner, now)).filter(({ id }) => id !== except)
      for (const { id } of sessions) await this.#end(id, now)
      return sessions.map(({ id }) => id)
    })
  }

  async list(owner: string, now: number): Promise<StoredSession[]> {
    return (await this.#ofOwner(owner, now)).sort((a, b) => b.created - a.created)
  }

  async all(now: number): Promise<StoredSession[]> {
    const found = await Promise.all([...this.#known.keys()].map((id) => this.#live(id, now)))
    return found.flatMap((session) => session ?? [])
  }

  async count(now: number): Promise<SessionCount> {
    const live = [...this.#known.values()].filter(({ expires }) => expires > now)
    return { sessions: live.length, owners: new Set(live.flatMap(({ owner }) => owner ?? [])).size }
  }

  async sweep(now: number, limit: number): Promise<StoredSession[]> {
    for (const [id, { until }] of this.#ended) if (until <= now) this.#ended.delete(id)
    const due = [...this.#known].filter(([, { expires }]) => expires <= now).slice(0, limit)
    // Taken out before anything is awaited: each is answered to one caller only.
    for (const [id] of due) this.#known.delete(id)
    const expired: StoredSession[] = []
    for (const [id, { owner }] of due) {
      await this.#queue.run(owner ?? id, async () => {
        const session = await this.#read<StoredSession>(id)
        // Another process may have kept it alive.
        if (!session || session.expires > now) return
        await this.#remove(id)
        expired.push(session)
      })
    }
    return expired
  }

  async #create(session: StoredSession, { now, login, limit }: Admission, former?: string): Promise<CreateOutcome> {
    const { owner } = session
    if (owner === undefined) {
      await this.#put(session, now)
      return { outcome: 'created', logins: session.logins, evicted: [] }
    }
    const record = await this.#owner(owner, now)
    const others = (await this.#of(record, now)).filter(({ id }) => id !== former)
    const surplus = limit ? Math.max(0, others.length + 1 - limit.sessions) : 0
    if (surplus > 0 && limit?.action === 'refuse') return { outcome: 'full' }
    const victims = others.sort((a, b) => a.seen - b.seen).slice(0, surplus)
    for (const victim of victims) await this.#end(victim.id, now)

    const logins = login ? record.logins + 1 : session.logins
    const stored = { ...session, logins }
    const left = others.filter((other) => !victims.includes(other)).map(({ id }) => id)
    // The former one is still there until it has been replaced.
    const ids = [...left, ...(former === undefined || !record.ids.includes(former) ? [] : [former]), session.id]
    await this.#write<Owner>(
      keyOf(owner),
      { ids, logins: login ? logins : record.logins, forgottenAt: login ? now + LOGIN_COUNT_TTL : record.forgottenAt },
      now + LOGIN_COUNT_TTL,
      now,
    )
    await this.#put(stored, now)
    return { outcome: 'created', logins, evicted: victims.map(({ id }) => id) }
  }

  async #put(session: StoredSession, now: number): Promise<void> {
    this.#know(session)
    await this.#write(session.id, session, session.expires, now)
  }

  #know({ id, owner, expires }: StoredSession): void {
    this.#known.set(id, { expires, ...(owner === undefined ? {} : { owner }) })
  }

  async #live(id: string, now: number): Promise<StoredSession | undefined> {
    if (this.#endedBy(id, now)) return undefined
    const session = await this.#read<StoredSession>(id)
    if (!session || session.expires <= now) return undefined
    if (!isStoredSession(session)) {
      this.onUnreadable?.(new TypeError('the store holds something that is no session'))
      return undefined
    }
    this.#know(session)
    return session
  }

  async #ofOwner(owner: string, now: number): Promise<StoredSession[]> {
    return this.#of(await this.#owner(owner, now), now)
  }

  async #of({ ids }: Owner, now: number): Promise<StoredSession[]> {
    const sessions = await Promise.all(ids.map((id) => this.#live(id, now)))
    return sessions.flatMap((session) => session ?? [])
  }

  async #owner(owner: string, now: number): Promise<Owner> {
    const record = await this.#read<Owner>(keyOf(owner))
    if (!record) return { ids: [], logins: 0, forgottenAt: 0 }
    return record.forgottenAt > now ? record : { ...record, logins: 0 }
  }

  async #end(id: string, now: number, how: Ended = 'ended'): Promise<void> {
    // First, so that no save brings the session back while the store is working.
    this.#ended.set(id, { how, until: now + TOMBSTONE_TTL })
    this.#known.delete(id)
    await this.#remove(id)
  }

  async #read<T>(key: string): Promise<T | undefined> {
    const value = await askIfAny((callback) => this.#store.get(key, callback))
    // Some stores hand out the object that they keep.
    const { stateful } = (value ?? {}) as { stateful?: T }
    return stateful && (structuredClone(stateful) as T)
  }

  async #write<T extends object>(key: string, value: T, expires: number, now: number): Promise<void> {
    const record: Expiry & { stateful: T } = {
      cookie: { expires: new Date(expires), originalMaxAge: expires - now, maxAge: expires - now },
      stateful: value,
    }
    await ask((callback) => this.#store.set(key, record, callback))
  }

  async #remove(key: string): Promise<void> {
    await askIfAny((callback) => this.#store.destroy(key, callback))
  }
}

/** One answer, the first: by callback, by throwing, or by the rejection of a method that is `async` beside. */
export function ask(question: (callback: (error?: unknown, value?: unknown) => void) => unknown): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const returned = question((error, value) => (error ? reject(error) : resolve(value)))
    if (isPromiseLike(returned)) returned.then(undefined, reject)
  })
}

/**
 * As `ask`, about what may not be there: a store of files says so by the error of a file that is not there. A socket
 * that is not there has the same code: that store is away.
 */
export async function askIfAny(question: Parameters<typeof ask>[0]): Promise<unknown> {
  try {
    return await ask(question)
  } catch (error) {
    const { code, syscall } = (error ?? {}) as { code?: unknown; syscall?: unknown }
    if (code === 'ENOENT' && syscall !== 'connect') return undefined
    throw error
  }
}

/**
 * What the store said, in its own words, for a handler that asked it by a method of its session: as under
 * @fastify/session, the store is the application's. Status and code stay ours.
 */
export function inOwnWords(error: unknown): unknown {
  if (!(error instanceof StorageUnavailableError) || !(error.cause instanceof Error)) return error
  const told = new StorageUnavailableError('sessions', { cause: error.cause })
  told.message = error.cause.message
  return told
}

/** Of an error that the handler lets pass, a client gets none of those words. */
export function keepOwnWords(error: unknown): void {
  if (!(error instanceof StorageUnavailableError) || !(error.cause instanceof Error)) return
  if (error.message === error.cause.message) error.message = new StorageUnavailableError('sessions').message
}

function keyOf(owner: string): string {
  return `owner-${owner}`
}
