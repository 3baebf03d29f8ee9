/**
 * Levels of arrays and objects that JSON from outside may have. What checks, copies, compares and writes values calls
 * itself for each level; deep enough (some thousands), every one of them overflows the stack. Values of the state have a
 * bound of their own below this one.
 */
export const MAX_JSON_DEPTH = 100

/** Whether a parsed value has more levels than `max`. Without calling itself, so that it can tell. */
export function isTooDeep(value: unknown, max = MAX_JSON_DEPTH): boolean {
  if (!isNested(value)) return false
  // Level by level: a list of the containers of each.
  let level: object[] = [value]
  for (let depth = 1; level.length > 0; depth++) {
    if (depth > max) return true
    const next: object[] = []
    for (const container of level) {
      for (const inner of Array.isArray(container) ? container : Object.values(container)) {
        if (isNested(inner)) next.push(inner)
      }
    }
    level = next
  }
  return false
}

function isNested(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}
