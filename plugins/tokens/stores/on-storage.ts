import type { Storage } from '../../storage/storage.ts'
import type { TokenStore } from '../token-store.ts'
import { LmdbTokenStore } from './lmdb.ts'
import { MemoryTokenStore } from './memory.ts'
import { RedisTokenStore } from './redis.ts'

/** The store of access tokens of a storage's kind. */
export function tokenStoreOn(storage: Storage): TokenStore {
  if (storage.kind === 'redis') return new RedisTokenStore(storage)
  return storage.kind === 'lmdb' ? new LmdbTokenStore(storage) : new MemoryTokenStore()
}
