import { InvalidOptionError } from '../../support/errors.ts'
import { EvictionPolicy } from './eviction-policy.ts'
import { keyHash } from './key-hash.ts'
import { FREQUENCY_SHARE, WindowTuner } from './window-tuner.ts'

/**
 * Why an entry left: no room (`evicted`), `delete()`, `clear()`, or its new value was larger than the whole cache
 * (`oversized`). A value that replaces another under the same key removes nothing.
 */
export type RemovalReason = 'evicted' | 'deleted' | 'cleared' | 'oversized'

export interface TinyLfuOptions<V> {
  /** The most entries held; 1 to 2^30. Memory is taken as entries come, so a high bound costs nothing. */
  maxEntries: number
  /** The most bytes held, as stated by whoever sets. Default: no bound. */
  maxBytes?: number
  /**
   * Called once for every entry that left, after the operation that removed it has finished its own work, so it may
   * use the cache. What it throws reaches the caller of that operation, when all calls have been made.
   */
  onEvict?: (key: string, value: V, reason: RemovalReason) => void
  /** From 0 inclusive to 1 exclusive. Default: `Math.random`. */
  random?: () => number
}

/** Keys of each list, most recently used first. */
export interface TinyLfuLists {
  window: string[]
  probation: string[]
  protected: string[]
  /** The share of the bounds, 0 to 1, that is window now. */
  windowShare: number
}

const MAX_ENTRIES = 2 ** 30
/** No hash is below this. */
const NO_SAMPLE = -(2 ** 31)

/**
 * A cache bounded by entries and bytes that keeps what is likely to be used again: W-TinyLFU (Einziger, Friedman,
 * Manes, "TinyLFU: a highly efficient cache admission policy") with an adaptive window.
 *
 * New entries come into the *window*, an LRU list. Who leaves the window is a *candidate* for the main space and gets
 * in only if it was used more often than what would have to go for it, all of it together when sizes differ ("Lightweight
 * robust size aware cache management", the same authors with Eytan). Main is a segmented LRU.
 *
 * Everything but keys and values lives in flat typed arrays that grow with the content. All operations take amortised
 * constant time, except `clear`, `hottest` and iteration.
 */
export class TinyLfu<V> {
  readonly #maxEntries: number
  readonly #maxBytes: number
  readonly #onEvict: ((key: string, value: V, reason: RemovalReason) => void) | undefined
  readonly #random: () => number
  readonly #seed0: number
  readonly #seed1: number

  readonly #slots = new Map<string, number>()
  #keys: (string | undefined)[] = []
  #values: (V | undefined)[] = []
  #policy: EvictionPolicy
  #tuner: WindowTuner | undefined
  /** Copy of the tuner's, so that most hits need not look at it. */
  #threshold = NO_SAMPLE
  #removed: { key: string; value: V; reason: RemovalReason }[] = []

  /** @throws STATEFUL_INVALID_OPTION */
  constructor(options: TinyLfuOptions<V>) {
    const { maxEntries, maxBytes = Number.POSITIVE_INFINITY } = options
    if (!Number.isInteger(maxEntries) || maxEntries < 1 || maxEntries > MAX_ENTRIES) {
      throw new InvalidOptionError('maxEntries', `is ${maxEntries}: use an integer from 1 to 2^30.`)
    }
    if (!(maxBytes > 0)) throw new InvalidOptionError('maxBytes', `is ${maxBytes}: use a number above 0.`)
    this.#maxEntries = maxEntries
    this.#maxBytes = maxBytes
    this.#onEvict = options.onEvict
    this.#random = options.random ?? Math.random
    this.#seed0 = Math.floor(this.#random() * 2 ** 32) | 0
    this.#seed1 = Math.floor(this.#random() * 2 ** 32) | 0
    this.#policy = this.#emptyPolicy()
  }

  get size(): number {
    return this.#slots.size
  }

  /** Sum of the bytes of all entries. */
  get bytes(): number {
    return this.#policy.bytes
  }

  /** The value, or `undefined` for a miss; a hit counts as a use. */
  get(key: string): V | undefined {
    const slot = this.#slots.get(key)
    if (slot === undefined) return undefined
    this.#use(slot)
    return this.#values[slot]
  }

  /** The value, or `undefined` for a miss; leaves no trace. */
  peek(key: string): V | undefined {
    const slot = this.#slots.get(key)
    return slot === undefined ? undefined : this.#values[slot]
  }

  has(key: string): boolean {
    return this.#slots.has(key)
  }

