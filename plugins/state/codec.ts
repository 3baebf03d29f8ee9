import type { Json, Op } from '../../openapi/schemas/state.ts'
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
  let text = ''
  for (const op of ops) {
    const written = writes.get(op.key)
    const known = op.op === 'set' && op.ttl === undefined && written !== undefined && written.value === op.value
    const encoded = known ? `{"op":"set","key":${JSON.stringify(op.key)},"value":${written.json}}` : JSON.stringify(op)
    text = text === '' ? encoded : `${text},${encoded}`
  }
  text = `{"e":"${epoch}","a":${at},"o":[${text}],"t":${JSON.stringify(tx)}`
  if (clientId !== undefined) text += `,"c":${JSON.stringify(clientId)}`
  if (seq !== undefined) text += `,"s":${seq}`
  return clear ? `${text},"x":1}` : `${text}}`
}

/** The records of a batch as lines; no record holds a line break. */
export function encodeRecords({ records, writes }: Pick<Batch, 'records' | 'writes'>): string {
  return records.map((record) => encodeRecord(record, writes)).join('\n')
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

function toRecord(space: string, revision: number, stored: StoredRecord): LogRecord {
  for (const op of stored.o) if (op.value !== undefined) freeze(op.value)
  return {
    commit: {
      space,
      epoch: stored.e,
      prev: revision - 1,
      revision,
      ops: stored.o,
      ...(stored.c === undefined ? {} : { clientId: stored.c }),
      ...(stored.s === undefined ? {} : { seq: stored.s }),
      at: stored.a,
    },
    tx: stored.t,
    ...(stored.x ? { clear: true } : {}),
  }
}
