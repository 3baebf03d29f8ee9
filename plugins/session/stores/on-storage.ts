import type { Storage } from '../../storage/storage.ts'
import type { SessionStore } from './contract.ts'
import { LmdbSessionStore } from './lmdb.ts'
import { MemorySessionStore } from './memory.ts'
import { RedisSessionStore } from './redis.ts'

/** The session store of a storage's kind. */
export function sessionStoreOn(storage: Storage): SessionStore {
  if (storage.kind === 'redis') return new RedisSessionStore(storage)
  return storage.kind === 'lmdb' ? new LmdbSessionStore(storage) : new MemorySessionStore()
}
