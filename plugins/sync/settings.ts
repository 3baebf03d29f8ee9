import type { Clock } from '../support/clock.ts'

/** All limits of the engine, checked and with defaults (see SyncOptions in options.ts for their meaning). */
export interface SyncSettings {
  heartbeatInterval: number
  highWaterMark: number
  slowDeadline: number
  closeTimeout: number
  maxPayload: number
  maxConnections: number
  maxConnectionsPerUser: number
  maxConnectionsPerSession: number
  maxAnonymousPerAddress: number
  maxConnectionsPerAddress: number
  connectionRate: number
  maxSubscriptions: number
  maxSubscriptionsPerUser: number
  maxSubscriptionsPerSession: number
  maxPresences: number
  maxPresencesPerUser: number
  maxPresencesPerSession: number
  fullSyncBytes: number
  maxQueuedMessages: number
  maxRefusals: number
  messageRate: number
  userMessageRate: number
  recentCommits: number
  recentCharacters: number
  chunkCharacters: number
  verifyInterval: number
  verifyDeadline: number
  presenceInterval: number
  presenceDataLimit: number
  clock: Clock
  /** From 0 to 1. */
  random(): number
}
