import type { AuditEntry } from '../../../openapi/schemas/audit.ts'
import { CheckedDatabase } from '../../storage/lmdb/checked-records.ts'
import type { LmdbStorage } from '../../storage/storage.ts'
import { type AuditStore, MAX_ENTRIES } from './contract.ts'

/** Entries that survive a restart, under ascending numbers. */
export class LmdbAudit implements AuditStore {
  readonly #entries: CheckedDatabase<AuditEntry, string>
  readonly #commits: LmdbStorage['commits']

  constructor(storage: LmdbStorage) {
    this.#entries = new CheckedDatabase(storage, { name: 'audit', disposable: true })
    this.#commits = storage.commits
  }

  /** Also on a full disk, which is when somebody makes room: it is an entry in the place of another. */
  async append(entry: AuditEntry): Promise<void> {
    await this.#commits.letGo(() =>
      this.#entries.raw.transaction(() => {
        const [last = '0'] = [...this.#entries.getKeys({ reverse: true, limit: 1 })]
        const number = Number(last) + 1
        this.#entries.put(keyOf(number), entry)
        const end = keyOf(Math.max(0, number + 1 - MAX_ENTRIES))
        for (const key of [...this.#entries.getKeys({ end })]) this.#entries.remove(key)
      }),
    )
  }

  async list(): Promise<AuditEntry[]> {
    return Array.from(this.#entries.findRange({ reverse: true }), ({ value }) => value)
  }
}

/** Ascends also as text. */
const keyOf = (number: number): string => `${number}`.padStart(16, '0')
