import { within } from '../../support/deadline.ts'
import { deepFreeze } from '../../support/freeze.ts'
import type { Counters } from '../counters.ts'
import { globMatcher } from '../glob.ts'
import { GENERATION, prefixName, tagName, tagsIn } from '../names.ts'
import type { ResolvedOptions } from '../options.ts'
import { namespaceOf, placeOf } from '../tier/buckets.ts'
import type { CacheTier, Message, Mutation, Stamp } from '../tier/contract.ts'
import { bytesInMemory, type CacheRecord, decode } from '../tier/record.ts'
import type { EntryInfo } from '../types.ts'
import type { Overlay } from '../write-behind/journal.ts'
import { coarse } from './clock.ts'
import { Coherence } from './coherence.ts'
import { type FirstLevel, type Guard, stand } from './first-level.ts'
import { StampMirror } from './stamp-mirror.ts'

/** What a read of the second level found. */
export interface Found {
  record: CacheRecord
  /** Within its time, not expired, and all of its stamps stand. */
  fresh: boolean
  guards: Guard[]
}

/** What a read of the second level brought, key by key; `data` as it lies in the store. */
export interface Reading {
  data: (Uint8Array | undefined)[]
  found: (Found | undefined)[]
}

/** A reading of one key. */
export interface Look {
  data: Uint8Array | undefined
  found: Found | undefined
}

interface Looking {
  key: string
  resolve(look: Look): void
  reject(error: unknown): void
}

export interface LevelsOptions {
  tier: CacheTier
  overlay: Overlay
  bucket: string
  /** Its number among so many of its namespace. */
  place: { index: number; of: number }
  /** Of its namespace. */
  l1: FirstLevel
  options: ResolvedOptions
  counters: Counters
}

/** More keys in one command would keep the store from others for too long. */
const MAX_LOOKS = 256

/** Number of the latest mutation heard for any key of a stripe; stripes keep the memory constant. */
const STRIPES = 1_024

/**
 * The two levels of one bucket of a namespace, and the rule that keeps the first one true: a value enters it only if no
 * mutation of its key with a higher number than the value's has been heard, and leaves it when one is.
 */
export class Levels {
  readonly tier: CacheTier
  readonly bucket: string
  readonly coherence: Coherence
  readonly stamps: StampMirror
  readonly #overlay: Overlay
  readonly #options: ResolvedOptions
  readonly #counters: Counters
  readonly #l1: FirstLevel
  /** Of the bucket among those of its namespace; `undefined` if it is the only one. */
  readonly #place: { index: number; of: number } | undefined
  readonly #now: () => number
  readonly #heard = new Float64Array(STRIPES)
  /** Raised whenever everything that was learnt before has become uncertain. */
  #era = 0
  /** Entries that were made under the same stamps share them, see {@link decode}. */
  readonly #guardsOf = new WeakMap<readonly Stamp[], Guard[]>()
  /** Those of this turn of the event loop. */
  #looks: Looking[] = []
  readonly #watchers = new Set<(message: Message | undefined) => void>()
  /** Writes of this instance that have no answer yet, by their keys. */
  readonly #writes = new Map<string, Promise<unknown>>()

  constructor({ tier, overlay, bucket, place, l1, options, counters }: LevelsOptions) {
    this.tier = tier
    this.#overlay = overlay
    this.bucket = bucket
    this.#l1 = l1
    this.#place = place.of > 1 ? place : undefined
    this.#options = options
    this.#counters = counters
    this.#now = coarse(options.clock)
    this.stamps = new StampMirror(tier, bucket)
    this.coherence = new Coherence(tier, bucket, options.clock, options.coherence, {
      onMessage: (message) => this.#apply(message),
      onLost: () => this.#lose(),
      onFailure: () => {
        counters.storeFailures++
      },
    })
  }

  get era(): number {
    return this.#era
  }

