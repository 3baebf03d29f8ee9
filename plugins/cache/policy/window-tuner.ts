import type { EvictionPolicy } from './eviction-policy.ts'
import { Scout } from './scout.ts'

/** A small window: main decides by frequency. */
export const FREQUENCY_SHARE = 0.01
/** Nothing but window: plain LRU. */
const RECENCY_SHARE = 1

/** Share of the keys that the scouts see, as long as that leaves them with enough entries to be representative. */
const SAMPLE = 1 / 16
const MIN_SCOUT_ENTRIES = 256
/** By how many hits, per entry of a scout, one has to lead before the cache follows it. */
const LEAD_PER_ENTRY = 0.1
const MIN_LEAD = 16
/** A change sooner than this after the last, in accesses of the sample per entry of a scout, was rash. */
const RASH = 16
/** The most that it can take, per entry of a scout. */
const MAX_LEAD_PER_ENTRY = 0.6

/** After this many accesses of the sample, per entry of a scout, without an eviction there is nothing to choose. */
const IDLE_AFTER = 4

/**
 * Chooses between a small window (frequency decides) and a whole one (recency decides) by a duel: two scouts, small
 * caches of hashes that see a sample of the keys (Waldspurger et al., "Cache modeling and optimization using miniature
 * simulations"), play both parts all the time, and the cache follows the one that leads.
 *
 * Caffeine climbs: it moves the window step by step and watches its own hit rate. For many workloads the hit rate has a
 * valley between the two ends, where climbing gets stuck, and each step takes a period. The duel crosses the valley in
 * one stride, within a fraction of the accesses that it takes to fill the cache, and bounds what the cache can lose
 * against LRU.
 */
export class WindowTuner {
  /** Entries in the cache that the scouts are made to represent. */
  readonly entries: number
  /** Hashes below this are in the sample. */
  readonly threshold: number
  readonly #sampled: boolean
  readonly #frequency: Scout
  readonly #recency: Scout
  readonly #scoutEntries: number
  readonly #leadForRecency: number
  readonly #maxLeadForFrequency: number
  #leadForFrequency: number
  /** Accesses of the sample since the share last changed. */
  #settled = Number.POSITIVE_INFINITY
  #quiet = 0
  /** Hits by which frequency leads; recency when negative. */
  #lead = 0
  #share: number

  /** The scouts start with what the live cache has. */
  constructor(live: EvictionPolicy, random: () => number) {
    const scoutEntries = Math.min(live.entries, Math.max(MIN_SCOUT_ENTRIES, Math.round(live.entries * SAMPLE)))
    this.entries = live.entries
    this.threshold = Math.floor((scoutEntries / live.entries) * 2 ** 32) - 2 ** 31
    this.#sampled = scoutEntries < live.entries
    this.#frequency = new Scout(scoutEntries, FREQUENCY_SHARE, random)
    this.#recency = new Scout(scoutEntries, RECENCY_SHARE, random)
    this.#scoutEntries = scoutEntries
    this.#leadForRecency = Math.max(MIN_LEAD, scoutEntries * LEAD_PER_ENTRY)
    this.#leadForFrequency = this.#leadForRecency
    this.#maxLeadForFrequency = Math.max(this.#leadForRecency, scoutEntries * MAX_LEAD_PER_ENTRY)
    this.#share = live.windowShare
    live.each((hash, uses, promoted) => {
      if (hash >= this.threshold) return
      this.#frequency.adopt(hash, uses, promoted)
      this.#recency.adopt(hash, uses, promoted)
    })
  }

  /** The share of the cache that should be window. */
  get share(): number {
    return this.#share
  }

  /** Whether the cache has had room for everything for so long that the scouts need no longer be told. */
  get idle(): boolean {
    return this.#quiet > IDLE_AFTER * this.#scoutEntries
  }

  /** To be told of evictions. */
  evicted(): void {
    this.#quiet = 0
  }

  /**
   * To be told of each access to a key of the sample.
   * @param hit whether the live cache had it
   */
  access(hash: number, hit: boolean): void {
    this.#quiet++
    const frequent = this.#frequency.access(hash)
    const recent = this.#recency.access(hash)
    // The live cache knows best how it does, but a sample may hold more or less than its share of the popular keys.
    const guarding = !this.#sampled && this.#share === FREQUENCY_SHARE
    this.#lead += Number(guarding ? hit : frequent) - Number(recent)
    this.#settled++
    if (this.#lead >= this.#leadForFrequency) {
      this.#follow(FREQUENCY_SHARE)
      this.#lead = this.#leadForRecency
    } else if (this.#lead <= -this.#leadForRecency) {
      this.#follow(RECENCY_SHARE)
      this.#lead = Math.max(this.#lead, -this.#leadForFrequency)
    }
  }

  /**
   * Each change costs what the other side would have kept. Where the scouts lead by turns (a scan to and fro), it must
   * become harder to leave recency, never harder to fall back to it: that bounds the loss against LRU.
   */
  #follow(share: number): void {
    const rash = this.#settled < RASH * this.#scoutEntries
    if (share !== this.#share) {
      this.#share = share
      this.#settled = 0
      if (rash) this.#leadForFrequency = Math.min(this.#maxLeadForFrequency, this.#leadForFrequency * 2)
    } else if (!rash && this.#leadForFrequency > this.#leadForRecency) {
      this.#leadForFrequency = Math.max(this.#leadForRecency, this.#leadForFrequency / 2)
      this.#settled = 0
    }
  }
}
