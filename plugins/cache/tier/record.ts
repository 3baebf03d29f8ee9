import { InvalidCacheValueError } from '../../support/errors.ts'
import { randomText } from '../../support/random.ts'
import { checkValue, hiddenBytes, isJsonBody, readBody, writeBody } from '../values.ts'
import type { Stamp } from './contract.ts'

/**
 * How an entry looks in the second level: 16 characters of version, a flag, the kind of the body, three little-endian
 * doubles (`freshUntil`, `deadAt`, `cost`), the length of the stamps (32 bits), the stamps as ASCII JSON, the body.
 * Version and flag stand in front, at fixed places, for the store's scripts: they compare the one and set the other
 * without decoding anything.
 */
export interface CacheRecord {
  /** Marked by `expire`: may only be served as stale. */
  expired: boolean
  /** On the store's clock: fresh until, and never served after. */
  freshUntil: number
  deadAt: number
  /** Milliseconds that its load took. */
  cost: number
  /** The same array for all records that were made under the same stamps. */
  stamps: readonly Stamp[]
  value: unknown
  /** Length of the data. */
  bytes: number
}

export const VERSION_LENGTH = 16
const FRESH = 0x66 // f
export const EXPIRED = 0x78 // x

const KIND = VERSION_LENGTH + 1
const FRESH_UNTIL = KIND + 1
const DEAD_AT = FRESH_UNTIL + 8
const COST = DEAD_AT + 8
const STAMPS_LENGTH = COST + 8
const STAMPS = STAMPS_LENGTH + 4

/** Most entries share their stamps with many others, so reading them again is a look-up. */
const stampsOf = new Map<string, readonly Stamp[]>()
const MAX_KNOWN_STAMPS = 10_000

/** The most that one entry may take: everybody waits while it is on its way. */
const MAX_BYTES = 64 * 2 ** 20

const UNIQUE_BYTES = 12

/** Unique; made from random bytes, so two processes never share one. */
export const unique = (): string => randomText(UNIQUE_BYTES)

/** @throws STATEFUL_INVALID_CACHE_VALUE when the value cannot be encoded */
export function encode(record: Omit<CacheRecord, 'expired' | 'bytes'>): Buffer {
  checkValue(record.value)
  const stamps = ascii(JSON.stringify(record.stamps))
  const { kind, bytes: body } = writeBody(record.value)
  const length = STAMPS + stamps.length + body.length
  // A server that takes less than is sent ends the connection, and everything on it.
  if (length > MAX_BYTES) throw new InvalidCacheValueError(`has ${length} bytes encoded, more than ${MAX_BYTES}`)
  const data = Buffer.allocUnsafe(length)
  data.write(unique(), 0, 'latin1')
  data[VERSION_LENGTH] = FRESH
  data[KIND] = kind
  data.writeDoubleLE(record.freshUntil, FRESH_UNTIL)
  data.writeDoubleLE(record.deadAt, DEAD_AT)
  data.writeDoubleLE(record.cost, COST)
  data.writeUInt32LE(stamps.length, STAMPS_LENGTH)
  data.write(stamps, STAMPS, 'latin1')
  body.copy(data, STAMPS + stamps.length)
  return data
}

/** `undefined` for data that is not ours or not whole: a miss, like everything that cannot be trusted. */
export function decode(bytes: Uint8Array): CacheRecord | undefined {
  if (bytes.length <= STAMPS) return undefined
  const data = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  const length = data.readUInt32LE(STAMPS_LENGTH)
  if (STAMPS + length >= data.length) return undefined
  try {
    const kind = data[KIND] as number
    const body = STAMPS + length
    const freshUntil = data.readDoubleLE(FRESH_UNTIL)
    const deadAt = data.readDoubleLE(DEAD_AT)
    const cost = data.readDoubleLE(COST)
    // A time that is none is neither before nor after any other: the entry would be served for ever.
    if (!Number.isFinite(freshUntil + deadAt + cost)) return undefined
    return {
      expired: data[VERSION_LENGTH] === EXPIRED,
      freshUntil,
      deadAt,
      cost,
      stamps: readStamps(data, body),
      value: isJsonBody(kind)
        ? JSON.parse(data.toString('utf8', body, data.length))
        : readBody(kind, data.subarray(body)),
      bytes: data.length,
    }
  } catch {
    return undefined
  }
}

/** What the entry was made under; `undefined` for data that is not whole. */
export function stampsIn(bytes: Uint8Array): readonly Stamp[] | undefined {
  const data = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  if (data.length <= STAMPS) return undefined
  const body = STAMPS + data.readUInt32LE(STAMPS_LENGTH)
  try {
    return body < data.length ? readStamps(data, body) : undefined
  } catch {
    return undefined
  }
}

/** The same JSON with as many characters as bytes. */
const ascii = (json: string): string =>
  json.replace(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)

/** What was read last: most entries have the same as their neighbours, and comparing bytes costs less than a text. */
let latest: { bytes: Buffer; stamps: readonly Stamp[] } | undefined

/**
 * The stamps of an entry, which end where its body begins.
 * @throws for what are none
 */
function readStamps(data: Buffer, body: number): readonly Stamp[] {
  if (latest !== undefined && standsIn(data, body, latest.bytes)) return latest.stamps
  const text = data.toString('utf8', STAMPS, body)
  let stamps = stampsOf.get(text)
  if (stamps === undefined) {
    stamps = JSON.parse(text) as Stamp[]
    if (!(Array.isArray(stamps) && stamps.every(isStamp))) throw new TypeError('these are no stamps')
    if (stampsOf.size >= MAX_KNOWN_STAMPS) stampsOf.clear()
    stampsOf.set(text, stamps)
  }
  latest = { bytes: Buffer.from(data.subarray(STAMPS, body)), stamps }
  return stamps
}

function standsIn(data: Buffer, body: number, bytes: Buffer): boolean {
  if (bytes.length !== body - STAMPS) return false
  for (let i = 0; i < bytes.length; i++) if (data[STAMPS + i] !== bytes[i]) return false
  return true
}

const isStamp = (stamp: unknown): stamp is Stamp =>
  Array.isArray(stamp) && typeof stamp[0] === 'string' && typeof stamp[1] === 'string'

/** A value alone, as write-behind keeps it: its kind, and its body. @throws STATEFUL_INVALID_CACHE_VALUE */
export function encodeValue(value: unknown): Buffer {
  checkValue(value)
  const { kind, bytes } = writeBody(value)
  return Buffer.concat([Buffer.of(kind), bytes])
}

/** @throws for what is none */
export function decodeValue(data: Uint8Array): unknown {
  return readBody(data[0] as number, data.subarray(1))
}

/** What an entry takes in the first level, as far as can be told. */
export function bytesInMemory(data: Uint8Array, value: unknown): number {
  return data.length + (isJsonBody(data[KIND]) ? 0 : hiddenBytes(value))
}

export function versionOf(data: Uint8Array): string {
  return Buffer.from(data.buffer, data.byteOffset, VERSION_LENGTH).toString('latin1')
}
