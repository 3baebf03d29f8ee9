import { FrequencySketch, MAX_FREQUENCY } from './frequency-sketch.ts'

/** The first slots are the heads of the circular lists, so that linking needs no special cases. */
const WINDOW = 0
const MAIN = 1
const FIRST_SLOT = 2

/**
 * A slot is four integers side by side, so that one use of an entry touches one cache line of its own: successor,
 * predecessor, hash, and state (generation of the last use in 22 bits, used again in 1, list in 1, uses in 8).
 */
const SLOT_SHIFT = 2
const NEXT = 0
const PREVIOUS = 1
const HASH = 2
const STATE = 3
const LIST_SHIFT = 8
const IN_MAIN = 1 << LIST_SHIFT
/** Used since it came into main, or since it was last spared. */
const USED_AGAIN = 2 << LIST_SHIFT
const GENERATION_SHIFT = 10
const MAX_GENERATION = 0x3fffff
/** A cached entry counts further than the sketch, so that the very hot can be told from the hot. */
const MAX_USES = 255

/** Uses per entry after which all frequencies are halved. */
const USES_PER_GENERATION = 10
/**
 * How often frequencies are halved when the cache is full for the first time: what was counted over the whole time of
 * filling must not outweigh what is used now.
 */
const HALVINGS_WHEN_FULL = 2
/** By how much a candidate must have been used more than its victims: less would swap equals for ever in a loop. */
const ADMISSION_MARGIN = 2
/** A refused candidate used this often is let in now and then: the cache cannot be filled with immovable keys. */
const WARM_CANDIDATE = 6
const LUCKY = 1 / 128
/** By how much the room for slots grows when it is used up: twice as much would lie idle half of the time. */
const GROWTH = 1.5
/** How many small entries are weighed against one large candidate before it is refused. */
const MAX_VICTIMS = 128
/** How many entries one eviction spares because they were used again. */
const MAX_SPARED = 64

/** Slots of each list, from the head to the end where entries leave. */
export interface PolicyLists {
  window: number[]
  main: number[]
}

/**
 * Decides which slot of a cache must go: W-TinyLFU (Einziger, Friedman, Manes, "TinyLFU: a highly efficient cache
 * admission policy") over slot numbers; keys and values are the owner's.
 *
 * New entries come into the *window*, an LRU list. Who leaves the window is a *candidate* for the main space and gets
 * in only if it was used more often than what would have to go for it, all of it together when sizes differ (Einziger,
 * Eytan, Friedman, Manes, "Lightweight robust size aware cache management"). The larger the window's share, the more
 * this is an LRU cache; with a share of 1 it is exactly that.
 *
 * Main is a queue in which a hit only leaves a mark; a marked entry at the end gets another round (Yang et al., "FIFO
 * can be better than LRU: the power of lazy promotion and quick demotion"). A segmented LRU has the same hit rates here
 * but pays for each hit with two moves between lists.
 *
 * The fields of these classes are TypeScript's `private`, not `#`: once all instances have been collected, V8 (Node 20)
 * reads the `#` fields of later ones through generic lookups, and a hit takes three times as long.
 */
export class EvictionPolicy {
  readonly maxEntries: number
  readonly maxBytes: number
  private readonly _random: () => number
  private readonly _evicted: (slot: number) => void

  private _slots = new Int32Array(FIRST_SLOT << SLOT_SHIFT)
  private _weights = new Float64Array(FIRST_SLOT)
  /** First of the free slots, linked by NEXT; 0 when there is none. */
  private _free = 0
  private _top = FIRST_SLOT

  private _entries = 0
  private _bytes = 0
  private _windowEntries = 0
  private _windowBytes = 0
  private _share = 0
  private _maxWindowEntries = 0
  private _maxWindowBytes = 0

  private readonly _sketch = new FrequencySketch()
  private _generation = 0
  private _uses = 0
  private _generationEnd = 0
  private _wasFull = false

  /** @param evicted is told of each slot that the policy frees by itself, before the slot is used again */
  constructor(maxEntries: number, maxBytes: number, random: () => number, evicted: (slot: number) => void) {
    this.maxEntries = maxEntries
    this.maxBytes = maxBytes
    this._random = random
    this._evicted = evicted
    for (let list = 0; list < FIRST_SLOT; list++) this._close(list)
    this._startGeneration(0)
  }

