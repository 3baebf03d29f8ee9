import type { Storage } from '../../storage/index.ts'
import type { Clock } from '../../support/clock.ts'
import type { Journal } from '../write-behind/journal.ts'
import { MemoryJournal } from '../write-behind/memory.ts'
import type { CacheTier } from './contract.ts'
import { LocalTier } from './local.ts'
import { MemoryShelf } from './memory.ts'
import type { RedisTier } from './redis.ts'

export interface TierBounds {
  /** The most entries on memory and LMDB; Redis has a bound of its own (`maxmemory`). */
  maxEntries: number
  /** The most bytes on memory. */
  maxBytes: number
}

/** The second level on the storage of the application. An application loads the code of its own storage only. */
export async function openTier(storage: Storage, clock: Clock, bounds: TierBounds): Promise<CacheTier> {
  switch (storage.kind) {
    case 'redis': {
      const { RedisTier } = await import('./redis.ts')
      return new RedisTier(storage, clock)
    }
    case 'lmdb': {
      const { LmdbShelf } = await import('./lmdb.ts')
      return new LocalTier('lmdb', new LmdbShelf(storage, clock, bounds.maxEntries), clock)
    }
    default:
      return new LocalTier('memory', new MemoryShelf(bounds, clock), clock)
  }
}

/**
 * The write-behind journal beside it.
 * @param tier what `openTier` has made of this storage
 */
export async function openJournal(storage: Storage, tier: CacheTier, clock: Clock): Promise<Journal> {
  switch (storage.kind) {
    case 'redis': {
      const { RedisJournal } = await import('../write-behind/redis.ts')
      return new RedisJournal(storage, tier as RedisTier)
    }
    case 'lmdb': {
      const { LmdbJournal } = await import('../write-behind/lmdb.ts')
      return new LmdbJournal(storage, tier, clock)
    }
    default:
      return new MemoryJournal(tier, clock)
  }
}
