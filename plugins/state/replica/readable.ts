import type { Commit, Json, Position, StateSnapshot } from '../../../openapi/schemas/state.ts'
import { Followable } from '../following/followable.ts'
import type { Entry } from '../log/contract.ts'
import type { ValueOf } from '../values/key-types.ts'
import { setField } from '../values/reducer.ts'
import { Replica } from './replica.ts'

/**
 * What can be read of a space without asking anybody: its replica, synchronously. While that is not loaded
 * everything throws STATEFUL_STATE_NOT_READY.
 */
export abstract class Readable extends Followable {
  readonly name: string

  constructor(name: string, onError: (error: unknown) => void) {
    super(onError)
    this.name = name
  }

  get epoch(): string {
    return this.held().epoch
  }

  get revision(): number {
    return this.held().revision
  }

  /**
   * The epoch in which a revision was made. With it a revision says the same for ever: in a history that was lost the
   * same number meant something else.
   */
  epochOf(revision: number): string {
    return this.held().epochOf(revision)
  }

  /** Number of keys. */
  get size(): number {
    return this.held().size
  }

  /** Bytes of all keys and values as JSON. */
  get bytes(): number {
    return this.held().bytes
  }

  /** The value, frozen; `undefined` when the key is not there. */
  get<Key extends string>(key: Key): ValueOf<Key> | undefined {
    return this.held().get(key)?.value as ValueOf<Key> | undefined
  }

  has(key: string): boolean {
    return this.held().get(key) !== undefined
  }

  /** The value with the revision at which the key last changed. */
  entry<Key extends string>(key: Key): EntryOf<Key> | undefined {
    return this.held().get(key) as EntryOf<Key> | undefined
  }

  /** @param prefix only keys that start so */
  keys(prefix = ''): string[] {
    const keys = [...this.held().keys()]
    return prefix === '' ? keys : keys.filter((key) => key.startsWith(prefix))
  }

  values(): Json[] {
    return Array.from(this.held().entries(), ([, { value }]) => value)
  }

  entries(): [string, Json][] {
    return Array.from(this.held().entries(), ([key, { value }]) => [key, value])
  }

  /** The position from which on `history` has every commit. */
  async oldest(): Promise<Position> {
    const { epoch, floor } = this.held()
    return { epoch, revision: floor - 1 }
  }

  /** Everything, at one revision. */
  snapshot(): StateSnapshot {
    const state: Record<string, Json> = {}
    for (const [key, { value }] of this.held().entries()) setField(state, key, value)
    return { epoch: this.epoch, revision: this.revision, state }
  }

  /** @throws STATEFUL_STATE_NOT_READY */
  protected abstract held(): Replica
}

/** What is there, with the type that was declared for its key. */
export type EntryOf<Key extends string> = Omit<Entry, 'value'> & { readonly value: ValueOf<Key> }

/** Stands for a space that was never written to. It holds nothing, and making it costs nothing. */
export class EmptySpace extends Readable {
  readonly #nothing = new Replica({ commits: 0, bytes: 0 })

  constructor(name: string) {
    super(name, () => {})
  }

  async history({ epoch, revision }: Position): Promise<Commit[] | undefined> {
    return epoch === this.epoch && revision === 0 ? [] : undefined
  }

  protected held(): Replica {
    return this.#nothing
  }
}
