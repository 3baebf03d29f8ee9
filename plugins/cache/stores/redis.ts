import type { RedisStorage } from '../../storage/index.ts'
import { evenWhenFull, RedisScript } from '../../storage/redis/script.ts'
import type { Clock } from '../../support/clock.ts'
import { keyFault } from '../../support/keys.ts'
import { readText } from '../../support/text.ts'
import { globMatcher, literalPrefix } from '../glob.ts'
import { unique } from '../record.ts'
import type {
  CacheTier,
  Entry,
  Fill,
  Head,
  Invalidation,
  LeaseAnswer,
  Message,
  Mutation,
  Stamp,
  Stamps,
} from './tier.ts'

const beginning = readText(new URL('./head.lua', import.meta.url))
const sourceOf = (file: URL) => `${beginning}\n${readText(file)}`
const script = (file: URL): RedisScript => new RedisScript(sourceOf(file), 1)
/**
 * An invalidation must not fail for want of memory, nor what proves that none was missed. What these write is a line:
 * one head for a namespace, one stamp in the place of another for a tag or prefix, one lease of seconds for a load.
 */
const small = (file: URL): RedisScript => new RedisScript(evenWhenFull(sourceOf(file)), 1)

const scripts = {
  stamps: script(new URL('./stamps.lua', import.meta.url)),
  lease: small(new URL('./lease.lua', import.meta.url)),
  renew: small(new URL('./renew.lua', import.meta.url)),
  fill: script(new URL('./fill.lua', import.meta.url)),
  put: script(new URL('./put.lua', import.meta.url)),
  invalidate: small(new URL('./invalidate.lua', import.meta.url)),
  beat: small(new URL('./beat.lua', import.meta.url)),
}

const SCAN_COUNT = 500

/**
 * The second level on Redis 7 or Valkey. Everything of a namespace lies in one slot (`{namespace}`):
 * `v:<key>` entries, `l:<key>` leases, `s:<name>` stamps, `h` the head; `bus` is the channel.
 * Each mutation is one script that also numbers and publishes it, so no instance can miss one without a gap.
 */
export class RedisTier implements CacheTier {
  readonly kind = 'redis'
  readonly shared = true
  readonly #storage: RedisStorage
  readonly #clock: Clock
  /** Names the messages of this tier. */
  readonly #id = unique()
  /** Server time minus local monotonic time; known after the first head. */
  #offset: number | undefined
  /** Run id of the server that has the namespace; unknown again whenever another may answer. */
  readonly #runs = new Map<string, string>()
  /** Namespaces whose head was checked against that run: before, an entry may be one that a failover brought back. */
  readonly #verified = new Set<string>()
  readonly #interrupted = new Set<() => void>()
  readonly #unwatch: () => void
  readonly #forget = () => {
    this.#runs.clear()
    this.#verified.clear()
    for (const listener of this.#interrupted) listener()
  }

  constructor(storage: RedisStorage, clock: Clock) {
    this.#storage = storage
    this.#clock = clock
    this.#unwatch = storage.servers.onChange(this.#forget)
  }

  now(): number {
    return this.#clock.monotonic() + (this.#offset ?? this.#clock.now() - this.#clock.monotonic())
  }

