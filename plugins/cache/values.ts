/** Freezes plain objects and arrays in depth; what has inner state (Map, Buffer, class instances) is left alone. */
export function deepFreeze(value: unknown): void {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return
  const prototype: unknown = Object.getPrototypeOf(value)
  if (!Array.isArray(value) && prototype !== Object.prototype && prototype !== null) return
  Object.freeze(value)
  for (const inner of Object.values(value)) deepFreeze(inner)
}
