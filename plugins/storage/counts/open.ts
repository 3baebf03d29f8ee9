import { type Clock, systemClock } from '../../support/clock.ts'
import type { Storage } from '../storage.ts'
import type { Counts } from './counts.ts'
import { MemoryCounts } from './memory.ts'
import { RedisCounts } from './redis.ts'

/**
 * The counts of this name.
 * @param clock of counts in memory
 */
export function openCounts(storage: Storage, name: string, clock: Clock = systemClock): Counts {
  return storage.kind === 'redis' ? new RedisCounts(storage, name) : new MemoryCounts(clock)
}
