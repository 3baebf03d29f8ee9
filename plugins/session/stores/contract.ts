import type { RevocationBus } from '../events.ts'

/** A session as a store keeps it. The texts in it are opaque to the store, but each is one line. */
export interface StoredSession {
  /** Public handle and key of the record: a bucket and the hash of the bearer's token, see token.ts. */
  id: string
  /** Whose it is: an opaque key by which `list` finds it. Absent while anonymous. */
  owner?: string
  /** Milliseconds since the Unix epoch, as are all times here. */
  created: number
  /** When it was last used, as far as recorded. */
  seen: number
  /** When it ends unless it is used before. */
  expires: number
  /** When it ends however much it is used; `expires` never passes it. */
  ends: number
  /** Grows with every save that changes a field. */
  version: number
  /** The how-manyeth login of its owner made it; 0 while anonymous. */
  logins: number
  /** Whose it is and what is known of the login. */
  meta?: string
  /** By the top-level keys of the application. */
  readonly fields: Readonly<Record<string, string>>
}

/** What a save changes. With no field it is a touch. */
export interface SessionChange {
  set: Record<string, string>
  remove: string[]
  /** Instead of the present one. */
  meta?: string
  seen: number
  expires: number
  /** A later end than it has. Default: it keeps the one that it has. */
  ends?: number
  /** Refuse as `conflict` unless the record still has this version. */
  version?: number
}

/** How a session ended a moment ago: by a rotation that put another in its place, or otherwise. */
export type Ended = 'ended' | 'replaced'

/** `gone`: the session was revoked, rotated away or expired; nothing was written. */
export type SaveOutcome = 'saved' | 'gone' | 'conflict'

/** The session that a rotation replaces. */
export type FormerSession = Pick<StoredSession, 'id' | 'owner'>

/** On what terms a store takes a new session. */
export interface Admission {
  now: number
  /** Counts as a login of the owner. */
  login: boolean
  /** How many live sessions the owner may have, this one included. */
  limit?: { sessions: number; action: 'evict' | 'refuse' }
  /** The id is not random, and somebody else may be about to create it as well: answer `taken` if it is there. */
  once?: boolean
}

export type CreateOutcome =
  | { outcome: 'created'; logins: number; evicted: string[] }
  /** The owner has as many sessions as allowed. */
  | { outcome: 'full' }
  /** Rotation only: the former session was not live any more. */
  | { outcome: 'gone' }
  /** With `once`: the id is that of a live session, or of one that ended a moment ago. */
  | { outcome: 'taken' }

/** How many live sessions there are, and of how many users. */
export interface SessionCount {
  sessions: number
  /** Owners with at least one live session. */
  owners: number
}

/**
 * Where sessions live. One suite (test/suites/session-store.ts) says what each implementation must do:
 *
 * - Nothing but `create` and `rotate` makes a session; `save` on one that is not there answers `gone`.
 * - A session that was revoked answers `ended` for a while, one that was rotated away `replaced`; then it is unknown.
 * - The owner's list, the counts and the records never disagree, whenever the process dies.
 * - No method looks at the machine's clock; `now` is the engine's.
 */
export interface SessionStore {
  /** Set by the engine: told of a record that could not be read and was taken for none. */
  onUnreadable?: (error: unknown) => void
  /** If processes share it: makes the bus that tells its other users which sessions have ended. */
  bus?: () => RevocationBus
  load(id: string, now: number): Promise<StoredSession | Ended | undefined>
  create(session: StoredSession, admission: Admission): Promise<CreateOutcome>
  /**
   * Puts `session` in the place of `former`. With `requireLive`, answers `gone` and creates nothing when the
   * former is not live. Two sessions of one bucket are swapped atomically; otherwise the new one is created
   * first, so that a crash in between leaves the former alive rather than nobody logged in.
   */
  rotate(
    former: FormerSession,
    session: StoredSession,
    admission: Admission & { requireLive: boolean },
  ): Promise<CreateOutcome>
  save(id: string, owner: string | undefined, change: SessionChange, now: number): Promise<SaveOutcome>
  /** `false` when it was not live. */
  revoke(id: string, now: number): Promise<boolean>
  /** Ends all sessions of the owner in one step, a rotation in flight included; answers the ids that it ended. */
  revokeOwner(owner: string, now: number, except?: string): Promise<string[]>
  /** Live ones, the newest first. */
  list(owner: string, now: number): Promise<StoredSession[]>
  /** Every live session: O(n), for administration and for the contract of express-session. */
  all(now: number): Promise<StoredSession[]>
  count(now: number): Promise<SessionCount>
  /** Removes up to `limit` expired sessions and answers them; each is answered to one caller only. */
  sweep(now: number, limit: number): Promise<StoredSession[]>
}

/** For how long an ended session's id is remembered as ended, in milliseconds. */
export const TOMBSTONE_TTL = 30_000
/** For how long an owner's number of logins is remembered after the last one, in milliseconds. */
export const LOGIN_COUNT_TTL = 400 * 24 * 60 * 60 * 1_000

/** Whether what a store holds is a session at all: a flipped bit or a hand may have made something else of it. */
export function isStoredSession(value: unknown): value is StoredSession {
  if (typeof value !== 'object' || value === null) return false
  const { id, created, seen, expires, ends, version, logins, fields } = value as Partial<StoredSession>
  return (
    typeof id === 'string' &&
    [created, seen, expires, ends, version, logins].every(Number.isFinite) &&
    typeof fields === 'object' &&
    fields !== null &&
    Object.values(fields).every((text) => typeof text === 'string')
  )
}
