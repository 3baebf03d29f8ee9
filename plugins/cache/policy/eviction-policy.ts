import { FrequencySketch, MAX_FREQUENCY } from './frequency-sketch.ts'

/** The first slots are the heads of the circular lists, so that linking needs no special cases. */
const WINDOW = 0
const PROBATION = 1
const PROTECTED = 2
const FIRST_SLOT = 3

/**
 * A slot is four integers side by side, so that one use of an entry touches one cache line of its own: successor,
 * predecessor, hash, and state (generation of the last use in 22 bits, list in 2, uses in 8).
 */
const SLOT_SHIFT = 2
const NEXT = 0
const PREVIOUS = 1
const HASH = 2
const STATE = 3
const LIST_SHIFT = 8
const GENERATION_SHIFT = 10
const MAX_GENERATION = 0x3fffff
/** A cached entry counts further than the sketch, so that the very hot can be told from the hot. */
const MAX_USES = 255

/** Share of the main space (what is not window) for entries that were used again there. */
const PROTECTED_SHARE = 0.8
/** Uses per entry after which all frequencies are halved. */
const USES_PER_GENERATION = 10
/** By how much a candidate must have been used more than its victims: less would swap equals for ever in a loop. */
const ADMISSION_MARGIN = 2
/** A refused candidate used this often is let in now and then: nobody can fill the cache with immovable keys. */
const WARM_CANDIDATE = 6
const LUCKY = 1 / 128
/** How many small entries are weighed against one large candidate before it is refused. */
const MAX_VICTIMS = 128

/** Slots of each list, most recently used first. */
export interface PolicyLists {
  window: number[]
  probation: number[]
  protected: number[]
}

/**
 * Decides which slot of a cache must go: W-TinyLFU (Einziger, Friedman, Manes, "TinyLFU: a highly efficient cache
 * admission policy") over slot numbers; keys and values are the owner's.
 *
 * New entries come into the *window*, an LRU list. Who leaves the window is a *candidate* for the main space and gets
 * in only if it was used more often than what would have to go for it, all of it together when sizes differ (Einziger,
 * Eytan, Friedman, Manes, "Lightweight robust size aware cache management"). Main is a segmented LRU. The larger the
 * window's share, the more this is an LRU cache; with a share of 1 it is exactly that.
 */
export class EvictionPolicy {
  readonly #maxEntries: number
  readonly #maxBytes: number
  readonly #random: () => number
  readonly #evicted: (slot: number) => void

  #slots = new Int32Array(FIRST_SLOT << SLOT_SHIFT)
  #weights = new Float64Array(FIRST_SLOT)
  /** First of the free slots, linked by NEXT; 0 when there is none. */
  #free = 0
  #top = FIRST_SLOT

  #entries = 0
  #bytes = 0
  #windowEntries = 0
  #windowBytes = 0
  #protectedEntries = 0
  #protectedBytes = 0
  #share = 0
  #maxWindowEntries = 0
  #maxWindowBytes = 0
  #maxProtectedEntries = 0
  #maxProtectedBytes = 0

  readonly #sketch = new FrequencySketch()
  #generation = 0
  #uses = 0
  #generationEnd = 0

  /** @param evicted is told of each slot that the policy frees by itself, before the slot is used again */
  constructor(maxEntries: number, maxBytes: number, random: () => number, evicted: (slot: number) => void) {
    this.#maxEntries = maxEntries
    this.#maxBytes = maxBytes
    this.#random = random
    this.#evicted = evicted
    for (let list = 0; list < FIRST_SLOT; list++) this.#close(list)
    this.#startGeneration()
  }

