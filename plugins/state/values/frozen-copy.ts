import type { Json } from '../../../openapi/schemas/state.ts'
import { keyFault } from '../../support/keys.ts'
import { setField } from './reducer.ts'

/**
 * What may be a key and a value of state. Free of Node imports: the client refuses at the call what the server would
 * refuse later, by the same rule.
 */

/** What is wrong, to follow the name of the key. */
export class ValueFault extends Error {}

/** Deeper values overflow recursive readers, JSON.stringify among them. */
const MAX_DEPTH = 64

// biome-ignore-start lint/suspicious/noControlCharactersInRegex: finding them is the point
const CONTROL = /[\u0000-\u001f\u007f]/
// biome-ignore-end lint/suspicious/noControlCharactersInRegex: as above

/** What is wrong with a key of state, to follow "it"; `undefined` when nothing is. */
export function stateKeyFault(key: unknown): string | undefined {
  // LMDB and the line protocols of logs treat control characters specially.
  return keyFault(key) ?? (CONTROL.test(key as string) ? 'holds control characters' : undefined)
}

/**
 * A frozen copy: the replica hands out its values without copying, so callers must not be able to change them.
 * `undefined` fields are left out, as JSON does; what JSON would silently change (NaN, Date, Map, …) is refused.
 *
 * @param depth levels that the value lies below what a key holds
 * @throws ValueFault
 */
export function frozenCopy(value: unknown, depth = 0): Json {
  if (value === null || typeof value === 'boolean') return value
  if (typeof value === 'string') {
    if (!value.isWellFormed()) throw new ValueFault('holds half a surrogate pair')
    return value
  }
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new ValueFault(`holds ${value}`)
    // JSON has no negative zero: replicas that read the log would differ from the writer.
    return value === 0 ? 0 : value
  }
  if (typeof value !== 'object') throw new ValueFault(`holds a ${typeof value}`)
  if (depth >= MAX_DEPTH) throw new ValueFault(`is deeper than ${MAX_DEPTH} levels or circular`)
  if (Array.isArray(value)) return Object.freeze(Array.from(value, (item) => frozenCopy(item, depth + 1)))
  if (!isPlainObject(value)) throw new ValueFault(`holds a ${value.constructor?.name ?? 'class instance'}`)
  const copy: { [name: string]: Json } = {}
  for (const [name, field] of Object.entries(value)) {
    if (field !== undefined) setField(copy, name, frozenCopy(field, depth + 1))
  }
  return Object.freeze(copy)
}

/** Also one of another realm, or without a prototype; no array, and nothing that has a class. */
export function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const prototype = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}
