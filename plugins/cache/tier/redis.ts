import type { RedisStorage } from '../../storage/index.ts'
import { chunked } from '../../storage/redis/client.ts'
import { evenWhenFull, MAX_KEYS, RedisScript, type ScriptArgument } from '../../storage/redis/script.ts'
import { evenTags } from '../../storage/redis/slots.ts'
import type { Clock } from '../../support/clock.ts'
import { keyFault } from '../../support/keys.ts'
import { readText } from '../../support/text.ts'
import { globMatcher, literalPrefix } from '../glob.ts'
import { GENERATION } from '../names.ts'
import { BUCKETS } from './buckets.ts'
import type {
  CacheTier,
  Entry,
  Fill,
  Head,
  Invalidation,
  LeaseAnswer,
  LeaseRequest,
  LeaseTerms,
  Message,
  Mutation,
  Stamp,
  Stamps,
} from './contract.ts'
import { unique } from './record.ts'

const beginning = readText(new URL('./head.lua', import.meta.url))
const sourceOf = (file: URL) => `${beginning}\n${readText(file)}`
const script = (file: URL): RedisScript => new RedisScript(sourceOf(file))

/** A script that changes a bucket, for `RedisTier.run`. */
export const headScript = (source: string, whenFull = (whole: string): string => whole): RedisScript =>
  new RedisScript(whenFull(`${beginning}\n${source}`))

/**
 * An invalidation must not fail for want of memory, nor what proves that none was missed. What these write is a line:
 * one head for a bucket, a stamp of a second or in the place of another, one lease of seconds for a load.
 */
const small = (file: URL): RedisScript => new RedisScript(evenWhenFull(sourceOf(file)))

const scripts = {
  stamps: small(new URL('./stamps.lua', import.meta.url)),
  lease: small(new URL('./lease.lua', import.meta.url)),
  renew: small(new URL('./renew.lua', import.meta.url)),
  forget: small(new URL('./forget.lua', import.meta.url)),
  whole: small(new URL('./whole.lua', import.meta.url)),
  fill: script(new URL('./fill.lua', import.meta.url)),
  put: script(new URL('./put.lua', import.meta.url)),
  invalidate: small(new URL('./invalidate.lua', import.meta.url)),
  beat: small(new URL('./beat.lua', import.meta.url)),
}

const WALK_COUNT = 500
/** Namespaces whose buckets are remembered. */
const MAX_KNOWN = 1_000
/** Keys of a script that stand for the stamps; the others for entries and their leases. */
const MAX_STAMPS = 1_000
/** Entries that one script changes, each with its lease, beside the head and two lists of stamps. */
const MAX_ENTRIES = Math.floor((MAX_KEYS - 2 - 2 * MAX_STAMPS) / 2)
/**
 * How often entries may turn out to be made under other stamps than those last seen, before they are counted roughly.
 */
const MAX_COUNTS = 8

/**
 * The second level on Redis 7 or Valkey. Everything of a bucket lies in one slot (`{bucket}`), see buckets.ts:
 * `v:<key>` entries, `l:<key>` leases, `s:<name>` stamps, `h` the head, `i` the index of entries and leases; `bus` is the
 * channel; for the journals of write-behind see RedisJournal, whose mark comes with every reading.
 * Each mutation is one script that also numbers and publishes it, so no instance can miss one without a gap; what is
 * more than one script can name is several mutations.
 */
export class RedisTier implements CacheTier {
  readonly kind = 'redis'
  readonly shared = true
  readonly #storage: RedisStorage
  readonly #clock: Clock
  /** Server time minus local monotonic time, of the server that has the bucket; known after the first head. */
  readonly #offsets = new Map<string, number>()
  /** That of the latest server that has told its time. */
  #offset: number | undefined
  readonly #buckets = new Map<string, readonly string[]>()
  /** Run id of the server that has the bucket; unknown again whenever another may answer. */
  readonly #runs = new Map<string, string>()
  /** Epochs that were current when a connection to a server that does not tell its run was lost. */
  readonly #ending = new Map<string, string>()
  readonly #epochs = new Map<string, string>()
  /** Namespaces whose head was checked against that run: before, an entry may be one that a failover brought back. */
  readonly #verified = new Set<string>()
  readonly #interrupted = new Set<() => void>()
  /** Writers of which something waits in a bucket, as the last answer told. */
  readonly #writers = new Map<string, readonly string[]>()
  readonly #unwatch: () => void
  readonly #forget = () => {
    for (const [bucket, run] of this.#runs) {
      const epoch = this.#epochs.get(bucket)
      if (run === '' && epoch !== undefined) this.#ending.set(bucket, epoch)
    }
    this.#runs.clear()
    this.#verified.clear()
    for (const listener of this.#interrupted) listener()
  }

