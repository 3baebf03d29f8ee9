import type { Json } from '../../../openapi/schemas/state.ts'
import { StateConflictError } from '../../support/errors.ts'
import type { Entry, WrittenEntry } from '../log/contract.ts'
import type { Replica, Results } from '../replica/replica.ts'

/** What a write sees: the replica with everything that goes into the log before it. */
export interface View {
  get(key: string): Json | undefined
  /** The revision at which the key last changed; 0 when it is not there. */
  revisionOf(key: string): number
  keys(): IterableIterator<string>
  readonly size: number
}

/** A condition of a commit: the key last changed at this revision; 0 means that it is not there. */
export interface Guard {
  key: string
  revision: number
}

export interface Sizes {
  /** Of all keys and their values as JSON. */
  bytes: number
  /** Number of keys. */
  size: number
}

/** The commits of one batch on top of the replica, before the log has them. */
export class Staging implements View {
  readonly #replica: Replica
  readonly writes = new Map<string, WrittenEntry | undefined>()
  revision: number
  bytes: number
  size: number

  constructor(replica: Replica) {
    this.#replica = replica
    this.revision = replica.revision
    this.bytes = replica.bytes
    this.size = replica.size
  }

  entry(key: string): Entry | undefined {
    const written = this.writes.get(key)
    return written || this.writes.has(key) ? written : this.#replica.get(key)
  }

  get(key: string): Json | undefined {
    return this.entry(key)?.value
  }

  revisionOf(key: string): number {
    return this.entry(key)?.revision ?? 0
  }

  *keys(): IterableIterator<string> {
    for (const key of this.#replica.keys()) {
      if (!this.writes.has(key) || this.writes.get(key)) yield key
    }
    for (const [key, entry] of this.writes) if (entry && !this.#replica.get(key)) yield key
  }

  /** @throws STATEFUL_STATE_CONFLICT */
  check(guards: readonly Guard[]): void {
    for (const { key, revision } of guards) {
      const actual = this.revisionOf(key)
      if (actual !== revision) throw new StateConflictError(key, actual, revision)
    }
  }

  /** How the results would change the sizes. */
  measure(results: Results): Sizes {
    let { bytes, size } = this
    for (const [key, entry] of results) {
      const before = this.entry(key)
      bytes += (entry?.bytes ?? 0) - (before?.bytes ?? 0)
      size += (entry ? 1 : 0) - (before ? 1 : 0)
    }
    return { bytes, size }
  }

  add(results: Results, { bytes, size }: Sizes): void {
    for (const [key, entry] of results) this.writes.set(key, entry)
    this.bytes = bytes
    this.size = size
    this.revision++
  }
}
