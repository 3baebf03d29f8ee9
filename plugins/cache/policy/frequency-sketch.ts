/** Words of eight 4-bit counters in one block; a key's four counters share a block, hence a cache line. */
const BLOCK_WORDS = 8
const ROWS = 4
const MIN_BLOCKS = 64

/** The highest frequency a counter holds. */
export const MAX_FREQUENCY = 15

/**
 * Remembers how often keys that are no longer cached were used: a count-min sketch of 4-bit counters.
 *
 * Unlike the sketch of TinyLFU (Einziger, Friedman, Manes, "TinyLFU: a highly efficient cache admission policy") it
 * is not told of every access: cached entries count for themselves, and an entry that leaves raises its counters
 * to its own count. So a hit costs no hashing, and a scan of a million keys that are never seen again lifts counters
 * to 1 and no further, which is what the doorkeeper of the paper is for.
 *
 * Ageing halves every counter at each new generation, but a block is only halved when it is next touched.
 */
export class FrequencySketch {
  private _words = new Uint32Array(0)
  private _generations = new Uint16Array(0)
  private _mask = 0

  get blocks(): number {
    return this._generations.length
  }

  /**
   * Makes room for the history of a cache of `entries`. Growing keeps what is known: a block's copy answers for the
   * half of its keys that move.
   */
  ensure(entries: number): void {
    const wanted = Math.max(MIN_BLOCKS, 2 ** Math.ceil(Math.log2(entries / 4)))
    if (wanted <= this.blocks) return
    const words = new Uint32Array(wanted * BLOCK_WORDS)
    const generations = new Uint16Array(wanted)
    for (let block = 0; this.blocks > 0 && block < wanted; block += this.blocks) {
      words.set(this._words, block * BLOCK_WORDS)
      generations.set(this._generations, block)
    }
    this._words = words
    this._generations = generations
    this._mask = wanted - 1
  }

  /** 0 to {@link MAX_FREQUENCY}: never less than what was recorded and has not aged since. */
  frequency(hash: number, generation: number): number {
    if (this.blocks === 0) return 0
    const base = this._age(hash, generation)
    const rows = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d)
    let least = MAX_FREQUENCY
    for (let row = 0; row < ROWS; row++) {
      const cell = (rows >>> (row * 8)) & 15
      const counter = ((this._words[base + row * 2 + (cell & 1)] as number) >>> ((cell >>> 1) << 2)) & 15
      if (counter < least) least = counter
    }
    return least
  }

  /** Raises what is known of the key to `frequency`. */
  record(hash: number, frequency: number, generation: number): void {
    if (this.blocks === 0) return
    const base = this._age(hash, generation)
    const rows = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d)
    for (let row = 0; row < ROWS; row++) {
      const cell = (rows >>> (row * 8)) & 15
      const index = base + row * 2 + (cell & 1)
      const shift = (cell >>> 1) << 2
      const word = this._words[index] as number
      if (((word >>> shift) & 15) < frequency) this._words[index] = (word & ~(15 << shift)) | (frequency << shift)
    }
  }

  clear(): void {
    this._words = new Uint32Array(0)
    this._generations = new Uint16Array(0)
    this._mask = 0
  }

  /** Brings the key's block up to the generation and returns its first word. */
  private _age(hash: number, generation: number): number {
    const block = hash & this._mask
    const base = block * BLOCK_WORDS
    const halvings = (generation - (this._generations[block] as number)) & 0xffff
    if (halvings > 0) {
      this._generations[block] = generation
      // A 4-bit counter is 0 after four halvings; the mask drops the bits that cross into the neighbour.
      const keep = halvings > 3 ? 0 : (15 >> halvings) * 0x11111111
      for (let word = base; word < base + BLOCK_WORDS; word++) {
        this._words[word] = ((this._words[word] as number) >>> (halvings & 31)) & keep
      }
    }
    return base
  }
}
