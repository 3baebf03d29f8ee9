import type { ClusterOptions, RedisOptions } from 'ioredis'
import { StorageUnavailableError } from '../../support/errors.ts'
import type { RedisStorage } from '../storage.ts'
import { redisAddress } from './address.ts'
import { RedisChannels } from './channels.ts'
import { RedisClient } from './client.ts'
import { refuse } from './failure.ts'
import { RedisScript } from './script.ts'
import { connectCluster, connectServer, type RedisServers } from './servers.ts'

/** Where a Redis is, and how to talk to it. */
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
  const connecting =
    address.kind === 'cluster'
      ? connectCluster(address, options.redis, options.cluster)
      : connectServer(address, options.redis)
  const servers = await connecting.catch((cause: Error) => {
    // The one message that says where and why: it is for the person who starts the server.
    throw new StorageUnavailableError(cause.message, { cause })
  })
  // Without a listener ioredis prints to stderr; the storage plugin adds its own, which logs.
  servers.client.on('error', () => {})
  const prefix = options.prefix ?? 'fs:'
  const channels = new RedisChannels(servers)
  const close = async () => {
    channels.close()
    await servers.close()
  }
  try {
    return {
      kind: 'redis',
      instanceId,
      client: await clientOf(servers, prefix),
      channels,
      prefix,
      async ping() {
        await Promise.all(servers.all().map((server) => server.ping())).catch(refuse)
      },
      close,
    }
  } catch (cause) {
    await close()
    throw new StorageUnavailableError(`Redis: ${(cause as Error).message}`, { cause })
  }
}

/** The question is an error where it is refused, and has no answer on servers that know no such thing. */
const ASK = new RedisScript(`#!lua flags=no-writes,allow-oom
local info = redis.pcall('INFO', 'server')
return type(info) == 'string' and string.match(info, 'run_id:(%w+)') ~= nil and 1 or 0`)

async function clientOf(servers: RedisServers, prefix: string): Promise<RedisClient> {
  const asking = new RedisClient(servers, false)
  return (await ASK.run(asking, [`${prefix}run`])) === 1 ? new RedisClient(servers, true) : asking
}
