import type { Clock } from '../../support/clock.ts'
import type { CacheTier } from '../tier/contract.ts'
import type { Appended, Claim, DeadLetter, Journal, JournalEntry, NewWrite, Ownership, QueuedWrite } from './journal.ts'

/** A write that waits; without its data when that can be read from where it is kept. */
export type Waiting = Omit<JournalEntry, 'data'> & { data: Uint8Array | undefined }

/** With the number since which its key waits. */
type InQueue = Waiting & { from: string }

interface Book {
  /** By namespace and key, in the order in which they wait. */
  waiting: Map<string, InQueue>
  dead: Map<string, DeadLetter>
  owner: { by: string; until: number } | undefined
  /** Somebody else would like to be. */
  wantedUntil: number
  token: number
}

/** Ids ascend also as text. */
export const journalId = (number: number): string => number.toString().padStart(16, '0')

/** When it was given. */
const momentOf = (id: string): number => Math.floor(Number(id) / 1_000)

/** A namespace's name has no colon. */
const place = ({ namespace, key }: { namespace: string; key: string }): string => `${namespace}:${key}`

/** A journal that lives and dies with the process. */
export class MemoryJournal implements Journal {
  readonly shared = false
  protected readonly clock: Clock
  readonly #tier: Pick<CacheTier, 'put' | 'invalidate'>
  readonly #books = new Map<string, Book>()
  /** How many writes of each namespace wait. */
  readonly #waiting = new Map<string, number>()
  #last = 0

  /** @param tier a change of it has been made when the call returns, though its promise is still open */
  constructor(tier: Pick<CacheTier, 'put' | 'invalidate'>, clock: Clock) {
    this.#tier = tier
    this.clock = clock
  }

