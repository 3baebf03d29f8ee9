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
const LEAD_PER_ENTRY = 0.12
const MIN_LEAD = 16
/** To return to frequency takes this part of the lead that falling back to recency took, at first. */
const RETURN = 0.5
/** A change sooner than this after the last, in accesses of the sample per entry of a scout, was rash. */
const RASH = 32
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
  private readonly _sampled: boolean
  private readonly _frequency: Scout
  private readonly _recency: Scout
  private readonly _scoutEntries: number
  private readonly _leadForRecency: number
  private readonly _minLeadForFrequency: number
  private readonly _maxLeadForFrequency: number
  private _leadForFrequency: number
  /** Accesses of the sample since the share last changed. */
  private _settled = Number.POSITIVE_INFINITY
  private _quiet = 0
  /** Hits by which frequency leads; recency when negative. */
  private _lead = 0
  private _share: number

  /** The scouts start with what the live cache has. */
  constructor(live: EvictionPolicy, random: () => number) {
    const scoutEntries = Math.min(live.entries, Math.max(MIN_SCOUT_ENTRIES, Math.round(live.entries * SAMPLE)))
    this.entries = live.entries
    this.threshold = Math.floor((scoutEntries / live.entries) * 2 ** 32) - 2 ** 31
    this._sampled = scoutEntries < live.entries
    this._frequency = new Scout(scoutEntries, FREQUENCY_SHARE, random)
    this._recency = new Scout(scoutEntries, RECENCY_SHARE, random)
    this._scoutEntries = scoutEntries
    this._leadForRecency = Math.max(MIN_LEAD, scoutEntries * LEAD_PER_ENTRY)
    this._minLeadForFrequency = this._leadForRecency * RETURN
    this._leadForFrequency = this._minLeadForFrequency
    this._maxLeadForFrequency = Math.max(this._leadForRecency, scoutEntries * MAX_LEAD_PER_ENTRY)
    this._share = live.windowShare
    live.each((hash, uses) => {
      if (hash >= this.threshold) return
      this._frequency.insert(hash, uses)
      this._recency.insert(hash, uses)
    })
  }

  /** The share of the cache that should be window. */
  get share(): number {
    return this._share
  }

  /** Whether the cache has had room for everything for so long that the scouts need no longer be told. */
  get idle(): boolean {
    return this._quiet > IDLE_AFTER * this._scoutEntries
  }

  /** To be told of evictions. */
  evicted(): void {
    this._quiet = 0
  }

  /**
   * To be told of each access to a key of the sample.
   * @param hit whether the live cache had it
   */
  access(hash: number, hit: boolean): void {
    this._quiet++
    const frequent = this._frequency.access(hash)
    const recent = this._recency.access(hash)
    // The live cache knows best how it does, but a sample may hold more or less than its share of the popular keys.
    const guarding = !this._sampled && this._share === FREQUENCY_SHARE
    this._lead += Number(guarding ? hit : frequent) - Number(recent)
    this._settled++
    if (this._lead >= this._leadForFrequency) {
      this._follow(FREQUENCY_SHARE)
      this._lead = Math.min(this._lead, this._leadForRecency)
    } else if (this._lead <= -this._leadForRecency) {
      this._follow(RECENCY_SHARE)
      this._lead = Math.max(this._lead, -Math.max(this._leadForRecency, this._leadForFrequency))
    }
  }

  /**
   * Each change costs what the other side would have kept. Where the scouts lead by turns (a scan to and fro), it must
   * become harder to leave recency, never harder to fall back to it: that bounds the loss against LRU.
   */
  private _follow(share: number): void {
    const rash = this._settled < RASH * this._scoutEntries
    if (share !== this._share) {
      this._share = share
      this._settled = 0
      if (rash) this._leadForFrequency = Math.min(this._maxLeadForFrequency, this._leadForFrequency * 2)
    } else if (!rash && this._leadForFrequency > this._minLeadForFrequency) {
      this._leadForFrequency = Math.max(this._minLeadForFrequency, this._leadForFrequency / 2)
      this._settled = 0
    }
  }
}
