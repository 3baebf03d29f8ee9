import { randomUUID } from 'node:crypto'
import { openCounts } from '../../storage/counts/open.ts'
import type { Storage } from '../../storage/storage.ts'
import { MAX_DURATION } from '../../support/numbers.ts'
import type { CacheNamespace } from '../namespace.ts'
import { storedKey } from './stored-key.ts'

/** A value, and which of those that were ever stored it is. */
interface Stored {
  id: string
  value: string
}

/** How long it is known that a value was taken: longer than another reader of it may hesitate. */
const TAKEN = 60_000

/**
 * The `secondaryStorage` of better-auth over a namespace of the cache, and its counts on the storage: sessions,
 * verifications and rate limits that instances share. What it answers is confirmed by the store, or it rejects; while
 * Redis is away reads find nothing, and so no user is logged in. Another instance sees the end of a session after at
 * most the cache's `coherence` (500 ms). Give it room: what the second level has to drop is logged out.
 *
 * @example
 * const auth = betterAuth({ secondaryStorage: betterAuthStorage(app.cache.namespace('auth'), app.storage) })
 */
export function betterAuthStorage(cache: CacheNamespace, storage: Storage) {
  const counts = openCounts(storage, `${cache.name}:increment`)
  const takings = openCounts(storage, `${cache.name}:taken`)

  return {
    /** The value, or `null`. */
    async get(key: string): Promise<string | null> {
      return (await cache.get<Stored>(storedKey(key)))?.value ?? null
    },

    /** @param ttl seconds; default: no end. 0 and less is over already. */
    async set(key: string, value: string, ttl?: number): Promise<void> {
      if (ttl !== undefined && ttl <= 0) {
        await cache.delete(storedKey(key))
        return
      }
      const stored: Stored = { id: randomUUID(), value }
      await cache.set(storedKey(key), stored, {
        ttl: ttl === undefined ? MAX_DURATION : Math.min(ttl * 1_000, MAX_DURATION),
      })
    },

    async delete(key: string): Promise<void> {
      await cache.delete(storedKey(key))
    },

    /**
     * The value, which is gone then: of however many callers at once, on whichever instance, one gets it, the others
     * `null`. A value that is stored at the very moment when the one before it is taken may go with that one.
     */
    async getAndDelete(key: string): Promise<string | null> {
      const stored = await cache.get<Stored>(storedKey(key))
      if (stored === undefined) return null
      const { count } = await takings.add(stored.id, TAKEN)
      if (count > 1) return null
      await cache.delete(storedKey(key))
      return stored.value
    },

    /** One more, and how many there are now. @param ttl seconds from the first one until they are forgotten */
    async increment(key: string, ttl: number): Promise<number> {
      return (await counts.add(key, ttl * 1_000)).count
    },
  }
}
