import type { Storage } from '../../../storage/storage.ts'
import { type HistoryStore, MAX_SAMPLES } from './contract.ts'
import { LmdbHistory } from './lmdb.ts'
import { MemoryHistory } from './memory.ts'
import { RedisHistory } from './redis.ts'

/**
 * The history on a storage of its kind.
 * @param most samples of each resolution
 */
export function openHistory(storage: Storage, most = MAX_SAMPLES): HistoryStore {
  if (storage.kind === 'redis') return new RedisHistory(storage, most)
  return storage.kind === 'lmdb' ? new LmdbHistory(storage, most) : new MemoryHistory(most)
}
