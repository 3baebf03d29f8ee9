import type { Commit, Json, Position } from '../../../openapi/schemas/state.ts'
import { StorageFullError, StorageUnavailableError } from '../../support/errors.ts'

/** What a key holds. */
export interface Entry {
  readonly value: Json
  /** The revision at which it last changed. */
  readonly revision: number
  /** Wall clock, milliseconds. */
  readonly expiresAt?: number
  /** Bytes of the key and of the value as JSON. */
  readonly bytes: number
}

/** An entry on its way into a store, with its value serialised already. */
export interface WrittenEntry extends Entry {
  readonly json: string
}

/** A commit as the log keeps it. */
export interface LogRecord {
  readonly commit: Commit
  /**
   * Names the write attempt, so that a writer whose acknowledgement was lost finds out whether it was applied. Letters,
   * digits, dots, dashes and underscores.
   */
  readonly tx: string
  /** It emptied the space. */
  readonly clear?: boolean
}

/**
 * Why an epoch began: the space was made; the process that owns it started; its content was replaced;
 * or the server that keeps it is another one than before and may have lost the end of the log; or keys that could not
 * be read were set aside.
 */
export type EpochCause = 'created' | 'boot' | 'restore' | 'clear' | 'incarnation' | 'damage'

export interface EpochStart {
  readonly epoch: string
  /** The first revision that can belong to it. */
  readonly first: number
  readonly cause: EpochCause
  /** Of the replacement that began it. */
  readonly tx?: string
}

/** Where a log stands. */
export interface LogHead extends Position {
  /** Oldest first; the last one is the present epoch. Bounded, so very old ones are missing. */
  readonly epochs: readonly EpochStart[]
  /** The lowest revision whose record is retained; `revision + 1` when none is. */
  readonly floor: number
}

/** Who made a commit: of those that a client sent with a number of its own. */
export interface ClientWrite {
  readonly clientId: string
  readonly seq: number
  readonly revision: number
}

/** A whole space at one revision. */
export interface LogState extends LogHead {
  readonly entries: Map<string, Entry>
  /** The newest retained records, without gaps up to `revision`; `since` finds the older ones. See {@link LOADED}. */
  readonly records: LogRecord[]
  /** Of the retained commits before `records`, those of clients, oldest first. */
  readonly clientWrites: readonly ClientWrite[]
  /** What could not be read and is left out, a line each; absent when all was well. */
  readonly damage?: readonly string[]
}

export interface LogTail extends LogHead {
  readonly records: LogRecord[]
}

/** Where somebody says that the log stands. */
export interface Hint extends Position {
  /** The revision that its records continue. */
  readonly prev: number
  /**
   * Exactly the records of the log after `prev`; `undefined` when they did not come along. Decoded at the call, for
   * many a hint tells what is known. Throws when they cannot be read.
   */
  records(): LogRecord[] | undefined
}

export type CommitOutcome = 'committed' | 'conflict'

/** What one script or transaction writes: records of consecutive revisions and what the keys hold after the last. */
export interface Batch {
  readonly records: readonly LogRecord[]
  /** `undefined` deletes the key. */
  readonly writes: ReadonlyMap<string, WrittenEntry | undefined>
  /** How many keys more there are afterwards; negative when there are fewer. */
  readonly added: number
}

export interface Replacement {
  readonly cause: 'restore' | 'clear'
  readonly tx: string
  /** Each entry's revision is the one that the new epoch begins with, or an earlier one. */
  readonly entries: ReadonlyMap<string, WrittenEntry>
  /**
   * The new epoch begins behind this revision, if the log does not stand behind it already: content that comes from
   * another storage goes on with its count. Default: the log's own.
   */
  readonly after?: number
}

/** The revision that a replacement's epoch begins with. */
export function firstAfter(base: Position, { after = 0 }: Pick<Replacement, 'after'>): number {
  return Math.max(base.revision, after) + 1
}

/** What an acknowledged write has survived. See docs/state.md for what each may lose. */
export type Durability = 'memory' | 'flushed' | 'primary' | `replicas(${number})` | 'fsync'

/**
 * The log of one space, and what the keys hold at its head. The one interface between the engine and a store;
 * test/suites/state-log.ts is its contract.
 *
 * A store compares positions and writes; it never looks into values. Any method may reject with
 * STATEFUL_STORAGE_UNAVAILABLE, after which the outcome of a write is unknown until the log is read again;
 * STATEFUL_STORAGE_FULL says that nothing was written.
 */
