import type { Position } from '../../../openapi/schemas/state.ts'
import type { RedisClient } from '../../storage/redis/client.ts'
import { OwnConnection, type RedisCommand } from '../../storage/redis/own-connection.ts'
import { evenWhenFull } from '../../storage/redis/script.ts'
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
  readonly #client: RedisClient
  readonly #meta: string
  readonly #ack: Exclude<RedisAck, 'primary'>
  readonly #timeout: number
  readonly #connection: OwnConnection

  /**
   * @param meta the hash that tells where the log stands
   * @param timeout milliseconds that replicas or the disk may take
   */
  constructor(client: RedisClient, meta: string, ack: Exclude<RedisAck, 'primary'>, timeout: number) {
    this.#client = client
    this.#meta = meta
    this.#ack = ack
    this.#timeout = timeout
    this.#connection = new OwnConnection(client, meta, timeout)
  }

  /** Why this server cannot keep the level at all: that must not be found out by the first write. */
  async obstacle(): Promise<string | undefined> {
    if (this.#ack !== 'fsync') return undefined
    const [[known]] = (await this.#connection.run([['COMMAND', 'INFO', 'WAITAOF']])) as [unknown[]]
    if (!known) return "'fsync' needs Redis 7.2 (WAITAOF)."
    const persistence = await this.#client.info('persistence', this.#meta)
    return /aof_enabled:0/.test(persistence) ? "'fsync' needs `appendonly yes`." : undefined
  }

  /**
   * Resolves when everything up to this position of the log is confirmed.
   * @throws STATEFUL_STATE_NOT_REPLICATED when it is made but not confirmed in time,
   * STATEFUL_STORAGE_UNAVAILABLE when it is not known whether this server has it at all
   */
  async confirm({ epoch, revision }: Position): Promise<void> {
    const waiting: RedisCommand =
      this.#ack === 'fsync' ? ['WAITAOF', 1, 0, this.#timeout] : ['WAIT', this.#ack.replicas, this.#timeout]
    const needed = this.#ack === 'fsync' ? 1 : this.#ack.replicas
    const asks = this.#client.tellsRun
    const replies = await this.#connection.run([
      // A write of this connection that comes after the commit: a replica that has it has the commit too.
      ['EVAL', CONFIRMING, 1, this.#meta, revision],
      ['HMGET', this.#meta, 'epoch', 'revision', 'run'],
      waiting,
      ...(asks ? [['INFO', 'server'] as const] : []),
    ])
    const [, [heldEpoch, heldRevision, run], copies, info] = replies as [0, string[], number | number[], string?]
    const another = info !== undefined && !info.includes(`run_id:${run}`)
    // After a failover another server answers: its copies say nothing about what was committed to the one before.
    if (heldEpoch !== epoch || Number(heldRevision) < revision || another) {
      throw new StorageUnavailableError('the server changed before the write was confirmed')
    }
    const confirmed = Array.isArray(copies) ? (copies[0] ?? 0) : copies
    if (confirmed < needed) throw new StateNotReplicatedError(confirmed, needed)
  }

  async close(): Promise<void> {
    await this.#connection.close()
  }
}
