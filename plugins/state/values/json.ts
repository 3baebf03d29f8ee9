import type { Json } from '../../../openapi/schemas/state.ts'
import { InvalidStateKeyError, InvalidStateValueError } from '../../support/errors.ts'
import { keyFault } from '../../support/keys.ts'
import { setField } from './reducer.ts'

/** Deeper values overflow recursive readers, JSON.stringify among them. */
const MAX_DEPTH = 64

// biome-ignore-start lint/suspicious/noControlCharactersInRegex: finding them is the point
const CONTROL = /[\u0000-\u001f\u007f]/
// biome-ignore-end lint/suspicious/noControlCharactersInRegex: as above
/** @throws STATEFUL_STATE_INVALID_KEY */
export function checkKey(key: unknown): asserts key is string {
  const fault = keyFault(key)
  if (fault !== undefined) throw new InvalidStateKeyError(fault)
  // LMDB and the line protocols of logs treat them specially.
  if (CONTROL.test(key as string)) throw new InvalidStateKeyError('holds control characters')
}

/**
 * A frozen copy: the replica hands out its values without copying, so nobody may change them afterwards.
 * `undefined` fields are left out, as JSON does; what JSON would silently change (NaN, Date, Map, …) is refused.
 *
 * @throws STATEFUL_STATE_INVALID_VALUE
 */
export function frozenJson(value: unknown, key: string, depth = 0): Json {
  if (value === null || typeof value === 'boolean') return value
  if (typeof value === 'string') {
    if (!value.isWellFormed()) throw new InvalidStateValueError(key, 'holds half a surrogate pair')
    return value
  }
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new InvalidStateValueError(key, `holds ${value}`)
    // JSON has no negative zero: replicas that read the log would differ from the writer.
    return value === 0 ? 0 : value
  }
  if (typeof value !== 'object') throw new InvalidStateValueError(key, `holds a ${typeof value}`)
  if (depth >= MAX_DEPTH) throw new InvalidStateValueError(key, `is deeper than ${MAX_DEPTH} levels or circular`)
  if (Array.isArray(value)) return Object.freeze(Array.from(value, (item) => frozenJson(item, key, depth + 1)))
  if (!isPlainObject(value)) {
    throw new InvalidStateValueError(key, `holds a ${value.constructor?.name ?? 'class instance'}`)
  }
  const copy: { [name: string]: Json } = {}
  for (const [name, field] of Object.entries(value)) {
    if (field !== undefined) setField(copy, name, frozenJson(field, key, depth + 1))
  }
  return Object.freeze(copy)
}

/** Also one of another realm, or without a prototype; no array, and nothing that has a class. */
export function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const prototype = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}
