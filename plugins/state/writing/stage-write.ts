import type { Commit, Op } from '../../../openapi/schemas/state.ts'
import { InvalidStateOpError, StateLimitError } from '../../support/errors.ts'
import type { LogRecord } from '../log/contract.ts'
import { type Replica, type Results, reduceCommit } from '../replica/replica.ts'
import type { SequencerOptions } from './sequencer-types.ts'
import type { Sizes, Staging } from './staging.ts'
import type { Write, WriteRequest } from './write.ts'

/** A write with what it puts into the log and what it makes of the keys. */
export interface Staged {
  write: Write
  record: LogRecord
  results: Results
  /** Of the space after it. */
  sizes: Sizes
}

/** What a write has come to: into the batch, or to its outcome without a commit of its own (with neither: to nothing). */
export interface Attempt {
  staged?: Staged
  /** It was committed before, under the same `clientId` and `seq`. */
  commit?: Commit
  error?: unknown
}

/** `undefined` while its middleware is still thinking. */
export function attemptWrite(
  write: Write,
  request: WriteRequest,
  staging: Staging,
  options: SequencerOptions,
): Attempt | undefined {
  try {
    const commit = acknowledged(request, options.replica)
    if (commit) return { commit }
    if (!write.ops) write.prepare(options.space, options.layers, staging)
    if (!write.ops) return undefined
    return write.ops.length === 0 ? {} : { staged: stageWrite(write, request, write.ops, staging, options) }
  } catch (error) {
    return { error }
  }
}

function acknowledged({ clientId, seq }: WriteRequest, replica: Replica): Commit | undefined {
  if (clientId === undefined || seq === undefined) return undefined
  const known = replica.acknowledged(clientId, seq)
  if (known === 'new') return undefined
  if (known !== 'unknown') return known
  throw new InvalidStateOpError(`the write ${seq} of this client is older than what is remembered of it`)
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
  { space, replica, definitions, limits, clock }: SequencerOptions,
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
    definitions.check(key, entry.value)
  }
  const sizes = staging.measure(results)
  const { bytes, size } = sizes
  // Whoever is above a limit, for it was lowered, may still write what makes the space smaller.
  if (size > limits.keys && size > staging.size) {
    throw new StateLimitError(`Space '${space}' would hold more than ${limits.keys} keys.`)
  }
  if (bytes > limits.bytes && bytes > staging.bytes) {
    throw new StateLimitError(`Space '${space}' would be larger than ${limits.bytes} bytes.`)
  }
  const { clientId, seq, clear } = request
  const commit: Commit = { space, epoch: replica.epoch, prev: staging.revision, revision, ops, at }
  if (clientId !== undefined) commit.clientId = clientId
  if (seq !== undefined) commit.seq = seq
  const record: LogRecord = clear ? { commit, tx: write.tx, clear } : { commit, tx: write.tx }
  return { write, record, results, sizes }
}
