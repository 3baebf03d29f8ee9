import { applyChange } from './apply-change.ts'
import {
  type Admission,
  type CreateOutcome,
  type Ended,
  type FormerSession,
  LOGIN_COUNT_TTL,
  type SaveOutcome,
  type SessionChange,
  type SessionCount,
  type SessionStore,
  type StoredSession,
  TOMBSTONE_TTL,
} from './contract.ts'
import { ExpiryHeap } from './expiry-heap.ts'

interface Logins {
  count: number
  forgottenAt: number
}

/** Sessions of this process. Synchronous inside, so that every method is one atomic step. */
export class MemorySessionStore implements SessionStore {
  /** Records are replaced, never changed: a caller that has loaded one keeps what it saw. */
  readonly #sessions = new Map<string, StoredSession>()
  readonly #byOwner = new Map<string, Set<string>>()
  readonly #logins = new Map<string, Logins>()
  /** Id → how it ended and when that is forgotten; the insertion order is the order of those times. */
  readonly #tombstones = new Map<string, { how: Ended; forgottenAt: number }>()
  readonly #expiries = new ExpiryHeap()
  /** Expired and taken out of the indexes, not yet answered by `sweep`. */
  #expired: StoredSession[] = []

  async load(id: string, now: number): Promise<StoredSession | Ended | undefined> {
    return this.#find(id, now)
  }

  #find(id: string, now: number): StoredSession | Ended | undefined {
    const session = this.#live(id, now)
    if (session) return session
    const tombstone = this.#tombstones.get(id)
    return tombstone && tombstone.forgottenAt > now ? tombstone.how : undefined
  }

  async create(session: StoredSession, admission: Admission): Promise<CreateOutcome> {
    if (admission.once && this.#find(session.id, admission.now)) return { outcome: 'taken' }
    return this.#create(session, admission)
  }

  async rotate(
    former: FormerSession,
    session: StoredSession,
    admission: Admission & { requireLive: boolean },
  ): Promise<CreateOutcome> {
    const old = this.#live(former.id, admission.now)
    if (!old && admission.requireLive) return { outcome: 'gone' }
    const outcome = this.#create(session, admission, former.id)
    if (outcome.outcome === 'created' && old) this.#end(old, admission.now, 'replaced')
    return outcome
  }

  async save(id: string, _owner: string | undefined, change: SessionChange, now: number): Promise<SaveOutcome> {
    const session = this.#live(id, now)
    if (!session) return 'gone'
    if (change.version !== undefined && change.version !== session.version) return 'conflict'
    // The heap still holds the earlier time; when that comes, the session is queued again.
    this.#sessions.set(id, applyChange(session, change))
    return 'saved'
  }

  async revoke(id: string, now: number): Promise<boolean> {
    const session = this.#live(id, now)
    if (session) this.#end(session, now)
    return session !== undefined
  }

  async revokeOwner(owner: string, now: number, except?: string): Promise<string[]> {
    const sessions = this.#ofOwner(owner, now).filter(({ id }) => id !== except)
    for (const session of sessions) this.#end(session, now)
    return sessions.map(({ id }) => id)
  }

  async list(owner: string, now: number): Promise<StoredSession[]> {
    return this.#ofOwner(owner, now).sort((a, b) => b.created - a.created)
  }

  async all(now: number): Promise<StoredSession[]> {
    return [...this.#sessions.values()].filter(({ expires }) => expires > now)
  }

  async count(now: number): Promise<SessionCount> {
    this.#expire(now)
    return { sessions: this.#sessions.size, owners: this.#byOwner.size }
  }

  async sweep(now: number, limit: number): Promise<StoredSession[]> {
    this.#expire(now)
    for (const [id, { forgottenAt }] of this.#tombstones) {
      if (forgottenAt > now) break
      this.#tombstones.delete(id)
    }
    for (const [owner, { forgottenAt }] of this.#logins) {
      if (forgottenAt > now) break
      this.#logins.delete(owner)
    }
    return this.#expired.splice(0, limit)
  }

  #create(session: StoredSession, admission: Admission, former?: string): CreateOutcome {
    const { now, limit } = admission
    const evicted: string[] = []
    if (session.owner !== undefined && limit) {
      const others = this.#ofOwner(session.owner, now).filter(({ id }) => id !== former)
      const surplus = others.length + 1 - limit.sessions
      if (surplus > 0 && limit.action === 'refuse') return { outcome: 'full' }
      for (const victim of others.sort((a, b) => a.seen - b.seen).slice(0, Math.max(surplus, 0))) {
        this.#end(victim, now)
        evicted.push(victim.id)
      }
    }
    let { logins } = session
    if (session.owner !== undefined) {
      if (admission.login) logins = this.#countLogin(session.owner, now)
      const ids = this.#byOwner.get(session.owner) ?? new Set()
      this.#byOwner.set(session.owner, ids.add(session.id))
    }
    this.#sessions.set(session.id, { ...session, logins })
    this.#expiries.push(session.expires, session.id)
    return { outcome: 'created', logins, evicted }
  }

  #countLogin(owner: string, now: number): number {
    const count = (this.#logins.get(owner)?.count ?? 0) + 1
    // Deleted first, so that the map stays in the order in which its entries are forgotten.
    this.#logins.delete(owner)
    this.#logins.set(owner, { count, forgottenAt: now + LOGIN_COUNT_TTL })
    return count
  }

  #live(id: string, now: number): StoredSession | undefined {
    const session = this.#sessions.get(id)
    return session && session.expires > now ? session : undefined
  }

  #ofOwner(owner: string, now: number): StoredSession[] {
    return [...(this.#byOwner.get(owner) ?? [])].flatMap((id) => this.#live(id, now) ?? [])
  }

  #end(session: StoredSession, now: number, how: Ended = 'ended'): void {
    this.#remove(session)
    this.#tombstones.delete(session.id)
    this.#tombstones.set(session.id, { how, forgottenAt: now + TOMBSTONE_TTL })
  }

  #remove(session: StoredSession): void {
    this.#sessions.delete(session.id)
    if (session.owner === undefined) return
    const ids = this.#byOwner.get(session.owner)
    ids?.delete(session.id)
    if (ids?.size === 0) this.#byOwner.delete(session.owner)
  }

  #expire(now: number): void {
    for (;;) {
      const due = this.#expiries.popDue(now)
      if (!due) return
      const session = this.#sessions.get(due)
      if (!session) continue
      if (session.expires > now) {
        this.#expiries.push(session.expires, session.id)
      } else {
        this.#remove(session)
        this.#expired.push(session)
      }
    }
  }
}
