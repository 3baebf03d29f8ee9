import { Cache } from '../../../../plugins/cache/cache.ts'
import { LocalTier } from '../../../../plugins/cache/stores/local.ts'
import { MemoryJournal } from '../../../../plugins/cache/stores/memory-journal.ts'

/** What is put to the test: the real engine, or a copy in which a guard was taken out. */
export interface Engine {
  Cache: typeof Cache
  LocalTier: typeof LocalTier
  MemoryJournal: typeof MemoryJournal
}

export const realEngine: Engine = { Cache, LocalTier, MemoryJournal }
