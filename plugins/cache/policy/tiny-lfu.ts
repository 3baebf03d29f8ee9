import { invalidOption } from '../../support/options.ts'
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
  /** The most bytes held, as stated by the caller of `set`. Default: no bound. */
  maxBytes?: number
  /**
   * Called once for every entry that left, after the operation that removed it has finished its own work, so it may
   * use the cache. What it throws reaches the caller of that operation, when all calls have been made.
   * @param slot the one that it had, see {@link TinyLfu.find}
   */
  onEvict?: (key: string, value: V, reason: RemovalReason, slot: number) => void
  /** From 0 inclusive to 1 exclusive. Default: `Math.random`. */
  random?: () => number
}

export interface TinyLfuInspection {
  /** Keys of the window, most recently used first. */
  window: string[]
  /** Keys of the main space; the last is the first to leave unless it was used again. */
  main: string[]
  /** The share of the bounds, 0 to 1, that is window now. */
  windowShare: number
}

const MAX_ENTRIES = 2 ** 30
/** No hash is below this. */
const NO_SAMPLE = -(2 ** 31)

/**
 * A cache bounded by entries and bytes that keeps what is likely to be used again: {@link EvictionPolicy} decides who
 * goes, {@link WindowTuner} how much recency counts against frequency.
 *
 * Everything but keys and values lies in flat typed arrays that grow with the content. All operations take amortised
 * constant time, except `clear`, `hottest`, `inspect` and iteration. The hash of a key is computed once, when it is
 * first set, and under a random seed.
 */
export class TinyLfu<V> {
  private readonly _maxEntries: number
  private readonly _maxBytes: number
  private readonly _onEvict: TinyLfuOptions<V>['onEvict']
  private readonly _random: () => number
  private readonly _seed0: number
  private readonly _seed1: number

  private readonly _slots = new Map<string, number>()
  private _keys: (string | undefined)[] = []
  private _values: (V | undefined)[] = []
  private _policy: EvictionPolicy
  private _tuner: WindowTuner | undefined
  /** Copy of the tuner's, so that most hits need not look at it. */
  private _threshold = NO_SAMPLE
  private _removed: { key: string; value: V; reason: RemovalReason; slot: number }[] = []

  /** @throws STATEFUL_INVALID_OPTION */
  constructor(options: TinyLfuOptions<V>) {
    const { maxEntries, maxBytes = Number.POSITIVE_INFINITY } = options
    if (!Number.isInteger(maxEntries) || maxEntries < 1 || maxEntries > MAX_ENTRIES) {
      throw invalidOption('maxEntries', `must be a whole number from 1 to 2^30, not ${maxEntries}.`)
    }
    if (!(maxBytes > 0)) throw invalidOption('maxBytes', `must be a number above 0, not ${maxBytes}.`)
    this._maxEntries = maxEntries
    this._maxBytes = maxBytes
    this._onEvict = options.onEvict
    this._random = options.random ?? Math.random
    this._seed0 = Math.floor(this._random() * 2 ** 32) | 0
    this._seed1 = Math.floor(this._random() * 2 ** 32) | 0
    this._policy = this._emptyPolicy()
  }

  get size(): number {
    return this._slots.size
  }

  /** Sum of the bytes of all entries. */
  get bytes(): number {
    return this._policy.bytes
  }

  /** The value, or `undefined` for a miss; a hit counts as a use. */
  get(key: string): V | undefined {
    const slot = this.use(key)
    return slot < 0 ? undefined : this._values[slot]
  }

  /** The value, or `undefined` for a miss; leaves no trace. */
  peek(key: string): V | undefined {
    const slot = this.find(key)
    return slot < 0 ? undefined : this._values[slot]
  }

  /**
   * The number of the entry's slot, for an owner that keeps more of an entry than its value; -1 for a miss; counts as a
   * use. An entry keeps its slot until it leaves; then another one gets it.
   */
  use(key: string): number {
    const slot = this._slots.get(key)
    if (slot === undefined) return -1
    this._use(slot)
    return slot
  }

  /** The same, and leaves no trace. */
  find(key: string): number {
    return this._slots.get(key) ?? -1
  }

  valueAt(slot: number): V {
    return this._values[slot] as V
  }

  /** No slot has this number or a higher one, until there are more entries. */
  get slots(): number {
    return this._policy.slots
  }

  has(key: string): boolean {
    return this._slots.has(key)
  }

  /**
   * Stores the value, which may still be refused: there is no promise that a `get` right after finds it. What a `get`
   * finds is always the latest value. An entry larger than the whole byte bound is refused and takes the old value
   * with it.
   * @param bytes 0 or more
   * @returns its slot; -1 when it was refused
   * @throws STATEFUL_INVALID_OPTION
   */
  set(key: string, value: V, bytes: number): number {
    if (!(bytes >= 0)) throw invalidOption('bytes', `must be a number from 0, not ${bytes}.`)
    let slot = this._slots.get(key)
    if (bytes > this._maxBytes) {
      if (slot !== undefined) this._remove(slot, 'oversized')
      this._tell()
      return -1
    }
    if (slot === undefined) {
      slot = this._insert(key, value, bytes)
    } else {
      this._values[slot] = value
      this._policy.resize(slot, bytes)
      this._use(slot)
      this._policy.settle()
    }
    const refused = this._keys[slot] === undefined
    this._tell()
    return refused ? -1 : slot
  }

