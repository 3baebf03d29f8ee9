import { type Duration, told } from '../support/durations.ts'
import { duration, invalidOption, type Rule, type Rules, readOptions, wholeNumber } from '../support/options.ts'
import type { Retention } from './log/contract.ts'
import type { RedisAck } from './log/redis-ack.ts'

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
  /**
   * How much of a space's keys and bytes clients may fill, over HTTP and live connections, in percent; the rest is the
   * application's, whatever they do. Default 90.
   */
  clientPercent: number
  /**
   * How much of them one user may fill, or one address without a user, in percent, but always 1,000 keys and 1 MiB. A
   * key counts for who wrote it last, on each instance by itself and since it opened the space. Default 25.
   */
  userPercent: number
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

/** As an application gives them. */
export type ClientStateOptions = Partial<Omit<ClientStateLimits, 'idle' | 'stall'>> & {
  /** How long a space stays open that no client uses any more. Default `'1m'`. */
  idle?: Duration
  /** How long a reader of a snapshot or a history may take nothing before it is cut. Default `'30s'`. */
  stall?: Duration
}

export const LIMIT_RULES = {
  valueBytes: wholeNumber(256 * 1024),
  opsPerCommit: wholeNumber(128),
  keys: wholeNumber(100_000),
  bytes: wholeNumber(64 * 1024 * 1024),
  clientPercent: percent(90),
  userPercent: percent(25),
  waiting: wholeNumber(10_000),
  spaces: wholeNumber(64),
} satisfies Rules<StateLimits>

export const CLIENT_LIMIT_RULES = {
  spaces: wholeNumber(64),
  spacesPerUser: wholeNumber(16),
  spacesPerSession: wholeNumber(8),
  idle: duration('1m'),
  polls: wholeNumber(1_000),
  pollsPerUser: wholeNumber(64),
  pollsPerSession: wholeNumber(32),
  downloads: wholeNumber(256),
  downloadsPerUser: wholeNumber(16),
  downloadsPerSession: wholeNumber(8),
  downloadBytes: wholeNumber(256 * 1024 * 1024),
  stall: duration('30s'),
} satisfies Rules<ClientStateOptions>

export const DEFAULT_CLIENT_LIMITS: ClientStateLimits = readOptions(CLIENT_LIMIT_RULES, undefined)

/** Options of the plugin `state`. */
export interface StateOptions {
  /** What spaces may hold and how much may wait. See {@link StateLimits} for the defaults. */
  limits?: Partial<StateLimits>
  /** What clients may have at the same time, each and all together. See {@link ClientStateLimits} for the defaults. */
  clients?: ClientStateOptions
  /** From the call of a write to its outcome. Default 5 s. */
  writeTimeout?: Duration
  /** On Redis: how often the log is asked for what no message told of, at most `'1s'`. Default 1 s. */
  pollInterval?: Duration
  /**
   * On Redis: who must have a write before it is acknowledged. `'primary'`: its memory; `{ replicas: n }`: n replicas
   * too (WAIT); `'fsync'`: its append-only file (WAITAOF, Redis 7.2). See docs/state.md for what each may lose.
   * Default `'primary'`.
   */
  ack?: RedisAck
  /** How long replicas or the disk may take; less than `writeTimeout`. Default 500 ms. */
  ackTimeout?: Duration
  /**
   * What is kept of each space for those who come back, whichever bound comes first: `commits`, default 10,000, and
   * `bytes` of them as text, default 32 MiB. On LMDB and Redis it lies in the store.
   */
  history?: Partial<Retention>
}

/** What each option must be, and what holds without it. */
export const STATE_RULES = {
  limits: LIMIT_RULES,
  clients: CLIENT_LIMIT_RULES,
  writeTimeout: duration('5s'),
  pollInterval: duration('1s', { least: '10ms', most: '1s' }),
  ack,
  ackTimeout: duration('500ms'),
  history: { commits: wholeNumber(10_000), bytes: wholeNumber(32 * 1024 * 1024) },
} satisfies Rules<StateOptions>

function percent(byDefault: number): Rule<number> {
  const read = wholeNumber(byDefault, 0)
  return (given, option) => {
    const value = read(given, option)
    if (value > 100) throw invalidOption(option, `must be a whole number from 0 to 100, not ${told(value)}.`)
    return value
  }
}

function ack(given: unknown = 'primary', option: string): RedisAck {
  if (typeof given === 'object') return readOptions({ replicas: wholeNumber(1) }, given, option)
  if (given === 'primary' || given === 'fsync') return given
  throw invalidOption(
    option,
    `must be 'primary', 'fsync' or { replicas: <a whole number above 0> }, not ${told(given)}.`,
  )
}
