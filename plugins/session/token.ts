import { createHash, randomBytes } from 'node:crypto'
import { randomText } from '../support/random.ts'

/**
 * A token is what the bearer shows: two hexadecimal digits (the bucket) and 256 random bits, or what an application's
 * generator made of them. The store only
 * ever sees its id: the bucket and the SHA-256 of the token, from which the token cannot be found. That makes
 * the id fit to be shown as the session's public handle, too.
 *
 * All that belongs to one user (sessions, index, counters) lies in one of 256 buckets, so that on a Redis
 * Cluster each script touches one slot.
 */
const RANDOM_BYTES = 32
const BUCKET_LENGTH = 2
const HASH_LENGTH = 43

/**
 * @param bucket default: a random one
 * @param secret default: 256 random bits
 */
export function newToken(
  bucket: string = randomBytes(1).toString('hex'),
  secret: string = randomText(RANDOM_BYTES),
): string {
  return bucket + secret
}

/** The id under which a token's session is stored. A token that names no bucket lies in one by its hash. */
export function idOf(token: string): string {
  const hash = createHash('sha256').update(token)
  if (BUCKET.test(token)) return bucketOf(token) + hash.digest('base64url')
  const digest = hash.digest()
  return digest.toString('hex', 0, 1) + digest.toString('base64url')
}

export function bucketOf(tokenOrId: string): string {
  return tokenOrId.slice(0, BUCKET_LENGTH)
}

const BUCKET = /^[0-9a-f]{2}/
const ID = new RegExp(`^[0-9a-f]{${BUCKET_LENGTH}}[A-Za-z0-9_-]{${HASH_LENGTH}}$`)

/** Whether a text from outside can be an id at all. */
export function isId(text: string): boolean {
  return ID.test(text)
}

/**
 * The key of a user's sessions: the same on every instance and after a change of secrets, so no secret is in
 * it. It keeps user ids out of key names; it does not hide them from someone who guesses.
 */
export function ownerOf(userId: string): string {
  const digest = createHash('sha256').update('session-owner\0').update(userId).digest()
  return digest.toString('hex', 0, 1) + digest.toString('base64url', 1, 19)
}
