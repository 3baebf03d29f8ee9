import { randomBytes } from 'node:crypto'
import { Packr } from 'msgpackr'
import { InvalidCacheValueError } from '../support/errors.ts'
import type { Stamp } from './stores/tier.ts'

/**
 * How an entry looks in the second level: 16 characters of version, two flags, then MessagePack.
 * Version and flags stand in front, at fixed places, for the store's scripts: they compare the one and set the others
 * without decoding anything.
 */
export interface CacheRecord {
  /** Unique for each write. */
  version: string
  /** Marked by `expire`: may only be served as stale. */
  expired: boolean
  /** On the store's clock: fresh until, and never served after. */
  freshUntil: number
  deadAt: number
  /** Milliseconds that its load took. */
  cost: number
  stamps: readonly Stamp[]
  value: unknown
  /** Length of the data. */
  bytes: number
}

export const VERSION_LENGTH = 16
const FRESH = 0x66 // f
export const EXPIRED = 0x78 // x

/** What stands behind the flag: how the body is encoded. */
const PLAIN = 0x70 // p
const RICH = 0x72 // r
const HEADER = VERSION_LENGTH + 2

/** Twice as fast to read, but it cannot tell a Map from an object. */
const plain = new Packr({ useRecords: false, copyBuffers: true })
/** Records keep Map, Set, Date, Error, typed arrays and bigints what they are, in a stand-alone encoding. */
const packr = new Packr({ moreTypes: true, useRecords: true, copyBuffers: true })

/** Unique; made from random bytes, so two processes never share one. */
export const unique = (): string => randomBytes(12).toString('base64url')

/** @throws STATEFUL_INVALID_CACHE_VALUE when the value cannot be encoded */
export function encode(record: Omit<CacheRecord, 'version' | 'expired' | 'bytes'>): Buffer {
  checkValue(record.value)
  const stamps = record.stamps.flat()
  const body = [record.freshUntil, record.deadAt, record.cost, stamps, record.value]
  const simple = isPlain(record.value, 0)
  const packed = simple ? plain.pack(body) : pack(body)
  const data = Buffer.allocUnsafe(HEADER + packed.length)
  data.write(unique(), 0, 'latin1')
  data[VERSION_LENGTH] = FRESH
  data[VERSION_LENGTH + 1] = simple ? PLAIN : RICH
  packed.copy(data, HEADER)
  return data
}

/** `undefined` for data that is not ours or not whole: a miss, like everything that cannot be trusted. */
export function decode(data: Uint8Array): CacheRecord | undefined {
  if (data.length <= HEADER) return undefined
  try {
    const body: unknown = (data[VERSION_LENGTH + 1] === PLAIN ? plain : packr).unpack(data.subarray(HEADER))
    if (!Array.isArray(body) || body.length !== 5) return undefined
    const [freshUntil, deadAt, cost, flat, value] = body as [number, number, number, string[], unknown]
    const stamps: Stamp[] = []
    for (let i = 0; i + 1 < flat.length; i += 2) stamps.push([flat[i] as string, flat[i + 1] as string])
    return {
      version: versionOf(data),
      expired: data[VERSION_LENGTH] === EXPIRED,
      freshUntil,
      deadAt,
      cost,
      stamps,
      value,
      bytes: data.length,
    }
  } catch {
    return undefined
  }
}

/** A value alone, as write-behind keeps it. @throws STATEFUL_INVALID_CACHE_VALUE */
export function encodeValue(value: unknown): Buffer {
  checkValue(value)
  return pack(value)
}

/** @throws STATEFUL_INVALID_CACHE_VALUE for what cannot be told from a miss, or would come back as something else */
export function checkValue(value: unknown): void {
  if (value === undefined) throw new InvalidCacheValueError('is undefined, which stands for a miss: use null')
  if (typeof value === 'function' || typeof value === 'symbol') {
    throw new InvalidCacheValueError(`is a ${typeof value}, which cannot be encoded`)
  }
}

export function decodeValue(data: Uint8Array): unknown {
  return packr.unpack(data)
}

/** Nothing but what JSON knows; deeper than a record usually is counts as rich, so that this ends. */
function isPlain(value: unknown, depth: number): boolean {
  if (typeof value !== 'object')
    return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
  if (value === null) return true
  if (depth > 16) return false
  if (Array.isArray(value)) return value.every((inner) => isPlain(inner, depth + 1))
  if (Object.getPrototypeOf(value) !== Object.prototype) return false
  for (const key in value) if (!isPlain((value as Record<string, unknown>)[key], depth + 1)) return false
  return true
}

function pack(body: unknown): Buffer {
  try {
    return packr.pack(body)
  } catch (cause) {
    throw new InvalidCacheValueError(`cannot be encoded (${(cause as Error).message})`, { cause })
  }
}

export function versionOf(data: Uint8Array): string {
  return Buffer.from(data.buffer, data.byteOffset, VERSION_LENGTH).toString('latin1')
}
