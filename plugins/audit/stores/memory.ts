import type { AuditEntry } from '../../../openapi/schemas/audit.ts'
import { type AuditStore, MAX_ENTRIES } from './contract.ts'

/** Lives and dies with the process. */
export class MemoryAudit implements AuditStore {
  #entries: AuditEntry[] = []

  async append(entry: AuditEntry): Promise<void> {
    this.#entries = [entry, ...this.#entries].slice(0, MAX_ENTRIES)
  }

  async list(): Promise<AuditEntry[]> {
    return [...this.#entries]
  }
}
