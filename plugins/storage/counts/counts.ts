import { createHash } from 'node:crypto'
import { MAX_DURATION } from '../../support/numbers.ts'

export interface Count {
  /** 0 when there is none, or its window is over. */
  count: number
  /** Milliseconds until it is forgotten. */
  left: number
}

/** What happens to the window of a count that goes beyond `most`. */
export interface Beyond {
  most: number
  /** `'renew'`: it begins again with each. `'double'`: likewise, and each time it is twice as long. */
  window: 'renew' | 'double'
}

/**
 * Counts in fixed windows: a window begins with the first that is counted, and at its end the count is forgotten. Each
 * addition is one step, so that none is lost however many come at once. Instances on one Redis count together. On
 * memory and LMDB, which one process has, counts are in memory, bounded, and forgotten by a restart: a commit for each
 * request would be too much for what is so soon gone.
 */
export interface Counts {
  /**
   * One more, and how many there are now.
   * @param window milliseconds
   * @throws STATEFUL_STORAGE_UNAVAILABLE, STATEFUL_STORAGE_FULL
   */
  add(key: string, window: number, beyond?: Beyond): Promise<Count>
  /** Changes nothing. @throws STATEFUL_STORAGE_UNAVAILABLE */
  read(key: string): Promise<Count>
}

/** Long enough for an address and a route; what is longer takes no more room than this. */
const LONGEST_KEY = 200

/** Of bounded length, however long the text of a client is. */
export function countKey(key: string): string {
  return key.length <= LONGEST_KEY && key.isWellFormed()
    ? key
    : `#${createHash('sha256').update(key, 'utf16le').digest('base64url')}`
}

/** The window of the `count`th, or `undefined` when that which runs goes on. */
export function windowOf(count: number, window: number, beyond: Beyond | undefined): number | undefined {
  if (count === 1) return window
  if (beyond === undefined || count <= beyond.most) return undefined
  return beyond.window === 'renew' ? window : Math.min(window * 2 ** (count - beyond.most - 1), MAX_DURATION)
}
