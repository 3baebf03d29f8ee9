import type { Mutation, Stamp } from '../tier/contract.ts'

/** One write that waits for its handler: the latest of its key. */
export interface JournalEntry {
  /** Its number: ascending in the order of the writes of a key, whichever instance they came from. */
  id: string
  /** Of the cache; more exactly the name of its bucket that has the key, see buckets.ts. */
  namespace: string
  key: string
  /** An entry as the second level keeps it, see record.ts. */
  data: Uint8Array
}

export interface DeadLetter extends JournalEntry {
  reason: string
  /** Wall clock, ms since the epoch. */
  at: number
}

/** One that waits, for those who only look. */
export interface QueuedWrite extends Omit<JournalEntry, 'data'> {
  /** Since when its key waits, ms since the epoch; the write itself may be a later one. */
  since: number
}

/** A write on its way into the journal. */
export interface NewWrite extends Omit<JournalEntry, 'id'> {
  /** For how long and under which stamps the cache has it meanwhile. */
  ttl: number
  stamps: readonly Stamp[]
}

/** What became of it; `pending` is how many keys wait now. */
export type Appended =
  | { state: 'full' }
  | {
      state: 'done'
      id: string
      pending: number
      mutation: Mutation
      /** Whether the cache has it: not when one of its stamps has fallen. Then it has nothing of the key. */
      stored: boolean
    }

/** What somebody says who wants to be the owner. */
export interface Claim {
  by: string
  /** For how long. */
  ms: number
  /** What it was given before; 0 for nothing. */
  token: number
}

/**
 * A token above those of all owners before, and whether others have asked lately; or for how many ms another one still
 * is the owner.
 */
export type Ownership = { token: number; wanted: boolean } | { busy: number }

/**
 * Where write-behind keeps what it has acknowledged, and the order of it: a write gets its number, takes the place of
 * an older one of its key and gets into the cache in one step. While it waits, it is what readers are given instead of
 * what the source still has.
 *
 * One owner at a time hands a writer's journal over. Its token is a fence: what an owner does whose time has run out
 * changes nothing once there is another one.
 */
export interface Journal extends Overlay {
  /** Whether other processes append and hand over as well. */
  readonly shared: boolean
  /**
   * Resolves when the write will survive the death of this process (on memory: at once).
   * @param most keys that may wait
   */
  append(writer: string, write: NewWrite, most: number): Promise<Appended>
  /** Becomes or stays the owner. */
  own(writer: string, claim: Claim): Promise<Ownership>
  /** Lets another one become the owner at once. */
  disown(writer: string, by: string): Promise<void>
  /** What has waited longest, each key once; `undefined` when there is another owner. */
  read(writer: string, token: number, limit: number): Promise<JournalEntry[] | undefined>
  /** They are persisted; a newer write of a key goes on waiting. `false` when there is another owner. */
  remove(writer: string, token: number, entries: readonly JournalEntry[]): Promise<boolean>
  /**
   * Moves them to the dead letters and out of the cache, but for those that a newer write has replaced. Resolves to
   * what was moved; `undefined` when there is another owner.
   */
  bury(writer: string, token: number, letters: readonly DeadLetter[]): Promise<DeadLetter[] | undefined>
  /** The oldest dead letters. */
  dead(writer: string, limit: number): Promise<DeadLetter[]>
  /** All dead letters, the oldest of a bucket first, in batches. */
  letters(writer: string): AsyncIterable<DeadLetter[]>
  /** Takes in dead letters of a journal elsewhere. They may get other ids. */
  adoptLetters(writer: string, letters: readonly DeadLetter[]): Promise<void>
  /** Those of which something waits, or is dead. For those who only look. */
  writers(): Promise<string[]>
  /**
   * Lets a dead letter wait again, as the latest write of its key; where a newer one waits it is only forgotten.
   * Resolves to whether it waits.
   */
  retry(writer: string, letter: DeadLetter): Promise<boolean>
  /** What has waited longest. For those who only look: also while somebody else is the owner. */
  queued(writer: string, limit: number): Promise<QueuedWrite[]>
  size(writer: string): Promise<{ pending: number; dead: number }>
  /** For how many ms the oldest has waited; `undefined` when nothing does. For those who only look. */
  waited(writer: string): Promise<number | undefined>
}

/** The side of the journal that readers of the cache see. */
export interface Overlay {
  /** Whether anything of the bucket waits, as far as this instance was told by the answers that it has had. */
  waits(bucket: string): boolean
  /** The write of each key that waits, for any owner. */
  pending(bucket: string, keys: readonly string[]): Promise<(Uint8Array | undefined)[]>
}
