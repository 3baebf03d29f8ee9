import type { Redis, RedisOptions } from 'ioredis'
import { StorageUnavailableError } from '../../support/errors.ts'

export type RedisConnection = Redis

/** How long a command may take before it fails, in milliseconds. */
export const DEFAULT_COMMAND_TIMEOUT = 1_000
/** How long the boot waits for Redis, in milliseconds. */
export const DEFAULT_CONNECT_TIMEOUT = 3_000

/**
 * ioredis with its defaults turned from "wait and hope" to "answer within a deadline":
 * a frozen server fails a command after `commandTimeout` instead of never; a command whose reply was lost
 * is not sent again (it may have been applied); nothing queues up while the connection is away;
 * a replica that refuses writes after a failover makes the client reconnect.
 */
export function hardened(options: RedisOptions = {}): RedisOptions & { replyMapping: 'legacy' } {
  return {
    commandTimeout: DEFAULT_COMMAND_TIMEOUT,
    connectTimeout: DEFAULT_CONNECT_TIMEOUT,
    maxRetriesPerRequest: 1,
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    enableAutoPipelining: true,
    reconnectOnError: (error) => error.message.startsWith('READONLY'),
    retryStrategy: (attempt) => Math.min(50 * 2 ** attempt, 2_000),
    keepAlive: 5_000,
    ...options,
    // Scripts and HGETALL are read as flat arrays, whatever RESP version was negotiated.
    replyMapping: 'legacy',
    lazyConnect: true,
  }
}

/**
 * Connects once, within the connect deadline; afterwards ioredis reconnects by itself.
 * @throws STATEFUL_STORAGE_UNAVAILABLE with the reason, never with the URL's password
 */
export async function connect(client: Redis): Promise<Redis> {
  let reason: Error | undefined
  const remember = (error: Error) => {
    reason = error
  }
  client.on('error', remember)
  try {
    // One refused attempt is an answer: the boot says so at once rather than retrying behind the user's back.
    const { retryStrategy } = client.options
    delete client.options.retryStrategy
    await client.connect()
    if (retryStrategy) client.options.retryStrategy = retryStrategy
    return client
  } catch (cause) {
    client.disconnect()
    const { host, port, path } = client.options
    const where = path ?? `${host}:${port}`
    throw new StorageUnavailableError(`Redis at ${where}: ${(reason ?? (cause as Error)).message}`, {
      cause: reason ?? cause,
    })
  } finally {
    client.off('error', remember)
  }
}

/** Ends a connection politely, and by force when the server does not answer within the command deadline. */
export async function disconnect(client: Redis): Promise<void> {
  if (client.status === 'end') return
  try {
    if (client.status === 'ready') await client.quit()
  } catch {
    // A server that is gone or frozen cannot say goodbye; disconnect() below needs no answer.
  } finally {
    client.disconnect()
  }
}