  constructor(storage: RedisStorage, clock: Clock) {
    this.#storage = storage
    this.#clock = clock
    this.#unwatch = storage.client.onChange(this.#forget)
  }

  buckets(namespace: string): readonly string[] {
    if (!this.#storage.client.isCluster) return [namespace]
    const known = this.#buckets.get(namespace)
    if (known) return known
    const buckets = evenTags(namespace, BUCKETS)
    if (this.#buckets.size >= MAX_KNOWN) this.#buckets.clear()
    this.#buckets.set(namespace, buckets)
    return buckets
  }

  now(bucket: string): number {
    const now = this.#clock.monotonic()
    return now + (this.#offsets.get(bucket) ?? this.#offset ?? this.#clock.now() - now)
  }

  received(): number {
    return this.#storage.client.received
  }

  /** Written without `async`: each layer of promises costs, and this is the way of every hit. */
  get(bucket: string, keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    if (keys.length === 0) return Promise.resolve([])
    if (!this.#verified.has(bucket)) return this.head(bucket).then(() => this.get(bucket, keys))
    const base = this.base(bucket)
    const names: string[] = []
    for (const key of keys) names.push(`${base}v:${key}`)
    names.push(`${base}p`)
    return this.#storage.client.mget(names).then((found: (Buffer | null | undefined)[]) => {
      this.#mark(bucket, found.pop())
      for (let i = 0; i < found.length; i++) found[i] ??= undefined
      return found as (Buffer | undefined)[]
    })
  }

  /** Writers of which something waited in the bucket when the last answer was given. Answers come in order. */
  writersIn(bucket: string): readonly string[] {
    return this.#writers.get(bucket) ?? NO_WRITERS
  }

  /** Something of the writer waits from now on. */
  marked(bucket: string, writer: string): void {
    const writers = this.writersIn(bucket)
    if (!writers.includes(writer)) this.#writers.set(bucket, [...writers, writer])
  }

  #mark(bucket: string, mark: Buffer | string | null | undefined): void {
    if (mark) this.#writers.set(bucket, `${mark}`.split(',').filter(Boolean))
    else this.#writers.delete(bucket)
  }

  async stamps(bucket: string, names: readonly string[]): Promise<Stamps> {
    const parts = await Promise.all(
      chunked(names, MAX_STAMPS).map(
        (some) => this.run(scripts.stamps, bucket, this.stampKeys(bucket, some), [...some]) as Promise<string[]>,
      ),
    )
    return stampsOf(parts)
  }

  async lease(bucket: string, { key, token, ms, seen, names = [] }: LeaseRequest): Promise<LeaseAnswer> {
    const some = names.slice(0, MAX_STAMPS)
    const keys = [
      ...this.entryKeys(bucket, [key]),
      `${this.base(bucket)}p`,
      ...this.stampKeys(bucket, some),
      this.indexKey(bucket),
    ]
    const answer = await this.run(scripts.lease, bucket, keys, [token, Math.ceil(ms), seen, key, ...some])
    const [state, epoch, seq, mark, ...values] = answer as [LeaseAnswer['state'], string, number, string, ...string[]]
    if (state !== 'granted') return { state }
    this.#mark(bucket, mark)
    const parts = [[epoch, ...values]]
    if (names.length > MAX_STAMPS) {
      const others = await this.stamps(bucket, names.slice(MAX_STAMPS))
      parts.push([others.epoch, ...others.values])
    }
    return { state, seq, ...stampsOf(parts) }
  }

  async renew(bucket: string, { key, token, ms, names = [] }: LeaseTerms): Promise<boolean> {
    const kept = names.filter((name) => name !== GENERATION).slice(0, MAX_STAMPS)
    const keys = [`${this.base(bucket)}l:${key}`, ...this.stampKeys(bucket, kept), this.indexKey(bucket)]
    return (await this.run(scripts.renew, bucket, keys, [token, Math.ceil(ms), key])) === 1
  }

  async release(bucket: string, { key, token }: Pick<LeaseTerms, 'key' | 'token'>): Promise<void> {
    await this.run(scripts.renew, bucket, [`${this.base(bucket)}l:${key}`, this.indexKey(bucket)], [token, 0, key])
  }

  async fill(bucket: string, { key, token, ttl, data, stamps }: Fill): Promise<Mutation | undefined> {
    const keys = [
      ...this.entryKeys(bucket, [key]),
      ...this.stampKeys(bucket, stamps.map(nameOf)),
      this.indexKey(bucket),
    ]
    const args = [key, token, lifetime(ttl), Buffer.from(data), stamps.length, ...stamps.flat()]
    return mutation(await this.run(scripts.fill, bucket, keys, args))
  }

  async put(bucket: string, entries: readonly Entry[], stamps: readonly Stamp[]): Promise<Mutation | undefined> {
    let done: Mutation | undefined
    for (const some of entries.length === 0 ? [[]] : chunked(entries, MAX_ENTRIES)) {
      const next = await this.#put(bucket, some, stamps)
      if (!next) return undefined
      done = done ? { ...next, first: done.first ?? done.seq } : next
    }
    return done
  }

  async #put(bucket: string, entries: readonly Entry[], stamps: readonly Stamp[]): Promise<Mutation | undefined> {
    const names = this.stampKeys(bucket, stamps.map(nameOf))
    const keys = [
      ...names,
      ...this.entryKeys(
        bucket,
        entries.map(({ key }) => key),
      ),
      this.indexKey(bucket),
    ]
    const items = entries.flatMap(({ key, ttl, data }) => [key, lifetime(ttl), Buffer.from(data)])
    const args = [stamps.length, ...stamps.flat(), ...items]
    return mutation(await this.run(scripts.put, bucket, keys, args))
  }

