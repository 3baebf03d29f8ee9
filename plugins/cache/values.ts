/**
 * Freezes plain objects and arrays in depth; what has inner state (Map, Buffer, class instances) is left alone. It does
 * not call itself: a loader may return a value of any depth.
 */
export function deepFreeze(value: unknown): void {
  const open = [value]
  for (let next = open.pop(); open.length > 0 || next !== undefined; next = open.pop()) {
    if (typeof next !== 'object' || next === null || Object.isFrozen(next)) continue
    const prototype: unknown = Object.getPrototypeOf(next)
    if (!Array.isArray(next) && prototype !== Object.prototype && prototype !== null) continue
    Object.freeze(next)
    for (const inner of Object.values(next)) open.push(inner)
  }
}
