import { InvalidCacheValueError } from '../support/errors.ts'

/** A copy that shares nothing with the value. @throws STATEFUL_INVALID_CACHE_VALUE when it holds what cannot be copied */
export function cloned<T>(value: T): T {
  try {
    return structuredClone(value)
  } catch (cause) {
    throw new InvalidCacheValueError(`cannot be copied (${(cause as Error).message})`, { cause })
  }
}

/**
 * MessagePack leaves out what it has no form for, so that the second level would have another value than the first.
 * @throws STATEFUL_INVALID_CACHE_VALUE for functions and symbols, however deep
 */
export function refuseFunctions(value: unknown): void {
  const seen = new Set<unknown>()
  const waiting: unknown[] = [value]
  while (waiting.length > 0) {
    const part = waiting.pop()
    if (typeof part === 'function' || typeof part === 'symbol') {
      throw new InvalidCacheValueError(`holds a ${typeof part}, which cannot be encoded`)
    }
    if (typeof part !== 'object' || part === null || ArrayBuffer.isView(part) || seen.has(part)) continue
    seen.add(part)
    // Not pushed all at once: a call takes only so many arguments.
    for (const inner of partsOf(part)) waiting.push(inner)
  }
}

function partsOf(whole: object): Iterable<unknown> {
  if (whole instanceof Map) return [...whole].flat()
  return whole instanceof Set ? whole : Object.values(whole)
}
