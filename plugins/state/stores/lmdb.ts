import type { Database } from 'lmdb'
import type { Position } from '../../../openapi/schemas/state.ts'
import type { LmdbStorage } from '../../storage/storage.ts'
import { StorageUnavailableError } from '../../support/errors.ts'
import { decodeEntry, decodeRecord, encodeEntry, encodeRecord } from '../codec.ts'
import {
  type Batch,
  type CommitOutcome,
  continues,
  type Entry,
  type EpochStart,
  type LogHead,
  type LogRecord,
  type LogState,
  type LogTail,
  nextCounter,
  type Replacement,
  type Retention,
  type StateLog,
  withEpoch,
} from '../log.ts'
import { incarnation } from './memory.ts'

interface Head {
  epoch: string
  revision: number
  floor: number
  epochs: EpochStart[]
}

/** Digits of a revision in a key, so that keys sort as numbers do. */
const DIGITS = 16

/**
 * Keys: `<space>/head`, `<space>/key/<key>`, `<space>/log/<revision>`. A space's name holds no slash.
 * Head, records and values change in one transaction, and a commit is done when that is on disk: a power cut
 * takes nothing that was acknowledged, and nobody has seen what it takes.
 */
export class LmdbStateLog implements StateLog {
  readonly durability = 'flushed'
  readonly shared = false
  readonly #space: string
  readonly #database: Database<string, string>
  readonly #retention: Retention
  #head: Head | undefined
  #turn: Promise<unknown> = Promise.resolve()

  constructor(storage: LmdbStorage, space: string, retention: Retention) {
    this.#space = space
    this.#retention = retention
    this.#database = storage.root.openDB<string, string>({ name: 'state', encoding: 'string' })
  }

  async load(): Promise<LogState> {
    const head = await this.#open()
    const entries = new Map<string, Entry>()
    const start = this.#key('key', '')
    for (const { key, value } of this.#database.getRange({ start, end: after(start) })) {
      const name = key.slice(start.length)
      entries.set(name, decodeEntry(name, value))
    }
    return { ...head, entries, records: this.#records(head.floor, head.revision) }
  }

  commit(base: Position, batch: Batch): Promise<CommitOutcome> {
    return this.#inTurn(() => this.#commit(base, batch))
  }

  replace(base: Position, replacement: Replacement): Promise<CommitOutcome> {
    return this.#inTurn(() => this.#replace(base, replacement))
  }

  async since(position: Position): Promise<LogTail | undefined> {
    const head = await this.#open()
    if (!continues(head, position)) return undefined
    return { ...head, records: this.#records(position.revision + 1, head.revision) }
  }

  async watch(): Promise<() => Promise<void>> {
    return async () => {}
  }

  async close(): Promise<void> {
    // The storage owns the database; it closes it.
  }

  async #commit(base: Position, { records, writes }: Batch): Promise<CommitOutcome> {
    const head = await this.#open()
    if (base.epoch !== head.epoch || base.revision !== head.revision) return 'conflict'
    const revision = head.revision + records.length
    const floor = Math.max(head.floor, revision - this.#retention.commits + 1)
    const next = { ...head, revision, floor }
    await this.#write(() => {
      for (const record of records) this.#database.put(this.#revisionKey(record.commit.revision), encodeRecord(record))
      for (let old = head.floor; old < floor; old++) this.#database.remove(this.#revisionKey(old))
      for (const [key, entry] of writes) {
        if (entry) this.#database.put(this.#key('key', key), encodeEntry(entry))
        else this.#database.remove(this.#key('key', key))
      }
      this.#putHead(next)
    })
    this.#head = next
    return 'committed'
  }

  async #replace(base: Position, { cause, tx, entries }: Replacement): Promise<CommitOutcome> {
    const head = await this.#open()
    if (base.epoch !== head.epoch || base.revision !== head.revision) return 'conflict'
    const revision = head.revision + 1
    const epoch = `${nextCounter(head.epoch)}:${incarnation()}`
    const next = {
      epoch,
      revision,
      floor: revision + 1,
      epochs: withEpoch(head.epochs, { epoch, first: revision, cause, tx }),
    }
    await this.#write(() => {
      for (const part of ['key', 'log']) {
        const start = this.#key(part, '')
        for (const key of this.#database.getKeys({ start, end: after(start) })) this.#database.remove(key)
      }
      for (const [key, entry] of entries) this.#database.put(this.#key('key', key), encodeEntry(entry))
      this.#putHead(next)
    })
    this.#head = next
    return 'committed'
  }

  /** A process that starts cannot know whether the folder is the one it left, so it begins a new epoch. */
  async #open(): Promise<Head> {
    if (this.#head) return this.#head
    const stored = this.#database.get(this.#key('head', ''))
    const head = stored === undefined ? undefined : (JSON.parse(stored) as Head)
    const epoch = `${head ? nextCounter(head.epoch) : 1}:${incarnation()}`
    const revision = head?.revision ?? 0
    const start: EpochStart = { epoch, first: revision + 1, cause: head ? 'boot' : 'created' }
    const opened = { epoch, revision, floor: head?.floor ?? 1, epochs: withEpoch(head?.epochs ?? [], start) }
    await this.#write(() => this.#putHead(opened))
    this.#head = opened
    return opened
  }

  /** Compares and writes one after the other: the head moves only when a write is on disk. */
  #inTurn<Result>(run: () => Promise<Result>): Promise<Result> {
    const result = this.#turn.then(run)
    this.#turn = result.catch(() => {})
    return result
  }

  /** One transaction, on disk when it resolves. */
  async #write(puts: () => void): Promise<void> {
    try {
      await this.#database.batch(puts)
      await this.#database.flushed
    } catch (cause) {
      throw new StorageUnavailableError(`LMDB: ${(cause as Error).message}`, { cause })
    }
  }

  #records(from: number, to: number): LogRecord[] {
    const records: LogRecord[] = []
    for (const { key, value } of this.#database.getRange({
      start: this.#revisionKey(from),
      end: this.#revisionKey(to + 1),
    })) {
      records.push(decodeRecord(this.#space, Number(key.slice(-DIGITS)), value))
    }
    return records
  }

  #putHead(head: LogHead): void {
    this.#database.put(this.#key('head', ''), JSON.stringify(head))
  }

  #key(part: string, name: string): string {
    return `${this.#space}/${part}/${name}`
  }

  #revisionKey(revision: number): string {
    return this.#key('log', `${revision}`.padStart(DIGITS, '0'))
  }
}

/** The first string after all that start so: the prefix ends in a slash, and `0` follows it. */
function after(prefix: string): string {
  return `${prefix.slice(0, -1)}0`
}
