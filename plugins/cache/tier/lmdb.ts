import type { LmdbStorage } from '../../storage/index.ts'
import { CHECK_BYTES, CheckedDatabase } from '../../storage/lmdb/checked-records.ts'
import type { Commits } from '../../storage/lmdb/commits.ts'
import type { Clock, Timer } from '../../support/clock.ts'
import type { KeptStamp, Shelf } from './local.ts'
import { sweeping } from './sweep.ts'

type Key = [namespace: string, name: string]

/** How many neighbours are looked at to find the one to evict, as Redis samples. */
const SAMPLE = 16
const MAX_STAMPS = 100_000

/**
 * Entries that survive a restart. LMDB commits in the background; what is not committed yet is read from here,
 * so that a `get` sees each `put` at once.
 */
export class LmdbShelf implements Shelf {
  readonly #entries: Table
  readonly #stamps: Table
  readonly #timers: Timer[]

  /** @param maxEntries of all namespaces together */
  constructor(storage: LmdbStorage, clock: Clock, maxEntries: number) {
    this.#entries = new Table(storage, 'cache', maxEntries)
    this.#stamps = new Table(storage, 'cache-stamps', MAX_STAMPS)
    this.#timers = [this.#entries, this.#stamps].map((table) =>
      sweeping(clock, (most) => table.sweep(clock.now(), most)),
    )
  }

  get(namespace: string, key: string): { data: Uint8Array; deadAt: number } | undefined {
    const stored = this.#entries.get([namespace, key])
    return isTimed(stored) ? { data: stored.subarray(8), deadAt: stored.readDoubleLE(0) } : undefined
  }

  put(namespace: string, key: string, data: Uint8Array, deadAt: number): void {
    this.#entries.put([namespace, key], withTime(deadAt, data))
  }

  replace(namespace: string, key: string, data: Uint8Array, deadAt: number): void {
    this.#entries.replace([namespace, key], withTime(deadAt, data))
  }

  remove(namespace: string, key: string): boolean {
    return this.#entries.remove([namespace, key])
  }

  keys(namespace: string): Iterable<string> {
    return this.#entries.keys(namespace)
  }

  stamp(namespace: string, name: string): KeptStamp | undefined {
    const stored = this.#stamps.get([namespace, name])
    return isTimed(stored) ? { value: stored.toString('utf8', 8), until: stored.readDoubleLE(0) } : undefined
  }

  setStamp(namespace: string, name: string, { value, until }: KeptStamp): void {
    // A line in the place of another, without which nothing could be invalidated.
    this.#stamps.replace([namespace, name], withTime(until, Buffer.from(value)))
  }

  async settled(): Promise<void> {
    await Promise.all([this.#entries.settled(), this.#stamps.settled()])
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) timer.cancel()
    await this.settled()
  }
}

/** Whether it begins with a time at all, as everything does that was written here. */
const isTimed = (stored: Buffer | undefined): stored is Buffer => stored !== undefined && stored.length >= 8

/** The time first, as a little-endian double, so that a sweep reads eight bytes and decodes nothing. */
function withTime(time: number, data: Uint8Array): Buffer {
  const stored = Buffer.allocUnsafe(8 + data.length)
  stored.writeDoubleLE(time, 0)
  stored.set(data, 8)
  return stored
}

/** Not checked: a wrong time ends an entry too early or too late, and readers check it. */
function timeOf(record: Buffer): number {
  return record.length < CHECK_BYTES + 8 ? 0 : record.readDoubleLE(CHECK_BYTES)
}

/** One database with its uncommitted writes on top, and a bound. */
class Table {
  readonly #db: CheckedDatabase<Buffer, Key>
  readonly #max: number
  readonly #commits: Commits
  readonly #pending = new Map<string, Buffer | undefined>()
  #last: Promise<unknown> = Promise.resolve()
  #count: number
  #cursor: Key | undefined

