import type { Json, Op } from '../../../openapi/schemas/state.ts'

/**
 * What an operation makes of a value. Pure, and free of Node imports: the same code runs in every store's writer,
 * in every replica and in the browser client, so all of them arrive at the same bytes.
 */

/** The error of an operation that does not fit the value that is there. */
export type Misfit = (op: Op, expected: string) => unknown

/**
 * @param current the key's value; `undefined` when there is none
 * @returns the new value; `undefined` when the key is gone. Never changes `current`.
 * @throws what `misfit` makes of it
 */
export function reduce(current: Json | undefined, op: Op, misfit: Misfit): Json | undefined {
  switch (op.op) {
    case 'set':
      return given(op, misfit)
    case 'delete':
      return undefined
    case 'merge':
      return merge(current, op, misfit)
    case 'increment':
      return increment(current, op, misfit)
    case 'append':
      return [...list(current, op, misfit), given(op, misfit)]
    case 'setAdd': {
      const value = given(op, misfit)
      const members = list(current, op, misfit)
      return members.some((member) => sameJson(member, value)) ? members : [...members, value]
    }
    case 'setRemove': {
      // A set that was never there stays absent: removing from it must not create it.
      if (current === undefined) return undefined
      const value = given(op, misfit)
      const members = list(current, op, misfit)
      return members.some((member) => sameJson(member, value))
        ? members.filter((member) => !sameJson(member, value))
        : members
    }
    default:
      throw misfit(op, 'a known operation')
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

function given(op: Op, misfit: Misfit): Json {
  if (op.value === undefined) throw misfit(op, 'a value')
  return op.value
}

function merge(current: Json | undefined, op: Op, misfit: Misfit): Json {
  const patch = op.value
  if (!isFields(patch)) throw misfit(op, 'an object as its value')
  if (current !== undefined && !isFields(current)) throw misfit(op, 'an object to merge into')
  // Own fields stay own ones, also that of the name `__proto__`.
  return { ...current, ...patch }
}

function increment(current: Json | undefined, op: Op, misfit: Misfit): Json {
  const by = op.value === undefined ? 1 : op.value
  if (typeof by !== 'number') throw misfit(op, 'a number as its value')
  const from = current === undefined ? 0 : current
  if (typeof from !== 'number') throw misfit(op, 'a number to increment')
  const sum = from + by
  // JSON has no Infinity; beyond 2^53 numbers are not what they were counted as, or do not move at all.
  const whole = Number.isSafeInteger(from) && Number.isInteger(by)
  if (!Number.isFinite(sum) || (whole && !Number.isSafeInteger(sum)) || (by !== 0 && sum === from)) {
    throw misfit(op, 'a result that a number can hold exactly, up to 2^53 - 1')
  }
  return sum
}

function list(current: Json | undefined, op: Op, misfit: Misfit): readonly Json[] {
  if (current === undefined) return []
  if (!isList(current)) throw misfit(op, 'a list')
  return current
}
