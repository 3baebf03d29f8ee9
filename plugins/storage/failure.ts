import { StorageFullError, StorageUnavailableError } from '../support/errors.ts'
import { StatefulError } from '../support/stateful-error.ts'

/**
 * The rejection of a driver, or of a store that an application has brought along, as an error that callers know:
 * STATEFUL_STORAGE_FULL, STATEFUL_STORAGE_UNAVAILABLE, or one of ours as it is. What the driver said stays in `cause`:
 * a host's own error handler may send the message to a client.
 * @param doing what is full, or did not answer
 */
export function storageFailure(cause: unknown, doing: string): Error {
  if (cause instanceof StatefulError) return cause
  // Redis refuses a command, or a whole script, before it has changed anything.
  const full = cause instanceof Error && cause.message.startsWith('OOM')
  return full ? new StorageFullError(doing, { cause }) : new StorageUnavailableError(doing, { cause })
}

/** Replies of a Redis that cannot serve anybody for the moment. */
const UNABLE = /^(LOADING|MASTERDOWN|CLUSTERDOWN|READONLY|NOREPLICAS|TRYAGAIN|NOAUTH|WRONGPASS|BUSY|UNKILLABLE)\b/

/**
 * Whether the storage has answered, and will not do just this: it is full, its user lacks a right, the value is not one
 * that it takes. It must not count as a failure of a storage that is away.
 */
export function isRefusal(error: unknown): boolean {
  if (error instanceof StorageFullError || isMistake(error)) return true
  const reply = error instanceof StorageUnavailableError ? error.cause : error
  return reply instanceof Error && reply.name === 'ReplyError' && !UNABLE.test(reply.message)
}

/** Whether the program is wrong, and not the storage away: with our own drivers such an error is told as it is. */
export function isMistake(error: unknown): error is Error {
  return error instanceof TypeError || error instanceof RangeError
}
