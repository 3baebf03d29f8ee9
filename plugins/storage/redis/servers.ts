import slotOf from 'cluster-key-slot'
import { Cluster, type ClusterOptions, Redis, type RedisOptions } from 'ioredis'
import { StorageUnavailableError } from '../../support/errors.ts'
import type { RedisAddress, RedisNode } from './address.ts'
import {
  backoff,
  connect,
  DEFAULT_CONNECT_TIMEOUT,
  disconnect,
  hardened,
  infoOf,
  type RedisConnection,
  withoutArguments,
} from './connection.ts'

/** The servers behind a storage, one or the primaries of a Cluster, and the connections to them. */
export interface RedisServers {
  readonly client: RedisConnection
  /** Whether keys lie in slots: then those of one command lie in one, and channels lie in slots as well. */
  readonly cluster: boolean
  readonly lines: RedisLines
  /** Every primary that is known now. */
  all(): Redis[]
  /**
   * The primary that has the key: for what Redis answers of itself and not of a key (INFO, SCAN, WAIT).
   * @throws STATEFUL_STORAGE_UNAVAILABLE when none is known
   */
  of(key: string): Redis
  /** `listener` runs whenever another process may answer from now on than before. */
  onChange(listener: () => void): () => void
  close(): Promise<void>
}

/** Connections of their own, for pub/sub. */
export interface RedisLines {
  /**
   * The line on which a channel is heard now, connected when it is asked for first.
   * @throws as `connect` does, or STATEFUL_STORAGE_UNAVAILABLE when no server is known
   */
  of(channel: string): Promise<Redis>
  /** Those that are connected already. */
  known(): Redis[]
  /** `listener` runs whenever `of` may answer otherwise than before. */
  onMoved(listener: () => void): () => void
  /** Finds out which line is whose, now. */
  refresh(): Promise<void>
}

/** @throws as `connect` does */
export async function connectServer(
  address: RedisAddress & { kind: 'server' | 'sentinel' },
  options: RedisOptions = {},
): Promise<RedisServers> {
  const client = await connect(
    address.kind === 'server'
      ? new Redis(address.url, hardened(options))
      : new Redis(hardened({ ...sentinelDefaults, ...address.options, ...options })),
  )
  // ioredis looks by INFO whether a server is loading its data; where that is refused it would complain each time.
  if ((await infoOf(client, 'server').catch(() => undefined)) === '') client.options.enableReadyCheck = false
  const subscriber = await connect(client.duplicate({ enableAutoPipelining: false, autoResubscribe: false })).catch(
    async (error) => {
      await disconnect(client)
      throw error
    },
  )
  return {
    client,
    cluster: false,
    lines: { of: async () => subscriber, known: () => [subscriber], onMoved: () => () => {}, refresh: async () => {} },
    all: () => [client],
    of: () => client,
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

/** @throws as `connect` does */
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

  const of = (key: string): Redis => {
    const slot = slotOf(key)
    const [name] = client.slots[slot] ?? []
    const node = masters().find((master) => nameOf(master) === name)
    if (!node) throw new StorageUnavailableError(`no node of the Redis Cluster serves slot ${slot}`)
    return node
  }
  const lines = new ClusterLines(client, of)
  return {
    client,
    cluster: true,
    lines,
    all: masters,
    of,
    onChange: (listener) => onOwnersChange(client, listener),
    async close() {
      await Promise.all([lines.close(), end(client)])
    },
  }
}

const nameOf = ({ options: { host, port } }: Redis): string => `${host}:${port}`

/** `listener` runs whenever another process may serve a slot than before: a node whose connection is lost is left out. */
function onOwnersChange(client: Cluster, listener: () => void): () => void {
  let owners = ownersOf(client)
  const compare = () => {
    const now = ownersOf(client)
    if (now !== owners) listener()
    owners = now
  }
  client.on('close', listener).on('-node', listener).on('refresh', compare)
  return () => client.off('close', listener).off('-node', listener).off('refresh', compare)
}

/**
 * A line to each node of a Cluster whose slots hold a channel that somebody listens to. What is published in a slot is
 * told by the node that serves it and no other: the nodes have nothing to pass on to each other.
 */
class ClusterLines implements RedisLines {
  readonly #client: Cluster
  readonly #nodeOf: (channel: string) => Redis
  readonly #lines = new Map<string, Promise<Redis>>()

  constructor(client: Cluster, nodeOf: (channel: string) => Redis) {
    this.#client = client
    this.#nodeOf = nodeOf
    client.on('-node', (node: Redis) => this.#drop(nameOf(node)))
  }

  of(channel: string): Promise<Redis> {
    let node: Redis
    try {
      node = this.#nodeOf(channel)
    } catch (error) {
      return Promise.reject(error)
    }
    const name = nameOf(node)
    const known = this.#lines.get(name)
    if (known) return known
    // One that is lost is not made again by itself: another node may have its slots by now.
    const own: RedisOptions = { retryStrategy: null, enableOfflineQueue: false, autoResubscribe: false }
    const client = node.duplicate({ ...own, enableAutoPipelining: false })
    const forget = () => this.#lines.get(name) === line && this.#lines.delete(name)
    const line = connect(client)
    line.catch(forget)
    client.once('end', forget)
    this.#lines.set(name, line)
    return line
  }

  known(): Redis[] {
    return []
  }

  onMoved(listener: () => void): () => void {
    return onOwnersChange(this.#client, listener)
  }

  refresh(): Promise<void> {
    return new Promise((resolve) => this.#client.refreshSlotsCache(() => resolve()))
  }

  async close(): Promise<void> {
    await Promise.all([...this.#lines.keys()].map((name) => this.#drop(name)))
  }

  async #drop(name: string): Promise<void> {
    const line = this.#lines.get(name)
    this.#lines.delete(name)
    await line?.then(disconnect, () => {})
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
    throw new Error(`Redis Cluster at ${where}: ${(reason ?? (cause as Error)).message}`, { cause })
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
