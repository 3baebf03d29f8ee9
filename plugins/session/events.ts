export type SessionEventName = 'created' | 'revoked' | 'expired' | 'rotated'

export interface SessionEvent {
  /** Public handle of the session; of `rotated`, the new one. */
  handle: string
  userId?: string
  /** Why a session ended: `logout`, `login` (rotated away), `rotation`, `evicted`, `revoked` or your own word. */
  reason?: string
}

/** Carries revocations to the other instances. */
export interface RevocationBus {
  publish(event: SessionEvent): Promise<void>
  /**
   * Resolves when it listens. `onEvent` is not told of this instance's own events; `onMissed` runs when some of others
   * may have gone by unheard, and again as soon as it hears them once more.
   */
  listen(onEvent: (event: SessionEvent) => void, onMissed: () => void): Promise<void>
  close(): Promise<void>
}

type Listener = (event: SessionEvent) => void

/** Listeners by event. One that throws is reported to `onError` and does not keep the others from hearing. */
export class SessionEvents {
  readonly #listeners = new Map<SessionEventName, Set<Listener>>()
  readonly #onError: (error: unknown) => void

  constructor(onError: (error: unknown) => void) {
    this.#onError = onError
  }

  on(name: SessionEventName, listener: Listener): () => void {
    const listeners = this.#listeners.get(name) ?? new Set()
    this.#listeners.set(name, listeners.add(listener))
    return () => listeners.delete(listener)
  }

  off(name: SessionEventName, listener: Listener): void {
    this.#listeners.get(name)?.delete(listener)
  }

  emit(name: SessionEventName, event: SessionEvent): void {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      try {
        listener(event)
      } catch (error) {
        this.#onError(error)
      }
    }
  }
}
