import { InvalidOptionError } from '../support/errors.ts'

/** What a space may hold and how much may wait. Exceeding one is refused with a typed error; nothing is cut. */
export interface StateLimits {
  /** Bytes of one value as JSON. Default 256 KiB. */
  valueBytes: number
  /** Operations of one commit. Default 128. */
  opsPerCommit: number
  /** Keys of a space. Default 100,000. */
  keys: number
  /** Bytes of all keys and values of a space. Default 64 MiB. */
  bytes: number
  /** Writes of a space that wait at the same time. Default 10,000. */
  waiting: number
  /** Open spaces. Default 64. */
  spaces: number
}

export const DEFAULT_LIMITS: StateLimits = {
  valueBytes: 256 * 1024,
  opsPerCommit: 128,
  keys: 100_000,
  bytes: 64 * 1024 * 1024,
  waiting: 10_000,
  spaces: 64,
}

/** @throws STATEFUL_INVALID_OPTION */
export function checkedLimits(given: Partial<StateLimits> = {}): StateLimits {
  const limits = { ...DEFAULT_LIMITS }
  for (const [name, value] of Object.entries(given)) {
    if (!(name in limits)) throw new InvalidOptionError(`limits.${name}`, 'is not known.')
    if (!Number.isSafeInteger(value) || value < 1) {
      throw new InvalidOptionError(`limits.${name}`, 'must be a positive integer.')
    }
    limits[name as keyof StateLimits] = value
  }
  return limits
}