  get entries(): number {
    return this._entries
  }

  /** Slots that there is room for now; no slot has this number or a higher one. */
  get slots(): number {
    return this._weights.length
  }

  get bytes(): number {
    return this._bytes
  }

  /** Share of the bounds that is window, from 0 to 1; takes effect as entries come. */
  get windowShare(): number {
    return this._share
  }

  set windowShare(share: number) {
    this._share = share
    this._maxWindowEntries = Math.max(1, Math.round(share * this.maxEntries))
    this._maxWindowBytes = part(share, this.maxBytes)
  }

  hash(slot: number): number {
    return this._slots[(slot << SLOT_SHIFT) | HASH] as number
  }

  weight(slot: number): number {
    return this._weights[slot] as number
  }

  /** How often the slot's entry was used lately. */
  uses(slot: number): number {
    const state = this._slots[(slot << SLOT_SHIFT) | STATE] as number
    const halvings = (this._generation - (state >>> GENERATION_SHIFT)) & MAX_GENERATION
    return halvings > 8 ? 0 : (state & MAX_USES) >> halvings
  }

  /** A free slot, for the owner to fill and then to {@link insert}. */
  take(): number {
    const slot = this._free
    if (slot !== 0) {
      this._free = this._slots[(slot << SLOT_SHIFT) | NEXT] as number
      return slot
    }
    if (this._top === this._weights.length) this._grow()
    return this._top++
  }

  /**
   * Adds the entry of a slot; evicts what exceeds the bounds then, which may be the new entry itself.
   * @param uses how often it was used, this time included; by default as often as is remembered and once more
   */
  insert(slot: number, hash: number, bytes: number, uses = this._remembered(hash) + 1): void {
    const base = slot << SLOT_SHIFT
    this._slots[base | HASH] = hash
    this._slots[base | STATE] = (this._generation << GENERATION_SHIFT) | Math.min(uses, MAX_FREQUENCY)
    this._weights[slot] = bytes
    this._entries++
    this._bytes += bytes
    this._countUse()
    if (bytes > this._maxWindowBytes) {
      // It would flush the whole window only to leave it at once.
      this._link(slot, MAIN)
      this._compete(slot)
    } else {
      this._link(slot, WINDOW)
    }
    this.settle()
  }

  /** The slot's entry was used. */
  use(slot: number): void {
    const slots = this._slots
    const base = slot << SLOT_SHIFT
    const state = this._usedOnce(slot, slots[base | STATE] as number)
    if ((state & IN_MAIN) !== 0) {
      slots[base | STATE] = state | USED_AGAIN
      if (this._windowEntries < this._maxWindowEntries) this._widen(slot)
    } else {
      slots[base | STATE] = state
      const head = slots[WINDOW] as number
      if (head !== slot) {
        const after = slots[base] as number
        const before = slots[base | PREVIOUS] as number
        slots[before << SLOT_SHIFT] = after
        slots[(after << SLOT_SHIFT) | PREVIOUS] = before
        slots[base] = head
        slots[base | PREVIOUS] = WINDOW
        slots[(head << SLOT_SHIFT) | PREVIOUS] = slot
        slots[WINDOW] = slot
      }
    }
    this._countUse()
  }

  private _usedOnce(slot: number, state: number): number {
    if (state >>> GENERATION_SHIFT === this._generation) return (state & MAX_USES) < MAX_USES ? state + 1 : state
    const uses = Math.min(this.uses(slot) + 1, MAX_USES)
    return (this._generation << GENERATION_SHIFT) | (state & (IN_MAIN | USED_AGAIN)) | uses
  }

  /** The window has been widened. What is in use moves in, or it would go before idle entries of the window do. */
  private _widen(slot: number): void {
    if (this._windowBytes + (this._weights[slot] as number) > this._maxWindowBytes) return
    this._unlink(slot)
    this._link(slot, WINDOW)
  }

