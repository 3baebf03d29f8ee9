import type { Clock } from '../support/clock.ts'

/** All limits of the engine, checked and with defaults (see SyncOptions in index.ts for their meaning). */
export interface SyncSettings {
  heartbeatInterval: number
  highWaterMark: number
  slowDeadline: number
  closeTimeout: number
  maxPayload: number
  maxConnections: number
  maxSubscriptions: number
  maxQueuedMessages: number
  maxRefusals: number
  recentCommits: number
  recentCharacters: number
  clock: Clock
}