  constructor(storage: LmdbStorage, name: string, max: number) {
    // What is lost is a miss; what a backup holds may have been invalidated since.
    this.#db = new CheckedDatabase(storage, { name, encoding: 'binary', disposable: true })
    this.#max = max
    this.#commits = storage.commits
    this.#count = this.#db.raw.getCount()
  }

  get(key: Key): Buffer | undefined {
    const id = key.join(':')
    if (this.#pending.has(id)) return this.#pending.get(id)
    return this.#db.find(key)
  }

  put(key: Key, value: Buffer): void {
    this.#set(key, value, (commit) => this.#commits.write(commit, value.length))
  }

  /** Also when the disk is full. */
  replace(key: Key, value: Buffer): void {
    this.#set(key, value, (commit) => this.#commits.letGo(commit))
  }

  #set(key: Key, value: Buffer, how: (commit: () => Promise<boolean>) => Promise<boolean>): void {
    if (!this.#has(key)) this.#count++
    this.#write(key, value, how)
    if (this.#count > this.#max) this.#evict()
  }

  remove(key: Key): boolean {
    if (!this.#has(key)) return false
    this.#count--
    this.#write(key, undefined, (commit) => this.#commits.letGo(commit))
    return true
  }

  /** Also when its record is broken, so that it can be replaced and removed. */
  #has(key: Key): boolean {
    const id = key.join(':')
    return this.#pending.has(id) ? this.#pending.get(id) !== undefined : this.#db.has(key)
  }

  *keys(namespace: string): Iterable<string> {
    const seen = new Set<string>()
    for (const id of [...this.#pending.keys()]) {
      if (!id.startsWith(`${namespace}:`)) continue
      const name = id.slice(namespace.length + 1)
      seen.add(name)
      if (this.#pending.get(id) !== undefined) yield name
    }
    // `:` ends the namespace's name and cannot be in it; arrays sort element by element.
    for (const [of, name] of this.#db.getKeys({ start: [namespace, ''] })) {
      if (of !== namespace) break
      if (!seen.has(name)) yield name
    }
  }

  settled(): Promise<unknown> {
    return this.#last
  }

  /** Removes what is dead among the next `limit` entries; goes round and round. Answers how many were. */
  sweep(now: number, limit: number): number {
    const dead = this.#next(limit).filter(({ time }) => !(time > now))
    for (const { key } of dead) this.remove(key)
    return dead.length
  }

  /** Of the next few entries the one that would die first has to go. */
  #evict(): void {
    let victim: { key: Key; time: number } | undefined
    for (const candidate of this.#next(SAMPLE)) {
      if (!victim || !(candidate.time >= victim.time)) victim = candidate
    }
    if (victim) this.remove(victim.key)
  }

  #next(limit: number): { key: Key; time: number }[] {
    const found: { key: Key; time: number }[] = []
    const start = this.#cursor
    this.#cursor = undefined
    for (const { key, value } of this.#db.raw.getRange(start ? { start } : {})) {
      if (found.length === limit) {
        this.#cursor = key
        break
      }
      // What has no time goes first.
      found.push({ key, time: timeOf(value) })
    }
    return found
  }

  #write(key: Key, value: Buffer | undefined, how: (commit: () => Promise<boolean>) => Promise<boolean>): void {
    const id = key.join(':')
    this.#pending.set(id, value)
    const committed = how(async () => {
      // Tried once more, and meanwhile there was another write of this key: that one stands.
      if (!this.#pending.has(id) || this.#pending.get(id) !== value) return false
      return value === undefined ? this.#db.remove(key) : this.#db.put(key, value)
    })
    // LMDB commits in order, so the latest promise stands for all before it; each failure must be seen by someone.
    this.#last = Promise.all([this.#last.catch(() => {}), committed])
    this.#last.catch(() => {})
    const forget = () => {
      if (this.#pending.get(id) === value) this.#pending.delete(id)
    }
    committed.then(forget, () => {
      forget()
      this.#count = this.#db.raw.getCount()
    })
  }
}
