import { randomUUID } from 'node:crypto'
import fastifyRedis from '@fastify/redis'
import { defineService } from '../support/define.ts'
import { UnknownStorageError } from '../support/errors.ts'
import { openLmdb } from './lmdb/open.ts'
import { openRedis, type RedisStorageOptions } from './redis/open.ts'
import type { Storage } from './storage.ts'

export type { RedisStorageOptions } from './redis/open.ts'
export type { LmdbStorage, MemoryStorage, RedisStorage, Storage } from './storage.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The one set of connections that all services share. */
    storage: Storage
  }
}

export interface StorageOptions {
  /**
   * `'memory:'`, `'lmdb:<folder>'`, `'redis://…'`, `'redis+cluster://…'`, `'redis+sentinel://…'` (with TLS `rediss`),
   * or Redis with options. Default `'lmdb:./data'`.
   */
  storage?: string | RedisStorageOptions
}

/**
 * Opens a storage without Fastify (scripts, tests).
 * @throws STATEFUL_UNKNOWN_STORAGE, STATEFUL_STORAGE_OWNED, STATEFUL_STORAGE_UNAVAILABLE
 */
export async function openStorage(target: string | RedisStorageOptions = 'lmdb:./data'): Promise<Storage> {
  const instanceId = randomUUID()
  const options = typeof target === 'string' ? { url: target } : target
  if (options.url === 'memory:') return openMemory(instanceId)
  if (options.url.startsWith('lmdb:') && options.url.length > 'lmdb:'.length) {
    return openLmdb(options.url.slice('lmdb:'.length), instanceId)
  }
  if (/^rediss?(\+(cluster|sentinel))?:\/\//.test(options.url)) return openRedis(options, instanceId)
  // What stands before the colon is enough to see the mistake; the rest may hold a password.
  throw new UnknownStorageError(options.url.split(':')[0])
}

function openMemory(instanceId: string): Storage {
  return { kind: 'memory', instanceId, async ping() {}, async close() {} }
}

export const storage = defineService<StorageOptions>('storage', async (fastify, options) => {
  const log = fastify.log.child({ plugin: 'storage' })
  const opened = await openStorage(options.storage)
  fastify.decorate<Storage>('storage', opened)
  fastify.addHook('onClose', () => opened.close())
  if (opened.kind === 'lmdb' && opened.recovery) {
    const { restored } = opened.recovery
    log.error(
      opened.recovery,
      restored
        ? 'the database was damaged; a backup took its place'
        : 'the database was damaged and there is no good backup: the storage begins empty',
    )
  }
  if (opened.kind === 'redis') {
    opened.client.on('error', (error) => log.warn({ err: error }, 'Redis connection failed; reconnecting'))
    opened.client.on('ready', () => log.info('Redis connection is back'))
    await fastify.register(fastifyRedis, { namespace: 'stateful', client: opened.client, closeClient: false })
  }
})

export default storage
