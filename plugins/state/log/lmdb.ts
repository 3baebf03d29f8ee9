import type { Position } from '../../../openapi/schemas/state.ts'
import { CheckedDatabase, RESTART } from '../../storage/lmdb/checked-records.ts'
import type { Commits } from '../../storage/lmdb/commits.ts'
import type { LmdbStorage } from '../../storage/storage.ts'
import { StorageCorruptError } from '../../support/errors.ts'
import { decodeClientWrite, decodeEntry, decodeRecords, encodeEntry, encodeRecord, readableTail } from './codec.ts'
import {
  type Batch,
  type ClientWrite,
  type CommitOutcome,
  continues,
  type Entry,
  type EpochStart,
  firstAfter,
  LOADED,
  type LogRecord,
  type LogState,
  type LogTail,
  MOST_DAMAGE,
  nextCounter,
  type Replacement,
  type Retention,
  type StateLog,
  withEpoch,
} from './contract.ts'
import {
  after,
  DIGITS,
  damagedKey,
  headKey,
  recordKey,
  repairSpaces,
  STATE_DATABASE,
  type StoredHead,
  valueKey,
} from './lmdb-records.ts'
import { incarnation } from './memory.ts'

/** Characters of the commits that stand together: LMDB wants pages in a row for a long value. */
const LINES_LENGTH = 32 * 1024

/** Commits that stand together. */
interface Segment {
  /** Its first revision. */
  readonly first: number
  readonly bytes: number
}

type OpenHead = StoredHead & Required<Pick<StoredHead, 'owner'>>

/**
 * Keys: `<space>/head`, `<space>/key/<key>`, `<space>/log/<first revision>`, `<space>/damaged/<key>` for what could not
 * be read. A space's name holds no slash. Every text carries a checksum, and the head counts. Head, records and values
 * change in one transaction, and a commit is done when that is on disk: a power cut takes nothing that was
 * acknowledged, and what it takes was never seen by a reader.
 */
export class LmdbStateLog implements StateLog {
  readonly durability = 'flushed'
  readonly shared = false
  readonly #space: string
  readonly #owner: string
  readonly #database: CheckedDatabase<string, string>
  readonly #retention: Retention
  readonly #commits: Commits
  #head: OpenHead | undefined
  /** What there is of the history, oldest first; absent until it has been looked at. */
  #segments: Segment[] | undefined
  /** Of them together. */
  #historyBytes = 0
  #turn: Promise<unknown> = Promise.resolve()

