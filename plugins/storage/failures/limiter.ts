import type { Storage } from '../storage.ts'
import { BoundedLimiter } from './bounded-limiter.ts'
import { RedisLimiter } from './redis-limiter.ts'

/** Counts failures by key for a while: shared by the instances on one Redis, else in the memory of this process. */
export type FailureLimiter = BoundedLimiter | RedisLimiter

/**
 * @param name keeps its keys apart from those of other limiters
 * @param seconds after which a count is forgotten, from its first failure on
 */
export function failureLimiter(storage: Storage, name: string, points: number, seconds: number): FailureLimiter {
  if (storage.kind !== 'redis') return new BoundedLimiter({ keyPrefix: name, points, duration: seconds })
  return new RedisLimiter(storage, name, seconds)
}
