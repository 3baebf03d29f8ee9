import type { Commit, Json, Op, Position, StateSnapshot } from '../../../openapi/schemas/state.ts'

/** What sync needs of a state space; plugins/state has it, and so can any other ordered log. */
export interface SyncSpace {
  readonly name: string
  readonly ready: Promise<void>
  readonly epoch: string
  readonly revision: number
  /** Of all keys and values as JSON. */
  readonly bytes: number
  get(key: string): Json | undefined
  /** Synchronous, and consistent at one revision. */
  snapshot(): StateSnapshot
  /** Called synchronously and in the order of revisions, right after reads show the commit. */
  onCommit(listener: (commit: Commit) => void): () => void
  /** The replica was replaced as a whole: its followers need a full sync. */
  onReset(listener: (reason: string) => void): () => void
  /** `undefined`: that position is not in the retained log. */
  history(since: Position): Promise<Commit[] | undefined>
  /** Idempotent by `(clientId, seq)`; resolves when the commit is durable and applied here. */
  commit(ops: Op[], options: { clientId: string; seq: number; context?: unknown; forClient?: string }): Promise<Commit>
}

/** A space for as long as a connection has something to do with it. */
export interface BorrowedSyncSpace {
  readonly space: SyncSpace
  /** After this the space may be closed. Calling it again does nothing. */
  release(): void
}