  /** Whether there was something to delete. */
  delete(key: string): boolean {
    const slot = this._slots.get(key)
    if (slot === undefined) return false
    this._remove(slot, 'deleted')
    this._tell()
    return true
  }

  /** Removes all entries and forgets what was learnt, returning the memory. */
  clear(): void {
    if (this._onEvict !== undefined) {
      for (const [key, slot] of this._slots) {
        this._removed.push({ key, value: this._values[slot] as V, reason: 'cleared', slot })
      }
    }
    this._slots.clear()
    this._keys = []
    this._values = []
    this._policy = this._emptyPolicy()
    this._tuner = undefined
    this._threshold = NO_SAMPLE
    this._tell()
  }

  /** Keys in no particular order. */
  keys(): IterableIterator<string> {
    return this._slots.keys()
  }

  *[Symbol.iterator](): IterableIterator<[key: string, value: V]> {
    for (const [key, slot] of this._slots) yield [key, this._values[slot] as V]
  }

  /** The `n` most frequently used keys, hottest first. */
  hottest(n: number): string[] {
    const counted = Array.from(this._slots, ([key, slot]) => ({ key, count: this._policy.uses(slot) }))
    counted.sort((a, b) => b.count - a.count)
    return counted.slice(0, n).map(({ key }) => key)
  }

  /** How the entries lie in the policy's lists, for diagnosis and tests. */
  inspect(): TinyLfuInspection {
    const { window, main } = this._policy.lists()
    const named = (slots: number[]) => slots.map((slot) => this._keys[slot] as string)
    return { window: named(window), main: named(main), windowShare: this._policy.windowShare }
  }

  private _use(slot: number): void {
    this._policy.use(slot)
    const hash = this._policy.hash(slot)
    if (hash < this._threshold) this._tune(hash, true, this._policy.weight(slot))
  }

  private _insert(key: string, value: V, bytes: number): number {
    const hash = keyHash(key, this._seed0, this._seed1)
    const slot = this._policy.take()
    const size = this._slots.size
    this._slots.set(key, slot)
    if (slot >= this._keys.length) {
      // As many as the policy has, not as many as a list that is added to takes in advance.
      this._keys.length = this._policy.slots
      this._values.length = this._policy.slots
    }
    this._keys[slot] = key
    this._values[slot] = value
    this._policy.insert(slot, hash, bytes)
    if (hash < this._threshold) this._tune(hash, false, bytes)
    if (this._slots.size <= size) this._wakeTuner()
    return slot
  }

  private _tune(hash: number, hit: boolean, bytes: number): void {
    const tuner = this._tuner as WindowTuner
    tuner.access(hash, hit, bytes)
    if (tuner.share !== this._policy.windowShare) this._policy.windowShare = tuner.share
    if (tuner.idle) this._threshold = NO_SAMPLE
  }

  /** Something had to go for a new entry: only then is there anything to tune. */
  private _wakeTuner(): void {
    const represented = this._tuner?.entries ?? 0
    const fits = this.size <= 2 * represented && 2 * this.size >= represented
    // With a byte bound the number of entries that fit may change; scouts that slept know nothing any more.
    if (!fits || this._tuner?.idle) {
      this._tuner = new WindowTuner(this._policy, this._random)
      this._threshold = this._tuner.threshold
    }
    this._tuner?.evicted()
  }

  private _emptyPolicy(): EvictionPolicy {
    const policy = new EvictionPolicy(this._maxEntries, this._maxBytes, this._random, (slot) => {
      this._forget(slot, 'evicted')
    })
    policy.windowShare = FREQUENCY_SHARE
    return policy
  }

  private _remove(slot: number, reason: RemovalReason): void {
    this._forget(slot, reason)
    this._policy.remove(slot)
  }

  private _forget(slot: number, reason: RemovalReason): void {
    const key = this._keys[slot] as string
    this._slots.delete(key)
    if (this._onEvict !== undefined) this._removed.push({ key, value: this._values[slot] as V, reason, slot })
    this._keys[slot] = undefined
    this._values[slot] = undefined
  }

  private _tell(): void {
    if (this._removed.length === 0) return
    const removed = this._removed
    this._removed = []
    const failures: unknown[] = []
    for (const { key, value, reason, slot } of removed) {
      try {
        this._onEvict?.(key, value, reason, slot)
      } catch (error) {
        failures.push(error)
      }
    }
    if (failures.length > 0) throw failures[0]
  }
}
