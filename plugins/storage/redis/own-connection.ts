import type { Redis } from 'ioredis'
import type { RedisClient } from './client.ts'
import { connect, DEFAULT_COMMAND_TIMEOUT, disconnect } from './connection.ts'
import { redisFailure } from './failure.ts'

export type RedisCommand = readonly [name: string, ...args: (string | number)[]]

/**
 * A connection to the server that has a key, beside the one that all share: for what blocks the connection that it is
 * sent on, or speaks of what that connection has written (WAIT, WAITAOF).
 */
export class OwnConnection {
  readonly #client: RedisClient
  readonly #key: string
  readonly #patience: number
  #connection: Promise<Redis> | undefined

  /** @param patience milliseconds that the server may block it */
  constructor(client: RedisClient, key: string, patience: number) {
    this.#client = client
    this.#key = key
    this.#patience = patience
  }

  /**
   * Sends them one behind the other. When one fails the connection is given up: another server may have the key by now.
   * @returns their answers
   * @throws STATEFUL_STORAGE_UNAVAILABLE
   */
  async run(commands: readonly RedisCommand[]): Promise<unknown[]> {
    try {
      const pipeline = (await this.#connected()).pipeline()
      for (const command of commands) pipeline.call(...command)
      return ((await pipeline.exec()) ?? []).map(([error, reply]) => {
        if (error) throw error
        return reply
      })
    } catch (error) {
      await this.close()
      throw redisFailure(error)
    }
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
    const server = this.#client.servers.of(this.#key)
    // Beyond what the server waits, so that it is the server who says how many have confirmed.
    const commandTimeout = this.#patience + (server.options.commandTimeout ?? DEFAULT_COMMAND_TIMEOUT)
    return connect(server.duplicate({ enableAutoPipelining: false, commandTimeout, socketTimeout: 2 * commandTimeout }))
  }
}
