import { StorageCorruptError, StorageFullError, StorageUnavailableError } from '../support/errors.ts'

/** Whether a storage has refused a write for want of room. Nothing of it was written then, and the storage is not away. */
export function isFull(error: unknown): boolean {
  if (error instanceof StorageFullError) return true
  // Redis refuses a command, or a whole script, before it has changed anything.
  return error instanceof Error && error.message.startsWith('OOM')
}

/**
 * The failure of a storage as an error that callers know: STATEFUL_STORAGE_FULL, STATEFUL_STORAGE_UNAVAILABLE, or what
 * the storage itself has told by such a code. What the driver said stays in `cause`: a host's own error handler may
 * send the message to a client.
 * @param doing what of the application wanted it
 */
export function storageFailure(cause: unknown, doing: string): Error {
  if (cause instanceof StorageUnavailableError || cause instanceof StorageCorruptError) return cause
  if (cause instanceof StorageFullError) return cause
  return isFull(cause) ? new StorageFullError(doing, { cause }) : new StorageUnavailableError(doing, { cause })
}
