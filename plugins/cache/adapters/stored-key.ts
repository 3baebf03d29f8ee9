import { createHash } from 'node:crypto'
import { keyFault } from '../../support/keys.ts'

/**
 * Any text as a key of the cache. What the cache does not take (empty, longer than 512 bytes, not well-formed) lies
 * under its hash.
 * @param start what its name begins with nevertheless, so that it is found by it
 */
export function storedKey(key: string, start = ''): string {
  if (keyFault(key) === undefined) return key
  return `${start}#${createHash('sha256').update(key, 'utf16le').digest('base64url')}`
}
