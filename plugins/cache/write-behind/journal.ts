/** One write that waits for its handler. */
export interface JournalEntry {
  /** Ascending in the order of the writes of one writer. */
  id: string
  namespace: string
  key: string
  /** The encoded value. */
  data: Uint8Array
}

export interface DeadLetter extends JournalEntry {
  reason: string
  /** Wall clock, ms since the epoch. */
  at: number
}

/** Where write-behind keeps what it has acknowledged. */
export interface Journal {
  /** Resolves to the id when the write will survive the death of this process (on memory: at once). */
  append(writer: string, entry: Omit<JournalEntry, 'id'>): Promise<string>
  /** The oldest writes. */
  read(writer: string, limit: number): Promise<JournalEntry[]>
  remove(writer: string, ids: readonly string[]): Promise<void>
  /** Moves writes to the dead letters. */
  bury(writer: string, letters: readonly DeadLetter[]): Promise<void>
  /** The oldest dead letters. */
  dead(writer: string, limit: number): Promise<DeadLetter[]>
  /** Forgets dead letters. */
  discard(writer: string, ids: readonly string[]): Promise<void>
  size(writer: string): Promise<{ pending: number; dead: number }>
  /** Becomes or stays the only reader of the writer's journal for `ms`; `false` while another instance is. */
  own(writer: string, ms: number): Promise<boolean>
  /** Lets another instance read. */
  disown(writer: string): Promise<void>
}