  /** Another size for the slot's entry; {@link settle} then restores the bounds. */
  resize(slot: number, bytes: number): void {
    const list = this._listOf(slot)
    const change = bytes - (this._weights[slot] as number)
    this._weights[slot] = bytes
    this._bytes += change
    if (list === WINDOW) this._windowBytes += change
  }

  /** Moves what no longer fits the window to main, and restores both bounds. */
  settle(): void {
    while (
      (this._windowEntries > this._maxWindowEntries || this._windowBytes > this._maxWindowBytes) &&
      this._windowEntries > 0
    ) {
      const candidate = this._tail(WINDOW)
      this._unlink(candidate)
      this._link(candidate, MAIN)
      this._compete(candidate)
    }
    // Not by what main may have: a window that has just been widened takes it over as entries come, not at once.
    while (this._exceeded()) this._evict(this._victim())
  }

  /** Frees the slot, remembering how often its entry was used. */
  remove(slot: number): void {
    const uses = this._frequency(slot)
    if (uses > 0) {
      this._sketch.ensure(this._entries)
      this._sketch.record(this.hash(slot), uses, this._generation)
    }
    this._unlink(slot)
    this._entries--
    this._bytes = this._entries === 0 ? 0 : this._bytes - (this._weights[slot] as number)
    this._slots[(slot << SLOT_SHIFT) | NEXT] = this._free
    this._free = slot
  }

  lists(): PolicyLists {
    return { window: this._walk(WINDOW), main: this._walk(MAIN) }
  }

  /** Visits all entries, those that look least worth keeping first. */
  each(visit: (hash: number, bytes: number, uses: number) => void): void {
    for (const list of [MAIN, WINDOW]) {
      for (let slot = this._tail(list); slot !== list; slot = this._slots[(slot << SLOT_SHIFT) | PREVIOUS] as number) {
        visit(this.hash(slot), this.weight(slot), this.uses(slot))
      }
    }
  }

  private _walk(list: number): number[] {
    const found: number[] = []
    for (let slot = this._head(list); slot !== list; slot = this._slots[slot << SLOT_SHIFT] as number) found.push(slot)
    return found
  }

  /** One use more; at the end of a generation all frequencies age, each when it is next looked at. */
  private _countUse(): void {
    if (++this._uses < this._generationEnd) return
    // The cache has grown since: while it fills, nothing needs to age.
    if (this._uses < USES_PER_GENERATION * this._entries) {
      this._generationEnd = USES_PER_GENERATION * this._entries
      return
    }
    this._startGeneration(1)
  }

  private _startGeneration(halvings: number): void {
    this._generation = (this._generation + halvings) & MAX_GENERATION
    this._uses = 0
    this._generationEnd = USES_PER_GENERATION * Math.max(this._entries, 16)
  }

  private _remembered(hash: number): number {
    return this._sketch.frequency(hash, this._generation)
  }

  private _frequency(slot: number): number {
    return Math.min(this.uses(slot), MAX_FREQUENCY)
  }

  private _exceeded(): boolean {
    return this._entries > this.maxEntries || this._bytes > this.maxBytes
  }

  /**
   * Whether main exceeds what is its own, even without `entries` and `bytes` of it. It must leave the window its share
   * also while that is not used up, or the next entries of the window would push entries out of main without a contest.
   */
  private _crowded(entries: number, bytes: number): boolean {
    const mainEntries = this._entries - this._windowEntries - entries
    const mainBytes = this._bytes - this._windowBytes - bytes
    const reserved = mainEntries > 1 && this._share < 1
    const windowEntries = reserved ? Math.max(this._windowEntries, this._maxWindowEntries) : this._windowEntries
    const windowBytes = reserved ? Math.max(this._windowBytes, this._maxWindowBytes) : this._windowBytes
    return mainEntries + windowEntries > this.maxEntries || mainBytes + windowBytes > this.maxBytes
  }

