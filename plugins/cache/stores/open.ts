import type { Storage } from '../../storage/index.ts'
import type { Clock } from '../../support/clock.ts'
import type { Journal } from './journal.ts'
import { LmdbShelf } from './lmdb.ts'
import { LmdbJournal } from './lmdb-journal.ts'
import { LocalTier } from './local.ts'
import { MemoryShelf } from './memory.ts'
import { MemoryJournal } from './memory-journal.ts'
import { RedisTier } from './redis.ts'
import { RedisJournal } from './redis-journal.ts'
import type { CacheTier } from './tier.ts'

export interface TierBounds {
  /** The most entries on memory and LMDB; Redis has a bound of its own (`maxmemory`). */
  maxEntries: number
  /** The most bytes on memory. */
  maxBytes: number
}

/** The second level on whatever the application stores in. */
export function openTier(storage: Storage, clock: Clock, bounds: TierBounds): CacheTier {
  switch (storage.kind) {
    case 'redis':
      return new RedisTier(storage, clock)
    case 'lmdb':
      return new LocalTier('lmdb', new LmdbShelf(storage, clock, bounds.maxEntries), clock)
    default:
      return new LocalTier('memory', new MemoryShelf(bounds), clock)
  }
}

/** The write-behind journal beside it. */
export function openJournal(storage: Storage): Journal {
  switch (storage.kind) {
    case 'redis':
      return new RedisJournal(storage)
    case 'lmdb':
      return new LmdbJournal(storage)
    default:
      return new MemoryJournal()
  }
}