  /** The namespace as its users know it. */
  get namespace(): string {
    return namespaceOf(this.bucket)
  }

  /** The value that may be served without asking anybody; `undefined`, which no value is, when there is none. */
  fresh(key: string): unknown {
    const slot = this.#l1.use(key)
    return slot >= 0 && this.#servable(slot) ? this.#l1.value(slot) : undefined
  }

  /** A promise of it, the same for all callers. */
  promised(key: string): Promise<unknown> | undefined {
    const slot = this.#l1.use(key)
    return slot >= 0 && this.#servable(slot) ? this.#l1.promise(slot) : undefined
  }

  /** Like `fresh`, but does not count as a use. */
  peek(key: string): unknown {
    const slot = this.#l1.find(key)
    return slot >= 0 && this.#servable(slot) ? this.#l1.value(slot) : undefined
  }

  #servable(slot: number): boolean {
    const now = this.#now()
    return this.#l1.isFresh(slot, now) && (this.coherence.proves(now) || this.#excused(now))
  }

  /**
   * Whether this instance may answer without asking the store: it has heard everything, or there is nothing to hear.
   */
  servesUnasked(): boolean {
    const now = this.#now()
    return this.coherence.proves(now) || this.#excused(now)
  }

  /** While the store is away: what the first level has for those who take stale values. */
  leftover(key: string): Found | undefined {
    const slot = this.#l1.use(key)
    const now = this.#now()
    if (slot < 0 || !this.#l1.isUsable(slot, now) || !this.#excused(now)) return undefined
    const value = this.#l1.value(slot)
    const record = { expired: true, freshUntil: 0, deadAt: 0, cost: 0, stamps: [], value, bytes: 0 }
    return { record, fresh: false, guards: [] }
  }

  /** While the store is away, invalidations through it are impossible: without proof L1 is still the best there is. */
  #excused(now: number): boolean {
    const awaySince = this.tier.awaySince?.(this.bucket)
    return awaySince !== undefined && now - awaySince < this.#options.outage.serveL1
  }

  /** Whether this instance has heard everything up to a moment ago. */
  coherent(): boolean {
    return this.coherence.proves(this.#options.clock.monotonic())
  }

  /** The same for the statistics, which are no use of the first level. */
  stands(): boolean {
    return this.coherence.stands(this.#options.clock.monotonic())
  }

  /** `watcher` hears each mutation, and `undefined` when some may have been missed. */
  watch(watcher: (message: Message | undefined) => void): () => void {
    this.#watchers.add(watcher)
    return () => this.#watchers.delete(watcher)
  }

  /**
   * Runs a write after those of the same keys that are under way. Until its end no caller is given what was there
   * before: the first level lets it go, and reads wait for the write, see `written`.
   */
  write<T>(keys: readonly string[], run: () => Promise<T>): Promise<T> {
    const before = this.written(keys)
    const write = before ? before.then(run) : run()
    const done = write.then(
      () => ended(),
      () => ended(),
    )
    const ended = () => {
      for (const key of keys) if (this.#writes.get(key) === done) this.#writes.delete(key)
    }
    for (const key of keys) {
      this.#l1.delete(key)
      this.#writes.set(key, done)
    }
    return write
  }

  /** The end of the writes of these keys that are under way, however they end; `undefined` if there are none. */
  written(keys: Iterable<string> = this.#writes.keys()): Promise<unknown> | undefined {
    if (this.#writes.size === 0) return undefined
    const writes = new Set<Promise<unknown>>()
    for (const key of keys) {
      const write = this.#writes.get(key)
      if (write) writes.add(write)
    }
    return writes.size === 0 ? undefined : Promise.all(writes)
  }

  /** Names of the stamps that an entry of this key is made under. */
  namesFor(key: string, tags: readonly string[] = []): string[] {
    const prefixes = this.#options.prefixes.filter((prefix) => key.startsWith(prefix))
    return [GENERATION, ...prefixes.map(prefixName), ...new Set(tags.map(tagName))]
  }

  /** The current stamps; `undefined` while they cannot be told for certain. */
  async currentStamps(names: readonly string[]): Promise<{ stamps: Stamp[]; guards: Guard[] } | undefined> {
    const cells = await this.stamps.cells(names)
    const stamps: Stamp[] = []
    const guards: Guard[] = []
    for (const [i, cell] of cells.entries()) {
      if (cell.value === undefined) return undefined
      stamps.push([names[i] as string, cell.value])
      guards.push({ cell, value: cell.value })
    }
    return { stamps, guards }
  }

  /**
   * Reads the second level in one round trip (and one more when a tag is seen for the first time), and takes what is
   * fresh into the first. A record whose stamps have fallen is not there.
   * @param quietly leaves the first level as it is, and tells nothing of writes that wait to be persisted
   */
  async read(keys: readonly string[], quietly = false): Promise<Reading> {
    const { seq } = this.coherence
    const era = this.#era
    const data = await this.tier.get(this.bucket, keys)
    const records: (CacheRecord | undefined)[] = []
    for (const bytes of data) records.push(bytes && decode(bytes))
    // Asked again when everything was forgotten meanwhile, as it is by the first beat.
    for (let unsure = this.#unsure(records), left = 2; unsure.length > 0 && left > 0; left--) {
      const { era } = this
      await this.stamps.ask(unsure)
      unsure = era === this.#era ? [] : this.#unsure(records)
    }
    const now = this.tier.now(this.bucket)
    let stamps: readonly Stamp[] | undefined
    let guards: Guard[] | undefined
    const found: (Found | undefined)[] = []
    for (let i = 0; i < records.length; i++) {
      const record = records[i]
      // Neighbours often have the same ones.
      if (record !== undefined && record.stamps !== stamps) guards = this.#guards(record.stamps)
      if (record === undefined || record.deadAt <= now || guards === undefined) {
        found.push(undefined)
        stamps = record === undefined ? stamps : record.stamps
        continue
      }
      stamps = record.stamps
      const one: Found = { record, fresh: !record.expired && record.freshUntil > now, guards }
      const key = keys[i] as string
      if (!quietly && one.fresh && (this.#writes.size === 0 || !this.#writes.has(key)))
        this.hold(key, one, seq, era, now)
      found.push(one)
    }
    if (!quietly && this.#overlay.waits(this.bucket)) await this.#lay(keys, found)
    return { data, found }
  }

  /** What is known of the keys that are there, without a trace: nothing is counted, nothing enters the first level. */
  async describe(keys: readonly string[]): Promise<EntryInfo[]> {
    const { found } = await this.read(keys, true)
    const now = this.tier.now(this.bucket)
    return keys.flatMap((key, i) => {
      const one = found[i]
      if (!one) return []
      const { record, fresh } = one
      const ttl = Math.max(0, Math.round(record.freshUntil - now))
      const level = this.peek(key) === undefined ? 'second' : 'first'
      return [
        {
          key,
          ttl: fresh ? ttl : 0,
          fresh,
          level,
          bytes: record.bytes,
          tags: tagsIn(record.stamps.map(([name]) => name)),
        },
      ]
    })
  }

  /** The write of the key that waits to be persisted: what the source is going to have. */
  async waiting(key: string): Promise<Found | undefined> {
    if (!this.#overlay.waits(this.bucket)) return undefined
    const found: (Found | undefined)[] = [undefined]
    await this.#lay([key], found)
    return found[0]
  }

  /**
   * Puts writes that wait in the place of what was not found fresh. They enter the first level when they are persisted.
   */
  async #lay(keys: readonly string[], found: (Found | undefined)[]): Promise<void> {
    const missing = keys.flatMap((_, i) => (found[i]?.fresh ? [] : [i]))
    if (missing.length === 0) return
    const asked = this.#overlay.pending(
      this.bucket,
      missing.map((i) => keys[i] as string),
    )
    const late = () => new Error('the journal took too long')
    const pending = await within(asked, this.#options.l2.timeout, this.#options.clock, late)
    for (const [j, i] of missing.entries()) {
      const data = pending[j]
      const record = data && decode(data)
      if (record) found[i] = { record, fresh: true, guards: [] }
    }
  }

  /** Reads one key; what is asked for in one turn of the event loop goes to a shared store in one round trip. */
  look(key: string): Promise<Look> {
    return new Promise((resolve, reject) => {
      this.#looks.push({ key, resolve, reject })
      if (!this.tier.shared) this.#lookAll()
      else if (this.#looks.length === 1) setImmediate(() => this.#lookAll())
    })
  }

  #lookAll(): void {
    const looks = this.#looks
    this.#looks = []
    for (let start = 0; start < looks.length; start += MAX_LOOKS) {
      const some = looks.slice(start, start + MAX_LOOKS)
      this.read(some.map(({ key }) => key)).then(
        ({ data, found }) => {
          for (const [i, { resolve }] of some.entries()) resolve({ data: data[i], found: found[i] })
        },
        (error: unknown) => {
          for (const { reject } of some) reject(error)
        },
      )
    }
  }

  /** Names of stamps that the store has to be asked for. */
  #unsure(records: readonly (CacheRecord | undefined)[]): string[] {
    // Without a fresh proof a renewal may have gone unheard: what is known is no better than a guess.
    const known = this.coherent()
    const unsure = new Set<string>()
    let checked: readonly Stamp[] | undefined
    for (const record of records) {
      if (record === undefined || record.stamps === checked) continue
      checked = record.stamps
      for (const stamp of checked) if (!known || this.stamps.unsure(stamp)) unsure.add(stamp[0])
    }
    return [...unsure]
  }

  /** `undefined` unless all of the stamps are known and stand. */
  #guards(stamps: readonly Stamp[]): Guard[] | undefined {
    const before = this.#guardsOf.get(stamps)
    if (before !== undefined && stand(before)) return before
    const guards: Guard[] = []
    for (const [name, value] of stamps) {
      const cell = this.stamps.known(name)
      if (cell?.value !== value) return undefined
      guards.push({ cell, value })
    }
    this.#guardsOf.set(stamps, guards)
    return guards
  }

  /** Takes what this instance has just stored into the first level. */
  async adopt(
    mutation: Mutation,
    entries: { key: string; record: Omit<CacheRecord, 'expired' | 'bytes'>; data: Uint8Array }[],
    era: number,
  ): Promise<void> {
    const keys = entries.map(({ key }) => key)
    this.tell({ epoch: mutation.epoch, seq: mutation.seq, keys })
    if (mutation.epoch !== this.coherence.epoch) return this.drop(keys)
    this.touch(keys, mutation.seq)
    const names = [...new Set(entries.flatMap(({ record }) => record.stamps.map(([name]) => name)))]
    // The value is stored already: when a stamp cannot be told now, the first read takes it from there.
    const cells = await this.stamps.cells(names).catch(() => [])
    for (const { key, record, data } of entries) {
      const guards = record.stamps.flatMap(([name, value]) => {
        const cell = cells[names.indexOf(name)]
        return cell ? [{ cell, value }] : []
      })
      const whole = { ...record, expired: false, bytes: bytesInMemory(data, record.value) }
      if (guards.length === record.stamps.length && stand(guards)) {
        this.hold(key, { record: whole, guards }, mutation.first ?? mutation.seq, era, this.tier.now(this.bucket))
      }
    }
  }

  /**
   * Takes a value into the first level, unless a mutation that it does not contain has been heard.
   * @param asOf every mutation up to this number is in it
   * @param now on the store's clock
   */
  hold(
    key: string,
    { record, guards }: Pick<Found, 'record' | 'guards'>,
    asOf: number,
    era: number,
    now: number,
  ): void {
    if (era !== this.#era || asOf < (this.#heard[stripe(key)] as number)) return
    // Where an early refresh is possible the second level is asked a random while before the end, see Loads.
    const early = record.deadAt > record.freshUntil ? -record.cost * Math.log(1 - this.#options.random()) : 0
    const lifetime = Math.min(record.freshUntil - early - now, this.#options.l1.ttl)
    if (lifetime <= 0) return
    const { value } = record
    if (this.#options.values === 'freeze') deepFreeze(value)
    let own: Guard[] | undefined = guards
    if (this.#place === undefined) {
      // The generation needs no guard of its own: when it changes the whole level is emptied.
      own = guards.length > 1 ? guards.slice(1) : undefined
    } else if (guards.length === 0) {
      // Nothing would tell when it falls.
      return
    }
    const local = this.#now()
    const freshUntil = local + lifetime
    const staleUntil = local + record.deadAt - now
    this.#l1.set(key, { value, freshUntil, staleUntil, asOf, guards: own }, record.bytes)
  }

  /** The store is there, but did not take the value of this load: for a moment the first level has it alone. */
  holdUnstored(
    { key, epoch, seq }: { key: string; epoch: string; seq: number },
    record: CacheRecord,
    era: number,
  ): void {
    const guards = epoch === this.coherence.epoch ? this.#guards(record.stamps) : undefined
    if (guards) this.hold(key, { record, guards }, seq, era, this.tier.now(this.bucket))
  }

  /** A mutation of these keys is done: what does not contain it has to go, and stays out. */
  touch(keys: Iterable<string>, seq: number): void {
    for (const key of keys) {
      const at = stripe(key)
      if ((this.#heard[at] as number) < seq) this.#heard[at] = seq
      const slot = this.#l1.find(key)
      if (slot >= 0 && this.#l1.asOf(slot) < seq) this.#l1.delete(key)
    }
  }

  /** Forgets what this instance holds or is reading under the keys; for mutations that have no number (yet). */
  drop(keys: Iterable<string>): void {
    this.#era++
    for (const key of keys) this.#l1.delete(key)
  }

  /** Tells the watchers of a mutation of this instance before the bus does. */
  tell(message: Message): void {
    for (const watcher of this.#watchers) watcher(message)
  }

  /** The generation has changed: nothing of the bucket is given to anybody any more. */
  clearL1(): void {
    this.#era++
    // Others share it: what was made under another generation has a guard that has fallen, see `hold`.
    if (this.#place === undefined) this.#l1.clear()
    else this.#l1.sweep()
  }

  #apply(message: Message): void {
    const { seq } = message
    if (message.keys) this.touch(message.keys, seq)
    for (const [name, value] of message.names ?? []) {
      if (name === GENERATION) this.clearL1()
      this.stamps.renewed(name, value, seq)
    }
    if (message.pattern !== undefined) this.dropMatching(message.pattern)
    this.tell(message)
  }

  dropMatching(pattern: string): void {
    // Any key may match, also one that is being read now.
    this.#era++
    const matches = globMatcher(pattern)
    for (const key of [...this.#l1.keys()]) if (this.#has(key) && matches(key)) this.#l1.delete(key)
  }

  #has(key: string): boolean {
    return this.#place === undefined || placeOf(key, this.#place.of) === this.#place.index
  }

  #lose(): void {
    this.#counters.resyncs++
    this.clearL1()
    this.#heard.fill(0)
    this.stamps.forgetAll()
    for (const watcher of this.#watchers) watcher(undefined)
  }
}

function stripe(key: string): number {
  let hash = 0
  for (let i = 0; i < key.length; i++) hash = (Math.imul(hash, 31) + key.charCodeAt(i)) | 0
  return hash & (STRIPES - 1)
}
