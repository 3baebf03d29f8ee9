import type { AuditEntry } from '../../../openapi/schemas/audit.ts'

/** The most entries that are kept. */
export const MAX_ENTRIES = 200

/** Where the entries of all instances lie. */
export interface AuditStore {
  /** Adds an entry; of more than {@link MAX_ENTRIES} the oldest go. */
  append(entry: AuditEntry): Promise<void>
  /** The newest first. */
  list(): Promise<AuditEntry[]>
}
