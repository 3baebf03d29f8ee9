import { createHash } from 'node:crypto'
import { readText } from '../../support/text.ts'
import { type RedisConnection, withoutArguments } from './connection.ts'

/**
 * Redis 7.0 and Valkey run a script of this flag also when their memory is full. For those that only read or let go, and
 * for what is small, bounded and soon gone again: a tombstone, a stamp, a lease. Without it nobody could log out, revoke or
 * invalidate until somebody else has made room.
 */
export const evenWhenFull = (source: string): string => `#!lua flags=allow-oom\n${source}`

/**
 * Refused as a whole when memory is full. Without a first line like this Redis refuses the first command that needs
 * memory, and none once the script has written, be it to remove something: then it may grow as much as it likes.
 */
export const notWhenFull = (source: string): string => `#!lua\n${source}`

/**
 * A Lua script that runs by its digest and is sent whole only when the server does not know it
 * (a fresh server, another node of a Cluster, SCRIPT FLUSH, a failover). Scripts do not roll back: they check first, then write.
 */
export class RedisScript {
  readonly #source: string
  readonly #digest: string
  readonly #numberOfKeys: number

  constructor(source: string, numberOfKeys: number) {
    this.#source = source
    this.#numberOfKeys = numberOfKeys
    this.#digest = createHash('sha1').update(source).digest('hex')
  }

  /**
   * @param file of the script, as for `readText`
   * @param whenFull what a full memory means for it: `evenWhenFull` or `notWhenFull`
   */
  static fromFile(file: URL, numberOfKeys: number, whenFull: (source: string) => string): RedisScript {
    return new RedisScript(whenFull(readText(file)), numberOfKeys)
  }

  async run(client: RedisConnection, keys: string[], args: (string | Buffer | number)[] = []): Promise<unknown> {
    if (keys.length !== this.#numberOfKeys) throw new TypeError(`the script takes ${this.#numberOfKeys} keys`)
    try {
      // As one array: a restore has more arguments than a call can take.
      return await client.call('evalsha', [this.#digest, this.#numberOfKeys, ...keys, ...args])
    } catch (error) {
      if (!(error as Error).message.startsWith('NOSCRIPT')) throw withoutArguments(error)
    }
    try {
      return await client.call('eval', [this.#source, this.#numberOfKeys, ...keys, ...args])
    } catch (error) {
      throw withoutArguments(error)
    }
  }
}
