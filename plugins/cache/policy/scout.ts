import { EvictionPolicy } from './eviction-policy.ts'

/** A policy at work on hashes alone, to see how many hits it would have. */
export class Scout {
  readonly #slots = new Map<number, number>()
  readonly #policy: EvictionPolicy

  constructor(maxEntries: number, windowShare: number, random: () => number) {
    this.#policy = new EvictionPolicy(maxEntries, Number.POSITIVE_INFINITY, random, (slot) => {
      this.#slots.delete(this.#policy.hash(slot))
    })
    this.#policy.windowShare = windowShare
  }

  /** Takes over an entry that the live cache has. */
  adopt(hash: number, uses: number, promoted: boolean): void {
    this.#insert(hash, uses)
    const slot = this.#slots.get(hash)
    if (promoted && slot !== undefined) this.#policy.use(slot)
  }

  /** Whether this access was a hit. */
  access(hash: number): boolean {
    const slot = this.#slots.get(hash)
    if (slot === undefined) this.#insert(hash)
    else this.#policy.use(slot)
    return slot !== undefined
  }

  #insert(hash: number, uses?: number): void {
    const slot = this.#policy.take()
    this.#slots.set(hash, slot)
    this.#policy.insert(slot, hash, 0, uses)
  }
}
