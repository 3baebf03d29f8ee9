/**
 * Freezes plain objects and lists in depth; what has inner state (Map, Buffer, class instances) is left alone. It does
 * not call itself: a value may be of any depth. What is frozen already is taken to be so in depth.
 * @returns the value
 */
export function deepFreeze<Value>(value: Value): Value {
  if (!isOpen(value)) return value
  const open: object[] = [value]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    Object.freeze(next)
    for (const inner of Object.values(next)) if (isOpen(inner)) open.push(inner)
  }
  return value
}

function isOpen(value: unknown): value is object {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return false
  if (Array.isArray(value)) return true
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
