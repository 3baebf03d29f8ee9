import { statfsSync } from 'node:fs'

/** Bytes that have to be free for a commit to begin: more than the largest batch and what LMDB writes anew for it. */
const ENOUGH = 4 * 1024 * 1024
/** Milliseconds that a look is good for; nothing else fills a disk by megabytes so soon. */
const GOOD_FOR = 20

/**
 * Whether the disk has room for a commit. One that finds none may do worse than fail: the native code has been seen to
 * spoil its heap then, which ends the process. So none begins where it may come to that.
 */
export class Room {
  readonly #directory: string
  #until = 0
  #enough = true

  constructor(directory: string) {
    this.#directory = directory
  }

  /** Looks at once, without waiting: a system call of microseconds, at most every 20 ms. */
  get enough(): boolean {
    const now = performance.now()
    if (now < this.#until) return this.#enough
    this.#until = now + GOOD_FOR
    try {
      const { bavail, bsize } = statfsSync(this.#directory)
      this.#enough = bavail * bsize >= ENOUGH
    } catch {
      // Where it cannot be told, the commit itself tells.
      this.#enough = true
    }
    return this.#enough
  }
}
