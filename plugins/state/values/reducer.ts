import type { Json, Op } from '../../../openapi/schemas/state.ts'
import { StatefulError } from '../../support/stateful-error.ts'

/**
 * What an operation makes of a value. Pure, and free of Node imports: the same code runs in every store's writer,
 * in every replica and in the browser client, so all of them arrive at the same bytes.
 */

/** The operation does not fit the value that is there; nothing was changed. Code STATEFUL_STATE_TYPE_MISMATCH, 422. */
export class TypeMismatchError extends StatefulError {
  readonly code = 'STATEFUL_STATE_TYPE_MISMATCH'
  readonly statusCode = 422

  constructor(op: Op, expected: string) {
    super(`'${op.op}' of key '${op.key}' needs ${expected}.`)
    this.name = 'TypeMismatchError'
  }
}

/**
 * @param current the key's value; `undefined` when there is none
 * @returns the new value; `undefined` when the key is gone. Never changes `current`.
 * @throws TypeMismatchError
 */
export function applyOp(current: Json | undefined, op: Op): Json | undefined {
  switch (op.op) {
    case 'set':
      return given(op)
    case 'delete':
      return undefined
    case 'merge':
      return merge(current, op)
    case 'increment':
      return increment(current, op)
    case 'append':
      return [...list(current, op), given(op)]
    case 'setAdd': {
      const value = given(op)
      const members = list(current, op)
      return members.some((member) => sameJson(member, value)) ? members : [...members, value]
    }
    case 'setRemove': {
      // A set that was never there stays absent: removing from it must not create it.
      if (current === undefined) return undefined
      const value = given(op)
      const members = list(current, op)
      return members.some((member) => sameJson(member, value))
        ? members.filter((member) => !sameJson(member, value))
        : members
    }
    default:
      throw new TypeMismatchError(op, 'a known operation')
  }
}

/** Whether two values are the same JSON; the order of an object's fields does not matter. */
export function sameJson(a: Json | undefined, b: Json | undefined): boolean {
  if (a === b) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (isList(a) || isList(b)) {
    return isList(a) && isList(b) && a.length === b.length && a.every((item, index) => sameJson(item, b[index]))
  }
  const names = Object.keys(a)
  return (
    names.length === Object.keys(b).length &&
    names.every((name) => Object.hasOwn(b, name) && sameJson(a[name], b[name]))
  )
}

/** Array.isArray does not narrow readonly arrays. */
export const isList = (value: Json | undefined): value is readonly Json[] => Array.isArray(value)

export const isFields = (value: Json | undefined): value is { readonly [name: string]: Json } =>
  typeof value === 'object' && value !== null && !isList(value)

/** Sets an own field, also when it is called `__proto__`, which plain assignment would take for the prototype. */
export function setField(target: { [name: string]: Json }, name: string, value: Json): void {
  if (name !== '__proto__') target[name] = value
  else Object.defineProperty(target, name, { value, enumerable: true, configurable: true, writable: true })
}

function given(op: Op): Json {
  if (op.value === undefined) throw new TypeMismatchError(op, 'a value')
  return op.value
}

function merge(current: Json | undefined, op: Op): Json {
  const patch = op.value
  if (!isFields(patch)) throw new TypeMismatchError(op, 'an object as its value')
  if (current !== undefined && !isFields(current)) throw new TypeMismatchError(op, 'an object to merge into')
  const merged: { [name: string]: Json } = {}
  for (const fields of [current ?? {}, patch]) {
    for (const [name, value] of Object.entries(fields)) setField(merged, name, value)
  }
  return merged
}

function increment(current: Json | undefined, op: Op): Json {
  const by = op.value === undefined ? 1 : op.value
  if (typeof by !== 'number') throw new TypeMismatchError(op, 'a number as its value')
  const from = current === undefined ? 0 : current
  if (typeof from !== 'number') throw new TypeMismatchError(op, 'a number to increment')
  const sum = from + by
  // JSON has no Infinity; a counter that overflows would silently become null.
  if (!Number.isFinite(sum)) throw new TypeMismatchError(op, 'a finite result')
  // Beyond 2^53 numbers are not what they were counted as, or do not move at all.
  const whole = Number.isSafeInteger(from) && Number.isInteger(by)
  if ((whole && !Number.isSafeInteger(sum)) || (by !== 0 && sum === from)) {
    throw new TypeMismatchError(op, 'a result that a number can hold exactly, up to 2^53 - 1')
  }
  return sum
}

function list(current: Json | undefined, op: Op): readonly Json[] {
  if (current === undefined) return []
  if (!isList(current)) throw new TypeMismatchError(op, 'a list')
  return current
}
