import { createHash } from 'node:crypto'
import type { Action, Resources } from '../../security/access.ts'
import type { Verdict } from '../../session/request/lasting.ts'
import type { Client } from '../../support/client-limits.ts'

/** Who is at the other end, and what it may do. */
export interface Identity extends Client {
  userId?: string
  /** Public handle of the session; the connection ends with it. */
  sessionHandle?: string
  address: string
  /** The client's own id, for writes that survive a reconnect. */
  clientId?: string
  /** Rejects with what `demand` throws. Asked for each subscription, each presence and each key that is written. */
  authorize<A extends Action>(action: A, resource: Resources[A]): Promise<void>
  /** Looks at the session again: it may have expired, or its role changed. Rejects when the store does not answer. */
  verify?(): Promise<Verdict>
  /** Counts as a use of the session, which lives on by it. */
  used?(): void
}

/**
 * How others see a client, and what deduplication goes by: a digest that includes the user. Changes show it to every
 * follower, and no one must be able to use up another user's numbers by writing under their client id.
 */
export function publicClientId(clientId: string, userId = ''): string {
  return digest([userId, clientId])
}

/** What tells a client that it is another user's now, and not whose. */
export function userDigest(userId: string): string {
  return digest(['user', userId])
}

function digest(parts: string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64url').slice(0, 22)
}
