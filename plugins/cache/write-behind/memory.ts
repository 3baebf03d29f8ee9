import type { DeadLetter, Journal, JournalEntry } from './journal.ts'

interface Book {
  pending: Map<string, JournalEntry>
  dead: Map<string, DeadLetter>
}

/** Ids ascend also as text. */
export const journalId = (number: number): string => number.toString().padStart(16, '0')

/** A journal that lives and dies with the process. */
export class MemoryJournal implements Journal {
  readonly #books = new Map<string, Book>()
  #next = 1

  async append(writer: string, entry: Omit<JournalEntry, 'id'>): Promise<string> {
    const id = journalId(this.#next++)
    this.#book(writer).pending.set(id, { ...entry, id })
    return id
  }

  async read(writer: string, limit: number): Promise<JournalEntry[]> {
    return first(this.#book(writer).pending, limit)
  }

  async remove(writer: string, ids: readonly string[]): Promise<void> {
    for (const id of ids) this.#book(writer).pending.delete(id)
  }

  async bury(writer: string, letters: readonly DeadLetter[]): Promise<void> {
    const { pending, dead } = this.#book(writer)
    for (const letter of letters) {
      dead.set(letter.id, letter)
      pending.delete(letter.id)
    }
  }

  async dead(writer: string, limit: number): Promise<DeadLetter[]> {
    return first(this.#book(writer).dead, limit)
  }

  async discard(writer: string, ids: readonly string[]): Promise<void> {
    for (const id of ids) this.#book(writer).dead.delete(id)
  }

  async size(writer: string): Promise<{ pending: number; dead: number }> {
    const { pending, dead } = this.#book(writer)
    return { pending: pending.size, dead: dead.size }
  }

  async own(): Promise<boolean> {
    return true
  }

  async disown(): Promise<void> {}

  #book(writer: string): Book {
    const book = this.#books.get(writer) ?? { pending: new Map(), dead: new Map() }
    this.#books.set(writer, book)
    return book
  }
}

function first<V>(map: ReadonlyMap<string, V>, limit: number): V[] {
  const found: V[] = []
  for (const value of map.values()) {
    if (found.length === limit) break
    found.push(value)
  }
  return found
}
