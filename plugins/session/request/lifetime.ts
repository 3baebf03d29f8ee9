import type { SessionPolicy } from '../types.ts'
import { lifetimeOf } from './live-cookie.ts'
import type { Session, SessionState } from './session.ts'

/**
 * How long a session may go without a use, in milliseconds, and until when it lasts. What was said of the one session
 * goes before the options: `login(user, { idle })`, then its own `cookie.maxAge`. A session lives no longer than a
 * browser keeps its cookie.
 *
 * @param idle what the login said
 */
export function lifetimeBy(
  policy: SessionPolicy,
  session: Session,
  state: SessionState,
  idle: number | undefined,
  now: number,
): { idle: number; ends: number } {
  const own = ownMaxAge(session, state)
  const untouched = !state.cookie && own === undefined
  const lifetime = (untouched && state.usual.maxAge) || lifetimeOf(session.cookie, now)
  return {
    idle: Math.min(idle ?? own ?? policy.idle, lifetime),
    ends: now + Math.max(policy.absolute, own ?? 0),
  }
}

/** The `maxAge` of this one session's cookie, if it is another than that of the rest. */
function ownMaxAge(session: Session, { cookie, open, usual }: SessionState): number | undefined {
  // It has never been read, and nothing of it is kept: it is like the rest.
  if (!cookie && open?.texts['cookie'] === undefined) return undefined
  const { originalMaxAge } = session.cookie
  return originalMaxAge === null || originalMaxAge === (usual.maxAge ?? null) ? undefined : originalMaxAge
}

/**
 * A login that says nothing of how long it lasts is as long as the options say, also after one that was remembered;
 * unless the handler has set `cookie.maxAge` for it.
 */
export function forgetRemembered(session: Session, { cookie, open, usual }: SessionState): void {
  if (open?.texts['cookie'] === undefined || cookie?.ageWasSet) return
  session.cookie.keepAs(usual)
}