  /** Lets the newest entry of main stay only if it is worth more than what must go for it. */
  private _compete(candidate: number): void {
    if (!this._crowded(0, 0)) return
    if (!this._wasFull) {
      this._wasFull = true
      this._startGeneration(HALVINGS_WHEN_FULL)
    }
    this._spare(candidate)
    const frequency = this._frequency(candidate)
    let victims = 0
    let bytes = 0
    let rivals = ADMISSION_MARGIN
    let victim = this._tail(MAIN)
    while (victim !== candidate && rivals <= frequency && victims < MAX_VICTIMS && this._crowded(victims, bytes)) {
      rivals += this._frequency(victim)
      victims++
      bytes += this._weights[victim] as number
      victim = this._slots[(victim << SLOT_SHIFT) | PREVIOUS] as number
    }
    const admitted = rivals <= frequency && !this._crowded(victims, bytes)
    if (!admitted && !(frequency >= WARM_CANDIDATE && this._random() < LUCKY)) {
      this._evict(candidate)
      return
    }
    while (this._crowded(0, 0) && this._tail(MAIN) !== candidate) this._evict(this._tail(MAIN))
  }

  /** Gives what was used again at the tail of main another round. */
  private _spare(candidate: number): void {
    const slots = this._slots
    for (let spared = 0; spared < MAX_SPARED; spared++) {
      const tail = this._tail(MAIN)
      const state = slots[(tail << SLOT_SHIFT) | STATE] as number
      if (tail === candidate || tail === MAIN || (state & USED_AGAIN) === 0) return
      this._unlink(tail)
      this._link(tail, MAIN)
    }
  }

  /** Which entry goes when there is no candidate. There always is one: a single entry exceeds no bound. */
  private _victim(): number {
    this._spare(MAIN)
    const tail = this._tail(MAIN)
    return tail !== MAIN ? tail : this._tail(WINDOW)
  }

  private _evict(slot: number): void {
    this._evicted(slot)
    this.remove(slot)
  }

  private _listOf(slot: number): number {
    return ((this._slots[(slot << SLOT_SHIFT) | STATE] as number) >>> LIST_SHIFT) & 1
  }

  private _head(list: number): number {
    return this._slots[list << SLOT_SHIFT] as number
  }

  private _tail(list: number): number {
    return this._slots[(list << SLOT_SHIFT) | PREVIOUS] as number
  }

  private _unlink(slot: number): void {
    const after = this._slots[(slot << SLOT_SHIFT) | NEXT] as number
    const before = this._slots[(slot << SLOT_SHIFT) | PREVIOUS] as number
    this._slots[(before << SLOT_SHIFT) | NEXT] = after
    this._slots[(after << SLOT_SHIFT) | PREVIOUS] = before
    this._weigh(slot, this._listOf(slot), -1)
  }

  /** Puts the slot at the head of a list, unmarked. */
  private _link(slot: number, list: number): void {
    const slots = this._slots
    const base = slot << SLOT_SHIFT
    const head = this._head(list)
    slots[base | NEXT] = head
    slots[base | PREVIOUS] = list
    slots[(head << SLOT_SHIFT) | PREVIOUS] = slot
    slots[list << SLOT_SHIFT] = slot
    slots[base | STATE] = ((slots[base | STATE] as number) & ~(IN_MAIN | USED_AGAIN)) | (list << LIST_SHIFT)
    this._weigh(slot, list, 1)
  }

  /** Keeps account of the window. */
  private _weigh(slot: number, list: number, sign: 1 | -1): void {
    if (list !== WINDOW) return
    this._windowEntries += sign
    // Fractions of bytes do not add up exactly.
    this._windowBytes = this._windowEntries === 0 ? 0 : this._windowBytes + sign * (this._weights[slot] as number)
  }

  private _close(list: number): void {
    this._slots[(list << SLOT_SHIFT) | NEXT] = list
    this._slots[(list << SLOT_SHIFT) | PREVIOUS] = list
  }

  private _grow(): void {
    // One entry more than the bound is there while it is decided who goes.
    const length = Math.min(Math.ceil(this._top * GROWTH), this.maxEntries + FIRST_SLOT + 1)
    const slots = new Int32Array(length << SLOT_SHIFT)
    const weights = new Float64Array(length)
    slots.set(this._slots)
    weights.set(this._weights)
    this._slots = slots
    this._weights = weights
  }
}

/** A part of a bound that may be infinite. */
function part(share: number, bound: number): number {
  return share === 0 ? 0 : share * bound
}
