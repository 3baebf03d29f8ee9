import type { Json } from '../../openapi/schemas/state.ts'
import type { Clock, Timer } from '../support/clock.ts'
import { namesFor } from '../support/options.ts'
import type { Durability, EpochCause, StateLog } from './log/contract.ts'
import type { StateLimits } from './options.ts'
import type { SequencerCounts } from './writing/sequencer-types.ts'
import type { Guard } from './writing/staging.ts'

/**
 * Typed keys by declaration merging:
 *
 * ```ts
 * declare module 'fastify-stateful' {
 *   interface StateKeyTypes { visitors: number }
 * }
 * ```
 */
// biome-ignore lint/suspicious/noEmptyInterface: applications fill it
export interface StateKeyTypes {}

/** The type of a key's value: what was declared for it, else any JSON. */
export type ValueOf<Key extends string> = Key extends keyof StateKeyTypes ? StateKeyTypes[Key] : Json

export interface CommitOptions {
  /** With `seq`: the commit has its effect once, however often it is sent while its record is retained. */
  clientId?: string
  seq?: number
  context?: unknown
  /** The commit is made only if these hold. */
  guards?: readonly Guard[]
}

export const COMMIT_OPTIONS = namesFor<CommitOptions>({ clientId: true, seq: true, context: true, guards: true })

export type ResetReason = 'restore' | 'epoch' | 'resync'

export interface SpaceStats extends SequencerCounts {
  name: string
  durability: Durability
  epoch: string
  revision: number
  keys: number
  bytes: number
  /** Writes without an outcome yet. */
  waiting: number
  /** Commits that history answers from memory. */
  retained: number
  /** Epochs that began here because the end of the log may have been lost. */
  epochChanges: number
  lastEpochCause: EpochCause | undefined
  /** Keys and commits of the log that could not be read or applied, and were left out. */
  unreadable: number
}

export interface SpaceOptions {
  name: string
  log: StateLog
  limits: StateLimits
  clock: Clock
  /** From 0 inclusive to 1 exclusive. */
  random: () => number
  writerId: string
  /** Milliseconds. */
  writeTimeout: number
  /** Milliseconds between two looks at where a shared log stands. */
  pollInterval: number
  /** Calls at each look; one timer for all spaces. */
  onPoll: (look: () => void) => Timer
  historyLimit: number
  onError: (error: unknown, what: string) => void
}