  get entries(): number {
    return this.#entries
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Share of the bounds that is window, from 0 to 1; takes effect as entries come. */
  get windowShare(): number {
    return this.#share
  }

  set windowShare(share: number) {
    const main = PROTECTED_SHARE * (1 - share)
    this.#share = share
    this.#maxWindowEntries = Math.max(1, Math.round(share * this.#maxEntries))
    this.#maxWindowBytes = part(share, this.#maxBytes)
    this.#maxProtectedEntries = Math.floor(main * this.#maxEntries)
    this.#maxProtectedBytes = part(main, this.#maxBytes)
  }

  hash(slot: number): number {
    return this.#slots[(slot << SLOT_SHIFT) | HASH] as number
  }

  /** How often the slot's entry was used lately. */
  uses(slot: number): number {
    const state = this.#slots[(slot << SLOT_SHIFT) | STATE] as number
    const halvings = (this.#generation - (state >>> GENERATION_SHIFT)) & MAX_GENERATION
    return halvings > 8 ? 0 : (state & MAX_USES) >> halvings
  }

  /** A free slot, for the owner to fill and then to {@link insert}. */
  take(): number {
    const slot = this.#free
    if (slot !== 0) {
      this.#free = this.#slots[(slot << SLOT_SHIFT) | NEXT] as number
      return slot
    }
    if (this.#top === this.#weights.length) this.#grow()
    return this.#top++
  }

  /**
   * Adds the entry of a slot; evicts what exceeds the bounds then, which may be the new entry itself.
   * @param uses how often it was used, this time included; by default as often as is remembered and once more
   */
  insert(slot: number, hash: number, bytes: number, uses = this.#remembered(hash) + 1): void {
    const base = slot << SLOT_SHIFT
    this.#slots[base | HASH] = hash
    this.#slots[base | STATE] = (this.#generation << GENERATION_SHIFT) | Math.min(uses, MAX_FREQUENCY)
    this.#weights[slot] = bytes
    this.#entries++
    this.#bytes += bytes
    this.#countUse()
    if (bytes > this.#maxWindowBytes) {
      // It would flush the whole window only to leave it at once.
      this.#link(slot, PROBATION)
      this.#compete(slot)
    } else {
      this.#link(slot, WINDOW)
    }
    this.settle()
  }

  /** The slot's entry was used. */
  use(slot: number): void {
    const slots = this.#slots
    const base = slot << SLOT_SHIFT
    const state = slots[base | STATE] as number
    const list = (state >>> LIST_SHIFT) & 3
    if (state >>> GENERATION_SHIFT !== this.#generation) {
      const uses = Math.min(this.uses(slot) + 1, MAX_USES)
      slots[base | STATE] = (this.#generation << GENERATION_SHIFT) | (list << LIST_SHIFT) | uses
    } else if ((state & MAX_USES) < MAX_USES) {
      slots[base | STATE] = state + 1
    }
    const head = slots[list << SLOT_SHIFT] as number
    if (list !== WINDOW && this.#windowHasRoom(this.#weights[slot] as number)) {
      // The window has been widened. What is in use moves in, or it would go before idle entries of the window do.
      this.#unlink(slot)
      this.#link(slot, WINDOW)
    } else if (list === PROBATION) {
      this.#promote(slot)
    } else if (head !== slot) {
      const after = slots[base] as number
      const before = slots[base | PREVIOUS] as number
      slots[before << SLOT_SHIFT] = after
      slots[(after << SLOT_SHIFT) | PREVIOUS] = before
      slots[base] = head
      slots[base | PREVIOUS] = list
      slots[(head << SLOT_SHIFT) | PREVIOUS] = slot
      slots[list << SLOT_SHIFT] = slot
    }
    this.#countUse()
  }

  /** Another size for the slot's entry; {@link settle} then restores the bounds. */
  resize(slot: number, bytes: number): void {
    const list = this.#listOf(slot)
    const change = bytes - (this.#weights[slot] as number)
    this.#weights[slot] = bytes
    this.#bytes += change
    if (list === WINDOW) this.#windowBytes += change
    else if (list === PROTECTED) this.#protectedBytes += change
  }

  /** Moves what no longer fits the window to main, and restores both bounds. */
  settle(): void {
    while (
      (this.#windowEntries > this.#maxWindowEntries || this.#windowBytes > this.#maxWindowBytes) &&
      this.#windowEntries > 0
    ) {
      const candidate = this.#tail(WINDOW)
      this.#unlink(candidate)
      this.#link(candidate, PROBATION)
      this.#compete(candidate)
    }
    while (this.#exceeded(0, 0)) this.#evict(this.#victim())
  }

  /** Frees the slot, remembering how often its entry was used. */
  remove(slot: number): void {
    const uses = this.#frequency(slot)
    if (uses > 0) {
      this.#sketch.ensure(this.#entries)
      this.#sketch.record(this.hash(slot), uses, this.#generation)
    }
    this.#unlink(slot)
    this.#entries--
    // Fractions of bytes do not add up exactly.
    this.#bytes = this.#entries === 0 ? 0 : this.#bytes - (this.#weights[slot] as number)
    this.#slots[(slot << SLOT_SHIFT) | NEXT] = this.#free
    this.#free = slot
  }

  lists(): PolicyLists {
    return { window: this.#walk(WINDOW), probation: this.#walk(PROBATION), protected: this.#walk(PROTECTED) }
  }

  /** Visits all entries, those that look least worth keeping first. */
  each(visit: (hash: number, uses: number, promoted: boolean) => void): void {
    for (const list of [PROBATION, PROTECTED, WINDOW]) {
      for (let slot = this.#tail(list); slot !== list; slot = this.#slots[(slot << SLOT_SHIFT) | PREVIOUS] as number) {
        visit(this.hash(slot), this.uses(slot), list === PROTECTED)
      }
    }
  }

  #walk(list: number): number[] {
    const found: number[] = []
    for (let slot = this.#head(list); slot !== list; slot = this.#slots[slot << SLOT_SHIFT] as number) found.push(slot)
    return found
  }

  #promote(slot: number): void {
    this.#unlink(slot)
    this.#link(slot, PROTECTED)
    while (
      (this.#protectedEntries > this.#maxProtectedEntries || this.#protectedBytes > this.#maxProtectedBytes) &&
      this.#protectedEntries > 0
    ) {
      const demoted = this.#tail(PROTECTED)
      this.#unlink(demoted)
      this.#link(demoted, PROBATION)
    }
  }

  #windowHasRoom(bytes: number): boolean {
    return this.#windowEntries < this.#maxWindowEntries && this.#windowBytes + bytes <= this.#maxWindowBytes
  }

  /** One use more; at the end of a generation all frequencies age, each when it is next looked at. */
  #countUse(): void {
    if (++this.#uses < this.#generationEnd) return
    // The cache has grown since: while it fills, nothing needs to age.
    if (this.#uses < USES_PER_GENERATION * this.#entries) {
      this.#generationEnd = USES_PER_GENERATION * this.#entries
      return
    }
    this.#generation = (this.#generation + 1) & MAX_GENERATION
    this.#startGeneration()
  }

  #startGeneration(): void {
    this.#uses = 0
    this.#generationEnd = USES_PER_GENERATION * Math.max(this.#entries, 16)
  }

  #remembered(hash: number): number {
    return this.#sketch.frequency(hash, this.#generation)
  }

  #frequency(slot: number): number {
    return Math.min(this.uses(slot), MAX_FREQUENCY)
  }

  /** Whether a bound is exceeded even without `entries` and `bytes` of what is there. */
  #exceeded(entries: number, bytes: number): boolean {
    return this.#entries - entries > this.#maxEntries || this.#bytes - bytes > this.#maxBytes
  }

  /** Lets the newest entry of probation stay only if it is worth more than what must go for it. */
  #compete(candidate: number): void {
    if (!this.#exceeded(0, 0)) return
    const frequency = this.#frequency(candidate)
    let victims = 0
    let bytes = 0
    let rivals = ADMISSION_MARGIN
    let victim = this.#tail(PROBATION)
    while (victim !== candidate && rivals <= frequency && victims < MAX_VICTIMS && this.#exceeded(victims, bytes)) {
      rivals += this.#frequency(victim)
      victims++
      bytes += this.#weights[victim] as number
      victim = this.#slots[(victim << SLOT_SHIFT) | PREVIOUS] as number
    }
    const admitted = rivals <= frequency && !this.#exceeded(victims, bytes)
    if (!admitted && !(frequency >= WARM_CANDIDATE && this.#random() < LUCKY)) {
      this.#evict(candidate)
      return
    }
    while (this.#exceeded(0, 0) && this.#tail(PROBATION) !== candidate) this.#evict(this.#tail(PROBATION))
  }

  /** Who goes when nobody competes. There is always somebody: a single entry exceeds no bound. */
  #victim(): number {
    const probation = this.#tail(PROBATION)
    if (probation !== PROBATION) return probation
    const guarded = this.#tail(PROTECTED)
    return guarded !== PROTECTED ? guarded : this.#tail(WINDOW)
  }

  #evict(slot: number): void {
    this.#evicted(slot)
    this.remove(slot)
  }

  #listOf(slot: number): number {
    return ((this.#slots[(slot << SLOT_SHIFT) | STATE] as number) >>> LIST_SHIFT) & 3
  }

  #head(list: number): number {
    return this.#slots[list << SLOT_SHIFT] as number
  }

  #tail(list: number): number {
    return this.#slots[(list << SLOT_SHIFT) | PREVIOUS] as number
  }

  #unlink(slot: number): void {
    const after = this.#slots[(slot << SLOT_SHIFT) | NEXT] as number
    const before = this.#slots[(slot << SLOT_SHIFT) | PREVIOUS] as number
    this.#slots[(before << SLOT_SHIFT) | NEXT] = after
    this.#slots[(after << SLOT_SHIFT) | PREVIOUS] = before
    this.#weigh(slot, this.#listOf(slot), -1)
  }

  /** Puts the slot at the head, the most recently used end, of a list. */
  #link(slot: number, list: number): void {
    const slots = this.#slots
    const base = slot << SLOT_SHIFT
    const head = this.#head(list)
    slots[base | NEXT] = head
    slots[base | PREVIOUS] = list
    slots[(head << SLOT_SHIFT) | PREVIOUS] = slot
    slots[list << SLOT_SHIFT] = slot
    slots[base | STATE] = ((slots[base | STATE] as number) & ~(3 << LIST_SHIFT)) | (list << LIST_SHIFT)
    this.#weigh(slot, list, 1)
  }

  #weigh(slot: number, list: number, sign: 1 | -1): void {
    const bytes = sign * (this.#weights[slot] as number)
    if (list === WINDOW) {
      this.#windowEntries += sign
      this.#windowBytes = this.#windowEntries === 0 ? 0 : this.#windowBytes + bytes
    } else if (list === PROTECTED) {
      this.#protectedEntries += sign
      this.#protectedBytes = this.#protectedEntries === 0 ? 0 : this.#protectedBytes + bytes
    }
  }

  #close(list: number): void {
    this.#slots[(list << SLOT_SHIFT) | NEXT] = list
    this.#slots[(list << SLOT_SHIFT) | PREVIOUS] = list
  }

  #grow(): void {
    // One entry more than the bound is there while it is decided who goes.
    const length = Math.min(this.#top * 2, this.#maxEntries + FIRST_SLOT + 1)
    const slots = new Int32Array(length << SLOT_SHIFT)
    const weights = new Float64Array(length)
    slots.set(this.#slots)
    weights.set(this.#weights)
    this.#slots = slots
    this.#weights = weights
  }
}

/** A part of a bound that may be infinite. */
function part(share: number, bound: number): number {
  return share === 0 ? 0 : share * bound
}
