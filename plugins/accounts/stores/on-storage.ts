import type { Storage } from '../../storage/storage.ts'
import type { AccountStore } from '../account-store.ts'
import { LmdbAccountStore } from './lmdb.ts'
import { MemoryAccountStore } from './memory.ts'
import { RedisAccountStore } from './redis.ts'

/** The account store of a storage's kind. */
export function accountStoreOn(storage: Storage): AccountStore {
  if (storage.kind === 'redis') return new RedisAccountStore(storage)
  return storage.kind === 'lmdb' ? new LmdbAccountStore(storage) : new MemoryAccountStore()
}