  /** Written without `async`: each layer of promises costs, and this is the way of every hit. */
  get(namespace: string, keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    if (keys.length === 0) return Promise.resolve([])
    if (!this.#verified.has(namespace)) return this.head(namespace).then(() => this.get(namespace, keys))
    const base = `${this.#base(namespace)}v:`
    return this.#storage.client
      .mgetBuffer(keys.map((key) => base + key))
      .then((found) => found.map((data) => data ?? undefined))
  }

  async stamps(namespace: string, names: readonly string[]): Promise<Stamps> {
    const [epoch, ...values] = (await this.#call(scripts.stamps, namespace, [...names])) as string[]
    return { epoch: epoch as string, values, since: values.map((value) => Number.parseInt(value, 10)) }
  }

  async lease(namespace: string, key: string, token: string, ms: number, seen: string): Promise<LeaseAnswer> {
    const answer = await this.#call(scripts.lease, namespace, [key, token, Math.ceil(ms), seen])
    const [state, epoch, seq] = answer as [LeaseAnswer['state'], string, number]
    return state === 'granted' ? { state, epoch, seq } : { state }
  }

  async renew(namespace: string, key: string, token: string, ms: number): Promise<boolean> {
    return (await this.#call(scripts.renew, namespace, [key, token, Math.ceil(ms)])) === 1
  }

  async release(namespace: string, key: string, token: string): Promise<void> {
    await this.#call(scripts.renew, namespace, [key, token, 0])
  }

  async fill(namespace: string, { key, token, ttl, data, stamps }: Fill): Promise<Mutation | undefined> {
    const args = [this.#id, key, token, lifetime(ttl), Buffer.from(data), stamps.length, ...stamps.flat()]
    return mutation(await this.#call(scripts.fill, namespace, args))
  }

  async put(namespace: string, entries: readonly Entry[], stamps: readonly Stamp[]): Promise<Mutation | undefined> {
    const args = [this.#id, stamps.length, ...stamps.flat()]
    const items = entries.flatMap(({ key, ttl, data }) => [key, lifetime(ttl), Buffer.from(data)])
    return mutation(await this.#call(scripts.put, namespace, [...args, ...items]))
  }

  async invalidate(namespace: string, { keys = [], names = [], pattern }: Invalidation): Promise<Mutation> {
    let removed = 0
    if (pattern !== undefined) {
      // Leases first: a load that began before this call then either is refused, or has stored what the second
      // pass is sure to find.
      await this.#unlinkMatching(namespace, 'l:', pattern)
      removed = await this.#unlinkMatching(namespace, 'v:', pattern)
    }
    const args = [this.#id, 'remove', pattern ?? '', names.length, ...names, ...keys]
    const done = mutation(await this.#call(scripts.invalidate, namespace, args)) as Mutation
    return { ...done, removed: done.removed + removed }
  }

  async expire(namespace: string, keys: readonly string[]): Promise<Mutation> {
    const args = [this.#id, 'expire', '', 0, ...keys]
    return mutation(await this.#call(scripts.invalidate, namespace, args)) as Mutation
  }

  async exists(namespace: string): Promise<boolean> {
    return (await this.#storage.client.exists(`${this.#base(namespace)}h`)) === 1
  }

  async head(namespace: string): Promise<Head> {
    const run = this.#runs.get(namespace) ?? (await this.#runOf(namespace))
    this.#runs.set(namespace, run)
    const sent = this.#clock.monotonic()
    const answer = await this.#send(scripts.beat, namespace, [run])
    if (this.#runs.get(namespace) === run) this.#verified.add(namespace)
    const [epoch, seq, generation, seconds, micros] = answer as [string, number, string, string, string]
    // The server's clock was read somewhere between sending and receiving.
    const middle = (sent + this.#clock.monotonic()) / 2
    this.#offset = Number(seconds) * 1_000 + Number(micros) / 1_000 - middle
    return { epoch, seq, generation }
  }

  subscribe(namespace: string, listener: (message: Message) => void): Promise<() => Promise<void>> {
    return this.#storage.channels.subscribe(`${this.#base(namespace)}bus`, (text) => {
      const message = parse(text)
      // What cannot be read is as good as lost: the next number shows the gap.
      if (message) listener(message)
    })
  }

  onInterrupted(listener: () => void): () => void {
    this.#interrupted.add(listener)
    return () => this.#interrupted.delete(listener)
  }

  async *keys(namespace: string): AsyncGenerator<string[]> {
    const start = `${this.#base(namespace)}v:`.length
    for await (const keys of this.#scan(namespace, 'v:', '')) yield keys.map((key) => key.slice(start))
  }

  async close(): Promise<void> {
    this.#unwatch()
  }

  async #unlinkMatching(namespace: string, kind: 'v:' | 'l:', pattern: string): Promise<number> {
    let removed = 0
    // Matched here and not by Redis, whose own matcher would let one hostile pattern hold up everybody.
    const matches = globMatcher(pattern)
    const start = `${this.#base(namespace)}${kind}`.length
    for await (const keys of this.#scan(namespace, kind, literalPrefix(pattern))) {
      const matching = keys.filter((key) => matches(key.slice(start)))
      if (matching.length > 0) removed += await this.#storage.client.unlink(matching)
    }
    return removed
  }

  /** @param prefix what the keys begin with */
  async *#scan(namespace: string, kind: 'v:' | 'l:', prefix: string): AsyncGenerator<string[]> {
    const server = await this.#storage.servers.of(this.#base(namespace))
    const match = `${literal(`${this.#base(namespace)}${kind}${prefix}`)}*`
    let cursor = '0'
    do {
      const [next, keys] = await server.scan(cursor, 'MATCH', match, 'COUNT', SCAN_COUNT)
      cursor = next
      yield keys
    } while (cursor !== '0')
  }

  async #runOf(namespace: string): Promise<string> {
    const server = await this.#storage.servers.of(this.#base(namespace))
    return /run_id:(\w+)/.exec(await server.info('server'))?.[1] ?? ''
  }

  #base(namespace: string): string {
    return `${this.#storage.prefix}cache:{${namespace}}:`
  }

  async #call(script: RedisScript, namespace: string, args: (string | Buffer | number)[]): Promise<unknown> {
    if (!this.#verified.has(namespace)) await this.head(namespace)
    return this.#send(script, namespace, args)
  }

  #send(script: RedisScript, namespace: string, args: (string | Buffer | number)[]): Promise<unknown> {
    const base = this.#base(namespace)
    return script.run(this.#storage.client, [`${base}h`], [unique(), base, ...args])
  }
}

/** As it stands in a pattern of Redis. */
const literal = (text: string): string => text.replace(/[[\]\\*?]/g, '\\$&')

/** Redis takes whole milliseconds above 0. */
const lifetime = (ttl: number): number => Math.max(1, Math.ceil(ttl))

function mutation(answer: unknown): Mutation | undefined {
  if (!Array.isArray(answer)) return undefined
  const [epoch, seq, removed] = answer as [string, number, number]
  return { epoch, seq, removed }
}

function parse(text: string): Message | undefined {
  try {
    const message: unknown = JSON.parse(text)
    return isMessage(message) ? message : undefined
  } catch {
    return undefined
  }
}

/** One that is counted as heard must be one that can be carried out. */
function isMessage(message: unknown): message is Message {
  const { epoch, seq, keys, names, pattern } = (message ?? {}) as Partial<Record<keyof Message, unknown>>
  return (
    typeof epoch === 'string' &&
    Number.isSafeInteger(seq) &&
    (keys === undefined || isTexts(keys)) &&
    (names === undefined || (Array.isArray(names) && names.every(isTexts))) &&
    (pattern === undefined || (typeof pattern === 'string' && keyFault(pattern) === undefined))
  )
}

const isTexts = (list: unknown): list is string[] =>
  Array.isArray(list) && list.every((text) => typeof text === 'string')
