import { randomFillSync } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock, Timer } from '../../support/clock.ts'
import { StorageFullError } from '../../support/errors.ts'

/** Beside the data file: gives its room away and takes it back. */
export const RESERVE_FILE = 'reserve'
/** Room for some hundred pages: a deletion copies about ten, and frees as many. */
const SIZE = 2 * 1024 * 1024
const PIECE = 64 * 1024
/** Milliseconds until a reserve that is not whole is filled again. */
const REFILL = 60_000
/** Deletions that may wait for it. */
const MAX_WAITING = 10_000

/**
 * Room on the disk that is taken while there is enough, and given back when somebody wants to delete something and
 * there is none. Deleting makes free pages in the data file, which are used before it grows again, so a little goes a
 * long way.
 */
export class Reserve {
  readonly #path: string
  readonly #clock: Clock
  #timer: Timer | undefined
  #closed = false
  #waiting = 0
  #size = 0
  #turn: Promise<unknown>

  constructor(directory: string, clock: Clock) {
    this.#path = join(directory, RESERVE_FILE)
    this.#clock = clock
    this.#turn = this.#fill()
  }

  /** Whether somebody has it. */
  get lent(): boolean {
    return this.#waiting > 0
  }

  /**
   * Runs it with the reserve's room on the disk; one at a time, as several together may need more than there is.
   * @throws STATEFUL_STORAGE_FULL when too many wait already, and what `run` throws
   */
  lend<T>(run: () => Promise<T>): Promise<T> {
    if (this.#waiting >= MAX_WAITING) return Promise.reject(new StorageFullError('a write'))
    this.#waiting++
    const result = this.#turn.then(async () => {
      try {
        await this.#release()
        return await run()
      } finally {
        if (--this.#waiting === 0) await this.#fill()
      }
    })
    this.#turn = result.catch(ignore)
    return result
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#turn
    this.#timer?.cancel()
  }

  async #release(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    if (this.#size === 0) return
    this.#size = 0
    await this.#open(async (file) => {
      await file.truncate(0)
      // Some file systems give blocks free no earlier.
      await file.sync()
    })
  }

  /** As far as there is room. */
  async #fill(): Promise<void> {
    await this.#open(async (file) => {
      this.#size = (await file.stat()).size
      // A file system that compresses would keep nothing free for zeros.
      const piece = Buffer.allocUnsafe(PIECE)
      while (this.#size < SIZE) {
        randomFillSync(piece)
        const { bytesWritten } = await file.write(piece, 0, Math.min(PIECE, SIZE - this.#size), this.#size)
        this.#size += bytesWritten
      }
    })
    if (this.#size >= SIZE || this.#closed) return
    this.#timer = this.#clock.after(REFILL, () => {
      this.#turn = this.#turn.then(() => (this.lent ? undefined : this.#fill()))
    })
  }

  /** Never rejects: without a reserve a full disk refuses deletions, which is no reason to refuse anything else. */
  async #open(use: (file: FileHandle) => Promise<void>): Promise<void> {
    try {
      const file = await open(this.#path, constants.O_RDWR | constants.O_CREAT, 0o600)
      await use(file).finally(() => file.close())
    } catch {
      // No room, or not even for the file's entry.
    }
  }
}

const ignore = () => {}
