import { StorageFullError } from '../../support/errors.ts'
import { lmdbFailure } from './failure.ts'
import type { Reserve } from './reserve.ts'
import type { Room } from './room.ts'

/** Milliseconds that one transaction may take; a slow disk takes tens. */
export const COMMIT_DEADLINE = 3_000
const REASON_DEADLINE = 200

/** lmdb puts the cause into a promise of its own, whose rejection would be unhandled. */
interface CommitError extends Error {
  commitError?: Promise<never>
}

/**
 * How a store commits: with a failure that says whether there was no room, and, for what gives room back, also on a
 * full disk. LMDB writes a new copy of a page before it frees the old one, so a deletion needs room as any other write
 * does.
 */
export class Commits {
  readonly #reserve: Reserve
  readonly #room: Pick<Room, 'take'>
  /** Told how many milliseconds each transaction took, while somebody measures. */
  onTimed: ((ms: number) => void) | undefined

  constructor(reserve: Reserve, room: Pick<Room, 'take'>) {
    this.#reserve = reserve
    this.#room = room
  }

  /**
   * Resolves when the transaction is committed.
   * @param commit begins it
   * @param bytes of content; may be left out where it is little
   * @throws STATEFUL_STORAGE_FULL: nothing of it was written
   * @throws STATEFUL_STORAGE_UNAVAILABLE
   */
  write<T>(commit: () => Promise<T>, bytes = 0): Promise<T> {
    if (!this.#mayBegin(bytes)) return Promise.reject(new StorageFullError('a write'))
    return this.#timed(commit)
  }

  /**
   * To be called before what LMDB writes at once, without `write`: a new database, or the mending after a salvage.
   * @throws STATEFUL_STORAGE_FULL
   */
  demandRoom(): void {
    if (!this.#mayBegin(0)) throw new StorageFullError('a write')
  }

  /** What is lent is for those who give something back. */
  #mayBegin(bytes: number): boolean {
    return !this.#reserve.lent && this.#room.take(bytes)
  }

  /**
   * The same for deletions and for what is small, bounded and soon gone again, such as a tombstone: where there is no
   * room it is tried once more, with the reserve.
   * @param commit may be called twice
   */
  letGo<T>(commit: () => Promise<T>): Promise<T> {
    const withReserve = () => this.#reserve.lend(() => attempt(commit))
    if (!this.#room.take(0)) return withReserve()
    return this.#timed(commit).catch((error: unknown) => {
      if (!(error instanceof StorageFullError)) throw error
      return withReserve()
    })
  }

  #timed<T>(commit: () => Promise<T>): Promise<T> {
    const { onTimed } = this
    if (!onTimed) return attempt(commit)
    const started = performance.now()
    return attempt(commit).finally(() => onTimed(performance.now() - started))
  }
}

function attempt<T>(commit: () => Promise<T>): Promise<T> {
  return inTime(COMMIT_DEADLINE, commit()).catch(async (error: CommitError) => {
    throw await reasonOf(error)
  })
}

async function reasonOf(error: CommitError): Promise<Error> {
  const { commitError } = error
  return lmdbFailure(commitError ? await inTime(REASON_DEADLINE, commitError).catch((cause) => cause) : error)
}

/** After a failed write lmdb leaves some of its promises open for ever. */
export async function inTime<Result>(ms: number, promise: Promise<Result>): Promise<Result> {
  let timer: NodeJS.Timeout | undefined
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`the disk did not answer within ${ms} ms`)), ms)
  })
  try {
    return await Promise.race([promise, deadline])
  } finally {
    clearTimeout(timer)
  }
}
