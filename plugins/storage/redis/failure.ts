import { isMistake, storageFailure } from '../failure.ts'
import { withoutArguments } from './connection.ts'

/**
 * Whether Redis has refused what a key holds: it has another type, or fields of another form, than what is written
 * there. Redis would say the same again. Such an error reaches the store as it is, which alone knows what that means.
 */
export function isUnreadable(error: unknown): error is Error {
  return error instanceof Error && /^WRONGTYPE|^ERR .*@user_script/s.test(error.message)
}

/** A rejection of the driver as it leaves this room: none of its own, but for what is told above, and its `cause`. */
export function redisFailure(cause: unknown): Error {
  withoutArguments(cause)
  return isMistake(cause) || isUnreadable(cause) ? cause : storageFailure(cause, 'a command')
}

/** For the `catch` of a command. */
export function refuse(cause: unknown): never {
  throw redisFailure(cause)
}
