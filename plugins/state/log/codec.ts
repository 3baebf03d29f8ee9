import type { Commit, Json, Op } from '../../../openapi/schemas/state.ts'
import { deepFreeze } from '../../support/freeze.ts'
import { mayOverflow, nonFinitePlace } from '../../support/json.ts'
import type { Batch, ClientWrite, Entry, LogRecord, WrittenEntry } from './contract.ts'

/**
 * How entries and records stand in a store: text, readable with the store's own tools. What cannot be read again, because
 * a hand edited it or a bit flipped, is told apart and not handed out: each `decode…` answers `undefined` for it.
 */

interface StoredRecord {
  /** Epoch, time, operations, transaction, client and sequence, clears. */
  e: string
  a: number
  o: Op[]
  t: string
  c?: string
  s?: number
  x?: 1
}

/** `<revision> <expiry or -> <value as JSON>` */
export function encodeEntry(entry: WrittenEntry): string {
  return `${entry.revision} ${entry.expiresAt ?? '-'} ${entry.json}`
}

export function decodeEntry(key: string, text: string): Entry | undefined {
  const first = text.indexOf(' ')
  const second = text.indexOf(' ', first + 1)
  if (first < 1 || second < 0) return undefined
  const revision = Number(text.slice(0, first))
  const expiry = text.slice(first + 1, second)
  const expiresAt = expiry === '-' ? undefined : Number(expiry)
  const json = text.slice(second + 1)
  const value = parse(json) as Json | undefined
  if (value === undefined || !isRevision(revision)) return undefined
  if (expiresAt === undefined) return { value: deepFreeze(value), revision, bytes: sizeOf(key, json) }
  if (!Number.isFinite(expiresAt)) return undefined
  return { value: deepFreeze(value), revision, expiresAt, bytes: sizeOf(key, json) }
}

/** `undefined` also for JSON that holds a number which JSON cannot say again. */
function parse(json: string): unknown {
  try {
    const value: unknown = JSON.parse(json)
    return mayOverflow(json) && nonFinitePlace(value) !== undefined ? undefined : value
  } catch {
    return undefined
  }
}

/** What a store counts a log by. */
export const isRevision = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

export function sizeOf(key: string, json: string): number {
  return Buffer.byteLength(key) + Buffer.byteLength(json)
}

/**
 * A `StoredRecord` as JSON, without a line break.
 * @param writes what the batch writes: a value that is there as JSON already is not serialised again
 */
export function encodeRecord({ commit, tx, clear }: LogRecord, writes: Batch['writes']): string {
  const { epoch, at, ops, clientId, seq } = commit
  let text = `{"e":"${epoch}","a":${at},"o":[`
  for (let i = 0; i < ops.length; i++) text += encodeOp(ops[i] as Op, i === 0 ? '' : ',', writes)
  text += `],"t":"${tx}"`
  if (clientId !== undefined) text += `,"c":${JSON.stringify(clientId)}`
  if (seq !== undefined) text += `,"s":${seq}`
  return clear ? `${text},"x":1}` : `${text}}`
}

/** About as many bytes as `encodeRecord` makes of it, told without making them. */
export function recordBytes(
  { commit: { ops, clientId }, tx }: LogRecord,
  written?: ReadonlyMap<string, WrittenEntry | undefined>,
): number {
  let bytes = 64 + tx.length + (clientId === undefined ? 0 : clientId.length + 24)
  for (const { key, value } of ops) {
    bytes += 32 + key.length
    if (typeof value === 'string') bytes += value.length
    else if (typeof value !== 'object' || value === null) bytes += 8
    else {
      const entry = written?.get(key)
      bytes += entry?.value === value ? entry.bytes : JSON.stringify(value).length
    }
  }
  return bytes
}

/** Piece by piece: of small operations JSON.stringify needs several times as long. */
function encodeOp({ op, key, value, ttl }: Op, separator: string, writes: Batch['writes']): string {
  let text = `${separator}{"op":"${op}","key":${JSON.stringify(key)}`
  if (typeof value === 'number') text += `,"value":${value}`
  else if (value !== undefined) {
    const written = writes.get(key)
    text += `,"value":${written?.value === value ? written.json : JSON.stringify(value)}`
  }
  return ttl === undefined ? `${text}}` : `${text},"ttl":${ttl}}`
}

/** The records of a batch as lines; no record holds a line break. */
export function encodeRecords({ records, writes }: Pick<Batch, 'records' | 'writes'>): string {
  let lines = ''
  for (const record of records)
    lines += lines === '' ? encodeRecord(record, writes) : `\n${encodeRecord(record, writes)}`
  return lines
}

/**
 * One of each line, in their order.
 * @param first the revision of the first line
 */
export function decodeRecords(space: string, first: number, lines: string): (LogRecord | undefined)[] {
  // One call for all of them: most records are so small that each call would cost more than its record.
  const each = lines.split('\n')
  const together = parse(`[${each.join(',')}]`) as unknown[] | undefined
  const stored = together?.length === each.length ? together : each.map(parse)
  return stored.map((record, index) => toRecord(space, first + index, record))
}

/**
 * The records after the last one that cannot be read: history begins after it, for what the commits after it build on is
 * not known.
 */
export function readableTail(records: readonly (LogRecord | undefined)[]): LogRecord[] {
  return records.slice(records.lastIndexOf(undefined) + 1) as LogRecord[]
}

/**
 * Who made the commit of a line, without reading what it did: that is the most of it. `undefined` when no client did,
 * or it cannot be read.
 */
export function decodeClientWrite(revision: number, line: string): ClientWrite | undefined {
  // What stands behind the operations cannot hold this text: quotes in a string are escaped.
  const end = line.lastIndexOf('],"t":"')
  if (end < 0 || line.indexOf('","c":"', end) < 0) return undefined
  const { c: clientId, s: seq } = (parse(`{${line.slice(end + 2)}`) ?? {}) as Partial<StoredRecord>
  return typeof clientId === 'string' && isRevision(seq) ? { clientId, seq, revision } : undefined
}

function toRecord(space: string, revision: number, stored: unknown): LogRecord | undefined {
  if (!isStoredRecord(stored)) return undefined
  const { e: epoch, a: at, o: ops, t: tx, c, s, x } = stored
  for (const op of ops) if (typeof op.value === 'object') deepFreeze(op.value)
  const commit: Commit = { space, epoch, prev: revision - 1, revision, ops, at }
  if (c !== undefined) commit.clientId = c
  if (s !== undefined) commit.seq = s
  return x ? { commit, tx, clear: true } : { commit, tx }
}

function isStoredRecord(stored: unknown): stored is StoredRecord {
  const { e, a, o, t, c, s } = (stored ?? {}) as Partial<Record<keyof StoredRecord, unknown>>
  return (
    typeof e === 'string' &&
    typeof a === 'number' &&
    typeof t === 'string' &&
    (c === undefined || typeof c === 'string') &&
    (s === undefined || isRevision(s)) &&
    Array.isArray(o) &&
    o.every(isOp)
  )
}

function isOp(op: unknown): op is Op {
  const { op: kind, key, ttl } = (op ?? {}) as Partial<Record<keyof Op, unknown>>
  return typeof kind === 'string' && typeof key === 'string' && (ttl === undefined || typeof ttl === 'number')
}
