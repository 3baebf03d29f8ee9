import { createHash } from 'node:crypto'
import { readText } from '../../support/text.ts'
import { MAX_ARGUMENTS, type RedisClient } from './client.ts'
import { redisFailure } from './failure.ts'

/**
 * Redis 7.0 and Valkey run a script of this flag also when their memory is full. For those that only read or let go,
 * and for what is small, bounded and soon gone again: a tombstone, a stamp, a lease. Without it users could not log
 * out, revoke or invalidate until somebody else has made room.
 */
export const evenWhenFull = (source: string): string => `#!lua flags=allow-oom\n${source}`

/**
 * Refused as a whole when memory is full. Without a first line like this Redis refuses the first command that needs
 * memory, and none once the script has written, be it to remove something: then it may grow as much as it likes.
 */
export const notWhenFull = (source: string): string => `#!lua\n${source}`

export type ScriptArgument = string | Buffer | number

/**
 * The most keys that one run can name: beside them stand EVALSHA, the digest, their number and the packed arguments.
 */
export const MAX_KEYS = MAX_ARGUMENTS - 4

/** What a script begins with whose arguments came as one, each behind its length. */
const UNPACKED = `local ARGV = (function(packed)
  local list, at = {}, 1
  while at <= #packed do
    local colon = string.find(packed, ':', at, true)
    local last = colon + tonumber(string.sub(packed, at, colon - 1))
    list[#list + 1] = string.sub(packed, colon + 1, last)
    at = last + 1
  end
  return list
end)(ARGV[1])
`

/** What every script begins with. */
let beginning = ''

/**
 * For tests: from now on every script of this process begins with these lines, which may put something of their own
 * in the place of `redis`.
 */
export function beginScriptsWith(lua: string): void {
  beginning = lua
}

/**
 * A Lua script that runs by its digest and is sent whole only when the server does not know it
 * (a fresh server, another node of a Cluster, SCRIPT FLUSH, a failover). Scripts do not roll back: they check first,
 * then write. Every key that one touches is named to the server: a Cluster finds its node by them, and others than
 * Redis itself run only what they can lock beforehand.
 */
export class RedisScript {
  readonly #source: string
  #texts: { beginning: string; plain: Text; packed: Text } | undefined

  constructor(source: string) {
    this.#source = source
  }

  /**
   * @param file of the script, as for `readText`
   * @param whenFull what a full memory means for it: `evenWhenFull` or `notWhenFull`
   */
  static fromFile(file: URL, whenFull: (source: string) => string): RedisScript {
    return new RedisScript(whenFull(readText(file)))
  }

  /** @param args more than a request may hold go as one; the script does not see the difference */
  run(client: RedisClient, keys: readonly string[], args: readonly ScriptArgument[] = []): Promise<unknown> {
    const { plain, packed } = this.#variants()
    return keys.length + args.length + 3 > MAX_ARGUMENTS
      ? this.#send(client, packed, keys, [pack(args)])
      : this.#send(client, plain, keys, args)
  }

  /**
   * Runs it for groups of keys, each of one slot, in as few requests as there can be: one on a single server, one a
   * slot on a Cluster. The script gets the groups one behind the other and answers with a list, an element for each.
   */
  async gather(
    client: RedisClient,
    groups: readonly (readonly string[])[],
    args: readonly ScriptArgument[] = [],
  ): Promise<unknown[]> {
    const answers = new Array<unknown>(groups.length)
    const runs = client.togetherIn(groups, MAX_KEYS).map(async (indexes) => {
      const keys = indexes.flatMap((index) => groups[index] as readonly string[])
      const replies = (await this.run(client, keys, args)) as unknown[]
      indexes.forEach((index, i) => {
        answers[index] = replies[i]
      })
    })
    await Promise.all(runs)
    return answers
  }

  async #send(
    client: RedisClient,
    { source, digest }: Text,
    keys: readonly string[],
    args: readonly ScriptArgument[],
  ): Promise<unknown> {
    try {
      return await client.call('evalsha', [digest, keys.length, ...keys, ...args])
    } catch (error) {
      if (!(error as Error).message.startsWith('NOSCRIPT')) throw redisFailure(error)
    }
    try {
      return await client.call('eval', [source, keys.length, ...keys, ...args])
    } catch (error) {
      throw redisFailure(error)
    }
  }

  #variants(): { plain: Text; packed: Text } {
    if (this.#texts?.beginning !== beginning) {
      const plain = textOf(this.#source, beginning)
      this.#texts = { beginning, plain, packed: textOf(this.#source, `${UNPACKED}${beginning}`) }
    }
    return this.#texts as { plain: Text; packed: Text }
  }
}

interface Text {
  source: string
  digest: string
}

/** What Redis is to know of a script stands in its first line. */
function textOf(source: string, beginning: string): Text {
  const start = source.startsWith('#!') ? source.indexOf('\n') + 1 : 0
  const text = `${source.slice(0, start)}${beginning}${source.slice(start)}`
  return { source: text, digest: createHash('sha1').update(text).digest('hex') }
}

function pack(args: readonly ScriptArgument[]): Buffer {
  return Buffer.concat(
    args.flatMap((arg) => {
      const bytes = Buffer.isBuffer(arg) ? arg : Buffer.from(`${arg}`)
      return [Buffer.from(`${bytes.length}:`), bytes]
    }),
  )
}
