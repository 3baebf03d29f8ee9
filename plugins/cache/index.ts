import { defineService } from '../support/define.ts'
import { Cache, cacheParts } from './cache.ts'
import type { CacheOptions } from './options.ts'

export { KeyvStore } from './adapters/keyv.ts'
export { KeyvStore6 } from './adapters/keyv-6.ts'
export { Cache, type CacheParts, cacheParts } from './cache.ts'
export type { CacheNumbers, CacheStats } from './counters.ts'
export type { CachedOptions, MethodDecorator } from './decorators.ts'
export type { CacheNamespace, DelayedPersistOptions } from './namespace.ts'
export type { CacheOptions, WriteBehindOptions } from './options.ts'
export type {
  EntryInfo,
  LoadContext,
  Loader,
  LoadOptions,
  SearchOptions,
  SearchResult,
  SetOptions,
  WarmEntry,
  WarmResult,
} from './types.ts'
export type { DeadWrite, DelayedWrite, WaitingWrite, WriteHandler } from './write-behind/writes.ts'

declare module 'fastify' {
  interface FastifyInstance {
    cache: Cache
  }
}

/** A two-level cache in front of `fastify.storage`. */
export const cache = defineService<CacheOptions>(
  'cache',
  async (fastify, options) => {
    const log = fastify.log.child({ plugin: 'cache' })
    const parts = await cacheParts(fastify.storage, options, (away) => {
      if (away) log.warn('the store of the cache is out of reach; answering without it')
      else log.info('the store of the cache is back')
    })
    const made = new Cache(
      {
        ...parts,
        onError: (err, what) => log.warn({ err, what }, 'cache work failed'),
        onWarmed: (message, details) => log.info(details, message),
      },
      options,
    )
    fastify.decorate('cache', made)
    fastify.addHook('onReady', () => made.start())
    fastify.addHook('onClose', () => made.close())
  },
  { decorators: { fastify: ['storage'] } },
)
