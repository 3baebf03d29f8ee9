import { Cluster, type ClusterOptions, Redis, type RedisOptions } from 'ioredis'
import { StorageUnavailableError } from '../../support/errors.ts'
import type { RedisAddress, RedisNode } from './address.ts'
import {
  backoff,
  connect,
  DEFAULT_CONNECT_TIMEOUT,
  disconnect,
  hardened,
  type RedisConnection,
  withoutArguments,
} from './connection.ts'

/** The servers behind a storage, one or the primaries of a Cluster, and the connections to them. */
export interface RedisServers {
  readonly client: RedisConnection
  /** A connection of its own, for pub/sub. */
  readonly subscriber: Redis
  /** Every primary that is known now. */
  all(): Redis[]
  /** The primary that has the key: for what Redis answers of itself and not of a key (INFO, SCAN, WAIT). */
  of(key: string): Promise<Redis>
  /** `listener` runs whenever another process may answer from now on than before. */
  onChange(listener: () => void): () => void
  close(): Promise<void>
}

/** @throws STATEFUL_STORAGE_UNAVAILABLE */
export async function connectServer(
  address: RedisAddress & { kind: 'server' | 'sentinel' },
  options: RedisOptions = {},
): Promise<RedisServers> {
  const client = await connect(
    address.kind === 'server'
      ? new Redis(address.url, hardened(options))
      : new Redis(hardened({ ...sentinelDefaults, ...address.options, ...options })),
  )
  const subscriber = await connect(client.duplicate({ enableAutoPipelining: false, autoResubscribe: false })).catch(
    async (error) => {
      await disconnect(client)
      throw error
    },
  )
  return {
    client,
    subscriber,
    all: () => [client],
    of: async () => client,
    onChange(listener) {
      client.on('close', listener)
      return () => client.off('close', listener)
    },
    async close() {
      await Promise.all([disconnect(client), disconnect(subscriber)])
    },
  }
}

const sentinelDefaults: RedisOptions = {
  connectTimeout: DEFAULT_CONNECT_TIMEOUT,
  sentinelCommandTimeout: DEFAULT_CONNECT_TIMEOUT,
  sentinelRetryStrategy: backoff,
  // Told of a failover, the client leaves the former primary at once instead of at its first refusal.
  failoverDetector: true,
}

/** How often the client asks who serves which slot, in milliseconds; a redirection makes it ask at once. */
const REFRESH_INTERVAL = 5_000

/** @throws STATEFUL_STORAGE_UNAVAILABLE */
export async function connectCluster(
  { nodes, login }: RedisAddress & { kind: 'cluster' },
  given: RedisOptions = {},
  clusterOptions: ClusterOptions = {},
): Promise<RedisServers> {
  const { retryStrategy, enableOfflineQueue, enableAutoPipelining, ...redisOptions } = hardened({ ...login, ...given })
  const client = new Cluster(nodes, {
    enableAutoPipelining: true,
    // A command that no node can take now fails now.
    enableOfflineQueue: false,
    clusterRetryStrategy: backoff,
    slotsRefreshInterval: REFRESH_INTERVAL,
    // A command whose reply was lost with its connection may have been applied.
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: 50,
    retryDelayOnTryAgain: 20,
    maxRedirections: 8,
    ...clusterOptions,
    redisOptions: { ...redisOptions, ...clusterOptions.redisOptions, replyMapping: 'legacy' },
    lazyConnect: true,
  })
  client.on('error', withoutArguments)
  // While a node is being connected, commands for it are refused: better before the first one. Not before the
  // Cluster is ready, whose own question would be refused.
  const early = (node: Redis) => {
    if (client.status === 'ready' && node.status === 'wait') node.connect().catch(() => {})
  }
  client.on('+node', early)
  client.on('ready', () => client.nodes('master').forEach(early))
  client.on('-node', () => client.refreshSlotsCache())
  await ready(client, nodes)
  const masters = () => client.nodes('master')

  const subscriber = new Redis({ ...hardened({ ...login, ...given }), autoResubscribe: false })
  let next = Math.floor(Math.random() * masters().length)
  /** Any node hears what was published to any other; each attempt takes the next one. */
  const moveOn = () => {
    const known = masters()
    const node = known[next++ % known.length]
    if (node) Object.assign(subscriber.options, { host: node.options.host, port: node.options.port })
  }
  subscriber.options.enableAutoPipelining = false
  subscriber.options.retryStrategy = (attempt) => {
    moveOn()
    return backoff(attempt)
  }
  // A node that left the Cluster is told nothing any more, but keeps its connections.
  client.on('-node', (node: Redis) => {
    const { host, port } = subscriber.options
    if (node.options.host === host && node.options.port === port) subscriber.disconnect(true)
  })
  moveOn()
  await connect(subscriber).catch(async (error) => {
    client.disconnect()
    throw error
  })

  return {
    client,
    subscriber,
    all: masters,
    async of(key) {
      const slot = await client.cluster('KEYSLOT', key)
      const [name] = client.slots[slot] ?? []
      const node = masters().find(({ options: { host, port } }) => `${host}:${port}` === name)
      if (!node) throw new StorageUnavailableError(`no node of the Redis Cluster serves slot ${slot}`)
      return node
    },
    onChange(listener) {
      let owners = ownersOf(client)
      const compare = () => {
        const now = ownersOf(client)
        if (now !== owners) listener()
        owners = now
      }
      client.on('close', listener).on('-node', listener).on('refresh', compare)
      return () => client.off('close', listener).off('-node', listener).off('refresh', compare)
    },
    async close() {
      await Promise.all([end(client), disconnect(subscriber)])
    },
  }
}

/** Resolves when every primary is connected; one refused attempt is an answer, as in `connect`. */
async function ready(client: Cluster, nodes: RedisNode[]): Promise<void> {
  let reason: Error | undefined
  const remember = (error: Error) => {
    reason = withoutArguments(error)
  }
  client.on('node error', remember)
  const { clusterRetryStrategy } = client.options
  client.options.clusterRetryStrategy = null
  const deadline = AbortSignal.timeout(2 * DEFAULT_CONNECT_TIMEOUT)
  try {
    await new Promise<void>((resolve, reject) => {
      client.once('end', () => reject(new Error('the cluster is not ready')))
      deadline.addEventListener('abort', () => reject(new Error('no answer in time')))
      client
        .connect()
        .then(() => Promise.all(client.nodes('master').map((node) => node.ping())))
        .then(() => resolve(), reject)
    })
    client.options.clusterRetryStrategy = clusterRetryStrategy
  } catch (cause) {
    client.disconnect()
    const where = nodes.map(({ host, port }) => `${host}:${port}`).join(', ')
    throw new StorageUnavailableError(`Redis Cluster at ${where}: ${(reason ?? (cause as Error)).message}`, { cause })
  } finally {
    client.off('node error', remember)
  }
}

/** Who serves which slots, as a text to compare. */
function ownersOf({ slots }: Cluster): string {
  let text = ''
  let former: string | undefined
  for (const [slot, [owner] = []] of slots.entries()) {
    if (owner !== former) text += ` ${slot}:${owner}`
    former = owner
  }
  return text
}

/** As `disconnect`, node by node. */
async function end(client: Cluster): Promise<void> {
  client.options.clusterRetryStrategy = null
  client.removeAllListeners('-node')
  await Promise.all(client.nodes('all').map(disconnect))
  client.disconnect()
}
