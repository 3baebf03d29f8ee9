/** Longest key of any service, in bytes of UTF-8. Also fits LMDB's own keys, with the name of a space before it. */
export const MAX_KEY_BYTES = 512

/** The name of a space of the state: in the contract, on the server and in the client. */
export const SPACE_NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/

/** What is wrong with a key, to follow "it"; `undefined` when nothing is. */
export function keyFault(key: unknown): string | undefined {
  if (typeof key !== 'string') return `is of type ${typeof key}`
  if (key.length === 0) return 'is empty'
  // The cheap test first: a unit of UTF-16 takes at most three bytes.
  if (key.length * 3 > MAX_KEY_BYTES) {
    const bytes = new TextEncoder().encode(key).length
    if (bytes > MAX_KEY_BYTES) return `has ${bytes} bytes, more than ${MAX_KEY_BYTES}`
  }
  // Half a surrogate pair has no UTF-8 form: all of them look the same there, so two keys would become one.
  return key.isWellFormed() ? undefined : 'holds half a surrogate pair'
}
