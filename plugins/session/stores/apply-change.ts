import type { SessionChange, StoredSession } from './contract.ts'

/** A live session as it is after a save. The time of its last use and its expiry never go back. */
export function applyChange(session: StoredSession, change: SessionChange): StoredSession {
  const fields = { ...session.fields, ...change.set }
  for (const name of change.remove) delete fields[name]
  const ends = Math.max(session.ends, change.ends ?? 0)
  const isTouch = change.remove.length === 0 && Object.keys(change.set).length === 0
  return {
    ...session,
    ...(change.meta === undefined ? {} : { meta: change.meta }),
    fields,
    version: session.version + (isTouch ? 0 : 1),
    seen: Math.max(session.seen, change.seen),
    ends,
    expires: Math.min(ends, Math.max(session.expires, change.expires)),
  }
}
