import type { Device, SessionValues } from './record.ts'

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

/** What the owner of a session may see of it. The handle names it and opens nothing. */
export interface SessionInfo extends Device {
  handle: string
  createdAt: Date
  lastActivity: Date
}

/** A session as `create`, `get` and `update` answer it. */
export interface UserSession<Values extends object = SessionValues> extends SessionInfo {
  /** The handle again, under the name that a store of sessions uses. */
  id: string
  userId?: string
  expiresAt: Date
  loginCount: number
  data: Values
}
