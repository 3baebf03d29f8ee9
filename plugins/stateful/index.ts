import { type CacheOptions, cache } from '../cache/index.ts'
import { defaultErrors } from '../problems/index.ts'
import { type SessionOptions, session } from '../session/index.ts'
import { type StateOptions, state } from '../state/index.ts'
import { type StatsOptions, stats } from '../stats/index.ts'
import { type StorageOptions, storage } from '../storage/index.ts'
import { defineService, pluginName } from '../support/define.ts'
import { asGiven, flag, type Rules, readOptions } from '../support/options.ts'
import { type SyncOptions, sync } from '../sync/index.ts'

/** Options of the plugin {@link stateful}. */
export interface StatefulOptions extends StorageOptions {
  /** Signs the session cookie; at least 32 characters. With several, the first signs and all verify. */
  secret: SessionOptions['secret']
  session?: Omit<SessionOptions, 'secret'>
  cache?: CacheOptions
  state?: StateOptions
  sync?: SyncOptions
  stats?: StatsOptions
  /**
   * Fastify's own answers to errors become problem documents without what the storage's driver said; `false` leaves
   * them as they are. Error handlers of the application stay. The plugin `problems` replaces it. Default `true`.
   */
  problems?: boolean
}

/** Each service checks its own. @internal */
export const STATEFUL_RULES = {
  secret: asGiven<SessionOptions['secret']>(),
  session: asGiven<StatefulOptions['session']>(),
  cache: asGiven<CacheOptions>(),
  state: asGiven<StateOptions>(),
  sync: asGiven<SyncOptions>(),
  stats: asGiven<StatsOptions>(),
  problems: flag(true),
  storage: asGiven<StorageOptions['storage']>(),
  backup: asGiven<StorageOptions['backup']>(),
  recoveryTimeout: asGiven<NonNullable<StorageOptions['recoveryTimeout']>>(),
  clock: asGiven<NonNullable<StorageOptions['clock']>>(),
} satisfies Rules<StatefulOptions>

/**
 * All services at once, on one storage: `app.storage`, `app.sessions`, `app.state`, `app.cache`, `app.sync`,
 * `app.stats`. It adds no routes; register the route plugins that you want beside it.
 *
 * @throws at boot what the single plugins throw: STATEFUL_UNKNOWN_STORAGE, STATEFUL_STORAGE_OWNED,
 * STATEFUL_STORAGE_UNAVAILABLE, STATEFUL_INVALID_OPTION, STATEFUL_INVALID_DURATION
 */
export const stateful = defineService<StatefulOptions>('stateful', async (fastify, options) => {
  const {
    secret,
    session: sessionOptions,
    cache: cacheOptions,
    state: stateOptions,
    sync: syncOptions,
    stats: statsOptions,
    problems,
    ...storageOptions
  } = readOptions(STATEFUL_RULES, options)
  // First: a request that comes while the instance closes is refused before a session is loaded for it.
  if (problems && !fastify.hasPlugin(pluginName('problems'))) await fastify.register(defaultErrors)
  await fastify.register(storage, storageOptions)
  await fastify.register(session, { ...sessionOptions, secret: secret as SessionOptions['secret'] })
  await fastify.register(cache, cacheOptions ?? {})
  await fastify.register(state, stateOptions ?? {})
  await fastify.register(sync, syncOptions ?? {})
  await fastify.register(stats, statsOptions ?? {})
})
