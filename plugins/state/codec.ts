import type { Commit, Json, Op } from '../../openapi/schemas/state.ts'
import { freeze } from './json.ts'
import type { Batch, Entry, LogRecord, WrittenEntry } from './log.ts'

/** How entries and records stand in a store: text, readable with the store's own tools. */

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

export function decodeEntry(key: string, text: string): Entry {
  const first = text.indexOf(' ')
  const second = text.indexOf(' ', first + 1)
  const expiry = text.slice(first + 1, second)
  const json = text.slice(second + 1)
  return {
    value: freeze(JSON.parse(json) as Json),
    revision: Number(text.slice(0, first)),
    ...(expiry === '-' ? {} : { expiresAt: Number(expiry) }),
    bytes: sizeOf(key, json),
  }
}

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

/** @param first the revision of the first line */
export function decodeRecords(space: string, first: number, lines: string): LogRecord[] {
  // One call for all of them: most records are so small that each call would cost more than its record.
  const stored = JSON.parse(`[${lines.replaceAll('\n', ',')}]`) as StoredRecord[]
  return stored.map((record, index) => toRecord(space, first + index, record))
}

export function decodeRecord(space: string, revision: number, text: string): LogRecord {
  return toRecord(space, revision, JSON.parse(text) as StoredRecord)
}

function toRecord(
  space: string,
  revision: number,
  { e: epoch, a: at, o: ops, t: tx, c, s, x }: StoredRecord,
): LogRecord {
  for (const op of ops) if (typeof op.value === 'object') freeze(op.value)
  const commit: Commit = { space, epoch, prev: revision - 1, revision, ops, at }
  if (c !== undefined) commit.clientId = c
  if (s !== undefined) commit.seq = s
  return x ? { commit, tx, clear: true } : { commit, tx }
}
