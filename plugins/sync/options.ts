import type { Clock } from '../support/clock.ts'
import type { Duration } from '../support/durations.ts'
import { clock, duration, flag, type Rules, readOptions, supplied, wholeNumber } from '../support/options.ts'

/** Options of the sync plugin. */
export interface SyncOptions {
  /** Nodes that are silent for two of these are dropped, and the server says that it lives. Default `'25s'`. */
  heartbeatInterval?: Duration
  /** Bytes buffered for a connection above which changes are held back and conflated. Default 64 KiB. */
  highWaterMark?: number
  /** How long a connection may stay above the mark before it is ended with 1013. Default `'30s'`. */
  slowDeadline?: Duration
  /** How long a socket may take to close before it is ended by force. Default `'3s'`. */
  closeTimeout?: Duration
  /** Bytes of the largest message accepted; larger ones end the connection with 1009. Default 1 MiB. */
  maxPayload?: number
  /**
   * Whether messages of 1 KiB and more are compressed for clients that offer it (permessage-deflate, as all browsers
   * do): once for all who get the same. What it saves and costs is in docs/sync.md. Not where the application has
   * registered
   * @fastify/websocket itself. Default `false`.
   */
  compression?: boolean
  /** Live connections of this instance. Default 10,000, or 80 % of the `connectionLimit` plugin's when that is less. */
  maxConnections?: number
  /** Live connections of one user. Default 100. */
  maxConnectionsPerUser?: number
  /** Live connections of one session. Default `maxConnectionsPerUser`. */
  maxConnectionsPerSession?: number
  /** Live connections without a user from one address (of IPv6: one /64). Default 1,000. */
  maxAnonymousPerAddress?: number
  /**
   * Live connections from one address, of IPv6 from one /64. Default `maxConnections`, because behind a proxy all of
   * them come from its address unless Fastify's `trustProxy` is set.
   */
  maxConnectionsPerAddress?: number
  /**
   * Connections accepted a second; more are answered 503 with `Retry-After`. When the server closes, it spreads the
   * return of its clients over the time that this takes. Default 1,000.
   */
  connectionRate?: number
  /** Subscriptions of one connection. Default 100. */
  maxSubscriptions?: number
  /** Subscriptions of all connections of a user; of an address for those without a user. Default 1,000. */
  maxSubscriptionsPerUser?: number
  /** Subscriptions of all connections of a session. Default 500. */
  maxSubscriptionsPerSession?: number
  /** Presences that all connections of a user ask for; of an address for those without a user. Default 1,000. */
  maxPresencesPerUser?: number
  /** The same of all connections of a session. Default 500. */
  maxPresencesPerSession?: number
  /**
   * Bytes of the different full syncs under way; all who read one share it. One user may be the cause of a quarter.
   * Who comes when there is no room gets an older one that is under way, or is ended with 1013. Default 256 MiB.
   */
  fullSyncBytes?: number
  /** Messages of one connection that wait for their answers; more are refused. Default 256. */
  maxQueuedMessages?: number
  /** Refused messages of one connection before it is ended with 1008. Default 32. */
  maxRefusals?: number
  /** Messages a second that are read from one connection, twice as many at once. Default 200. */
  messageRate?: number
  /** Messages a second that are read from all connections of a user, twice as many at once. Default 1,000. */
  userMessageRate?: number
  /** How often the session of each connection is looked at again. Default `'30s'`. */
  verifyInterval?: Duration
  /** How long a session may go unverified because its store does not answer. Default `'5m'`. */
  verifyDeadline?: Duration
  /** How often instances exchange who is present; one that died is noticed after three. Default `'3s'`. */
  presenceInterval?: Duration
  /** Default `systemClock`. */
  clock?: Clock
  /** From 0 to 1. Default `Math.random`. */
  random?: () => number
}

/** What each option must be, and what holds without it. */
export const SYNC_RULES = {
  heartbeatInterval: duration('25s'),
  highWaterMark: wholeNumber(64 * 1024),
  slowDeadline: duration('30s'),
  closeTimeout: duration('3s'),
  maxPayload: wholeNumber(1024 * 1024),
  compression: flag(false),
  maxConnections: wholeNumber(10_000),
  maxConnectionsPerUser: wholeNumber(100),
  maxConnectionsPerSession: wholeNumber(undefined),
  maxAnonymousPerAddress: wholeNumber(1_000),
  maxConnectionsPerAddress: wholeNumber(undefined),
  connectionRate: wholeNumber(1_000),
  maxSubscriptions: wholeNumber(100),
  maxSubscriptionsPerUser: wholeNumber(1_000),
  maxSubscriptionsPerSession: wholeNumber(500),
  maxPresencesPerUser: wholeNumber(1_000),
  maxPresencesPerSession: wholeNumber(500),
  fullSyncBytes: wholeNumber(256 * 1024 * 1024),
  maxQueuedMessages: wholeNumber(256),
  maxRefusals: wholeNumber(32),
  messageRate: wholeNumber(200),
  userMessageRate: wholeNumber(1_000),
  verifyInterval: duration('30s'),
  verifyDeadline: duration('5m'),
  presenceInterval: duration('3s'),
  clock,
  random: supplied<() => number>(),
} satisfies Rules<SyncOptions>

/** Limits that are no options. */
const LIMITS = {
  /** Spaces that one connection asks the presence of. */
  maxPresences: 100,
  /** Characters, as JSON, of what a node shows of itself in a presence. */
  presenceDataLimit: 1_024,
  /**
   * Latest commits kept in memory for each followed space, and their characters, for resumes without storage access.
   */
  recentCommits: 1_024,
  recentCharacters: 4 * 1024 * 1024,
  /** Characters of a full sync above which it is sent in parts. */
  chunkCharacters: 64 * 1024,
}

/** All limits of the engine; see SyncOptions for their meaning. */
export type SyncSettings = ReturnType<typeof settingsOf>

/** @throws STATEFUL_INVALID_OPTION, STATEFUL_INVALID_DURATION */
export function settingsOf(options: SyncOptions) {
  const { random = Math.random, ...read } = readOptions(SYNC_RULES, options, 'sync')
  return {
    ...LIMITS,
    ...read,
    maxConnectionsPerSession: read.maxConnectionsPerSession ?? read.maxConnectionsPerUser,
    maxConnectionsPerAddress: read.maxConnectionsPerAddress ?? read.maxConnections,
    random,
  }
}
