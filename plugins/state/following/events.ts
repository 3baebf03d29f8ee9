import type { Json } from '../../../openapi/schemas/state.ts'
import { ListenersByName, type ReportError } from '../../support/listeners.ts'
import type { ValueOf } from '../values/key-types.ts'

/** What listeners of `change`, `delete` and subscriptions get, with the type that was declared for their key. */
export interface StateChange<Key extends string = string> {
  key: Key
  /** `undefined` when it was deleted. */
  value: ValueOf<Key> | undefined
  /** `undefined` when it was not there before. */
  previous: ValueOf<Key> | undefined
  epoch: string
  revision: number
  /** What the writer passed; only on the instance that wrote. */
  context?: unknown
}

/** A space was emptied. */
export interface ClearEvent {
  epoch: string
  revision: number
  context?: unknown
}

/** The content of a space was replaced. */
export interface RestoreEvent extends ClearEvent {
  state: Record<string, Json>
}

/** The events of a space, by name. */
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

/** Why a replica was replaced as a whole: on purpose, because history may have been lost, or to catch up. */
export type ResetReason = 'restore' | 'epoch' | 'resync'

export type StateListener<Event> = (event: Event) => void

type AnyEvent = StateChange | ClearEvent | RestoreEvent

/** Listeners by the name of an event, by key and by prefix. */
export class StateEvents {
  readonly #byName: ListenersByName<AnyEvent>
  readonly #byPrefix: ListenersByName<StateChange>

  constructor(report: ReportError) {
    this.#byName = new ListenersByName(report)
    this.#byPrefix = new ListenersByName(report)
  }

  /** Number of names and prefixes that somebody listens to. */
  get size(): number {
    return this.#byName.size + this.#byPrefix.size
  }

  on(name: string, listener: (event: never) => void): () => void {
    return this.#byName.add(name, listener as (event: AnyEvent) => void)
  }

  /** @param pattern a key, a prefix (`'user:*'`), or `'*'` for all */
  subscribe(pattern: string, listener: (change: never) => void): () => void {
    if (pattern.endsWith('*')) {
      return this.#byPrefix.add(pattern.slice(0, -1), listener as StateListener<StateChange>)
    }
    return this.on(`key:${pattern}`, listener)
  }

  changed(change: StateChange): void {
    const name = change.value === undefined ? 'delete' : 'change'
    this.emit(name, change)
    this.emit(`${name}:${change.key}`, change)
    this.emit(`key:${change.key}`, change)
    for (const prefix of this.#byPrefix.names()) if (change.key.startsWith(prefix)) this.#byPrefix.tell(prefix, change)
  }

  emit(name: string, event: AnyEvent): void {
    this.#byName.tell(name, event)
  }

  removeAll(): void {
    this.#byName.clear()
    this.#byPrefix.clear()
  }
}
