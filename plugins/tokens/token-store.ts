import type { Action } from '../security/access.ts'
import { StorageCorruptError } from '../support/errors.ts'

/** An access token as a store keeps it: of the secret only the digest. Times are milliseconds since the Unix epoch. */
export interface StoredToken {
  id: string
  /** SHA-256 of the secret, in base64url: the token is found by it. */
  digest: string
  name: string
  scopes: Action[]
  createdAt: number
  createdBy?: string
  expiresAt?: number
  lastUsedAt?: number
}

/** Where access tokens live. One suite (test/suites/token-store.ts) says what each implementation must do. */
export interface TokenStore {
  find(digest: string): Promise<StoredToken | undefined>
  /** @returns `false` when there are `most` already: nothing is written then */
  create(token: StoredToken, most: number): Promise<boolean>
  /** In no order. */
  list(): Promise<StoredToken[]>
  /** @returns whether there was one of that id */
  revoke(id: string): Promise<boolean>
  /** Records a use of one that is there; of another it does nothing. */
  touch(id: string, at: number): Promise<void>
}

/**
 * A token as it was written; what cannot be read opens nothing, and says so.
 * @throws STATEFUL_STORAGE_CORRUPT
 */
export function checkedToken(read: () => unknown): StoredToken {
  let cause: unknown
  try {
    const token = read()
    if (isToken(token)) return token
  } catch (error) {
    cause = error
  }
  throw new StorageCorruptError('an access token cannot be read', 'Revoke it and create another one.', { cause })
}

function isToken(value: unknown): value is StoredToken {
  const { id, digest, name, scopes, createdAt, expiresAt } = (value ?? {}) as Partial<
    Record<keyof StoredToken, unknown>
  >
  return (
    [id, digest, name].every((text) => typeof text === 'string' && text !== '') &&
    Array.isArray(scopes) &&
    scopes.every((scope) => typeof scope === 'string') &&
    typeof createdAt === 'number' &&
    // Anything else would be one that never expires.
    (expiresAt === undefined || typeof expiresAt === 'number')
  )
}