export interface StateLog {
  readonly durability: Durability
  /** Whether other processes write to it as well. */
  readonly shared: boolean
  /**
   * Reads everything at one revision. A space that is not there is empty. A key that cannot be read is set aside, for
   * everybody and under a new epoch; history begins after the last record that cannot be read.
   * @throws STATEFUL_STORAGE_CORRUPT when it is not even known where the log stands
   */
  load(): Promise<LogState>
  /** Whether anything was ever written to the space. */
  exists(): Promise<boolean>
  /**
   * Appends the batch if the log still stands at `base`, and resolves when that is durable.
   * All of it is written or nothing.
   * @param onMissed called before a conflict is told, with what follows `base`, as `since` would give it: by stores
   * that have it at hand then
   */
  commit(base: Position, batch: Batch, onMissed?: (tail: LogTail) => void): Promise<CommitOutcome>
  /** Replaces the content and starts a new epoch, with an empty history, at `base.revision + 1` or behind `after`. */
  replace(base: Position, replacement: Replacement): Promise<CommitOutcome>
  /**
   * Resolves when everything up to a position is as durable as an acknowledgement promises: for writes whose own
   * answer was lost, and that are found in the log instead. Absent where what can be read is durable already.
   * @throws STATEFUL_STATE_NOT_REPLICATED
   */
  confirm?(position: Position): Promise<void>
  /** One retained record; `undefined` when it is not retained or cannot be read. */
  record(revision: number): Promise<LogRecord | undefined>
  /** Bytes of the retained records, as of the last answer. */
  readonly historyBytes: number
  /** The records after a position; `undefined` when not all of them are in the retained history, and readable. */
  since(position: Position): Promise<LogTail | undefined>
  /**
   * Where the log stands, without reading it; `undefined` when only reading it can tell. Of shared logs that are asked
   * in one turn, in one round trip.
   */
  head?(): Promise<Position | undefined>
  /**
   * Calls `onHint` when the log may stand elsewhere than before. A hint may be missing, late or repeated; the log
   * itself is the truth. The returned function ends it.
   */
  watch(onHint: (hint: Hint) => void): Promise<() => Promise<void>>
  close(): Promise<void>
}

/** Whether a rejection of a log says that nothing was written. */
export function surelyNotWritten(error: unknown): boolean {
  return error instanceof StorageFullError
}

/** Whether it says that it is unknown what was written. */
export function isUnavailable(error: unknown): boolean {
  return error instanceof StorageUnavailableError
}

/** The serialised form is for the store; keeping it as well would double the memory. */
export function withoutJson({ value, revision, expiresAt, bytes }: WrittenEntry): Entry {
  return expiresAt === undefined ? { value, revision, bytes } : { value, revision, expiresAt, bytes }
}

/** Epochs that a log remembers: a position in an older one gets the whole space again, which is never wrong. */
export const REMEMBERED_EPOCHS = 32

/** The epochs of a history that goes on in a new one. */
export function withEpoch(epochs: readonly EpochStart[], start: EpochStart): EpochStart[] {
  return [...epochs.slice(-(REMEMBERED_EPOCHS - 1)), start]
}

/** The number that the next epoch begins with. */
export function nextCounter(epoch: string): number {
  return Number.parseInt(epoch, 10) + 1
}

/**
 * How much history is kept for clients that resume: up to the bound that is reached first, but always the newest batch.
 */
export interface Retention {
  /** Commits. */
  readonly commits: number
  /** Bytes of the commits as text. */
  readonly bytes: number
}

/** How much of it is loaded with the content of a space; a longer history is read when somebody asks for it. */
export const LOADED: Retention = { commits: 1_000, bytes: 1024 * 1024 }

/**
 * Whether the records after `position` continue exactly what its holder has: it holds no revision that the epoch
 * did not have in this history (KIP-101's rule), and none after it has been trimmed.
 */
export function continues(head: LogHead, position: Position): boolean {
  const index = head.epochs.findIndex(({ epoch }) => epoch === position.epoch)
  if (index < 0) return false
  const next = head.epochs[index + 1]
  const last = next ? next.first - 1 : head.revision
  return position.revision <= last && position.revision + 1 >= head.floor
}

/** Lines about damage that are kept for a person to read. */
export const MOST_DAMAGE = 20