  constructor(storage: LmdbStorage, space: string, retention: Retention) {
    this.#space = space
    this.#owner = storage.instanceId
    this.#retention = retention
    this.#commits = storage.commits
    this.#database = new CheckedDatabase(storage, { name: STATE_DATABASE, encoding: 'text', restorable: true })
    if (this.#database.salvaged) {
      this.#commits.demandRoom()
      repairSpaces(this.#database)
    }
  }

  /** Spaces that were written to. */
  static spacesOn(storage: LmdbStorage): string[] {
    const database = new CheckedDatabase<string, string>(storage, {
      ...{ name: STATE_DATABASE, encoding: 'text', restorable: true },
    })
    const spaces: string[] = []
    let start = ''
    for (;;) {
      const [key] = database.getKeys({ start, limit: 1 })
      if (key === undefined) return spaces
      const space = key.slice(0, key.indexOf('/'))
      spaces.push(space)
      start = after(`${space}/`)
    }
  }

  async load(): Promise<LogState> {
    const head = await this.#open()
    const entries = new Map<string, Entry>()
    const damaged = new Map<string, string>()
    const start = valueKey(this.#space, '')
    for (const { key, value } of this.#database.getRange({ start, end: after(start) })) {
      const name = key.slice(start.length)
      const entry = decodeEntry(name, value)
      if (entry) entries.set(name, entry)
      else damaged.set(name, value)
    }
    const size = entries.size + damaged.size
    if (size !== head.size) throw this.#corrupt(`${size} of ${head.size} keys are there`)
    const damage = Array.from(damaged.keys(), (key) => `the key '${key}' is set aside`).slice(0, MOST_DAMAGE)
    if (damaged.size > 0)
      return { ...(await this.#setAside(head, damaged)), entries, records: [], clientWrites: [], damage }

    const { from, clientWrites } = this.#look(head)
    const records = this.#records(from, head.revision)
    const readable = readableTail(records)
    const lost = readable.length < records.length
    const floor = lost ? head.revision - readable.length + 1 : head.floor
    if (lost) damage.push(`the history before revision ${floor} cannot be read`)
    const known = lost ? [] : clientWrites
    const state = { ...head, floor, entries, records: readable, clientWrites: known }
    return damage.length > 0 ? { ...state, damage } : state
  }

  /**
   * Looks through the history: how long its records are, from where on it is loaded, and which commits before that are
   * of clients. Without decoding it: what was done is the most of it, and of that the newest part is enough.
   */
  #look(head: OpenHead): { from: number; clientWrites: ClientWrite[] } {
    const segments: (Segment & { clientWrites: ClientWrite[] })[] = []
    const range = { start: recordKey(this.#space, head.first), end: recordKey(this.#space, head.revision + 1) }
    let found = 0
    for (const { key, value } of this.#database.getRange(range)) {
      const first = Number(key.slice(-DIGITS))
      const lines = value.split('\n')
      found += lines.length
      const clientWrites = lines
        .flatMap((line, index) => decodeClientWrite(first + index, line) ?? [])
        .filter(({ revision }) => revision >= head.floor)
      segments.push({ first, bytes: Buffer.byteLength(value), clientWrites })
    }
    const expected = Math.max(head.revision - head.first + 1, 0)
    if (found !== expected) throw this.#corrupt(`${found} of ${expected} log records are there`)
    this.#keep(segments.map(({ first, bytes }) => ({ first, bytes })))
    let from = head.revision + 1
    let bytes = 0
    let older = segments.length
    while (older > 0 && bytes < LOADED.bytes && head.revision - from + 1 < LOADED.commits) {
      const segment = segments[--older] as Segment
      from = segment.first
      bytes += segment.bytes
    }
    return {
      from: Math.max(from, head.floor),
      clientWrites: segments.slice(0, older).flatMap(({ clientWrites }) => clientWrites),
    }
  }

  get historyBytes(): number {
    return this.#historyBytes
  }

  async record(revision: number): Promise<LogRecord | undefined> {
    const head = await this.#open()
    return revision < head.floor || revision > head.revision ? undefined : this.#records(revision, revision)[0]
  }

  async exists(): Promise<boolean> {
    const head = this.#head ?? this.#stored()
    return head !== undefined && head.revision > 0
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
    const records = this.#records(position.revision + 1, head.revision)
    return records.includes(undefined) ? undefined : { ...head, records: records as LogRecord[] }
  }

  async watch(): Promise<() => Promise<void>> {
    return async () => {}
  }

  async close(): Promise<void> {
    // The storage owns the database; it closes it.
  }

  async #commit(base: Position, { records, writes, added: more }: Batch): Promise<CommitOutcome> {
    const head = await this.#open()
    if (base.epoch !== head.epoch || base.revision !== head.revision) return 'conflict'
    const revision = head.revision + records.length
    const added = this.#toSegments(records, writes)
    const segments = this.#segments ?? this.#sizes(head)
    const { dropped, floor } = this.#trim(segments, added, Math.max(head.floor, revision - this.#retention.commits + 1))
    const first = segments[dropped]?.first ?? added[0]?.first ?? head.first
    const next = { ...head, revision, floor, first, size: head.size + more }
    // The record of a deletion is smaller than what goes, and history is bounded.
    const onlyDeletes = records.every(({ commit }) => commit.ops.every(({ op }) => op === 'delete'))
    await this.#write(
      () => {
        for (const { first, text } of added) this.#put(recordKey(this.#space, first), text)
        for (const { first } of segments.slice(0, dropped)) this.#remove(recordKey(this.#space, first))
        for (const [key, entry] of writes) {
          if (entry) this.#put(valueKey(this.#space, key), encodeEntry(entry))
          else this.#remove(valueKey(this.#space, key))
        }
        this.#put(headKey(this.#space), JSON.stringify(next))
      },
      { letsGo: onlyDeletes, bytes: IN_LOG_AND_VALUES * bytesOf(writes.values()) },
    )
    this.#head = next
    for (const { bytes } of segments.splice(0, dropped)) this.#historyBytes -= bytes
    for (const { first, bytes } of added) {
      segments.push({ first, bytes })
      this.#historyBytes += bytes
    }
    return 'committed'
  }

  async #replace(base: Position, replacement: Replacement): Promise<CommitOutcome> {
    const head = await this.#open()
    if (base.epoch !== head.epoch || base.revision !== head.revision) return 'conflict'
    const { cause, tx, entries } = replacement
    const revision = firstAfter(head, replacement)
    const epoch = `${nextCounter(head.epoch)}:${incarnation()}`
    const epochs = withEpoch(head.epochs, { epoch, first: revision, cause, tx })
    const { owner } = head
    const next = { epoch, revision, floor: revision + 1, first: revision + 1, epochs, size: entries.size, owner }
    await this.#write(
      () => {
        for (const start of [valueKey(this.#space, ''), `${this.#space}/log/`]) {
          for (const key of this.#database.getKeys({ start, end: after(start) })) this.#remove(key)
        }
        for (const [key, entry] of entries) this.#put(valueKey(this.#space, key), encodeEntry(entry))
        this.#put(headKey(this.#space), JSON.stringify(next))
      },
      { letsGo: entries.size === 0, bytes: bytesOf(entries.values()) },
    )
    this.#head = next
    this.#keep([])
    return 'committed'
  }

  /** Under a new epoch, because no commit tells that these keys are gone. Their texts stay, for a person to look at. */
  async #setAside(head: OpenHead, damaged: ReadonlyMap<string, string>): Promise<StoredHead> {
    const first = head.revision + 1
    const epoch = `${nextCounter(head.epoch)}:${incarnation()}`
    const epochs = withEpoch(head.epochs, { epoch, first, cause: 'damage' })
    const size = head.size - damaged.size
    const next = { epoch, revision: first, floor: first + 1, first: first + 1, epochs, size, owner: head.owner }
    const log = `${this.#space}/log/`
    await this.#write(() => {
      for (const key of this.#database.getKeys({ start: log, end: after(log) })) this.#remove(key)
      for (const [key, text] of damaged) {
        this.#put(damagedKey(this.#space, key), text)
        this.#remove(valueKey(this.#space, key))
      }
      this.#put(headKey(this.#space), JSON.stringify(next))
    })
    this.#head = next
    this.#keep([])
    return next
  }

  /**
   * A process that starts cannot know whether the folder is the one it left, so it begins a new epoch. Within a
   * process a space that was closed goes on where it was.
   */
  async #open(): Promise<OpenHead> {
    if (this.#head) return this.#head
    const head = this.#stored()
    if (head?.owner === this.#owner) {
      this.#head = { ...head, owner: this.#owner }
      return this.#head
    }
    const epoch = `${head ? nextCounter(head.epoch) : 1}:${incarnation()}`
    const revision = head?.revision ?? 0
    const start: EpochStart = { epoch, first: revision + 1, cause: head ? 'boot' : 'created' }
    const epochs = withEpoch(head?.epochs ?? [], start)
    const floor = head?.floor ?? 1
    const size = head?.size ?? 0
    const opened = { epoch, revision, floor, first: head?.first ?? floor, epochs, size, owner: this.#owner }
    // The head of a new space is written with its first commit: reading creates nothing.
    // A line in the place of another: on a full disk there must be a way to delete.
    if (head) await this.#write(() => this.#put(headKey(this.#space), JSON.stringify(opened)), { letsGo: true })
    this.#head = opened
    return opened
  }

  #stored(): StoredHead | undefined {
    const stored = this.#database.get(headKey(this.#space))
    return stored === undefined ? undefined : (JSON.parse(stored) as StoredHead)
  }

  /** Compares and writes one after the other: the head moves only when a write is on disk. */
  #inTurn<Result>(run: () => Promise<Result>): Promise<Result> {
    const result = this.#turn.then(run)
    this.#turn = result.catch(() => {})
    return result
  }

  /**
   * One transaction, on disk when it resolves.
   * @param letsGo also when the disk is full
   * @param bytes of what it puts there
   */
  async #write(puts: () => void, { letsGo = false, bytes = 0 } = {}): Promise<void> {
    const commit = async () => {
      await this.#database.raw.batch(puts)
      await this.#database.raw.flushed
    }
    await (letsGo ? this.#commits.letGo(commit) : this.#commits.write(commit, bytes))
  }

  /** Inside a batch, which is what is awaited; the promises of its parts fail together with it. */
  #put(key: string, text: string): void {
    this.#database.put(key, text).catch(ignore)
  }

