import { statfsSync } from 'node:fs'
import type { Clock } from '../../support/clock.ts'

/** Bytes that have to stay free beside the size of a commit: for the pages that LMDB copies on the way to it. */
const MARGIN = 4 * 1024 * 1024
/** Bytes on the disk for one of content: pages may be half full. */
const OVERHEAD = 2
/** Milliseconds that a look is good for; other processes do not fill a disk by megabytes so soon. */
const GOOD_FOR = 20

/**
 * Whether the disk has room for a commit. One that finds none may do worse than fail: the native code has been seen to
 * spoil its heap then, which ends the process. So none begins where it may come to that.
 */
export class Room {
  readonly #directory: string
  readonly #clock: Clock
  #lookAgainAt = Number.NEGATIVE_INFINITY
  #free = 0

  constructor(directory: string, clock: Clock) {
    this.#directory = directory
    this.#clock = clock
  }

  /**
   * Whether a commit of so many bytes may begin, which then has its room. Looks at once, without waiting: a system call
   * of microseconds, at most every 20 ms.
   */
  take(bytes: number): boolean {
    const now = this.#clock.monotonic()
    if (now >= this.#lookAgainAt) {
      this.#lookAgainAt = now + GOOD_FOR
      this.#free = this.#look()
    }
    const needed = OVERHEAD * bytes
    if (this.#free - needed < MARGIN) return false
    // Those of one turn are not on the disk yet when the next one asks.
    this.#free -= needed
    return true
  }

  /** Bytes; where it cannot be told, the commit itself tells. */
  #look(): number {
    try {
      const { bavail, bsize } = statfsSync(this.#directory)
      return bavail * bsize
    } catch {
      return Number.POSITIVE_INFINITY
    }
  }
}
