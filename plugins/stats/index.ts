import { CacheStats } from '../../openapi/schemas/cache.ts'
import { SessionStats } from '../../openapi/schemas/session.ts'
import { StateStats } from '../../openapi/schemas/state.ts'
import { StorageStats } from '../../openapi/schemas/storage.ts'
import { SyncStats } from '../../openapi/schemas/sync.ts'
import type {} from '../storage/index.ts'
import { answeredCode } from '../support/answered-code.ts'
import type { Clock } from '../support/clock.ts'
import { defineService } from '../support/define.ts'
import type { Duration } from '../support/durations.ts'
import { clock, duration, flag, type Rules, readOptions } from '../support/options.ts'
import { isOverloaded, stateFault } from './health.ts'
import type { ServiceSection, Source, StatsEngine } from './stats.ts'
import { StorageMeter } from './storage-meter.ts'
import { RedisBoard } from './stores/redis.ts'
import { singleBoard } from './stores/single.ts'

export type { HistoryOptions } from './history/history.ts'
export type { CollectOptions } from './stats.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The statistics of all services that are registered. */
    stats: StatsEngine
  }
}

/** Options of the {@link stats} plugin. */
export interface StatsOptions {
  /**
   * How often the other instances are told this one's numbers (Redis only), and over how long the event loop's
   * are measured. Default `'5s'`, at least `'100ms'`. Numbers that are not renewed for three times as long are
   * forgotten.
   */
  interval?: Duration
  /**
   * Whether what the numbers of the last day were is kept, in the storage: at most 1,008 samples of some hundred bytes
   * (2.5 kB at most) for an instance that runs a day, and at most 10,000 of each of the three resolutions for all.
   * Default
   * `true`.
   */
  history?: boolean
  /** Default: the system's. */
  clock?: Clock
}

/** What each option must be, and what holds without it. @internal */
export const STATS_RULES = {
  interval: duration('5s', { least: '100ms' }),
  history: flag(true),
  clock,
} satisfies Rules<StatsOptions>

/** The decorators that services make, where they are part of the statistics. */
const SERVICES: readonly ServiceSection[] = ['cache', 'sessions', 'state', 'sync']
/** Intervals after which an instance that is not heard of is taken for gone: two may get lost. */
const LIFETIME = 3

/** Statistics of whichever services there are, of this process, and of all instances together. */
export const stats = defineService<StatsOptions>(
  'stats',
  async (fastify, options) => {
    const { interval, history, clock } = readOptions(STATS_RULES, options, 'stats')
    const log = fastify.log.child({ plugin: 'stats' })
    const { storage } = fastify

    const { StatsEngine } = await import('./stats.ts')
    const { openHistory } = await import('./history/stores/open.ts')
    const meter = new StorageMeter(storage, clock)
    const engine = new StatsEngine({
      instanceId: storage.instanceId,
      board: storage.kind === 'redis' ? new RedisBoard(storage, interval * LIFETIME) : singleBoard,
      history: history ? openHistory(storage) : undefined,
      clock,
      interval,
      // Looked up when asked: services may be registered after this one, or not at all.
      sources: () =>
        new Map<ServiceSection, Source>([
          ['storage', meter],
          ...SERVICES.flatMap((service) =>
            fastify.hasDecorator(service) ? [[service, fastify.getDecorator<Source>(service)] as const] : [],
          ),
        ]),
      faults: () => ({ overloaded: isOverloaded(fastify), state: stateFault(fastify) !== undefined }),
      schemas: {
        roots: {
          storage: 'StatefulStorageStats',
          cache: 'StatefulCacheStats',
          sessions: 'StatefulSessionStats',
          state: 'StatefulStateStats',
          sync: 'StatefulSyncStats',
        },
        all: [StorageStats, CacheStats, SessionStats, StateStats, SyncStats],
      },
      onError: (error, message) => log.warn({ err: error }, message),
    })
    fastify.decorate('stats', engine)

    fastify.addHook('onRequest', (request, reply, done) => {
      // A WebSocket's response lives as long as the socket, and sync counts those.
      if (request.headers.upgrade !== undefined) return done()
      engine.meter.started()
      // onResponse does not run for a client that went away.
      reply.raw.once('close', () => engine.meter.ended(reply.raw.writableFinished))
      done()
    })
    fastify.addHook('onResponse', (request, reply, done) => {
      engine.meter.answered({
        method: request.method,
        route: request.routeOptions.url ?? '(none)',
        status: reply.statusCode,
        duration: reply.elapsedTime,
        code: answeredCode(request),
      })
      done()
    })
    fastify.addHook('onReady', () => {
      meter.start()
      return engine.start()
    })
    fastify.addHook('onClose', () => {
      meter.close()
      return engine.close()
    })
  },
  { decorators: { fastify: ['storage'] } },
)
