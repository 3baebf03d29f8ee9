import type { Action } from '../plugins/security/access.ts'

/** The `security` of an operation that is about the session itself: no machine has one. */
export const bySession = [{ session: [] }]

/**
 * The `security` of an operation that asks `authorize`: a session, or an access token with the scope of the action. Of
 * several actions one suffices, depending on what is asked for.
 */
export function asks(...actions: Action[]): { [scheme: string]: string[] }[] {
  return [{ session: [] }, ...actions.map((action) => ({ bearer: [action] }))]
}
