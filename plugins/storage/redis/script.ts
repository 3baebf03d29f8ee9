import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { type RedisConnection, withoutArguments } from './connection.ts'

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

  /** @param file URL of the `.lua` file: `new URL('./commit.lua', import.meta.url)` */
  static fromFile(file: URL, numberOfKeys: number): RedisScript {
    return new RedisScript(readFileSync(file, 'utf8'), numberOfKeys)
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
