import type { Storage } from '../../storage/storage.ts'
import type { Retention, StateLog } from '../log.ts'
import { LmdbStateLog } from './lmdb.ts'
import { MemoryStateLog } from './memory.ts'
import { type RedisLogOptions, RedisStateLog } from './redis.ts'

const REDIS_DEFAULTS: RedisLogOptions = { ack: 'primary', ackTimeout: 500 }

/** The log of a space on this kind of storage. */
export function openStateLog(
  storage: Storage,
  space: string,
  retention: Retention,
  redis: RedisLogOptions = REDIS_DEFAULTS,
): StateLog {
  switch (storage.kind) {
    case 'memory':
      return new MemoryStateLog(retention)
    case 'lmdb':
      return new LmdbStateLog(storage, space, retention)
    case 'redis':
      return new RedisStateLog(storage, space, retention, redis)
  }
}
