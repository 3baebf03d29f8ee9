export type SessionEventName = 'created' | 'revoked' | 'expired' | 'rotated'

/** What listeners are told of a session. */
export interface SessionEvent {
  /** Public handle of the session; of `rotated`, the new one. */
  handle: string
  userId?: string
  /** Why a session ended: `logout`, `login` (rotated away), `rotation`, `evicted`, `revoked` or your own word. */
  reason?: string
}

/** Carries revocations to the other users of one store: other instances, an Express application. */
export interface RevocationBus {
  publish(event: SessionEvent): Promise<void>
  /**
   * Resolves when it listens. `onEvent` is not told of its own events; `onMissed` runs when some of others
   * may have gone by unheard, and again as soon as it hears them once more.
   */
  listen(onEvent: (event: SessionEvent) => void, onMissed: () => void): Promise<void>
  close(): Promise<void>
}
