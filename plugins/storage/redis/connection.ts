import type { Cluster, Redis, RedisOptions } from 'ioredis'

/** Both take the same commands; on a Cluster all keys of one command lie in one slot. */
export type RedisConnection = Redis | Cluster

/** How long a command may take before it fails, in milliseconds. */
export const DEFAULT_COMMAND_TIMEOUT = 1_000
/** How often an otherwise silent connection is asked whether it still lives, in milliseconds. */
export const HEARTBEAT_INTERVAL = 2_000
/** How long a connection that was ended may take to say goodbye, in milliseconds. */
const DISCONNECT_TIMEOUT = 200
/** How long the boot waits for Redis, in milliseconds. */
export const DEFAULT_CONNECT_TIMEOUT = 3_000

/**
 * ioredis with its defaults turned from "wait and hope" to "answer within a deadline":
 * a frozen server fails a command after `commandTimeout` instead of never; a command whose reply was lost
 * is not sent again (it may have been applied); nothing queues up while the connection is away;
 * a replica that refuses writes after a failover makes the client reconnect; so does a server that owes an
 * answer and stays silent, because TCP alone takes many minutes to notice a cable that was pulled.
 * No command may block longer than `socketTimeout` (XREAD BLOCK needs a connection of its own).
 */
export function hardened(options: RedisOptions = {}): RedisOptions & { replyMapping: 'legacy' } {
  return {
    commandTimeout: DEFAULT_COMMAND_TIMEOUT,
    connectTimeout: DEFAULT_CONNECT_TIMEOUT,
    disconnectTimeout: DISCONNECT_TIMEOUT,
    socketTimeout: 2 * (options.commandTimeout ?? DEFAULT_COMMAND_TIMEOUT),
    maxRetriesPerRequest: 1,
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    enableAutoPipelining: true,
    // These are gathered by Reads, in half the time.
    autoPipeliningIgnoredCommands: ['get', 'mget'],
    reconnectOnError: (error) => error.message.startsWith('READONLY'),
    retryStrategy: backoff,
    keepAlive: 5_000,
    ...options,
    // Scripts and HGETALL are read as flat arrays, in each RESP version.
    replyMapping: 'legacy',
    lazyConnect: true,
  }
}

/** Milliseconds until the next attempt. */
export function backoff(attempt: number): number {
  return Math.min(50 * 2 ** attempt, 2_000)
}

/**
 * Connects once, within the connect deadline; afterwards ioredis reconnects by itself.
 * @throws an error that tells where and why, never the URL's password: for a boot, and for the log of a running server
 */
export async function connect(client: Redis): Promise<Redis> {
  let reason: Error | undefined
  // Stays, and stands before the listeners that log.
  client.on('error', withoutArguments)
  const remember = (error: Error) => {
    reason = error
  }
  client.on('error', remember)
  try {
    // One refused attempt is an answer: the boot says so at once rather than retrying behind the user's back.
    const { retryStrategy, sentinelRetryStrategy } = client.options
    delete client.options.retryStrategy
    delete client.options.sentinelRetryStrategy
    await client.connect()
    if (retryStrategy) client.options.retryStrategy = retryStrategy
    if (sentinelRetryStrategy) client.options.sentinelRetryStrategy = sentinelRetryStrategy
    return client
  } catch (cause) {
    client.disconnect()
    withoutArguments(cause)
    const { host, port, path, sentinels, name } = client.options
    const where = sentinels ? `the primary '${name}' of its Sentinels` : (path ?? `${host}:${port}`)
    throw new Error(`Redis at ${where}: ${(reason ?? (cause as Error)).message}`, { cause: reason ?? cause })
  } finally {
    client.off('error', remember)
  }
}

/**
 * ioredis hangs the whole command on the error of a refused one: the password of AUTH, the ids and values of others.
 * They would be logged with the error.
 */
export function withoutArguments<E>(error: E): E {
  if (error instanceof Error && 'command' in error) {
    const { name } = error.command as { name?: string }
    error.command = { name }
  }
  return error
}

/**
 * Ends a connection politely, and by force when the server does not answer within the command deadline.
 * Resolves when the socket is gone.
 */
export async function disconnect(client: Redis): Promise<void> {
  if (client.status === 'end' || client.status === 'wait') return
  if (client.status === 'reconnecting') {
    // Between two attempts there is no connection whose end could be awaited: ioredis tells none.
    client.disconnect()
    return
  }
  const ended = new Promise<void>((resolve) => client.once('end', () => resolve()))
  try {
    if (client.status === 'ready') await client.quit()
  } catch {
    // A server that is gone or frozen cannot say goodbye; disconnect() below needs no answer.
  } finally {
    client.disconnect()
  }
  // Were it to wait for a reconnection attempt instead, its timer must not keep the process.
  const deadline = AbortSignal.timeout(2 * DISCONNECT_TIMEOUT)
  await Promise.race([ended, new Promise<void>((resolve) => deadline.addEventListener('abort', () => resolve()))])
}

/** What a server says of itself; empty where it refuses the question. */
export async function infoOf(server: Redis, section: string): Promise<string> {
  try {
    return await server.info(section)
  } catch (error) {
    // By its name: stores load this file, and the driver only comes with a storage that needs it.
    if (error instanceof Error && error.name === 'ReplyError') return ''
    throw error
  }
}
