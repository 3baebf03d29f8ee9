import type { Commit, Json, Op } from '../../../openapi/schemas/state.ts'
import type { Clock } from '../../support/clock.ts'
import { InvalidStateOpError, StateConflictError, StateLeaseLostError, StateLimitError } from '../../support/errors.ts'
import type { Entry, LogRecord, WrittenEntry } from '../log/contract.ts'
import type { StateLimits } from '../options.ts'
import { type Replica, type Results, reduceCommit } from '../replica/replica.ts'
import { ClientShares, checkClients } from './client-shares.ts'
import type { Middleware } from './middleware.ts'
import type { KeySchemas } from './schemas.ts'
import type { Guard, View, Write, WriteRequest } from './write.ts'

export interface Sizes {
  /** Of keys and their values as JSON. */
  bytes: number
  /** Number of keys. */
  size: number
}

/** The commits of one batch on top of the replica, before the log has them. */
export class Staging implements View {
  readonly #replica: Replica
  readonly writes = new Map<string, WrittenEntry | undefined>()
  readonly shares: ClientShares
  revision: number
  bytes: number
  size: number

  constructor(replica: Replica, shares: ClientShares) {
    this.#replica = replica
    this.shares = new ClientShares(shares)
    this.revision = replica.revision
    this.bytes = replica.bytes
    this.size = replica.size
  }

  entry(key: string): Entry | undefined {
    const written = this.writes.get(key)
    return written || this.writes.has(key) ? written : this.#replica.get(key)
  }

  get(key: string): Json | undefined {
    return this.entry(key)?.value
  }

  revisionOf(key: string): number {
    return this.entry(key)?.revision ?? 0
  }

  *keys(): IterableIterator<string> {
    for (const key of this.#replica.keys()) {
      if (!this.writes.has(key) || this.writes.get(key)) yield key
    }
    for (const [key, entry] of this.writes) if (entry && !this.#replica.get(key)) yield key
  }

  /** @throws STATEFUL_STATE_CONFLICT, STATEFUL_STATE_LEASE_LOST */
  check(guards: readonly Guard[]): void {
    for (const { key, revision, epoch, lease } of guards) {
      const actual = this.revisionOf(key)
      if (actual === revision && (epoch === undefined || this.#replica.epochOf(actual) === epoch)) continue
      if (lease !== undefined) throw new StateLeaseLostError(lease)
      throw new StateConflictError(key, actual, revision)
    }
  }

  /** How the results would change the sizes. */
  measure(results: Results): Sizes {
    let { bytes, size } = this
    for (const [key, entry] of results) {
      const before = this.entry(key)
      bytes += (entry?.bytes ?? 0) - (before?.bytes ?? 0)
      size += (entry ? 1 : 0) - (before ? 1 : 0)
    }
    return { bytes, size }
  }

  /** @param client whose keys they are from now on */
  add(results: Results, { bytes, size }: Sizes, client: string | undefined): void {
    this.shares.write(results, client)
    for (const [key, entry] of results) this.writes.set(key, entry)
    this.bytes = bytes
    this.size = size
    this.revision++
  }
}

/** What a write is computed by. */
export interface StagingRules {
  readonly space: string
  readonly replica: Replica
  readonly schemas: KeySchemas
  readonly layers: readonly Middleware[]
  readonly limits: StateLimits
  readonly clock: Clock
}

/** A write with what it puts into the log and what it makes of the keys. */
export interface Staged {
  write: Write
  record: LogRecord
  results: Results
  /** Of the space after it. */
  sizes: Sizes
}

/**
 * What a write has come to: into the batch, or to its outcome without a commit of its own (with neither: to nothing).
 */
export interface Attempt {
  staged?: Staged
  /**
   * It was committed before, under the same `clientId` and `seq`: as this, or at this revision, which only the log
   * holds.
   */
  commit?: Commit
  revision?: number
  error?: unknown
}

/** `undefined` while its middleware is still thinking. */
export function attemptWrite(
  write: Write,
  request: WriteRequest,
  staging: Staging,
  options: StagingRules,
): Attempt | undefined {
  try {
    const known = acknowledged(request, options.replica)
    if (known) return known.commit ? { commit: known.commit } : { revision: known.revision }
    if (!write.ops) write.prepare(options.space, options.layers, staging)
    if (!write.ops) return undefined
    return write.ops.length === 0 ? {} : { staged: stageWrite(write, request, write.ops, staging, options) }
  } catch (error) {
    return { error }
  }
}

function acknowledged({ clientId, seq }: WriteRequest, replica: Replica) {
  if (clientId === undefined || seq === undefined) return undefined
  const known = replica.acknowledged(clientId, seq)
  if (known === 'new') return undefined
  if (known !== 'unknown') return known
  throw forgotten(seq)
}

/** Of a write that is sent again, but whose first commit is not retained. */
export function forgotten(seq: number | undefined): Error {
  return new InvalidStateOpError(`the write ${seq} of this client is older than what is remembered of it`)
}

/**
 * Computes a write on top of those that go into the log before it, and judges the result.
 * @throws STATEFUL_STATE_CONFLICT, STATEFUL_STATE_TYPE_MISMATCH, STATEFUL_STATE_LIMIT, STATEFUL_STATE_SCHEMA
 */
function stageWrite(
  write: Write,
  request: WriteRequest,
  ops: Op[],
  staging: Staging,
  { space, replica, schemas, limits, clock }: StagingRules,
): Staged {
  if (request.guards) staging.check(request.guards)
  const at = clock.now()
  const revision = staging.revision + 1
  const results = reduceCommit((key) => staging.entry(key), ops, revision, at)
  for (const [key, entry] of results) {
    if (!entry) continue
    if (entry.bytes > limits.valueBytes && entry.bytes - Buffer.byteLength(key) > limits.valueBytes) {
      throw new StateLimitError(`The value of '${key}' would be larger than ${limits.valueBytes} bytes.`)
    }
    schemas.check(key, entry.value)
  }
  const sizes = staging.measure(results)
  const { bytes, size } = sizes
  // A client above a limit that was lowered may still write what makes the space smaller.
  if (size > limits.keys && size > staging.size) {
    throw new StateLimitError(`Space '${space}' would hold more than ${limits.keys} keys.`)
  }
  if (bytes > limits.bytes && bytes > staging.bytes) {
    throw new StateLimitError(`Space '${space}' would be larger than ${limits.bytes} bytes.`)
  }
  const { forClient } = request
  if (forClient) checkClients(space, staging, sizes, limits)
  if (typeof forClient === 'string') staging.shares.check(space, forClient, results, limits)
  const { clientId, seq, clear } = request
  const commit: Commit = { space, epoch: replica.epoch, prev: staging.revision, revision, ops, at }
  if (clientId !== undefined) commit.clientId = clientId
  if (seq !== undefined) commit.seq = seq
  const record: LogRecord = clear ? { commit, tx: write.tx, clear } : { commit, tx: write.tx }
  return { write, record, results, sizes }
}
