import { InvalidOptionError } from '../../support/errors.ts'
import { FrequencySketch, MAX_FREQUENCY } from './frequency-sketch.ts'
import { keyHash } from './key-hash.ts'
import { WindowClimber } from './window-climber.ts'

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

/** The first slots are the heads of the circular lists, so that linking needs no special cases. */
const WINDOW = 0
const PROBATION = 1
const PROTECTED = 2
const FIRST_SLOT = 3

/** Share of the main space (what is not window) for entries that were used again there. */
const PROTECTED_SHARE = 0.8
/** Accesses per entry after which frequencies are halved. */
const PERIOD_PER_ENTRY = 10
/** A cached entry counts further than the sketch, so that `hottest` can tell the very hot from the hot. */
const MAX_COUNT = 255
/** A rejected candidate used this often is let in now and then: nobody can fill the cache with immovable keys. */
const WARM_CANDIDATE = 6
const LUCKY = 1 / 128
/** How many small entries are weighed against one large candidate before it is refused. */
const MAX_VICTIMS = 128

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
  #next = new Uint32Array(FIRST_SLOT)
  #previous = new Uint32Array(FIRST_SLOT)
  #segments = new Uint8Array(FIRST_SLOT)
  #hashes = new Int32Array(FIRST_SLOT)
  #weights = new Float64Array(FIRST_SLOT)
  /** Generation of the last access in the upper 24 bits, count in the lower 8. */
  #counts = new Uint32Array(FIRST_SLOT)
  /** Head of the list of free slots, linked by `#next`; 0 when there is none. */
  #free = 0
  #used = FIRST_SLOT

  #bytes = 0
  #windowEntries = 0
  #windowBytes = 0
  #protectedEntries = 0
  #protectedBytes = 0
  #maxWindowEntries = 0
  #maxWindowBytes = 0
  #maxProtectedEntries = 0
  #maxProtectedBytes = 0

  readonly #sketch = new FrequencySketch()
  #climber = new WindowClimber()
  #generation = 0
  #accesses = 0
  #hits = 0
  #period = 0

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
    this.#reset()
  }

  get size(): number {
    return this.#slots.size
  }

  /** Sum of the bytes of all entries. */
  get bytes(): number {
    return this.#bytes
  }

  /** The value, or `undefined` for a miss; a hit counts as a use. */
  get(key: string): V | undefined {
    const slot = this.#slots.get(key)
    if (slot === undefined) return undefined
    this.#hits++
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
      this.#resize(slot, bytes)
      this.#use(slot)
      this.#settle()
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
    this.#reset()
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
    const counted = Array.from(this.#slots, ([key, slot]) => ({ key, count: this.#count(slot) }))
    counted.sort((a, b) => b.count - a.count)
    return counted.slice(0, n).map(({ key }) => key)
  }

  /** How the entries lie in the policy's lists, for diagnosis and tests. */
  inspect(): TinyLfuLists {
    return {
      window: this.#list(WINDOW),
      probation: this.#list(PROBATION),
      protected: this.#list(PROTECTED),
      windowShare: this.#climber.share,
    }
  }

  #list(segment: number): string[] {
    const keys: string[] = []
    for (let slot = this.#next[segment] as number; slot !== segment; slot = this.#next[slot] as number) {
      keys.push(this.#keys[slot] as string)
    }
    return keys
  }

  #insert(key: string, value: V, bytes: number): void {
    const slot = this.#take()
    const hash = keyHash(key, this.#seed0, this.#seed1)
    const frequency = this.#sketch.frequency(hash, this.#generation)
    this.#slots.set(key, slot)
    this.#keys[slot] = key
    this.#values[slot] = value
    this.#hashes[slot] = hash
    this.#weights[slot] = bytes
    this.#counts[slot] = (this.#generation << 8) | Math.min(frequency + 1, MAX_FREQUENCY)
    this.#bytes += bytes
    this.#tick()
    if (bytes > this.#maxWindowBytes) {
      // It would flush the whole window only to leave it at once.
      this.#link(slot, PROBATION)
      this.#compete(slot)
    } else {
      this.#link(slot, WINDOW)
    }
    this.#settle()
  }

  #use(slot: number): void {
    const counts = this.#counts[slot] as number
    const generation = this.#generation
    if (counts >>> 8 !== generation) this.#counts[slot] = (generation << 8) | (this.#count(slot) + 1)
    else if ((counts & MAX_COUNT) < MAX_COUNT) this.#counts[slot] = counts + 1
    const segment = this.#segments[slot] as number
    if (segment === PROBATION) this.#promote(slot)
    else if (this.#next[segment] !== slot) {
      const next = this.#next
      const previous = this.#previous
      const after = next[slot] as number
      const before = previous[slot] as number
      next[before] = after
      previous[after] = before
      const head = next[segment] as number
      next[slot] = head
      previous[slot] = segment
      previous[head] = slot
      next[segment] = slot
    }
    this.#tick()
  }

  #promote(slot: number): void {
    this.#unlink(slot)
    this.#link(slot, PROTECTED)
    while (
      (this.#protectedEntries > this.#maxProtectedEntries || this.#protectedBytes > this.#maxProtectedBytes) &&
      this.#protectedEntries > 0
    ) {
      const demoted = this.#previous[PROTECTED] as number
      this.#unlink(demoted)
      this.#link(demoted, PROBATION)
    }
  }

  /** What the slot's entry was used, aged to this generation. */
  #count(slot: number): number {
    const counts = this.#counts[slot] as number
    const halvings = (this.#generation - (counts >>> 8)) & 0xffffff
    return halvings > 8 ? 0 : (counts & MAX_COUNT) >> halvings
  }

  #frequency(slot: number): number {
    return Math.min(this.#count(slot), MAX_FREQUENCY)
  }

  /** One access more; at the end of a period frequencies age and the window adapts. */
  #tick(): void {
    if (++this.#accesses < this.#period) return
    // The cache has grown since the period was set: while it fills, nothing needs to age.
    if (this.#accesses < PERIOD_PER_ENTRY * this.size) {
      this.#period = PERIOD_PER_ENTRY * this.size
      return
    }
    this.#generation = (this.#generation + 1) & 0xffffff
    this.#climber.observe(this.#hits / this.#accesses)
    this.#partition()
    this.#startPeriod()
  }

  #startPeriod(): void {
    this.#accesses = 0
    this.#hits = 0
    this.#period = PERIOD_PER_ENTRY * Math.max(this.size, 16)
  }

  #partition(): void {
    const share = this.#climber.share
    const main = PROTECTED_SHARE * (1 - share)
    this.#maxWindowEntries = Math.max(1, Math.round(share * this.#maxEntries))
    this.#maxWindowBytes = share * this.#maxBytes
    this.#maxProtectedEntries = Math.floor(main * this.#maxEntries)
    this.#maxProtectedBytes = main * this.#maxBytes
  }

  /** Moves what no longer fits the window to main, and restores both bounds. */
  #settle(): void {
    while (
      (this.#windowEntries > this.#maxWindowEntries || this.#windowBytes > this.#maxWindowBytes) &&
      this.#windowEntries > 0
    ) {
      const candidate = this.#previous[WINDOW] as number
      this.#unlink(candidate)
      this.#link(candidate, PROBATION)
      this.#compete(candidate)
    }
    while (this.#overfull(0, 0)) this.#remove(this.#victim(), 'evicted')
  }

  /** Whether a bound is exceeded even without `entries` and `bytes` of what is there. */
  #overfull(entries: number, bytes: number): boolean {
    return this.#slots.size - entries > this.#maxEntries || this.#bytes - bytes > this.#maxBytes
  }

  /** Lets the newest entry of probation stay only if it is worth more than what must go for it. */
  #compete(candidate: number): void {
    if (!this.#overfull(0, 0)) return
    const frequency = this.#frequency(candidate)
    let victims = 0
    let bytes = 0
    let rivals = 0
    let victim = this.#previous[PROBATION] as number
    while (victim !== candidate && rivals < frequency && victims < MAX_VICTIMS && this.#overfull(victims, bytes)) {
      rivals += this.#frequency(victim)
      victims++
      bytes += this.#weights[victim] as number
      victim = this.#previous[victim] as number
    }
    const admitted = rivals < frequency && !this.#overfull(victims, bytes)
    if (!admitted && !(frequency >= WARM_CANDIDATE && this.#random() < LUCKY)) {
      this.#remove(candidate, 'evicted')
      return
    }
    while (this.#overfull(0, 0) && this.#previous[PROBATION] !== candidate) {
      this.#remove(this.#previous[PROBATION] as number, 'evicted')
    }
  }

  /** Who goes when nobody competes. There is always somebody: a single entry exceeds no bound. */
  #victim(): number {
    const probation = this.#previous[PROBATION] as number
    if (probation !== PROBATION) return probation
    const guarded = this.#previous[PROTECTED] as number
    return guarded !== PROTECTED ? guarded : (this.#previous[WINDOW] as number)
  }

  #remove(slot: number, reason: RemovalReason): void {
    const key = this.#keys[slot] as string
    const count = this.#frequency(slot)
    if (count > 0) {
      this.#sketch.ensure(Math.min(this.size, this.#maxEntries))
      this.#sketch.record(this.#hashes[slot] as number, count, this.#generation)
    }
    this.#unlink(slot)
    this.#slots.delete(key)
    this.#bytes -= this.#weights[slot] as number
    if (this.#onEvict !== undefined) this.#removed.push({ key, value: this.#values[slot] as V, reason })
    this.#keys[slot] = undefined
    this.#values[slot] = undefined
    this.#next[slot] = this.#free
    this.#free = slot
    // Fractions of bytes do not add up exactly.
    if (this.size === 0) this.#bytes = 0
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

  #resize(slot: number, bytes: number): void {
    const change = bytes - (this.#weights[slot] as number)
    const segment = this.#segments[slot]
    this.#weights[slot] = bytes
    this.#bytes += change
    if (segment === WINDOW) this.#windowBytes += change
    else if (segment === PROTECTED) this.#protectedBytes += change
  }

  #unlink(slot: number): void {
    const after = this.#next[slot] as number
    const before = this.#previous[slot] as number
    this.#next[before] = after
    this.#previous[after] = before
    this.#weigh(slot, -1)
  }

  /** Puts the slot at the head, the most recently used end, of a list. */
  #link(slot: number, segment: number): void {
    const head = this.#next[segment] as number
    this.#next[slot] = head
    this.#previous[slot] = segment
    this.#previous[head] = slot
    this.#next[segment] = slot
    this.#segments[slot] = segment
    this.#weigh(slot, 1)
  }

  #weigh(slot: number, sign: 1 | -1): void {
    const segment = this.#segments[slot]
    if (segment === WINDOW) {
      this.#windowEntries += sign
      this.#windowBytes = this.#windowEntries === 0 ? 0 : this.#windowBytes + sign * (this.#weights[slot] as number)
    } else if (segment === PROTECTED) {
      this.#protectedEntries += sign
      this.#protectedBytes =
        this.#protectedEntries === 0 ? 0 : this.#protectedBytes + sign * (this.#weights[slot] as number)
    }
  }

  #take(): number {
    const slot = this.#free
    if (slot !== 0) {
      this.#free = this.#next[slot] as number
      return slot
    }
    if (this.#used === this.#next.length) this.#grow(Math.min(this.#used * 2, this.#maxEntries + FIRST_SLOT + 1))
    return this.#used++
  }

  #grow(length: number): void {
    this.#next = copied(this.#next, new Uint32Array(length))
    this.#previous = copied(this.#previous, new Uint32Array(length))
    this.#segments = copied(this.#segments, new Uint8Array(length))
    this.#hashes = copied(this.#hashes, new Int32Array(length))
    this.#weights = copied(this.#weights, new Float64Array(length))
    this.#counts = copied(this.#counts, new Uint32Array(length))
  }

  #reset(): void {
    this.#slots.clear()
    this.#keys = [undefined, undefined, undefined]
    this.#values = [undefined, undefined, undefined]
    this.#next = Uint32Array.of(WINDOW, PROBATION, PROTECTED)
    this.#previous = Uint32Array.of(WINDOW, PROBATION, PROTECTED)
    this.#segments = new Uint8Array(FIRST_SLOT)
    this.#hashes = new Int32Array(FIRST_SLOT)
    this.#weights = new Float64Array(FIRST_SLOT)
    this.#counts = new Uint32Array(FIRST_SLOT)
    this.#free = 0
    this.#used = FIRST_SLOT
    this.#bytes = 0
    this.#windowEntries = 0
    this.#windowBytes = 0
    this.#protectedEntries = 0
    this.#protectedBytes = 0
    this.#sketch.clear()
    this.#climber = new WindowClimber()
    this.#generation = 0
    this.#partition()
    this.#startPeriod()
  }
}

function copied<A extends Uint8Array | Uint32Array | Int32Array | Float64Array>(from: A, to: A): A {
  to.set(from)
  return to
}
