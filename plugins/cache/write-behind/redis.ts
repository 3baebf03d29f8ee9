import type { RedisStorage } from '../../storage/index.ts'
import { chunked, type StreamEntry } from '../../storage/redis/client.ts'
import { evenWhenFull, MAX_KEYS, notWhenFull, RedisScript } from '../../storage/redis/script.ts'
import { readText } from '../../support/text.ts'
import { namespaceOf } from '../tier/buckets.ts'
import { headScript, type RedisTier } from '../tier/redis.ts'
import type { Appended, Claim, DeadLetter, Journal, JournalEntry, NewWrite, Ownership, QueuedWrite } from './journal.ts'

const fence = readText(new URL('./fence.lua', import.meta.url))
const fenced = (file: URL): string => `${fence}\n${readText(file)}`

// What empties a journal runs also when memory is full: a letter in the place of a write, a name, a number.
const scripts = {
  append: headScript(readText(new URL('./append.lua', import.meta.url))),
  own: RedisScript.fromFile(new URL('./own.lua', import.meta.url), evenWhenFull),
  disown: RedisScript.fromFile(new URL('./disown.lua', import.meta.url), evenWhenFull),
  read: new RedisScript(evenWhenFull(fenced(new URL('./read.lua', import.meta.url)))),
  queued: RedisScript.fromFile(new URL('./queued.lua', import.meta.url), evenWhenFull),
  remove: new RedisScript(evenWhenFull(fenced(new URL('./remove.lua', import.meta.url)))),
  adopt: RedisScript.fromFile(new URL('./adopt.lua', import.meta.url), notWhenFull),
  bury: headScript(fenced(new URL('./bury.lua', import.meta.url)), evenWhenFull),
}

const ID_LENGTH = 16
/** Letters of one batch. */
const PAGE = 500
/** Letters that one script buries, each with the keys of its entry. */
const MAX_LETTERS = Math.floor((MAX_KEYS - 6) / 2)

/**
 * A journal on Redis. Each bucket's part of it lies where the bucket does, so that appending a write and putting it
 * into the cache are one script: `q:<writer>` is the queue (keys by when they began to wait), `w` the latest write of
 * each key (`<writer>:<key>`), `p` names the writers of which something waits, `n` is the last number, `f:<writer>` the
 * fence,
 * `d:<writer>` the dead letters. The owner and the names of the buckets lie beside them, by the writer.
 * How durable an acknowledged write is depends on the server's `appendfsync`.
 */
export class RedisJournal implements Journal {
  readonly shared = true
  readonly #storage: RedisStorage
  readonly #tier: RedisTier
  /** Namespaces of each writer that were told to the others, or by them. */
  readonly #known = new Map<string, Set<string>>()
  /** The highest fence met, if the counter of tokens should have been lost. */
  readonly #fences = new Map<string, number>()

  constructor(storage: RedisStorage, tier: RedisTier) {
    this.#storage = storage
    this.#tier = tier
  }

  append(writer: string, write: NewWrite, most: number): Promise<Appended> {
    const share = most / this.#tier.buckets(namespaceOf(write.namespace)).length
    return this.#append(writer, write, Math.ceil(share), '') as Promise<Appended>
  }