  /**
   * Stores the value, which may still be refused: there is no promise that a `get` right after finds it. What a `get`
   * finds is always the latest value. An entry larger than the whole byte bound is refused and takes the old value
   * with it.
   * @param bytes 0 or more
   * @throws STATEFUL_INVALID_OPTION
   */
  set(key: string, value: V, bytes: number): void {
    if (!(bytes >= 0)) throw new InvalidOptionError('bytes', `is ${bytes}: use a number of at least 0.`)
    const slot = this.#slots.get(key)
    if (bytes > this.#maxBytes) {
      if (slot !== undefined) this.#remove(slot, 'oversized')
    } else if (slot === undefined) {
      this.#insert(key, value, bytes)
    } else {
      this.#values[slot] = value
      this.#policy.resize(slot, bytes)
      this.#use(slot)
      this.#policy.settle()
    }
    this.#tell()
  }

  /** Whether there was something to delete. */
  delete(key: string): boolean {
    const slot = this.#slots.get(key)
    if (slot === undefined) return false
    this.#remove(slot, 'deleted')
    this.#tell()
    return true
  }

  /** Removes all entries and forgets what was learnt, returning the memory. */
  clear(): void {
    if (this.#onEvict !== undefined) {
      for (const [key, slot] of this.#slots) {
        this.#removed.push({ key, value: this.#values[slot] as V, reason: 'cleared' })
      }
    }
    this.#slots.clear()
    this.#keys = []
    this.#values = []
    this.#policy = this.#emptyPolicy()
    this.#tuner = undefined
    this.#threshold = NO_SAMPLE
    this.#tell()
  }

  /** Keys in no particular order. */
  keys(): IterableIterator<string> {
    return this.#slots.keys()
  }

  *[Symbol.iterator](): IterableIterator<[key: string, value: V]> {
    for (const [key, slot] of this.#slots) yield [key, this.#values[slot] as V]
  }

  /** The `n` most frequently used keys, hottest first. */
  hottest(n: number): string[] {
    const counted = Array.from(this.#slots, ([key, slot]) => ({ key, count: this.#policy.uses(slot) }))
    counted.sort((a, b) => b.count - a.count)
    return counted.slice(0, n).map(({ key }) => key)
  }

  /** How the entries lie in the policy's lists, for diagnosis and tests. */
  inspect(): TinyLfuLists {
    const lists = this.#policy.lists()
    const named = (slots: number[]) => slots.map((slot) => this.#keys[slot] as string)
    return {
      window: named(lists.window),
      probation: named(lists.probation),
      protected: named(lists.protected),
      windowShare: this.#policy.windowShare,
    }
  }

  #use(slot: number): void {
    this.#policy.use(slot)
    const hash = this.#policy.hash(slot)
    if (hash < this.#threshold) this.#tune(hash, true)
  }

  #insert(key: string, value: V, bytes: number): void {
    const hash = keyHash(key, this.#seed0, this.#seed1)
    const slot = this.#policy.take()
    const size = this.#slots.size
    this.#slots.set(key, slot)
    this.#keys[slot] = key
    this.#values[slot] = value
    this.#policy.insert(slot, hash, bytes)
    if (hash < this.#threshold) this.#tune(hash, false)
    if (this.#slots.size <= size) this.#wakeTuner()
  }

  #tune(hash: number, hit: boolean): void {
    const tuner = this.#tuner as WindowTuner
    tuner.access(hash, hit)
    if (tuner.share !== this.#policy.windowShare) this.#policy.windowShare = tuner.share
    if (tuner.idle) this.#threshold = NO_SAMPLE
  }

  /** Something had to go for a new entry: only then is there anything to tune. */
  #wakeTuner(): void {
    const represented = this.#tuner?.entries ?? 0
    const fits = this.size <= 2 * represented && 2 * this.size >= represented
    // With a byte bound the number of entries that fit may change; scouts that slept know nothing any more.
    if (!fits || this.#tuner?.idle) {
      this.#tuner = new WindowTuner(this.#policy, this.#random)
      this.#threshold = this.#tuner.threshold
    }
    this.#tuner?.evicted()
  }

  #emptyPolicy(): EvictionPolicy {
    const policy = new EvictionPolicy(this.#maxEntries, this.#maxBytes, this.#random, (slot) => {
      this.#forget(slot, 'evicted')
    })
    policy.windowShare = FREQUENCY_SHARE
    return policy
  }

  #remove(slot: number, reason: RemovalReason): void {
    this.#forget(slot, reason)
    this.#policy.remove(slot)
  }

  #forget(slot: number, reason: RemovalReason): void {
    const key = this.#keys[slot] as string
    this.#slots.delete(key)
    if (this.#onEvict !== undefined) this.#removed.push({ key, value: this.#values[slot] as V, reason })
    this.#keys[slot] = undefined
    this.#values[slot] = undefined
  }

  #tell(): void {
    if (this.#removed.length === 0) return
    const removed = this.#removed
    this.#removed = []
    const failures: unknown[] = []
    for (const { key, value, reason } of removed) {
      try {
        this.#onEvict?.(key, value, reason)
      } catch (error) {
        failures.push(error)
      }
    }
    if (failures.length > 0) throw failures[0]
  }
}
