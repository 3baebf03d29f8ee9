import { InvalidCacheKeyError } from '../support/errors.ts'

/** Longest key, tag or pattern, in bytes of UTF-8. */
export const MAX_KEY_BYTES = 512
/** A surrogate without its other half: in UTF-8 all of them look the same, so two keys would become one. */
const LONE_SURROGATE = /[\ud800-\udfff]/u

/** What is wrong with a key, if anything is. */
export function keyFault(key: string): string | undefined {
  if (typeof key !== 'string') return `is of type ${typeof key}`
  if (key.length === 0) return 'is empty'
  // Cheap tests first: a UTF-16 unit takes at most three bytes.
  if (key.length * 3 > MAX_KEY_BYTES && Buffer.byteLength(key) > MAX_KEY_BYTES) {
    return `has ${Buffer.byteLength(key)} bytes`
  }
  return LONE_SURROGATE.test(key) ? 'is not well-formed' : undefined
}

/** @throws STATEFUL_INVALID_CACHE_KEY */
export function checkKey(key: string, what = 'key'): void {
  const fault = keyFault(key)
  if (fault !== undefined) throw new InvalidCacheKeyError(what, fault)
}

/** @throws STATEFUL_INVALID_CACHE_KEY */
export function checkTags(tags: readonly string[]): void {
  if (!Array.isArray(tags)) throw new InvalidCacheKeyError('tags', 'are not an array')
  for (const tag of tags) checkKey(tag, 'tag')
}

/** @throws STATEFUL_INVALID_CACHE_KEY */
export function checkNamespace(name: string): void {
  if (typeof name !== 'string' || !/^[\w.-]{1,64}$/.test(name)) {
    throw new InvalidCacheKeyError('namespace', `is ${JSON.stringify(name)?.slice(0, 80)}`)
  }
}

/** Names of stamps: what they stand for, in one space. `''` is the generation of the namespace. */
export const GENERATION = ''
export const tagName = (tag: string): string => `t:${tag}`
export const prefixName = (prefix: string): string => `p:${prefix}`