  #remove(key: string): void {
    this.#database.remove(key).catch(ignore)
  }

  /** The commits of a batch stand together, as lines: one write and one checksum for many of them. */
  #toSegments(records: readonly LogRecord[], writes: Batch['writes']): (Segment & { text: string })[] {
    const segments: (Segment & { text: string })[] = []
    let first: number | undefined
    let text = ''
    const end = () => {
      if (first !== undefined) segments.push({ first, text, bytes: Buffer.byteLength(text) })
    }
    for (const record of records) {
      const line = encodeRecord(record, writes)
      if (first !== undefined && text.length + line.length > LINES_LENGTH) {
        end()
        first = undefined
      }
      text = first === undefined ? line : `${text}\n${line}`
      first ??= record.commit.revision
    }
    end()
    return segments
  }

  /**
   * How many of the oldest go, so that history stays within its bounds, and where it then begins. What is added now
   * stays: somebody may have to find it.
   * @param floor the lowest revision that the bound of commits retains
   */
  #trim(segments: readonly Segment[], added: readonly Segment[], floor: number): { dropped: number; floor: number } {
    let bytes = this.historyBytes
    for (const segment of added) bytes += segment.bytes
    let dropped = 0
    while (dropped < segments.length) {
      const next = (segments[dropped + 1] ?? added[0])?.first ?? floor
      if (next > floor && bytes <= this.#retention.bytes) break
      bytes -= (segments[dropped++] as Segment).bytes
      floor = Math.max(floor, next)
    }
    return { dropped, floor }
  }

  #keep(segments: Segment[]): void {
    this.#segments = segments
    this.#historyBytes = segments.reduce((sum, { bytes }) => sum + bytes, 0)
  }

  #sizes(head: OpenHead): Segment[] {
    this.#look(head)
    return this.#segments ?? []
  }

  /** The first revision of the record that holds this one. */
  #startOf(revision: number): number {
    const range = { start: recordKey(this.#space, revision), end: recordKey(this.#space, 0), reverse: true, limit: 1 }
    for (const key of this.#database.getKeys(range)) return Number(key.slice(-DIGITS))
    return revision
  }

  #records(from: number, to: number): (LogRecord | undefined)[] {
    const records: (LogRecord | undefined)[] = []
    const range = { start: recordKey(this.#space, this.#startOf(from)), end: recordKey(this.#space, to + 1) }
    for (const { key, value } of this.#database.getRange(range)) {
      let revision = Number(key.slice(-DIGITS))
      for (const record of decodeRecords(this.#space, revision, value)) {
        if (revision >= from && revision <= to) records.push(record)
        revision++
      }
    }
    const expected = Math.max(to - from + 1, 0)
    if (records.length !== expected) throw this.#corrupt(`${records.length} of ${expected} log records are there`)
    return records
  }

  #corrupt(what: string) {
    return new StorageCorruptError(`space '${this.#space}': ${what}`, RESTART)
  }
}

const ignore = () => {}

const IN_LOG_AND_VALUES = 2

function bytesOf(entries: Iterable<Entry | undefined>): number {
  let bytes = 0
  for (const entry of entries) bytes += entry?.bytes ?? 0
  return bytes
}
