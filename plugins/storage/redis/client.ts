import slotOf from 'cluster-key-slot'
import { infoOf } from './connection.ts'
import { refuse } from './failure.ts'
import { Reads } from './reads.ts'
import type { RedisServers } from './servers.ts'

/** The most arguments of a request, its name among them: offers behind a proxy refuse more. */
export const MAX_ARGUMENTS = 3_999

type Argument = string | Buffer | number
export type StreamEntry = [id: Buffer, fields: Buffer[]]

/**
 * All that services ask of Redis, on one server, behind Sentinels or on a Cluster. Commands are called as Redis calls
 * them; one that takes a list takes any length and goes in as many requests as that needs. What rejects is
 * STATEFUL_STORAGE_FULL or STATEFUL_STORAGE_UNAVAILABLE, but for what failure.ts lets through.
 */
export class RedisClient {
  /** The driver's own connections: for this room. */
  readonly servers: RedisServers
  readonly #driver: RedisServers['client']
  readonly #reads: Reads | undefined
  readonly #tellsRun: boolean
  #generation = 0

  /** @param tellsRun see `tellsRun` */
  constructor(servers: RedisServers, tellsRun: boolean) {
    this.servers = servers
    this.#driver = servers.client
    if (!servers.cluster) this.#reads = new Reads(servers.client)
    this.#tellsRun = tellsRun
    servers.onChange(() => this.#generation++)
  }

  /** Whether keys lie on several servers, each those of some slots. */
  get isCluster(): boolean {
    return this.servers.cluster
  }

  /**
   * Whether a script may ask the server which process it is (`run_id` of INFO), so that it need not be remembered.
   * Dragonfly has none, and some offers refuse the question.
   */
  get tellsRun(): boolean {
    return this.#tellsRun
  }

  /** Another number whenever another process may answer from now on than before: a connection was lost. */
  get generation(): number {
    return this.#generation
  }

  /** `listener` runs whenever `generation` rises. */
  onChange(listener: () => void): () => void {
    return this.servers.onChange(listener)
  }

  /** Bytes that came over the connections of the moment. */
  get received(): number {
    let bytes = 0
    for (const { stream } of this.servers.all()) bytes += (stream as { bytesRead?: number } | undefined)?.bytesRead ?? 0
    return bytes
  }

  // --- commands -----------------------------------------------------------------------------------

  /** Text; of several reads in one turn of the event loop those of keys that hold something else are `null`. */
  get(key: string): Promise<string | null> {
    return this.#reads ? this.#reads.get(key) : this.#driver.get(key).catch(refuse)
  }

  /** Bytes from one place to another, both included. */
  getrange(key: string, from: number, to: number): Promise<string> {
    return this.#driver.getrange(key, from, to).catch(refuse)
  }

  /** On a Cluster all keys lie in one slot. */
  mget(keys: readonly string[]): Promise<(Buffer | null)[]> {
    if (keys.length < MAX_ARGUMENTS) return this.#driver.mgetBuffer(keys as string[]).catch(refuse)
    const parts = chunked(keys).map((some) => this.#driver.mgetBuffer(some))
    return Promise.all(parts).then((found) => found.flat(), refuse)
  }

  /** On a Cluster all keys lie in one slot. @returns how many were there */
  unlink(keys: readonly string[]): Promise<number> {
    return this.#sum(keys, (some) => this.#driver.unlink(some))
  }

  exists(key: string): Promise<number> {
    return this.#driver.exists(key).catch(refuse)
  }

  hget(key: string, field: string): Promise<string | null> {
    return this.#driver.hget(key, field).catch(refuse)
  }

  async hmget(key: string, fields: readonly string[]): Promise<(Buffer | null)[]> {
    const parts = chunked(fields).map((some) => this.#driver.hmgetBuffer(key, ...some))
    return (await Promise.all(parts).catch(refuse)).flat()
  }

  hgetall(key: string): Promise<Record<string, string>> {
    return this.#driver.hgetall(key).catch(refuse)
  }

  hlen(key: string): Promise<number> {
    return this.#driver.hlen(key).catch(refuse)
  }

  /** @param pairs field, value, … */
  hset(key: string, pairs: readonly string[]): Promise<number> {
    return this.#sum(pairs, (some) => this.#driver.hset(key, ...some))
  }

  hdel(key: string, fields: readonly string[]): Promise<number> {
    return this.#sum(fields, (some) => this.#driver.hdel(key, ...some))
  }

  zcard(key: string): Promise<number> {
    return this.#driver.zcard(key).catch(refuse)
  }

  /** The lowest score; `undefined` for an empty set. */
  async zlowest(key: string): Promise<number | undefined> {
    const [, score] = await this.#driver.zrange(key, '0', '0', 'WITHSCORES').catch(refuse)
    return score === undefined ? undefined : Number(score)
  }

  zrangebyscore(key: string, from: number | string, to: number | string): Promise<string[]> {
    return this.#driver.zrangebyscore(key, from, to).catch(refuse)
  }

  /** @param after only what stands behind the entry of this id */
  async xrange(key: string, limit: number, after?: string): Promise<StreamEntry[]> {
    const start = after === undefined ? '-' : `(${after}`
    const entries = await this.#driver.xrangeBuffer(key, start, '+', 'COUNT', limit).catch(refuse)
    return entries as unknown as StreamEntry[]
  }

  xlen(key: string): Promise<number> {
    return this.#driver.xlen(key).catch(refuse)
  }

  /**
   * Members of a sorted set that begin so, in batches; one that comes or goes meanwhile may be missing, one come twice.
   */
  async *zscan(key: string, beginning: string, count: number): AsyncGenerator<string[]> {
    const match = `${escaped(beginning)}*`
    let cursor = '0'
    do {
      const [next, found] = await this.#driver.zscan(key, cursor, 'MATCH', match, 'COUNT', count).catch(refuse)
      cursor = next
      // Each with its score.
      yield found.filter((_, i) => i % 2 === 0)
    } while (cursor !== '0')
  }

  /**
   * Keys that begin so, of every server, in batches; one that comes or goes meanwhile may be missing, one come twice.
   * For those who look: no service needs it, and the user on Redis may need `+scan`.
   */
  async *scan(beginning: string): AsyncGenerator<string[]> {
    const match = `${escaped(beginning)}*`
    for (const server of this.servers.all()) {
      let cursor = '0'
      do {
        const [next, found] = await server.scan(cursor, 'MATCH', match, 'COUNT', 1_000).catch(refuse)
        cursor = next
        yield found
      } while (cursor !== '0')
    }
  }

  // --- what is asked of a server, not of a key ----------------------------------------------------

  /** Empty where the server refuses the question. @param key of whose server; all of them without it */
  async info(section: string, key?: string): Promise<string> {
    const servers = key === undefined ? this.servers.all() : [this.servers.of(key)]
    return (await Promise.all(servers.map((server) => infoOf(server, section))).catch(refuse)).join('\n')
  }

  /** How keys are thrown away when memory runs out; `noeviction` as well where the server does not tell. */
  async evictionPolicy(key?: string): Promise<string> {
    const policies = [...(await this.info('memory', key)).matchAll(/maxmemory_policy:(\S+)/g)].map(
      ([, policy]) => policy,
    )
    return policies.find((policy) => policy !== 'noeviction') ?? 'noeviction'
  }

  // --- for the rest of this room ------------------------------------------------------------------

  /**
   * @throws what the driver throws
   * @throws RangeError before anything is sent, when a request would be longer than servers take
   */
  call(name: string, args: Argument[]): Promise<unknown> {
    if (args.length >= MAX_ARGUMENTS) {
      return Promise.reject(new RangeError(`${name} with ${args.length} arguments: at most ${MAX_ARGUMENTS - 1}`))
    }
    return this.#driver.call(name, args)
  }

  /** Groups of keys by their indexes, those together that can go in one request. */
  togetherIn(groups: readonly (readonly string[])[], maxKeys: number): number[][] {
    const { cluster } = this.servers
    const open = new Map<number, { indexes: number[]; keys: number }>()
    const requests: number[][] = []
    groups.forEach((keys, index) => {
      const slot = cluster ? slotOf(keys[0] as string) : 0
      let request = open.get(slot)
      if (!request || request.keys + keys.length > maxKeys) {
        request = { indexes: [], keys: 0 }
        open.set(slot, request)
        requests.push(request.indexes)
      }
      request.indexes.push(index)
      request.keys += keys.length
    })
    return requests
  }

  async #sum<Item>(items: readonly Item[], send: (some: Item[]) => Promise<number>): Promise<number> {
    const counts = await Promise.all(chunked(items).map(send)).catch(refuse)
    return counts.reduce((total, count) => total + count, 0)
  }
}

/** A text as a part of a pattern. */
const escaped = (text: string): string => text.replace(/[[\]\\*?]/g, '\\$&')

/** An even number, so that pairs stay together, and room for a command's name and key. */
const CHUNK = MAX_ARGUMENTS - 3

export function chunked<Item>(items: readonly Item[], size = CHUNK): Item[][] {
  const chunks: Item[][] = []
  for (let start = 0; start < items.length; start += size) chunks.push(items.slice(start, start + size))
  return chunks
}
