import type { RootDatabase } from 'lmdb'
import { CheckedDatabase } from '../../storage/lmdb/checked-records.ts'
import type { Commits } from '../../storage/lmdb/commits.ts'
import type { LmdbStorage } from '../../storage/storage.ts'
import { StorageFullError } from '../../support/errors.ts'
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

/** What is left of an ended session for a while. */
interface Tombstone {
  endedUntil: number
  how: Ended
}

interface Owner {
  /** Records, expired ones that await the sweep included. */
  sessions: number
  /** The latest expiry among them. */
  expires: number
  logins: number
  /** When the number of logins is forgotten. */
  forgottenAt: number
}

/** Sessions that end together where there is hardly room for it. */
const FEW = 16

/** `[kind, …]`: the four indexes live in one database, apart by their first element. */
type IndexKey = ['expiry' | 'tombstone' | 'owner-expiry' | 'login-count', number, string] | ['owned', string, string]

/**
 * Sessions in the embedded database. Each method is one write transaction over records and indexes, so they
 * cannot disagree whenever the process dies; reads see what is committed.
 */
export class LmdbSessionStore implements SessionStore {
  onUnreadable?: (error: unknown) => void
  readonly #root: RootDatabase
  readonly #commits: Commits
  readonly #sessions: CheckedDatabase<StoredSession | Tombstone, string>
  readonly #owners: CheckedDatabase<Owner, string>
  readonly #index: CheckedDatabase<true, IndexKey>
  readonly #totals: CheckedDatabase<number, 'sessions' | 'owners'>

  constructor(storage: LmdbStorage, area = '') {
    this.#root = storage.root
    this.#commits = storage.commits
    const suffix = area === '' ? '' : `.${area}`
    // None is ever taken from a backup: a session that was ended since then would live again.
    this.#sessions = new CheckedDatabase(storage, { name: `sessions${suffix}` })
    this.#owners = new CheckedDatabase(storage, { name: `session-owners${suffix}` })
    this.#index = new CheckedDatabase(storage, { name: `session-index${suffix}` })
    this.#totals = new CheckedDatabase(storage, { name: `session-totals${suffix}` })
    if ([this.#sessions, this.#owners, this.#index, this.#totals].some(({ salvaged }) => salvaged !== undefined))
      this.#rebuild()
  }

  async load(id: string, now: number): Promise<StoredSession | Ended | undefined> {
    return this.#find(id, now)
  }

  #find(id: string, now: number): StoredSession | Ended | undefined {
    const found = this.#read(id)
    if (!found) return undefined
    if ('endedUntil' in found) return found.endedUntil > now ? found.how : undefined
    return found.expires > now ? found : undefined
  }

  create(session: StoredSession, admission: Admission): Promise<CreateOutcome> {
    return this.#write(() => {
      if (admission.once && this.#find(session.id, admission.now)) return { outcome: 'taken' }
      return this.#create(session, admission)
    })
  }

