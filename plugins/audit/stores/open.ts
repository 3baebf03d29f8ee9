import type { Storage } from '../../storage/storage.ts'
import type { AuditStore } from './contract.ts'
import { LmdbAudit } from './lmdb.ts'
import { MemoryAudit } from './memory.ts'
import { RedisAudit } from './redis.ts'

/** The trail on a storage of its kind. */
export function openAudit(storage: Storage): AuditStore {
  if (storage.kind === 'redis') return new RedisAudit(storage)
  return storage.kind === 'lmdb' ? new LmdbAudit(storage) : new MemoryAudit()
}
