import type { MemoryStorage, Storage } from '../../storage/storage.ts'
import type { Retention, StateLog } from './contract.ts'
import { LmdbStateLog } from './lmdb.ts'
import { MemoryStateLogs } from './memory.ts'
import { type RedisLogOptions, RedisStateLog } from './redis.ts'

const REDIS_DEFAULTS: RedisLogOptions = { ack: 'primary', ackTimeout: 500 }

/** A memory storage holds what is written to it for as long as it is there itself. */
const memories = new WeakMap<MemoryStorage, MemoryStateLogs>()

/** The log of a space on this kind of storage. */
export function openStateLog(
  storage: Storage,
  space: string,
  retention: Retention,
  redis: RedisLogOptions = REDIS_DEFAULTS,
): StateLog {
  switch (storage.kind) {
    case 'memory': {
      const logs = memories.get(storage) ?? new MemoryStateLogs()
      memories.set(storage, logs)
      return logs.open(space, retention)
    }
    case 'lmdb':
      return new LmdbStateLog(storage, space, retention)
    case 'redis':
      return new RedisStateLog(storage, space, retention, redis)
  }
}

/** Names of the spaces that were written to, in no order. For those who look: on Redis it takes `+scan`. */
export async function spacesOn(storage: Storage): Promise<string[]> {
  switch (storage.kind) {
    case 'memory':
      return memories.get(storage)?.names() ?? []
    case 'lmdb':
      return LmdbStateLog.spacesOn(storage)
    case 'redis':
      return RedisStateLog.spacesOn(storage)
  }
}
