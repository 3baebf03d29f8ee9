import type { LmdbStorage } from '../../storage/index.ts'
import { CheckedDatabase } from '../../storage/lmdb/checked-records.ts'
import type { Commits } from '../../storage/lmdb/commits.ts'
import type { DeadLetter, Journal, JournalEntry } from './journal.ts'
import { journalId } from './memory.ts'

type Key = [writer: string, id: string]

/** A journal that survives `kill -9`: `append` resolves when LMDB has committed. */
export class LmdbJournal implements Journal {
  readonly #pending: CheckedDatabase<Omit<JournalEntry, 'id'>, Key>
  readonly #dead: CheckedDatabase<Omit<DeadLetter, 'id'>, Key>
  readonly #commits: Commits
  #next: number

  constructor(storage: LmdbStorage) {
    this.#commits = storage.commits
    // Never taken from a backup: writes that were carried out since then would be once more, over newer ones.
    this.#pending = new CheckedDatabase(storage, { name: 'cache-journal' })
    this.#dead = new CheckedDatabase(storage, { name: 'cache-dead-letters' })
    let last = 0
    for (const db of [this.#pending, this.#dead]) {
      // One that is no number would make all that follow the same one.
      for (const [, id] of db.getKeys()) if (/^\d{1,16}$/.test(id)) last = Math.max(last, Number(id))
    }
    this.#next = last + 1
  }

  async append(writer: string, entry: Omit<JournalEntry, 'id'>): Promise<string> {
    const id = journalId(this.#next++)
    await this.#commits.write(() => this.#pending.put([writer, id], entry))
    return id
  }

  async read(writer: string, limit: number): Promise<JournalEntry[]> {
    return range(this.#pending, writer, limit)
  }

  async remove(writer: string, ids: readonly string[]): Promise<void> {
    await Promise.all(ids.map((id) => this.#commits.letGo(() => this.#pending.remove([writer, id]))))
  }

  async bury(writer: string, letters: readonly DeadLetter[]): Promise<void> {
    const bury = () => {
      for (const { id, ...letter } of letters) {
        this.#dead.put([writer, id], letter)
        this.#pending.remove([writer, id])
      }
    }
    await this.#commits.letGo(() => this.#pending.raw.transaction(bury))
  }

  async dead(writer: string, limit: number): Promise<DeadLetter[]> {
    return range(this.#dead, writer, limit)
  }

  async discard(writer: string, ids: readonly string[]): Promise<void> {
    await Promise.all(ids.map((id) => this.#commits.letGo(() => this.#dead.remove([writer, id]))))
  }

  async size(writer: string): Promise<{ pending: number; dead: number }> {
    const bounds = { start: [writer, ''] as Key, end: [writer, '\uffff'] as Key }
    return { pending: this.#pending.raw.getKeysCount(bounds), dead: this.#dead.raw.getKeysCount(bounds) }
  }

  /** The folder has one owner, so the journal has. */
  async own(): Promise<boolean> {
    return true
  }

  async disown(): Promise<void> {}
}

function range<V extends object>(db: CheckedDatabase<V, Key>, writer: string, limit: number): (V & { id: string })[] {
  const keys = [...db.getKeys({ start: [writer, ''], end: [writer, '\uffff'], limit })]
  return keys.map((key) => ({ ...(entryAt(db, key) ?? UNREADABLE), id: key[1] }) as V & { id: string })
}

/** One that cannot be read goes the way of all that its handler refuses, instead of holding up those behind it. */
const UNREADABLE: DeadLetter = {
  id: '',
  namespace: '',
  key: '',
  data: new Uint8Array(),
  reason: 'it cannot be read',
  at: 0,
}

function entryAt<V extends object>(db: CheckedDatabase<V, Key>, key: Key): V | undefined {
  try {
    const value = db.get(key) as (V & { data?: unknown }) | undefined
    return value?.data instanceof Uint8Array ? value : undefined
  } catch {
    return undefined
  }
}