  async append(writer: string, write: NewWrite, most: number): Promise<Appended> {
    const { namespace, key, data, ttl, stamps } = write
    const book = this.#book(writer)
    if (book.waiting.size >= most && !book.waiting.has(place(write))) return { state: 'full' }
    const entry = { id: this.#next(), namespace, key, data }
    await this.keep(writer, entry)
    // From here on nothing waits until all of it is done. What the stamps refuse must not leave the older value there.
    const latest = this.#admit(writer, this.kept(entry))
    const [removed, put] = await Promise.all([
      this.#tier.invalidate(namespace, { keys: [key] }),
      latest ? this.#tier.put(namespace, [{ key, data, ttl }], stamps) : undefined,
    ])
    return { state: 'done', id: entry.id, pending: book.waiting.size, mutation: put ?? removed, stored: !!put }
  }

  async own(writer: string, { by, ms, token }: Claim): Promise<Ownership> {
    const book = this.#book(writer)
    const now = this.clock.monotonic()
    if (book.owner && book.owner.by !== by && book.owner.until > now) {
      // Longer than it takes them to ask again, also on a busy machine.
      book.wantedUntil = now + 4 * ms
      return { busy: book.owner.until - now }
    }
    if (book.token !== token || token === 0) {
      book.token++
      book.wantedUntil = 0
    }
    book.owner = { by, until: now + ms }
    return { token: book.token, wanted: book.wantedUntil > now }
  }

  async disown(writer: string, by: string): Promise<void> {
    const book = this.#book(writer)
    if (book.owner?.by === by) book.owner = undefined
  }

  async read(writer: string, token: number, limit: number): Promise<JournalEntry[] | undefined> {
    const book = this.#book(writer)
    if (token < book.token) return undefined
    return first(book.waiting, limit).map(({ from: _, ...entry }) => ({ ...entry, data: this.dataOf(writer, entry) }))
  }

  async remove(writer: string, token: number, entries: readonly JournalEntry[]): Promise<boolean> {
    if (token < this.#book(writer).token) return false
    const done = entries.filter((entry) => this.#release(writer, entry))
    await this.erase(writer, done)
    return true
  }

  async bury(writer: string, token: number, letters: readonly DeadLetter[]): Promise<DeadLetter[] | undefined> {
    if (token < this.#book(writer).token) return undefined
    const refused = letters.filter((letter) => this.#release(writer, letter))
    await Promise.all([
      ...refused.map(({ namespace, key }) => this.#tier.invalidate(namespace, { keys: [key] })),
      this.entomb(writer, refused),
    ])
    return refused
  }

  async dead(writer: string, limit: number): Promise<DeadLetter[]> {
    return first(this.#book(writer).dead, limit)
  }

  async *letters(writer: string): AsyncGenerator<DeadLetter[]> {
    yield [...this.#book(writer).dead.values()]
  }

  async adoptLetters(writer: string, letters: readonly DeadLetter[]): Promise<void> {
    await this.entomb(writer, letters)
  }

  async writers(): Promise<string[]> {
    return [...this.#books.keys()]
  }

  async retry(writer: string, letter: DeadLetter): Promise<boolean> {
    const waits = this.#book(writer).waiting.has(place(letter))
    if (waits) await this.forget(writer, letter)
    else {
      const entry = { ...letter, id: this.#next() }
      await this.revive(writer, letter, entry)
      this.#admit(writer, this.kept(entry))
      await this.#tier.invalidate(letter.namespace, { keys: [letter.key] })
    }
    return !waits
  }

  async queued(writer: string, limit: number): Promise<QueuedWrite[]> {
    return first(this.#book(writer).waiting, limit).map(({ id, namespace, key, from }) => {
      return { id, namespace, key, since: momentOf(from) }
    })
  }

  async size(writer: string): Promise<{ pending: number; dead: number }> {
    const { waiting, dead } = this.#book(writer)
    return { pending: waiting.size, dead: dead.size }
  }

  async waited(writer: string): Promise<number | undefined> {
    const [oldest] = this.#book(writer).waiting.values()
    return oldest && this.clock.now() - momentOf(oldest.from)
  }

  waits(namespace: string): boolean {
    return this.#waiting.has(namespace)
  }

  async pending(namespace: string, keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    return keys.map((key) => {
      let latest: [writer: string, entry: Waiting] | undefined
      for (const [writer, { waiting }] of this.#books) {
        const entry = waiting.get(place({ namespace, key }))
        if (entry && !(latest && latest[1].id > entry.id)) latest = [writer, entry]
      }
      return latest && this.dataOf(...latest)
    })
  }

  // --- what a journal that outlives the process does besides ----------------------------------------

  /** Resolves when the write is safe, in the order of the calls. */
  protected async keep(_writer: string, _entry: JournalEntry): Promise<void> {}

  protected async erase(_writer: string, _entries: readonly Pick<JournalEntry, 'id'>[]): Promise<void> {}

  protected async entomb(writer: string, letters: readonly DeadLetter[]): Promise<void> {
    for (const letter of letters) this.#book(writer).dead.set(letter.id, letter)
  }

  protected async forget(writer: string, { id }: DeadLetter): Promise<void> {
    this.#book(writer).dead.delete(id)
  }

  protected async revive(writer: string, letter: DeadLetter, _entry: JournalEntry): Promise<void> {
    await this.forget(writer, letter)
  }

  /** What stays in memory of a write that is safe. */
  protected kept(entry: JournalEntry): Waiting {
    return entry
  }

  protected dataOf(_writer: string, { data }: Waiting): Uint8Array {
    return data as Uint8Array
  }

  /** What an earlier life of the process has left. */
  protected adopt(writer: string, entry: Waiting): void {
    this.#last = Math.max(this.#last, Number(entry.id) || 0)
    this.#admit(writer, entry)
    // The cache may be older than the journal: the process died between the two.
    if (entry.namespace) void this.#tier.invalidate(entry.namespace, { keys: [entry.key] }).catch(() => {})
  }

  // --------------------------------------------------------------------------------------------------

  /** Microseconds, so that ids ascend over restarts and are about as old as they say. */
  #next(): string {
    this.#last = Math.max(this.#last + 1, Math.floor(this.clock.now() * 1_000))
    return journalId(this.#last)
  }

  /** Whether it is the latest write of its key. An older one leaves it its place in the queue. */
  #admit(writer: string, entry: Waiting): boolean {
    const { waiting } = this.#book(writer)
    const before = waiting.get(place(entry))
    const latest = !(before && before.id > entry.id)
    if (latest) waiting.set(place(entry), { ...entry, from: before?.from ?? entry.id })
    if (!before) this.#count(entry.namespace, 1)
    // One that stays where it is kept would be handed over again after a restart, and be recognised as the older one.
    else void this.erase(writer, [latest ? before : entry]).catch(() => {})
    return latest
  }

  /** Takes a write out unless a newer one of its key has come; that one waits behind all others. */
  #release(writer: string, { id, ...at }: JournalEntry): boolean {
    const { waiting } = this.#book(writer)
    const entry = waiting.get(place(at))
    if (!entry) return false
    waiting.delete(place(at))
    if (entry.id === id) this.#count(at.namespace, -1)
    else waiting.set(place(at), { ...entry, from: entry.id })
    return entry.id === id
  }

  #count(namespace: string, by: number): void {
    const count = (this.#waiting.get(namespace) ?? 0) + by
    if (count > 0) this.#waiting.set(namespace, count)
    else this.#waiting.delete(namespace)
  }

  #book(writer: string): Book {
    const book = this.#books.get(writer) ?? {
      waiting: new Map(),
      dead: new Map(),
      owner: undefined,
      wantedUntil: 0,
      token: 0,
    }
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
