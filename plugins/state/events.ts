import type { Json } from '../../openapi/schemas/state.ts'
import type { KeyChange } from './replica.ts'

/** What listeners of `change`, `delete` and subscriptions get. */
export interface StateChange extends KeyChange {
  epoch: string
  revision: number
  /** What the writer passed; only on the instance that wrote. */
  context?: unknown
}

export interface ClearEvent {
  epoch: string
  revision: number
  context?: unknown
}

export interface RestoreEvent extends ClearEvent {
  state: Record<string, Json>
}

export interface StateEventMap {
  /** A key has a new value. Also as `change:<key>`. */
  change: StateChange
  /** A key is gone; `previous` is what it held. Also as `delete:<key>`. */
  delete: StateChange
  /** The space was emptied, after the `delete` events of its keys. */
  clear: ClearEvent
  /** The content was replaced, after the `change` and `delete` events of the keys that differ. */
  restore: RestoreEvent
}

export type StateListener<Event> = (event: Event) => void

type AnyListener = (event: never) => void

/** Listeners by name. One that throws is reported and disturbs neither the replica nor the other listeners. */
export class StateEvents {
  readonly #listeners = new Map<string, Set<AnyListener>>()
  readonly #prefixes = new Map<string, Set<StateListener<StateChange>>>()
  readonly #onError: (error: unknown) => void

  constructor(onError: (error: unknown) => void) {
    this.#onError = onError
  }

  /** Number of names and prefixes that somebody listens to. */
  get size(): number {
    return this.#listeners.size + this.#prefixes.size
  }

  on(name: string, listener: AnyListener): () => void {
    return add(this.#listeners, name, listener)
  }

  /** @param pattern a key, a prefix (`'user:*'`), or `'*'` for all */
  subscribe(pattern: string, listener: StateListener<StateChange>): () => void {
    if (pattern.endsWith('*')) return add(this.#prefixes, pattern.slice(0, -1), listener)
    return add(this.#listeners, `key:${pattern}`, listener as AnyListener)
  }

  changed(change: StateChange): void {
    const name = change.value === undefined ? 'delete' : 'change'
    this.emit(name, change)
    this.emit(`${name}:${change.key}`, change)
    this.emit(`key:${change.key}`, change)
    for (const [prefix, listeners] of this.#prefixes) {
      if (change.key.startsWith(prefix)) for (const listener of [...listeners]) this.#call(listener, change)
    }
  }

  emit(name: string, event: StateChange | ClearEvent | RestoreEvent): void {
    const listeners = this.#listeners.get(name)
    if (listeners) for (const listener of [...listeners]) this.#call(listener as (event: unknown) => void, event)
  }

  removeAll(): void {
    this.#listeners.clear()
    this.#prefixes.clear()
  }

  #call<Event>(listener: (event: Event) => unknown, event: Event): void {
    try {
      const outcome = listener(event)
      // An async listener's rejection would otherwise end the process.
      if (outcome instanceof Promise) outcome.catch(this.#onError)
    } catch (error) {
      this.#onError(error)
    }
  }
}

function add<Listener>(map: Map<string, Set<Listener>>, name: string, listener: Listener): () => void {
  const listeners = map.get(name) ?? new Set()
  map.set(name, listeners.add(listener))
  return () => {
    listeners.delete(listener)
    if (listeners.size === 0 && map.get(name) === listeners) map.delete(name)
  }
}
