import { EvictionPolicy } from './eviction-policy.ts'

/** A policy at work on hashes alone, to see how many hits it would have. */
export class Scout {
  private readonly _slots = new Map<number, number>()
  private readonly _policy: EvictionPolicy

  constructor(maxEntries: number, maxBytes: number, windowShare: number, random: () => number) {
    this._policy = new EvictionPolicy(maxEntries, maxBytes, random, (slot) => {
      this._slots.delete(this._policy.hash(slot))
    })
    this._policy.windowShare = windowShare
  }

  /** Whether this access was a hit. */
  access(hash: number, bytes: number): boolean {
    const slot = this._slots.get(hash)
    if (slot === undefined) this.insert(hash, bytes)
    else this._policy.use(slot)
    return slot !== undefined
  }

  /** @param uses how often it was used; by default as often as the policy remembers, and once more */
  insert(hash: number, bytes: number, uses?: number): void {
    const slot = this._policy.take()
    this._slots.set(hash, slot)
    this._policy.insert(slot, hash, bytes, uses)
  }
}
