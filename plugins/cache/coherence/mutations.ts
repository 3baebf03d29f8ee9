import { isRefusal } from '../../storage/failure.ts'
import {
  CacheStoreError,
  CacheStoreRefusedError,
  InvalidCacheValueError,
  StorageFullError,
  WriteBehindFullError,
} from '../../support/errors.ts'
import type { Counters } from '../counters.ts'
import { GENERATION } from '../names.ts'
import type { ResolvedOptions } from '../options.ts'
import { DEFERRED, type Entry, type Invalidation, type Mutation } from '../tier/contract.ts'
import { type CacheRecord, encode } from '../tier/record.ts'
import { cloned } from '../values.ts'
import type { Appended, NewWrite } from '../write-behind/journal.ts'
import type { Levels } from './levels.ts'

/** How often a `put` is tried again because a stamp was renewed between reading it and storing. */
const PUT_ATTEMPTS = 5

/** What lasts how long under which tags; times in ms. */
export interface Terms {
  ttl: number
  stale: number
  tags: readonly string[]
}

const CHANGING = 'the stamps changed faster than the entry could be stored'

type CurrentStamps = ReadonlyMap<string, string>

interface Item extends Entry {
  record: Omit<CacheRecord, 'expired' | 'bytes'>
}

/**
 * Changes of one bucket: confirmed by the store, and done here at once as the bus will tell the others.
 * Each rejects with STATEFUL_CACHE_STORE_UNAVAILABLE unless the store has confirmed it, with
 * STATEFUL_CACHE_STORE_REFUSED when it is there and will not do it, a write with STATEFUL_STORAGE_FULL when there is no
 * room for it: then what was there before still is.
 */
export class Mutations {
  readonly #levels: Levels
  readonly #options: ResolvedOptions
  readonly #counters: Counters

  constructor(levels: Levels, options: ResolvedOptions, counters: Counters) {
    this.#levels = levels
    this.#options = options
    this.#counters = counters
  }

  /** @throws STATEFUL_INVALID_CACHE_VALUE, STATEFUL_CACHE_STORE_UNAVAILABLE */
  async put(entries: ReadonlyMap<string, unknown>, terms: Terms): Promise<void> {
    const keys = [...entries.keys()]
    await this.#levels.write(keys, () => this.#mutate(keys, 'write', () => this.#store(entries, terms)))
    this.#counters.sets += entries.size
  }

  /**
   * Lets a write wait in the journal and stores it meanwhile, in one step of the store: who reads finds the latest that
   * was written, whichever instance was how fast.
   * @throws STATEFUL_WRITE_BEHIND_FULL
   */
  async delay(
    key: string,
    value: unknown,
    terms: Terms,
    append: (write: NewWrite) => Promise<Extract<Appended, { state: 'done' }>>,
  ): Promise<void> {
    await this.#mutate([key], 'write', async () => {
      const { era } = this.#levels
      const { bucket } = this.#levels
      const [item] = this.#items(new Map([[key, value]]), terms, await this.#currentStamps([key], terms.tags))
      const { record, data, ttl } = item as Item
      const { mutation, stored } = await append({ namespace: bucket, key, data, ttl, stamps: record.stamps })
      if (stored) await this.#levels.adopt(mutation, [{ key, record, data }], era)
      return mutation
    })
    this.#counters.sets++
  }

  /** Resolves to how many entries were there. */
  async expire(keys: readonly string[]): Promise<number> {
    const { tier, bucket } = this.#levels
    // In the order in which they were asked for.
    const writes = this.#levels.written(keys)
    if (writes) await writes
    const { removed } = await this.#mutate(keys, 'invalidation', () => tier.expire(bucket, keys))
    return removed
  }

  /** Resolves to how many entries were removed, as far as that was counted. */
  async invalidate(what: Invalidation): Promise<number> {
    const { keys = [], names = [], pattern } = what
    const { tier, bucket } = this.#levels
    const writes = names.length === 0 && pattern === undefined ? this.#levels.written(keys) : this.#levels.written()
    if (writes) await writes
    const mutation = await this.#mutate(keys, 'invalidation', () => tier.invalidate(bucket, what))
    this.#levels.stamps.forget(names)
    if (mutation.cleared) this.#levels.stamps.forget([GENERATION])
    if (names.includes(GENERATION) || mutation.cleared) this.#levels.clearL1()
    if (pattern !== undefined) this.#levels.dropMatching(pattern)
    this.#levels.tell({
      epoch: mutation.epoch,
      seq: mutation.seq,
      ...(names.length > 0 ? { names: names.map((name): [string, string] => [name, '']) } : {}),
      ...(pattern === undefined ? {} : { pattern }),
    })
    return mutation.removed
  }

  async #store(entries: ReadonlyMap<string, unknown>, terms: Terms): Promise<Mutation> {
    const { tier, bucket } = this.#levels
    const keys = [...entries.keys()]
    for (let attempt = 0; attempt < PUT_ATTEMPTS; attempt++) {
      const { era } = this.#levels
      const current = await this.#currentStamps(keys, terms.tags)
      const items = this.#items(entries, terms, current)
      const mutation = await tier.put(bucket, items, [...current])
      if (mutation) {
        await this.#levels.adopt(mutation, items, era)
        return mutation
      }
      // A stamp was renewed and the bus has not told yet, or the store has lost it.
      await this.#levels.stamps.ask([...current.keys()])
    }
    throw new Error(CHANGING)
  }

  /** What is stored under the current stamps. */
  #items(entries: ReadonlyMap<string, unknown>, { ttl, stale, tags }: Terms, current: CurrentStamps): Item[] {
    const now = this.#levels.tier.now(this.#levels.bucket)
    return [...entries].map(([key, value]) => {
      const names = this.#levels.namesFor(key, tags)
      const stamps = names.map((name) => [name, current.get(name) as string] as const)
      const own = this.#options.values === 'clone' ? cloned(value) : value
      const record = { freshUntil: now + ttl, deadAt: now + ttl + stale, cost: 0, stamps, value: own }
      return { key, record, data: encode(record), ttl: ttl + stale }
    })
  }

  /** Of all that entries of these keys are made under. */
  async #currentStamps(keys: readonly string[], tags: readonly string[]): Promise<CurrentStamps> {
    const names = [...new Set(keys.flatMap((key) => this.#levels.namesFor(key, tags)))]
    for (let attempt = 0; attempt < PUT_ATTEMPTS; attempt++) {
      const current = await this.#levels.currentStamps(names)
      if (current) return new Map(current.stamps)
    }
    throw new Error(CHANGING)
  }

  /** Runs a change of the store and does here at once what the bus will tell the others. */
  async #mutate(keys: readonly string[], what: string, change: () => Promise<Mutation>): Promise<Mutation> {
    try {
      const mutation = await change()
      if (mutation.epoch === DEFERRED) this.#levels.drop(keys)
      else this.#levels.touch(keys, mutation.seq)
      this.#levels.tell({ epoch: mutation.epoch, seq: mutation.seq, keys: [...keys] })
      return mutation
    } catch (cause) {
      // It may or may not have happened; if it does later, the bus tells.
      this.#levels.drop(keys)
      if (cause instanceof InvalidCacheValueError || cause instanceof WriteBehindFullError) throw cause
      this.#counters.storeFailures++
      if (cause instanceof StorageFullError) throw cause
      throw isRefusal(cause) ? new CacheStoreRefusedError(what, { cause }) : new CacheStoreError(what, { cause })
    }
  }
}