  rotate(
    former: FormerSession,
    session: StoredSession,
    admission: Admission & { requireLive: boolean },
  ): Promise<CreateOutcome> {
    return this.#write(() => {
      const old = this.#live(former.id, admission.now)
      if (!old && admission.requireLive) return { outcome: 'gone' }
      const outcome = this.#create(session, admission, former.id)
      if (outcome.outcome === 'created' && old) this.#end(old, admission.now, 'replaced')
      return outcome
    })
  }

  save(id: string, _owner: string | undefined, change: SessionChange, now: number): Promise<SaveOutcome> {
    // A use only overwrites numbers, so users who are logged in can go on when the disk is full.
    const grows = Object.keys(change.set).length > 0 || change.meta !== undefined
    const saved = () => this.#save(id, change, now)
    return grows ? this.#write(saved) : this.#letGo(saved)
  }

  revoke(id: string, now: number): Promise<boolean> {
    return this.#letGo(() => {
      const session = this.#live(id, now)
      if (session) this.#end(session, now)
      return session !== undefined
    })
  }

  async revokeOwner(owner: string, now: number, except?: string): Promise<string[]> {
    const end = (most: number) =>
      this.#letGo(() => {
        const sessions = this.#ofOwner(owner, now).filter(({ id }) => id !== except)
        for (const session of sessions.slice(0, most)) this.#end(session, now)
        return sessions.slice(0, most).map(({ id }) => id)
      })
    try {
      return await end(Number.POSITIVE_INFINITY)
    } catch (error) {
      if (!(error instanceof StorageFullError)) throw error
    }
    // Too many at once for the room that is kept for this.
    const ended: string[] = []
    for (;;) {
      const some = await end(FEW)
      ended.push(...some)
      if (some.length < FEW) return ended
    }
  }

  async list(owner: string, now: number): Promise<StoredSession[]> {
    return this.#ofOwner(owner, now).sort((a, b) => b.created - a.created)
  }

  async all(now: number): Promise<StoredSession[]> {
    const keys = [...this.#index.getKeys({ start: ['expiry', now + 1, ''], end: ['expiry', Number.MAX_VALUE, ''] })]
    return keys.flatMap(([, , id]) => this.#live(id, now) ?? [])
  }

  async count(now: number): Promise<SessionCount> {
    // What has expired since the last sweep is still in the totals.
    const due = (kind: 'expiry' | 'owner-expiry') =>
      this.#index.raw.getKeysCount({ start: [kind, 0, ''], end: [kind, now + 1, ''] })
    return {
      sessions: (this.#totals.find('sessions') ?? 0) - due('expiry'),
      owners: (this.#totals.find('owners') ?? 0) - due('owner-expiry'),
    }
  }

  sweep(now: number, limit: number): Promise<StoredSession[]> {
    return this.#letGo(() => this.#sweep(now, limit)).catch((error) => {
      if (!(error instanceof StorageFullError) || limit <= FEW) throw error
      return this.#letGo(() => this.#sweep(now, FEW))
    })
  }

  #sweep(now: number, limit: number): StoredSession[] {
    for (const id of this.#due('tombstone', now, limit)) this.#sessions.remove(id)
    for (const owner of this.#due('login-count', now, limit)) this.#forget(owner, now)
    const expired: StoredSession[] = []
    for (const id of this.#due('expiry', now, limit)) {
      const session = this.#read(id)
      if (session && 'endedUntil' in session) continue
      if (session) {
        this.#remove(session)
        expired.push(session)
      } else if (this.#sessions.has(id)) {
        // One that cannot be read must not keep the others from being removed, nor be counted for ever.
        this.#sessions.remove(id)
        this.#add('sessions', -1)
      }
    }
    return expired
  }

  #write<T>(change: () => T): Promise<T> {
    return this.#commits.write(() => this.#root.transaction(change))
  }

  #letGo<T>(change: () => T): Promise<T> {
    return this.#commits.letGo(() => this.#root.transaction(change))
  }

  #save(id: string, change: SessionChange, now: number): SaveOutcome {
    const session = this.#live(id, now)
    if (!session) return 'gone'
    if (change.version !== undefined && change.version !== session.version) return 'conflict'
    const after = applyChange(session, change)
    const { expires } = after
    this.#sessions.put(id, after)
    if (expires > session.expires) {
      this.#index.remove(['expiry', session.expires, id])
      this.#index.put(['expiry', expires, id], true)
      if (session.owner !== undefined) this.#ownerExpiresAtLeast(session.owner, expires)
    }
    return 'saved'
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
    const stored = { ...session }
    if (session.owner !== undefined) stored.logins = this.#join(session.owner, stored, admission)
    this.#sessions.put(stored.id, stored)
    this.#index.put(['expiry', stored.expires, stored.id], true)
    this.#add('sessions', 1)
    return { outcome: 'created', logins: stored.logins, evicted }
  }

  /** Puts a session into its owner's index and answers its number of logins. */
  #join(name: string, session: StoredSession, { login, now }: Admission): number {
    const owner = this.#owners.find(name) ?? { sessions: 0, expires: 0, logins: 0, forgottenAt: 0 }
    const forgottenAt = login ? now + LOGIN_COUNT_TTL : owner.forgottenAt
    if (forgottenAt !== owner.forgottenAt) {
      this.#index.remove(['login-count', owner.forgottenAt, name])
      this.#index.put(['login-count', forgottenAt, name], true)
    }
    const logins = owner.logins + (login ? 1 : 0)
    this.#owners.put(name, { ...owner, sessions: owner.sessions + 1, logins, forgottenAt })
    this.#index.put(['owned', name, session.id], true)
    if (owner.sessions === 0) this.#add('owners', 1)
    this.#ownerExpiresAtLeast(name, session.expires)
    return login ? logins : session.logins
  }

  #ownerExpiresAtLeast(name: string, expires: number): void {
    const owner = this.#owners.find(name)
    if (!owner || owner.expires >= expires) return
    this.#moveOwner(name, owner, { ...owner, expires })
  }

  #moveOwner(name: string, from: Owner, to: Owner): void {
    if (from.expires > 0) this.#index.remove(['owner-expiry', from.expires, name])
    if (to.expires > 0) this.#index.put(['owner-expiry', to.expires, name], true)
    this.#owners.put(name, to)
  }

  #end(session: StoredSession, now: number, how: Ended = 'ended'): void {
    this.#remove(session)
    const endedUntil = now + TOMBSTONE_TTL
    this.#sessions.put(session.id, { endedUntil, how })
    this.#index.put(['tombstone', endedUntil, session.id], true)
  }

  #remove(session: StoredSession): void {
    this.#sessions.remove(session.id)
    this.#index.remove(['expiry', session.expires, session.id])
    this.#add('sessions', -1)
    if (session.owner !== undefined) this.#leave(session.owner, session)
  }

  #leave(name: string, session: StoredSession): void {
    this.#index.remove(['owned', name, session.id])
    const owner = this.#owners.find(name)
    if (!owner) return
    const sessions = owner.sessions - 1
    if (sessions === 0) this.#add('owners', -1)
    const expires =
      session.expires < owner.expires ? owner.expires : Math.max(0, ...this.#records(name).map((left) => left.expires))
    this.#moveOwner(name, owner, { ...owner, sessions, expires })
  }

  #forget(name: string, now: number): void {
    const owner = this.#owners.find(name)
    if (!owner || owner.forgottenAt > now) return
    if (owner.sessions === 0) this.#owners.remove(name)
    else this.#owners.put(name, { ...owner, logins: 0 })
  }

  /** What cannot be read is not there: it must neither end a request nor a transaction over many. */
  #read(id: string): StoredSession | Tombstone | undefined {
    try {
      const found = this.#sessions.get(id)
      if (found === undefined || isStoredSession(found)) return found
      if (typeof found === 'object' && Number.isFinite(found?.endedUntil)) return found
      throw new TypeError('the record is no session')
    } catch (error) {
      this.onUnreadable?.(error)
      return undefined
    }
  }

  #live(id: string, now: number): StoredSession | undefined {
    const session = this.#read(id)
    return session && !('endedUntil' in session) && session.expires > now ? session : undefined
  }

  #ofOwner(owner: string, now: number): StoredSession[] {
    return this.#records(owner).filter(({ expires }) => expires > now)
  }

  #records(owner: string): StoredSession[] {
    const keys = [...this.#index.getKeys({ start: ['owned', owner, ''], end: ['owned', owner, '~'] })]
    return keys.flatMap(([, , id]) => {
      const session = this.#read(id)
      return session && !('endedUntil' in session) ? session : []
    })
  }

  /** After a salvage: the indexes, counts and totals of the sessions and tombstones that are there. */
  #rebuild(): void {
    this.#commits.demandRoom()
    this.#root.transactionSync(() => {
      const logins = [...this.#owners.findRange()].filter(({ value }) => value.logins > 0)
      for (const key of [...this.#owners.getKeys()]) this.#owners.remove(key)
      for (const key of [...this.#index.getKeys()]) this.#index.remove(key)
      for (const key of [...this.#totals.getKeys()]) this.#totals.remove(key)
      for (const { key, value } of logins) {
        this.#owners.put(key, { ...value, sessions: 0, expires: 0 })
        this.#index.put(['login-count', value.forgottenAt, key], true)
      }
      for (const { key, value } of [...this.#sessions.findRange()]) {
        if ('endedUntil' in value) this.#index.put(['tombstone', value.endedUntil, key], true)
        else {
          if (value.owner !== undefined) this.#join(value.owner, value, { login: false, now: 0 })
          this.#index.put(['expiry', value.expires, key], true)
          this.#add('sessions', 1)
        }
      }
      for (const database of [this.#sessions, this.#owners, this.#index, this.#totals]) database.markRepaired()
    })
  }

  /** Takes what is due out of one index. */
  #due(kind: 'expiry' | 'tombstone' | 'login-count', now: number, limit: number): string[] {
    const keys = [...this.#index.getKeys({ start: [kind, 0, ''], end: [kind, now + 1, ''], limit })]
    for (const key of keys) this.#index.remove(key)
    return keys.map(([, , name]) => name)
  }

  #add(total: 'sessions' | 'owners', by: number): void {
    this.#totals.put(total, (this.#totals.find(total) ?? 0) + by)
  }
}
