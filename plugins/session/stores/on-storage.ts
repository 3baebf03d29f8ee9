import type { Storage } from '../../storage/storage.ts'
import type { SessionStore } from './contract.ts'
import { LmdbSessionStore } from './lmdb.ts'
import { MemorySessionStore } from './memory.ts'
import { RedisSessionStore } from './redis.ts'
import { RedisRevocationBus } from './redis-bus.ts'

/**
 * The session store of a storage's kind.
 * @param area keeps sessions apart from those of other areas on the same storage, see the option `name`
 */
export function sessionStoreOn(storage: Storage, area = ''): SessionStore {
  if (storage.kind === 'redis') {
    const store = new RedisSessionStore(storage, area)
    store.bus = () => new RedisRevocationBus(storage, area)
    return store
  }
  return storage.kind === 'lmdb' ? new LmdbSessionStore(storage, area) : new MemorySessionStore()
}
