import { randomUUID } from 'node:crypto'
import type { Position } from '../../../openapi/schemas/state.ts'
import { StorageFullError } from '../../support/errors.ts'
import {
  type Batch,
  type CommitOutcome,
  continues,
  type Entry,
  firstAfter,
  LOADED,
  type LogHead,
  type LogRecord,
  type LogState,
  type LogTail,
  nextCounter,
  type Replacement,
  type Retention,
  type StateLog,
  withEpoch,
  withoutJson,
} from './contract.ts'
import { History } from './history.ts'

/** Spaces that a memory storage holds at the most. */
const MOST_SPACES = 10_000

/** What a memory storage holds: the logs of the spaces that were written to. They outlive the closing of a space. */
export class MemoryStateLogs {
  readonly #written = new Map<string, MemoryStateLog>()

  open(space: string, retention: Retention): MemoryStateLog {
    return this.#written.get(space) ?? new MemoryStateLog(retention, (log) => this.#keep(space, log))
  }

  names(): string[] {
    return [...this.#written.keys()]
  }

  #keep(space: string, log: MemoryStateLog): void {
    if (this.#written.size >= MOST_SPACES) throw new StorageFullError(`memory holds ${MOST_SPACES} spaces`)
    this.#written.set(space, log)
  }
}

/** Lives as long as its process. The engine's replica is what holds the values; here is what a store would add. */
export class MemoryStateLog implements StateLog {
  readonly durability = 'memory'
  readonly shared = false
  readonly #entries = new Map<string, Entry>()
  #head: LogHead
  readonly #history: History
  readonly #onFirstWrite: (log: MemoryStateLog) => void

  /** @param onFirstWrite may throw: then nothing is written */
  constructor(retention: Retention, onFirstWrite: (log: MemoryStateLog) => void = () => {}) {
    this.#history = new History(retention)
    this.#onFirstWrite = onFirstWrite
    const epoch = `1:${incarnation()}`
    this.#head = { epoch, revision: 0, floor: 1, epochs: [{ epoch, first: 1, cause: 'created' }] }
  }

  async load(): Promise<LogState> {
    const newest = this.#history.within(LOADED)
    const records = this.#history.last(newest)
    const clientWrites = this.#history.clientWritesBefore(newest)
    return { ...this.#head, entries: new Map(this.#entries), records, clientWrites }
  }

  async exists(): Promise<boolean> {
    return this.#head.revision > 0
  }

  async commit(base: Position, { records, writes }: Batch): Promise<CommitOutcome> {
    if (!this.#standsAt(base)) return 'conflict'
    if (base.revision === 0) this.#onFirstWrite(this)
    for (const [key, entry] of writes) {
      if (entry) this.#entries.set(key, withoutJson(entry))
      else this.#entries.delete(key)
    }
    for (const record of records) this.#history.add(record, writes)
    const revision = base.revision + records.length
    this.#head = { ...this.#head, revision, floor: revision - this.#history.size + 1 }
    return 'committed'
  }

  async replace(base: Position, replacement: Replacement): Promise<CommitOutcome> {
    if (!this.#standsAt(base)) return 'conflict'
    if (base.revision === 0) this.#onFirstWrite(this)
    const { cause, tx, entries } = replacement
    const revision = firstAfter(base, replacement)
    const epoch = `${nextCounter(this.#head.epoch)}:${incarnation()}`
    this.#entries.clear()
    for (const [key, entry] of entries) this.#entries.set(key, withoutJson(entry))
    this.#history.clear()
    const epochs = withEpoch(this.#head.epochs, { epoch, first: revision, cause, tx })
    this.#head = { epoch, revision, floor: revision + 1, epochs }
    return 'committed'
  }

  get historyBytes(): number {
    return this.#history.bytes
  }

  async record(revision: number): Promise<LogRecord | undefined> {
    return this.#history.at(revision)
  }

  async since(position: Position): Promise<LogTail | undefined> {
    if (!continues(this.#head, position)) return undefined
    return { ...this.#head, records: this.#history.last(this.#head.revision - position.revision) }
  }

  async watch(): Promise<() => Promise<void>> {
    return async () => {}
  }

  async close(): Promise<void> {}

  #standsAt({ epoch, revision }: Position): boolean {
    return epoch === this.#head.epoch && revision === this.#head.revision
  }
}

/** Distinguishes an epoch from one with the same number in another history. */
export function incarnation(): string {
  return randomUUID().slice(0, 8)
}
