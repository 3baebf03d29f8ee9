import type { ClusterOptions, Redis, RedisOptions } from 'ioredis'
import { StorageUnavailableError } from '../../support/errors.ts'
import type { RedisStorage } from '../storage.ts'
import { redisAddress } from './address.ts'
import { RedisChannels } from './channels.ts'
import { connectCluster, connectServer } from './servers.ts'

export interface RedisStorageOptions {
  /**
   * `redis://[user:password@]host:port[/db]`, `redis+cluster://[user:password@]host:port,host:port…` or
   * `redis+sentinel://[user:password@]host:port,host:port…/<name of the primary>[/db]`; with TLS `rediss…`.
   */
  url: string
  /** Stands before every key and channel. Default `fs:` */
  prefix?: string
  /** Further ioredis options (TLS, `sentinelPassword`, …), of each node on a Cluster; ours are the defaults. */
  redis?: RedisOptions
  /** Further options of ioredis' Cluster (`natMap`, `dnsLookup`, …). */
  cluster?: ClusterOptions
}

/** @throws STATEFUL_STORAGE_UNAVAILABLE when Redis does not answer within the connect deadline */
export async function openRedis(options: RedisStorageOptions, instanceId: string): Promise<RedisStorage> {
  const address = redisAddress(options.url)
  const servers =
    address.kind === 'cluster'
      ? await connectCluster(address, options.redis, options.cluster)
      : await connectServer(address, options.redis)
  const { client, subscriber } = servers
  // Without a listener ioredis prints to stderr; the storage plugin adds its own, which logs.
  client.on('error', () => {})
  subscriber.on('error', () => {})
  const channels = new RedisChannels(subscriber, client)
  return {
    kind: 'redis',
    instanceId,
    client,
    channels,
    servers,
    prefix: options.prefix ?? 'fs:',
    async ping() {
      try {
        await Promise.all(servers.all().map((server: Redis) => server.ping()))
      } catch (cause) {
        throw new StorageUnavailableError('Redis', { cause })
      }
    },
    async close() {
      channels.close()
      await servers.close()
    },
  }
}