  async own(writer: string, { by, ms, token }: Claim): Promise<Ownership> {
    const keys = ['owner', 'token', 'wanted'].map((part) => this.#ofWriter(writer, part))
    const least = this.#fences.get(writer) ?? 0
    const answer = await scripts.own.run(this.#storage.client, keys, [by, Math.ceil(ms), token, least])
    const [state, number, wanted] = answer as ['busy' | 'owner', number, number]
    return state === 'busy' ? { busy: Math.max(0, number) } : { token: number, wanted: wanted === 1 }
  }

  async disown(writer: string, by: string): Promise<void> {
    await scripts.disown.run(this.#storage.client, [this.#ofWriter(writer, 'owner')], [by])
  }

  async read(writer: string, token: number, limit: number): Promise<JournalEntry[] | undefined> {
    const parts = await Promise.all(
      (await this.#buckets(writer)).map((bucket) => this.#read(writer, bucket, token, limit)),
    )
    const entries: JournalEntry[] = []
    for (const part of parts) {
      if (part === undefined) return undefined
      entries.push(...part)
    }
    // Those of one bucket are in order.
    return parts.length > 1 ? entries.sort((a, b) => (a.id < b.id ? -1 : 1)).slice(0, limit) : entries
  }

  async remove(writer: string, token: number, entries: readonly JournalEntry[]): Promise<boolean> {
    const parts = [...byBucket(entries)].map(async ([bucket, some]) => {
      const keys = this.#keys(bucket, writer, 'f', 'q', 'w', 'p')
      const args = [token, writer, ...some.flatMap(({ id, key }) => [key, id])]
      return (await scripts.remove.run(this.#storage.client, keys, args)) === 1
    })
    return (await Promise.all(parts)).every(Boolean)
  }

  async bury(writer: string, token: number, letters: readonly DeadLetter[]): Promise<DeadLetter[] | undefined> {
    const buried: DeadLetter[] = []
    for (const [bucket, all] of byBucket(letters)) {
      for (const some of chunked(all, MAX_LETTERS)) {
        const entries = this.#tier.entryKeys(
          bucket,
          some.map(({ key }) => key),
        )
        const keys = [...this.#keys(bucket, writer, 'f', 'q', 'w', 'p', 'd'), ...entries, this.#tier.indexKey(bucket)]
        const args = some.flatMap(({ key, id, data, reason, at }) => [key, id, Buffer.from(data), reason, at])
        const places = await this.#tier.run(scripts.bury, bucket, keys, [token, writer, ...args])
        if (!Array.isArray(places)) return undefined
        for (const place of places) buried.push(some[place - 1] as DeadLetter)
      }
    }
    return buried
  }

  async dead(writer: string, limit: number): Promise<DeadLetter[]> {
    const parts = await Promise.all(
      (await this.#buckets(writer)).map(async (bucket) => {
        const [key] = this.#keys(bucket, writer, 'd')
        return (await this.#storage.client.xrange(key as string, limit)).map((item) => toLetter(bucket, item))
      }),
    )
    return parts.flat().slice(0, limit)
  }

  async *letters(writer: string): AsyncGenerator<DeadLetter[]> {
    for (const bucket of await this.#buckets(writer)) {
      const [key] = this.#keys(bucket, writer, 'd')
      let after: string | undefined
      do {
        const items = await this.#storage.client.xrange(key as string, PAGE, after)
        yield items.map((item) => toLetter(bucket, item))
        after = items.length < PAGE ? undefined : `${items.at(-1)?.[0]}`
      } while (after !== undefined)
    }
  }

  async adoptLetters(writer: string, letters: readonly DeadLetter[]): Promise<void> {
    for (const [bucket, all] of byBucket(letters)) {
      await this.#announce(writer, bucket)
      const keys = this.#keys(bucket, writer, 'd')
      for (const some of chunked(all, PAGE)) {
        const args = some.flatMap(({ key, data, reason, at }) => [key, Buffer.from(data), reason, at])
        await scripts.adopt.run(this.#storage.client, keys, args)
      }
    }
  }

  async writers(): Promise<string[]> {
    const names = new Set<string>()
    const beginning = `${this.#storage.prefix}cache-journal:{`
    for await (const keys of this.#storage.client.scan(beginning)) {
      for (const key of keys) names.add(key.slice(beginning.length, key.indexOf('}', beginning.length)))
    }
    return [...names]
  }

  async retry(writer: string, letter: DeadLetter): Promise<boolean> {
    const write = { ...letter, ttl: 0, stamps: [] }
    const { state } = await this.#append(writer, write, Number.MAX_SAFE_INTEGER, letter.id)
    return state === 'done'
  }

  async queued(writer: string, limit: number): Promise<QueuedWrite[]> {
    const parts = (await this.#buckets(writer)).map(async (bucket) => {
      const keys = this.#keys(bucket, writer, 'q', 'w')
      const flat = (await scripts.queued.run(this.#storage.client, keys, [writer, limit])) as string[]
      return Array.from({ length: flat.length / 3 }, (_, i) => {
        const [key = '', from, id = ''] = flat.slice(3 * i)
        return { id, namespace: bucket, key, since: Math.floor(Number(from) / 1_000) }
      })
    })
    const found = (await Promise.all(parts)).flat()
    return found.sort((a, b) => a.since - b.since).slice(0, limit)
  }

  async size(writer: string): Promise<{ pending: number; dead: number }> {
    const { client } = this.#storage
    const parts = (await this.#buckets(writer)).map(async (bucket) => {
      const [queue, letters] = this.#keys(bucket, writer, 'q', 'd') as [string, string]
      return Promise.all([client.zcard(queue), client.xlen(letters)])
    })
    const total = { pending: 0, dead: 0 }
    for (const [pending, dead] of await Promise.all(parts)) {
      total.pending += pending
      total.dead += dead
    }
    return total
  }

  async waited(writer: string): Promise<number | undefined> {
    const waited = (await this.#buckets(writer)).map(async (bucket) => {
      const [queue] = this.#keys(bucket, writer, 'q') as [string]
      const oldest = await this.#storage.client.zlowest(queue)
      return oldest === undefined ? undefined : this.#tier.now(bucket) - oldest / 1_000
    })
    const numbers = (await Promise.all(waited)).filter((ms) => ms !== undefined)
    return numbers.length === 0 ? undefined : Math.max(...numbers)
  }

  waits(bucket: string): boolean {
    return this.#tier.writersIn(bucket).length > 0
  }

  async pending(bucket: string, keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    const writers = this.#tier.writersIn(bucket)
    if (writers.length === 0 || keys.length === 0) return keys.map(() => undefined)
    const fields = keys.flatMap((key) => writers.map((writer) => `${writer}:${key}`))
    const values = await this.#storage.client.hmget(`${this.#tier.base(bucket)}w`, fields)
    return keys.map((_, i) => {
      // Numbers stand in front and are of one length: the greatest value is the latest write.
      const own = values.slice(i * writers.length, (i + 1) * writers.length).filter((value) => value !== null)
      return own.sort(Buffer.compare).at(-1)?.subarray(ID_LENGTH)
    })
  }

  async #append(
    writer: string,
    write: NewWrite,
    most: number,
    letter: string,
  ): Promise<Appended | { state: 'gone' | 'replaced' }> {
    const { namespace: bucket, key, data, ttl, stamps } = write
    await this.#announce(writer, bucket)
    const names = stamps.map(([name]) => name)
    const keys = [
      ...this.#tier.entryKeys(bucket, [key]),
      ...this.#keys(bucket, '', 'w'),
      ...this.#keys(bucket, writer, 'q'),
      ...this.#keys(bucket, '', 'p', 'n'),
      ...this.#keys(bucket, writer, 'd'),
      ...this.#tier.stampKeys(bucket, names),
      this.#tier.indexKey(bucket),
    ]
    const args = [writer, key, Buffer.from(data), Math.ceil(ttl), most, letter, stamps.length, ...stamps.flat()]
    const answer = (await this.#tier.run(scripts.append, bucket, keys, args)) as unknown[]
    const [state, id, pending, stored, epoch, seq] = answer as [string, string, number, number, string, number]
    if (state !== 'done') return { state: state as 'full' | 'gone' | 'replaced' }
    this.#tier.marked(bucket, writer)
    return { state, id, pending, stored: stored === 1, mutation: { epoch, seq, removed: 0 } }
  }

  async #read(writer: string, bucket: string, token: number, limit: number): Promise<JournalEntry[] | undefined> {
    const keys = this.#keys(bucket, writer, 'f', 'q', 'w')
    const answer = await scripts.read.run(this.#storage.client, keys, [token, writer, limit])
    if (typeof answer === 'number') {
      this.#fences.set(writer, answer)
      return undefined
    }
    const queued = answer as string[]
    if (queued.length === 0) return []
    const fields = queued.map((key) => `${writer}:${key}`)
    // Only the owner takes something out, and if there is a newer write by now, it has to hand over that.
    const values = await this.#storage.client.hmget(keys[2] as string, fields)
    return queued.flatMap((key, i) => {
      const value = values[i]
      const id = value?.toString('latin1', 0, ID_LENGTH)
      return value && id ? [{ id, namespace: bucket, key, data: value.subarray(ID_LENGTH) }] : []
    })
  }

  /** The owner has to know where to look before there is something to find. */
  async #announce(writer: string, bucket: string): Promise<void> {
    const known = this.#namesOf(writer)
    if (known.has(bucket)) return
    await this.#storage.client.hset(this.#ofWriter(writer, 'namespaces'), [bucket, ''])
    known.add(bucket)
  }

  /** Also those that only this instance remembers: a Redis that was emptied has to learn them again. */
  async #buckets(writer: string): Promise<string[]> {
    const known = this.#namesOf(writer)
    const told = Object.keys(await this.#storage.client.hgetall(this.#ofWriter(writer, 'namespaces')))
    const forgotten = [...known].filter((name) => !told.includes(name))
    for (const name of told) known.add(name)
    if (forgotten.length > 0) {
      const pairs = forgotten.flatMap((name) => [name, ''])
      await this.#storage.client.hset(this.#ofWriter(writer, 'namespaces'), pairs)
    }
    return [...known]
  }

  #namesOf(writer: string): Set<string> {
    const known = this.#known.get(writer) ?? new Set()
    this.#known.set(writer, known)
    return known
  }

  /** Parts of a journal in a bucket: `w`, `p` and `n` are of all writers. */
  #keys(bucket: string, writer: string, ...parts: string[]): string[] {
    const base = this.#tier.base(bucket)
    return parts.map((part) => (SHARED.has(part) ? base + part : `${base}${part}:${writer}`))
  }

  #ofWriter(writer: string, part: string): string {
    return `${this.#storage.prefix}cache-journal:{${writer}}:${part}`
  }
}

const SHARED = new Set(['w', 'p', 'n'])

function byBucket<Of extends { namespace: string }>(entries: readonly Of[]): Map<string, Of[]> {
  const groups = new Map<string, Of[]>()
  for (const entry of entries) {
    const group = groups.get(entry.namespace)
    if (group) group.push(entry)
    else groups.set(entry.namespace, [entry])
  }
  return groups
}

function toLetter(bucket: string, [id, flat]: StreamEntry): DeadLetter {
  const fields = new Map<string, Buffer>()
  for (let i = 0; i + 1 < flat.length; i += 2) fields.set(`${flat[i]}`, flat[i + 1] as Buffer)
  return {
    id: `${id}`,
    namespace: bucket,
    key: `${fields.get('key') ?? ''}`,
    data: fields.get('data') ?? new Uint8Array(),
    reason: `${fields.get('reason') ?? ''}`,
    at: Math.trunc(Number(`${fields.get('at')}`)) || 0,
  }
}
