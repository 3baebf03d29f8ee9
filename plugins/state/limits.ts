import { type Duration, milliseconds } from '../support/durations.ts'
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
  /** Spaces that the application has opened. Those of clients have bounds of their own. Default 64. */
  spaces: number
}

/**
 * What clients, over HTTP and live connections, may have at the same time. A client without a user counts by its
 * address. Who is at a bound of its own is answered 429; when all together are, others are answered 503.
 */
export interface ClientStateLimits {
  /** Open spaces that the application itself has not opened. Default 64. */
  spaces: number
  /** Those of one user. Default 16. */
  spacesPerUser: number
  /** Those of one session. Default 8. */
  spacesPerSession: number
  /** Milliseconds after which a space is closed that no client uses any more. Default 1 minute. */
  idle: number
  /** Requests that wait for a commit. Default 1,000. */
  polls: number
  /** Those of one user. Default 64. */
  pollsPerUser: number
  /** Those of one session. Default 32. */
  pollsPerSession: number
  /** Snapshots and histories under way. Default 256. */
  downloads: number
  /** Those of one user. Default 16. */
  downloadsPerUser: number
  /** Those of one session. Default 8. */
  downloadsPerSession: number
  /**
   * Bytes of the different snapshots under way; all readers of one revision share theirs. One user may be the cause
   * of a quarter. Default 256 MiB.
   */
  downloadBytes: number
  /** Milliseconds that a reader of a snapshot or a history may take nothing before it is cut. Default 30 s. */
  stall: number
}

export const DEFAULT_LIMITS: StateLimits = {
  valueBytes: 256 * 1024,
  opsPerCommit: 128,
  keys: 100_000,
  bytes: 64 * 1024 * 1024,
  waiting: 10_000,
  spaces: 64,
}

export const DEFAULT_CLIENT_LIMITS: ClientStateLimits = {
  spaces: 64,
  spacesPerUser: 16,
  spacesPerSession: 8,
  idle: 60_000,
  polls: 1_000,
  pollsPerUser: 64,
  pollsPerSession: 32,
  downloads: 256,
  downloadsPerUser: 16,
  downloadsPerSession: 8,
  downloadBytes: 256 * 1024 * 1024,
  stall: 30_000,
}

/** As an application gives them. */
export type ClientStateOptions = Partial<Omit<ClientStateLimits, 'idle' | 'stall'>> & {
  /** How long a space stays open that no client uses any more. Default `'1m'`. */
  idle?: Duration
  /** How long a reader of a snapshot or a history may take nothing before it is cut. Default `'30s'`. */
  stall?: Duration
}

/** @throws STATEFUL_INVALID_OPTION, STATEFUL_INVALID_DURATION */
export function checkedClientLimits({ idle, stall, ...counts }: ClientStateOptions = {}): ClientStateLimits {
  const limits = { ...DEFAULT_CLIENT_LIMITS }
  if (idle !== undefined) limits.idle = milliseconds(idle, 'state.clients.idle')
  if (stall !== undefined) limits.stall = milliseconds(stall, 'state.clients.stall')
  for (const name of ['idle', 'stall'] as const) {
    if (limits[name] <= 0) throw new InvalidOptionError(`state.clients.${name}`, 'must be above 0.')
  }
  return checked(limits, counts, 'state.clients')
}

/** @throws STATEFUL_INVALID_OPTION */
export function checkedLimits(given: Partial<StateLimits> = {}): StateLimits {
  return checked({ ...DEFAULT_LIMITS }, given, 'limits')
}

function checked<Limits extends object>(limits: Limits, given: { [name: string]: number }, option: string): Limits {
  for (const [name, value] of Object.entries(given)) {
    if (!(name in limits)) throw new InvalidOptionError(`${option}.${name}`, 'is not known.')
    if (!Number.isSafeInteger(value) || value < 1) {
      throw new InvalidOptionError(`${option}.${name}`, 'must be a positive integer.')
    }
    limits[name as keyof Limits] = value as Limits[keyof Limits]
  }
  return limits
}
