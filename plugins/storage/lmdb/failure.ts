import { StorageFullError } from '../../support/errors.ts'
import { isMistake, storageFailure } from '../failure.ts'

/**
 * Codes of a commit that found no room: a write that was cut short (LMDB calls that EIO), file too large, no space, quota
 * on macOS and Linux, and LMDB's own full map.
 */
const NO_ROOM: ReadonlySet<unknown> = new Set<unknown>([5, 27, 28, 69, 122, -30792])

/** What LMDB has thrown, as it leaves this room: none of its own, and its `cause`. */
export function lmdbFailure(cause: unknown): Error {
  if (isMistake(cause)) return cause
  const { code } = cause as { code?: unknown }
  return NO_ROOM.has(code) ? new StorageFullError('a write', { cause }) : storageFailure(cause, 'a transaction')
}
