import type { Clock } from '../../support/clock.ts'
import type { LogRecord, StateLog } from '../log/contract.ts'
import type { StateLimits } from '../options.ts'
import type { KeyChange, Replica } from '../replica/replica.ts'
import type { Middleware } from './middleware.ts'
import type { Definitions } from './schemas.ts'

export interface SequencerOptions {
  space: string
  log: StateLog
  replica: Replica
  definitions: Definitions
  layers: readonly Middleware[]
  limits: StateLimits
  clock: Clock
  /** Milliseconds from the call of a write to its outcome. */
  timeout: number
  /** Names this writer in transaction ids; unique among all that ever write to the log. */
  writerId: string
  /** Right after the replica applied a record; `context` of the write if it was made here. */
  onApplied: (record: LogRecord, changes: KeyChange[], context: unknown) => void
  /** Right after the replica was replaced as a whole. */
  onReplaced: (changes: KeyChange[], previousEpoch: string, context: unknown) => void
  onError: (error: unknown, what: string) => void
}

export interface SequencerCounts {
  commits: number
  batches: number
  conflicts: number
  refused: number
  timeouts: number
  unknown: number
  storeErrors: number
  catchUps: number
  resyncs: number
}

export function noCounts(): SequencerCounts {
  return {
    commits: 0,
    batches: 0,
    conflicts: 0,
    refused: 0,
    timeouts: 0,
    unknown: 0,
    storeErrors: 0,
    catchUps: 0,
    resyncs: 0,
  }
}
