import { defineService } from '../support/define.ts'
import { type Duration, told } from '../support/durations.ts'
import { duration, invalidOption, type Rules, readOptions, wholeNumber } from '../support/options.ts'
import { openStateLog } from './log/open.ts'
import type { RedisAck } from './log/redis-ack.ts'
import { CLIENT_LIMIT_RULES, type ClientStateOptions, LIMIT_RULES, type StateLimits } from './options.ts'
import { StateManager } from './spaces.ts'

export type { Commit, Json, Op, Position, StateSnapshot } from '../../openapi/schemas/state.ts'
export type { ClearEvent, RestoreEvent, StateChange, StateEventMap } from './following/events.ts'
export type { WatchEvent, WatchOptions } from './following/watch.ts'
export type { Durability, Entry, StateLog } from './log/contract.ts'
export type { RedisAck } from './log/redis-ack.ts'
export type { ClientStateLimits, ClientStateOptions, StateLimits } from './options.ts'
export type { EmptySpace } from './replica/readable.ts'
export { Space } from './space.ts'
export type { CommitOptions, ResetReason, SpaceStats, StateKeyTypes, ValueOf } from './space-types.ts'
export { type BorrowedSpace, StateManager } from './spaces.ts'
export { applyOp, TypeMismatchError } from './values/reducer.ts'
export type { Middleware, WriteContext } from './writing/middleware.ts'
export type { Guard } from './writing/staging.ts'
export type { Transaction } from './writing/transaction.ts'
export type { Committed } from './writing/write.ts'

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

/** What each option must be, and what holds without it. */
export const STATE_RULES = {
  limits: LIMIT_RULES,
  clients: CLIENT_LIMIT_RULES,
  writeTimeout: duration('5s'),
  pollInterval: duration('1s', { least: '10ms', most: '1s' }),
  ack,
  ackTimeout: duration('500ms'),
  history: wholeNumber(10_000),
} satisfies Rules<StateOptions>

function ack(given: unknown = 'primary', option: string): RedisAck {
  if (typeof given === 'object') return readOptions({ replicas: wholeNumber(1) }, given, option)
  if (given === 'primary' || given === 'fsync') return given
  throw invalidOption(
    option,
    `must be 'primary', 'fsync' or { replicas: <a whole number above 0> }, not ${told(given)}.`,
  )
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
      openLog: (space, forClient) =>
        openStateLog(fastify.storage, space, { commits: history }, { ...redis, makes: !forClient }),
      limits,
      clients,
      writeTimeout,
      pollInterval,
      historyLimit: history,
      onError: (error, what) => log.warn({ err: error }, what),
    })
    fastify.decorate('state', manager)
    fastify.addHook('onClose', () => manager.close())
    await manager.ready
  },
  { decorators: { fastify: ['storage'] } },
)
