/**
 * An export: a JSON document a line. The first is the header, the last the footer, which shows that the file is whole.
 * Between them are the records; the only property of each says what it is.
 */
import type { Json } from '../../openapi/schemas/state.ts'
import type { StoredAccount } from '../../plugins/accounts/account-store.ts'
import type { StoredSession } from '../../plugins/session/stores/contract.ts'
import { InvalidConfigurationError } from '../../plugins/support/errors.ts'
import type { StoredToken } from '../../plugins/tokens/token-store.ts'

export const FORMAT = 'fastify-stateful export'
export const VERSION = 1

export interface Header {
  format: typeof FORMAT
  version: typeof VERSION
  /** Tells this file from another one. */
  id: string
  at: string
}

/** A space; its keys follow. */
export interface StoredSpace {
  name: string
  /** Where it stood. */
  revision: number
}

export interface StoredKey {
  space: string
  key: string
  value: Json
  /** The revision at which it last changed. */
  revision: number
  /** Milliseconds since the Unix epoch. */
  expiresAt?: number
}

/** A write that its handler has refused for good. */
export interface StoredLetter {
  writer: string
  id: string
  namespace: string
  key: string
  /** The entry as the cache keeps it, in Base64. */
  data: string
  reason: string
  at: number
}

export type ExportRecord =
  | { account: StoredAccount }
  | { token: StoredToken }
  | { session: StoredSession }
  | { space: StoredSpace }
  | { key: StoredKey }
  | { letter: StoredLetter }

type NamesOf<T> = T extends unknown ? keyof T : never
export type RecordKind = NamesOf<ExportRecord>
export type Counts = Record<RecordKind, number>

export const noCounts = (): Counts => ({ account: 0, token: 0, session: 0, space: 0, key: 0, letter: 0 })

export interface Footer {
  end: Counts
}

export const kindOf = (record: ExportRecord): RecordKind => Object.keys(record)[0] as RecordKind

/** @throws STATEFUL_INVALID_CONFIGURATION for what is no export, or one of a version that is not known here */
export function parseHeader(line: string | undefined): Header {
  let header: Partial<Header> = {}
  try {
    header = JSON.parse(line ?? '')
  } catch {
    // Said below.
  }
  if (header.format !== FORMAT || typeof header.id !== 'string') {
    throw new InvalidConfigurationError('the file is no export: its first line says none')
  }
  if (header.version !== VERSION) {
    throw new InvalidConfigurationError(
      `the file is an export of version ${header.version}, and this package knows version ${VERSION}: import it with a newer one`,
    )
  }
  return header as Header
}

/** @throws STATEFUL_INVALID_CONFIGURATION with the number of the line */
export function parseRecord(line: string, number: number): ExportRecord | Footer {
  try {
    const record: ExportRecord | Footer = JSON.parse(line)
    const [kind, ...more] = Object.keys(record)
    if (more.length === 0 && (kind === 'end' || (kind !== undefined && kind in noCounts()))) return record
  } catch {
    // Said below.
  }
  throw new InvalidConfigurationError(`line ${number} of the file is no record of an export: the file is damaged`)
}
