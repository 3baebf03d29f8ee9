import { InvalidCacheKeyError } from '../support/errors.ts'
import { keyFault } from '../support/keys.ts'

/** @throws STATEFUL_INVALID_CACHE_KEY */
export function checkKey(key: string, what = 'key'): void {
  const fault = keyFault(key)
  if (fault !== undefined) throw new InvalidCacheKeyError(what, fault)
}

/** The most tags of one entry: a store checks all of them in the step that stores it. */
export const MAX_TAGS = 1_000

/**
 * @param most how many there may be
 * @throws STATEFUL_INVALID_CACHE_KEY
 */
export function checkTags(tags: readonly string[], most = MAX_TAGS): void {
  if (!Array.isArray(tags)) throw new InvalidCacheKeyError('tags', 'are not an array')
  if (tags.length > most) throw new InvalidCacheKeyError('tags', `are ${tags.length}, more than ${most}`)
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
/** The tags among names of stamps. */
export const tagsIn = (names: readonly string[]): string[] =>
  names.flatMap((name) => (name.startsWith('t:') ? name.slice(2) : []))
export const prefixName = (prefix: string): string => `p:${prefix}`
