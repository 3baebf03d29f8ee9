import { defineService } from '../support/define.ts'
import { type Duration, milliseconds } from '../support/durations.ts'
import { InvalidOptionError } from '../support/errors.ts'
import { type ClientStateOptions, checkedClientLimits, checkedLimits, type StateLimits } from './limits.ts'
import { StateManager } from './state-manager.ts'
import { openStateLog } from './stores/open.ts'
import type { RedisAck } from './stores/redis-ack.ts'

export type { Commit, Json, Op, Position, StateSnapshot } from '../../openapi/schemas/state.ts'
export type { ClearEvent, RestoreEvent, StateChange, StateEventMap } from './events.ts'
export type { ClientStateLimits, ClientStateOptions, StateLimits } from './limits.ts'
export type { Durability, Entry, StateLog } from './log.ts'
export type { Middleware, WriteContext } from './middleware.ts'
export type { EmptySpace } from './readable.ts'
export { applyOp, TypeMismatchError } from './reducer.ts'
export { Space } from './space.ts'
export type { CommitOptions, ResetReason, SpaceStats, StateKeyTypes, ValueOf } from './space-types.ts'
export type { Guard } from './staging.ts'
export { type BorrowedSpace, StateManager } from './state-manager.ts'
export type { RedisAck } from './stores/redis-ack.ts'
export type { Transaction } from './transaction.ts'
export type { WatchEvent, WatchOptions } from './watch.ts'
export type { Committed } from './write.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The default space, `app`; `state.space(name)` for others. */
    state: StateManager
  }
}

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
  /** Commits of a space that are retained for those who come back. Default 10,000. */
  history?: number
}

const LONGEST_POLL = 1_000

/**
 * Decorates `state`. The default space is loaded when the instance is ready.
 * @throws STATEFUL_INVALID_OPTION, STATEFUL_INVALID_DURATION, STATEFUL_STORAGE_UNAVAILABLE
 */
export const state = defineService<StateOptions>(
  'state',
  async (fastify, options) => {
    const log = fastify.log.child({ plugin: 'state' })
    const limits = checkedLimits(options.limits)
    const clients = checkedClientLimits(options.clients)
    const writeTimeout = milliseconds(options.writeTimeout ?? '5s', 'state.writeTimeout')
    const pollInterval = milliseconds(options.pollInterval ?? '1s', 'state.pollInterval')
    const historyLimit = options.history ?? 10_000
    if (pollInterval < 10 || pollInterval > LONGEST_POLL) {
      throw new InvalidOptionError('state.pollInterval', "must be between '10ms' and '1s'.")
    }
    if (!Number.isSafeInteger(historyLimit) || historyLimit < 1) {
      throw new InvalidOptionError('state.history', 'must be a positive integer.')
    }
    const redis = {
      ack: options.ack ?? ('primary' as const),
      ackTimeout: milliseconds(options.ackTimeout ?? 500, 'state.ackTimeout'),
    }
    if (typeof redis.ack === 'object' && !(Number.isSafeInteger(redis.ack.replicas) && redis.ack.replicas > 0)) {
      throw new InvalidOptionError('state.ack', 'must name a positive number of replicas.')
    }
    const manager = new StateManager({
      openLog: (space, forClient) =>
        openStateLog(fastify.storage, space, { commits: historyLimit }, { ...redis, makes: !forClient }),
      limits,
      clients,
      writeTimeout,
      pollInterval,
      historyLimit,
      onError: (error, what) => log.warn({ err: error }, what),
    })
    fastify.decorate('state', manager)
    fastify.addHook('onClose', () => manager.close())
    await manager.ready
  },
  { decorators: { fastify: ['storage'] } },
)
