import type { Redis } from 'ioredis'
import type { Position } from '../../../openapi/schemas/state.ts'
import { connect, DEFAULT_COMMAND_TIMEOUT, disconnect } from '../../storage/redis/connection.ts'
import { evenWhenFull } from '../../storage/redis/script.ts'
import type { RedisStorage } from '../../storage/storage.ts'
import { StateNotReplicatedError, StorageUnavailableError } from '../../support/errors.ts'

/** A number in the place of another: also after a deletion when memory is full. */
const CONFIRMING = evenWhenFull("return redis.call('HSET', KEYS[1], 'confirming', ARGV[1])")

/** Who must have a write before it is acknowledged: the primary, that many replicas too, or the primary's disk. */
export type RedisAck = 'primary' | 'fsync' | { replicas: number }

/**
 * Asks a server whether what it has committed is where the ack level wants it (WAIT, WAITAOF). On a connection of its
 * own: both block the connection that they are sent on, and both speak of what that connection wrote before.
 */
export class RedisConfirmation {
  readonly #storage: RedisStorage
  readonly #meta: string
  readonly #ack: Exclude<RedisAck, 'primary'>
  readonly #timeout: number
  #connection: Promise<Redis> | undefined

  /**
   * @param meta the hash that tells where the log stands
   * @param timeout milliseconds that replicas or the disk may take
   */
  constructor(storage: RedisStorage, meta: string, ack: Exclude<RedisAck, 'primary'>, timeout: number) {
    this.#storage = storage
    this.#meta = meta
    this.#ack = ack
    this.#timeout = timeout
  }

  /** Why this server cannot keep the level at all: that must not be found out by the first write. */
  async obstacle(): Promise<string | undefined> {
    if (this.#ack !== 'fsync') return undefined
    const server = await this.#storage.servers.of(this.#meta)
    const [known] = (await server.call('COMMAND', 'INFO', 'WAITAOF')) as unknown[]
    if (!known) return "'fsync' needs Redis 7.2 (WAITAOF)."
    return /aof_enabled:0/.test(await server.info('persistence')) ? "'fsync' needs `appendonly yes`." : undefined
  }

  /**
   * Resolves when everything up to this position of the log is confirmed.
   * @throws STATEFUL_STATE_NOT_REPLICATED when it is made but not confirmed in time,
   * STATEFUL_STORAGE_UNAVAILABLE when it is not known whether this server has it at all
   */
  async confirm({ epoch, revision }: Position): Promise<void> {
    const waiting: [string, ...(string | number)[]] =
      this.#ack === 'fsync' ? ['WAITAOF', 1, 0, this.#timeout] : ['WAIT', this.#ack.replicas, this.#timeout]
    const needed = this.#ack === 'fsync' ? 1 : this.#ack.replicas
    let replies: unknown[]
    try {
      const results = await (await this.#connected())
        .pipeline()
        // A write of this connection that comes after the commit: whoever has it has the commit too.
        .call('EVAL', CONFIRMING, 1, this.#meta, revision)
        .hmget(this.#meta, 'epoch', 'revision', 'run')
        .info('server')
        .call(...waiting)
        .exec()
      replies = (results ?? []).map(([error, reply]) => {
        if (error) throw error
        return reply
      })
    } catch (cause) {
      // Another server may have the space by now.
      await this.close()
      throw new StorageUnavailableError('state', { cause })
    }
    const [, [heldEpoch, heldRevision, run], info, copies] = replies as [0, string[], string, number | number[]]
    // After a failover another server answers: its copies say nothing about what was committed to the one before.
    if (heldEpoch !== epoch || Number(heldRevision) < revision || !info.includes(`run_id:${run}`)) {
      throw new StorageUnavailableError('the server changed before the write was confirmed')
    }
    const confirmed = Array.isArray(copies) ? (copies[0] ?? 0) : copies
    if (confirmed < needed) throw new StateNotReplicatedError(confirmed, needed)
  }

  async close(): Promise<void> {
    const connection = this.#connection
    this.#connection = undefined
    await connection?.then(disconnect, () => {})
  }

  #connected(): Promise<Redis> {
    this.#connection ??= this.#connect()
    return this.#connection
  }

  async #connect(): Promise<Redis> {
    const server = await this.#storage.servers.of(this.#meta)
    // Beyond what the server waits, so that it is the server who says how many have confirmed.
    const commandTimeout = this.#timeout + (server.options.commandTimeout ?? DEFAULT_COMMAND_TIMEOUT)
    return connect(server.duplicate({ enableAutoPipelining: false, commandTimeout, socketTimeout: 2 * commandTimeout }))
  }
}
