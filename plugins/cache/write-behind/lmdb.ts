import type { LmdbStorage } from '../../storage/index.ts'
import { CheckedDatabase } from '../../storage/lmdb/checked-records.ts'
import type { Commits } from '../../storage/lmdb/commits.ts'
import type { Clock } from '../../support/clock.ts'
import type { CacheTier } from '../tier/contract.ts'
import type { DeadLetter, JournalEntry } from './journal.ts'
import { MemoryJournal, type Waiting } from './memory.ts'

type Key = [writer: string, id: string]

/** A journal that survives `kill -9`: `append` resolves when LMDB has committed. Values stay in the file. */
export class LmdbJournal extends MemoryJournal {
  readonly #pending: CheckedDatabase<Omit<JournalEntry, 'id'>, Key>
  readonly #dead: CheckedDatabase<Omit<DeadLetter, 'id'>, Key>
  readonly #commits: Commits

  constructor(storage: LmdbStorage, tier: Pick<CacheTier, 'put' | 'invalidate'>, clock: Clock) {
    super(tier, clock)
    this.#commits = storage.commits
    // Never taken from a backup: writes that were carried out since then would be once more, over newer ones.
    this.#pending = new CheckedDatabase(storage, { name: 'cache-journal' })
    this.#dead = new CheckedDatabase(storage, { name: 'cache-dead-letters' })
    for (const key of [...this.#pending.getKeys()]) {
      const [writer, id] = key
      // One that cannot be read has a place of its own.
      const { namespace, key: of } = entryAt(this.#pending, key) ?? { namespace: '', key: id }
      this.adopt(writer, { id, namespace, key: of, data: undefined })
    }
  }

  override async dead(writer: string, limit: number): Promise<DeadLetter[]> {
    const keys = [...this.#dead.getKeys({ ...bounds(writer), limit })]
    return keys.map((key) => ({ ...(entryAt(this.#dead, key) ?? UNREADABLE), id: key[1] }))
  }

  override async *letters(writer: string): AsyncGenerator<DeadLetter[]> {
    let { start, end } = bounds(writer)
    for (;;) {
      const keys = [...this.#dead.getKeys({ start, end, limit: PAGE })]
      yield keys.map((key) => ({ ...(entryAt(this.#dead, key) ?? UNREADABLE), id: key[1] }))
      const last = keys.at(-1)
      if (!last || keys.length < PAGE) return
      // The first text behind it.
      start = [writer, `${last[1]}\0`]
    }
  }

  override async adoptLetters(writer: string, letters: readonly DeadLetter[]): Promise<void> {
    const adopt = () => {
      for (const { id, ...letter } of letters) this.#dead.put([writer, id], letter)
    }
    await this.#commits.write(() => this.#dead.raw.transaction(adopt))
  }

  override async writers(): Promise<string[]> {
    const names = new Set(await super.writers())
    for (const [writer] of this.#dead.getKeys()) names.add(writer)
    return [...names]
  }

  override async size(writer: string): Promise<{ pending: number; dead: number }> {
    const { pending } = await super.size(writer)
    return { pending, dead: this.#dead.raw.getKeysCount(bounds(writer)) }
  }

  protected override async keep(writer: string, { id, ...entry }: JournalEntry): Promise<void> {
    await this.#commits.write(() => this.#pending.put([writer, id], entry))
  }

  protected override async erase(writer: string, entries: readonly Pick<JournalEntry, 'id'>[]): Promise<void> {
    await Promise.all(entries.map(({ id }) => this.#commits.letGo(() => this.#pending.remove([writer, id]))))
  }

  protected override async entomb(writer: string, letters: readonly DeadLetter[]): Promise<void> {
    const bury = () => {
      for (const { id, ...letter } of letters) {
        this.#dead.put([writer, id], letter)
        this.#pending.remove([writer, id])
      }
    }
    await this.#commits.letGo(() => this.#pending.raw.transaction(bury))
  }

  protected override async forget(writer: string, { id }: DeadLetter): Promise<void> {
    await this.#commits.letGo(() => this.#dead.remove([writer, id]))
  }

  protected override async revive(writer: string, letter: DeadLetter, entry: JournalEntry): Promise<void> {
    const { id, namespace, key, data } = entry
    const revive = () => {
      this.#pending.put([writer, id], { namespace, key, data })
      this.#dead.remove([writer, letter.id])
    }
    await this.#commits.write(() => this.#pending.raw.transaction(revive))
  }

  protected override kept(entry: JournalEntry): Waiting {
    return { ...entry, data: undefined }
  }

  /** One that cannot be read goes the way of all that its handler refuses, instead of holding up those behind it. */
  protected override dataOf(writer: string, { id }: Waiting): Uint8Array {
    return entryAt(this.#pending, [writer, id])?.data ?? UNREADABLE.data
  }
}

/** Letters of one batch. */
const PAGE = 500

const bounds = (writer: string): { start: Key; end: Key } => ({ start: [writer, ''], end: [writer, '\uffff'] })

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
