import { defineService } from '../support/define.ts'
import { readOptions } from '../support/options.ts'
import { openStateLog } from './log/open.ts'
import { STATE_RULES, type StateOptions } from './options.ts'
import { StateManager } from './spaces.ts'

export type { Commit, Json, Op, Position, StateSnapshot } from '../../openapi/schemas/state.ts'
export type { ClearEvent, ResetReason, RestoreEvent, StateChange, StateEventMap } from './following/events.ts'
export type { WatchEvent, WatchOptions } from './following/watch.ts'
export type { Lease } from './leases/lease.ts'
export type { LeaseOptions, Schedule, Task } from './leases/leases.ts'
export { isAtLeast, type LeaseProof } from './leases/proof.ts'
export type { Durability, Entry, StateLog } from './log/contract.ts'
export type { RedisAck } from './log/redis-ack.ts'
export type { ClientStateLimits, ClientStateOptions, StateLimits, StateOptions } from './options.ts'
export type { EmptySpace } from './replica/readable.ts'
export { Space, type SpaceStats } from './space.ts'
export { type BorrowedSpace, StateManager } from './spaces.ts'
export { applyOp, TypeMismatchError } from './values/apply-op.ts'
export type { StateKeyTypes, ValueOf } from './values/key-types.ts'
export type { Middleware, WriteContext } from './writing/middleware.ts'
export type { KeySchema, StandardSchema } from './writing/schemas.ts'
export type { Transaction } from './writing/transaction.ts'
export type { CommitOptions, Committed, Guard } from './writing/write.ts'
export type { WriteOptions } from './writing/write-options.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The default space, `app`; `state.space(name)` for others. */
    state: StateManager
  }
}

/**
 * Decorates `state`. The default space is loaded when the instance is ready.
 * @throws STATEFUL_INVALID_OPTION, STATEFUL_INVALID_DURATION, STATEFUL_STORAGE_UNAVAILABLE
 */
export const state = defineService<StateOptions>(
  'state',
  async (fastify, options) => {
    const log = fastify.log.child({ plugin: 'state' })
    const { limits, clients, writeTimeout, pollInterval, history, ...redis } = readOptions(
      STATE_RULES,
      options,
      'state',
    )
    const manager = new StateManager({
      openLog: (space, forClient) => openStateLog(fastify.storage, space, history, { ...redis, makes: !forClient }),
      limits,
      clients,
      writeTimeout,
      pollInterval,
      history,
      sharedSchemas: () => fastify.getSchemas(),
      onError: (error, what) => log.warn({ err: error }, what),
    })
    fastify.decorate('state', manager)
    fastify.addHook('onClose', () => manager.close())
    await manager.ready
  },
  { decorators: { fastify: ['storage'] } },
)