  async invalidate(bucket: string, { keys = [], names = [], pattern }: Invalidation): Promise<Mutation> {
    let removed = 0
    if (pattern !== undefined) {
      // Leases first: a load that began before this call then either is refused, or has stored what the second
      // pass is sure to find.
      await this.#forgetMatching(bucket, 'l:', pattern)
      removed = await this.#forgetMatching(bucket, 'v:', pattern)
    }
    const done = await this.#change(bucket, { action: 'remove', keys, names, pattern: pattern ?? '' })
    return { ...done, removed: done.removed + removed }
  }

  expire(bucket: string, keys: readonly string[]): Promise<Mutation> {
    return this.#change(bucket, { action: 'expire', keys, names: [], pattern: '' })
  }

  async #change(bucket: string, { keys, names, ...how }: Change): Promise<Mutation> {
    const someKeys = chunked(keys, MAX_ENTRIES)
    const someNames = chunked(names, MAX_STAMPS)
    let removed = 0
    let done: Mutation | undefined
    for (let part = 0; part < Math.max(1, someKeys.length, someNames.length); part++) {
      const change = { ...how, keys: someKeys[part] ?? [], names: someNames[part] ?? [] }
      done = await this.#changeSome(bucket, change)
      removed += done.removed
    }
    return { ...(done as Mutation), removed }
  }

  /** Which stamps its entries were made under is only known by reading them, so the script may ask for more of them. */
  async #changeSome(bucket: string, { action, keys, names, pattern }: Change): Promise<Mutation> {
    const made = new Set<string>()
    for (let attempt = 1; ; attempt++) {
      const roughly = attempt > MAX_COUNTS || made.size > MAX_STAMPS
      const under = roughly ? [] : [...made]
      const counting = roughly ? 'roughly' : 'exactly'
      const all = [
        ...this.stampKeys(bucket, [...names, ...under]),
        ...this.entryKeys(bucket, keys),
        this.indexKey(bucket),
      ]
      const args = [action, pattern, counting, names.length, ...names, under.length, ...under, ...keys]
      const answer = (await this.run(scripts.invalidate, bucket, all, args)) as unknown[]
      if (answer[0] !== 'again') return mutation(answer) as Mutation
      for (const name of answer[1] as string[]) made.add(name)
    }
  }

  async exists(bucket: string): Promise<boolean> {
    return (await this.#storage.client.exists(this.#headKey(bucket))) === 1
  }

  async head(bucket: string): Promise<Head> {
    const run = this.#runs.get(bucket) ?? (await this.#runOf(bucket))
    this.#runs.set(bucket, run)
    const sent = this.#clock.monotonic()
    const ending = this.#ending.get(bucket)
    const answer = await this.#send(scripts.beat, bucket, [], [run, run === '' ? (ending ?? '') : ''])
    const [epoch, seq, generation, seconds, micros] = answer as [string, number, string, string, string]
    if (this.#runs.get(bucket) === run) {
      this.#verified.add(bucket)
      this.#epochs.set(bucket, epoch)
      if (this.#ending.get(bucket) === ending) this.#ending.delete(bucket)
    }
    // The server's clock was read somewhere between sending and receiving.
    const middle = (sent + this.#clock.monotonic()) / 2
    this.#offset = Number(seconds) * 1_000 + Number(micros) / 1_000 - middle
    this.#offsets.set(bucket, this.#offset)
    return { epoch, seq, generation }
  }

  subscribe(bucket: string, listener: (message: Message) => void): Promise<() => Promise<void>> {
    return this.#storage.channels.subscribe(`${this.base(bucket)}bus`, (text) => {
      const message = parse(text)
      // What cannot be read is as good as lost: the next number shows the gap.
      if (message) listener(message)
    })
  }

  onInterrupted(listener: () => void): () => void {
    this.#interrupted.add(listener)
    return () => this.#interrupted.delete(listener)
  }

  async *keys(bucket: string, incomplete: 'clear' | 'tell' = 'clear'): AsyncGenerator<string[]> {
    if (incomplete === 'clear' && (await this.run(scripts.whole, bucket, [this.indexKey(bucket)], [])) !== 1) {
      // What there was is no longer known.
      await this.invalidate(bucket, { names: [GENERATION] })
      return
    }
    for await (const keys of this.#walk(bucket, 'v:', '')) yield keys
  }

  async close(): Promise<void> {
    this.#unwatch()
  }

  async #forgetMatching(bucket: string, kind: 'v:' | 'l:', pattern: string): Promise<number> {
    let removed = 0
    // Matched here and not by Redis, whose own matcher would let one hostile pattern hold up everybody.
    const matches = globMatcher(pattern)
    const base = this.base(bucket)
    for await (const keys of this.#walk(bucket, kind, literalPrefix(pattern))) {
      const members = keys.filter(matches).map((key) => kind + key)
      if (members.length === 0) continue
      const names = [...members.map((member) => base + member), this.indexKey(bucket)]
      removed += (await this.run(scripts.forget, bucket, names, members)) as number
    }
    return removed
  }

  /** Keys of entries or leases as the index has them. @param prefix what they begin with */
  async *#walk(bucket: string, kind: 'v:' | 'l:', prefix: string): AsyncGenerator<string[]> {
    for await (const members of this.#storage.client.zscan(this.indexKey(bucket), kind + prefix, WALK_COUNT)) {
      yield members.map((member) => member.slice(kind.length))
    }
  }

  async #runOf(bucket: string): Promise<string> {
    const server = await this.#storage.client.info('server', this.#headKey(bucket))
    return /run_id:(\w+)/.exec(server)?.[1] ?? ''
  }

  /** Of everything that has a place in the index, the last of the keys that a script gets. */
  indexKey(bucket: string): string {
    return `${this.base(bucket)}i`
  }

  #headKey(bucket: string): string {
    return `${this.base(bucket)}h`
  }

  /** Each entry's and its lease's. */
  entryKeys(bucket: string, keys: readonly string[]): string[] {
    const base = this.base(bucket)
    return keys.flatMap((key) => [`${base}v:${key}`, `${base}l:${key}`])
  }

  /** The generation stands in the head. */
  stampKeys(bucket: string, names: readonly string[]): string[] {
    const base = this.base(bucket)
    return names.map((name) => (name === GENERATION ? this.#headKey(bucket) : `${base}s:${name}`))
  }

  base(bucket: string): string {
    return `${this.#storage.prefix}cache:{${bucket}}:`
  }

  /** Runs a script that begins with head.lua and changes the bucket. @param keys after the head */
  async run(
    script: RedisScript,
    bucket: string,
    keys: readonly string[],
    args: readonly ScriptArgument[],
  ): Promise<unknown> {
    if (!this.#verified.has(bucket)) await this.head(bucket)
    return this.#send(script, bucket, keys, args)
  }

  #send(
    script: RedisScript,
    bucket: string,
    keys: readonly string[],
    args: readonly ScriptArgument[],
  ): Promise<unknown> {
    const { client, channels } = this.#storage
    const common = [unique(), channels.publishing, `${this.base(bucket)}bus`]
    return script.run(client, [this.#headKey(bucket), ...keys], [...common, ...args])
  }
}

/** What happens to keys and names of a bucket. */
interface Change {
  action: 'remove' | 'expire'
  keys: readonly string[]
  names: readonly string[]
  pattern: string
}

const NO_WRITERS: readonly string[] = []

const nameOf = ([name]: Stamp): string => name

/** Of answers of one moment after the other: an epoch, and the stamps. */
function stampsOf(parts: readonly (readonly string[])[]): Stamps {
  const epochs = new Set(parts.map(([epoch]) => epoch as string))
  const values = parts.flatMap(([, ...values]) => values)
  return {
    // None, if the head was lost in between.
    epoch: epochs.size === 1 ? ([...epochs][0] as string) : '',
    values,
    since: values.map((value) => Number.parseInt(value, 10)),
  }
}

/** Redis takes whole milliseconds above 0. */
const lifetime = (ttl: number): number => Math.max(1, Math.ceil(ttl))

function mutation(answer: unknown): Mutation | undefined {
  if (!Array.isArray(answer)) return undefined
  const [epoch, seq, removed, lost] = answer as [string, number, number, number | undefined]
  return lost === 1 ? { epoch, seq, removed, cleared: true } : { epoch, seq, removed }
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
