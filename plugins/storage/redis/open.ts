import { Redis, type RedisOptions } from 'ioredis'
import { StorageUnavailableError } from '../../support/errors.ts'
import type { RedisStorage } from '../storage.ts'
import { RedisChannels } from './channels.ts'
import { connect, disconnect, hardened } from './connection.ts'

export interface RedisStorageOptions {
  /** `redis://[user:password@]host:port[/db]` or `rediss://…` */
  url: string
  /** Stands before every key and channel. Default `fs:` */
  prefix?: string
  /** Further ioredis options (TLS, sentinels, …); ours are the defaults, see connection.ts. */
  redis?: RedisOptions
}

/** @throws STATEFUL_STORAGE_UNAVAILABLE when Redis does not answer within the connect deadline */
export async function openRedis(options: RedisStorageOptions, instanceId: string): Promise<RedisStorage> {
  const client = await connect(new Redis(options.url, hardened(options.redis)))
  let subscriber: Redis
  try {
    subscriber = await connect(client.duplicate({ enableAutoPipelining: false, autoResubscribe: false }))
  } catch (error) {
    await disconnect(client)
    throw error
  }
  // Without a listener ioredis prints to stderr; the storage plugin adds its own, which logs.
  client.on('error', () => {})
  subscriber.on('error', () => {})
  const channels = new RedisChannels(subscriber, client)
  return {
    kind: 'redis',
    instanceId,
    client,
    channels,
    prefix: options.prefix ?? 'fs:',
    async ping() {
      try {
        await client.ping()
      } catch (cause) {
        throw new StorageUnavailableError((cause as Error).message, { cause })
      }
    },
    async close() {
      channels.close()
      await Promise.all([disconnect(client), disconnect(subscriber)])
    },
  }
}
