import type { Op } from '../../../openapi/schemas/state.ts'
import { MAX_DURATION } from '../../support/numbers.ts'
import { frozenCopy, stateKeyFault } from './frozen-copy.ts'

/**
 * What an operation may be, whichever way it comes: on the server for every write, in the client at the call. Free of
 * Node imports.
 */

const KINDS: ReadonlySet<unknown> = new Set<Op['op']>([
  'set',
  'merge',
  'increment',
  'append',
  'setAdd',
  'setRemove',
  'delete',
])

/** The error for a fault of an operation, of its key or of its value. */
export type Invalid = (part: 'OPERATION' | 'KEY' | 'VALUE', fault: string, key: string, cause?: unknown) => unknown

/**
 * What may go into the log: a copy of the operation, with a frozen copy of its operand, which can be written as JSON
 * and read again. A field that the operation does not take is refused: the caller meant something by it.
 * @throws what `invalid` makes of the fault
 */
export function checkedOperation(given: Op, invalid: Invalid): Op {
  const { op, key, value, ttl } = given
  const fault = stateKeyFault(key)
  if (fault !== undefined) throw invalid('KEY', fault, key)
  const refuse = (what: string) => invalid('OPERATION', what, key)
  if (!KINDS.has(op)) throw refuse(`there is no operation '${String(op).slice(0, 32)}'`)
  for (const name in given) {
    const takes = name === 'op' || name === 'key' || (op !== 'delete' && (name === 'value' || name === 'ttl'))
    if (!takes && given[name as keyof Op] !== undefined) throw refuse(`'${op}' takes no '${name.slice(0, 32)}'`)
  }
  if (ttl !== undefined && !(Number.isSafeInteger(ttl) && ttl >= 1 && ttl <= MAX_DURATION)) {
    throw refuse(`the ttl of '${key}' is no number of milliseconds from 1 to a hundred years`)
  }
  // Field by field: spreading costs more than all the rest of a small write.
  if (op === 'delete') return { op, key }
  if (op === 'increment' && value === undefined) return ttl === undefined ? { op, key } : { op, key, ttl }
  try {
    // An element lies one level deeper than the list that it joins: what a key holds can always be restored.
    const copy = frozenCopy(value, op === 'append' || op === 'setAdd' ? 1 : 0)
    return ttl === undefined ? { op, key, value: copy } : { op, key, value: copy, ttl }
  } catch (error) {
    throw invalid('VALUE', (error as Error).message, key, error)
  }
}
