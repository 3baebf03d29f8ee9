import type { EvictionPolicy } from './eviction-policy.ts'
import { Scout } from './scout.ts'

/** Shares of the window that are tried: from where main decides by frequency to plain LRU. */
const SHARES = [0.01, 0.1, 0.25, 0.5, 0.75, 1]
/** A small window: main decides by frequency. */
export const FREQUENCY_SHARE = 0.01
const RECENCY = SHARES.length - 1

/** Share of the keys that the scouts see, as long as that leaves them with enough entries to be representative. */
const SAMPLE = 1 / 32
const MIN_SCOUT_ENTRIES = 512
/** By how many hits, per entry of a scout, another one has to lead before the cache follows it. */
const LEAD_PER_ENTRY = 0.12
const MIN_LEAD = 16
/** Before anything was measured the cache follows a guess: leaving that takes this part of a lead. */
const FIRST = 0.5
/** So much of a lead may be lost by following before that makes following harder. */
const FREE_REGRET = 0.25
/** By how many hits, per entry, plain LRU has to lead the cache itself: filling it again costs at most one an entry. */
const LAG_PER_ENTRY = 2
/** After so many accesses of the sample, per entry of a scout, all that was counted counts half. */
const HALVED_AFTER = 2_000

/** After this many accesses of the sample, per entry of a scout, without an eviction there is nothing to choose. */
const IDLE_AFTER = 4

/**
 * Chooses how much of the cache is window. Scouts, small caches of hashes that see a sample of the keys (Waldspurger et
 * al., "Cache modeling and optimization using miniature simulations"), each try another share all the time, and the
 * cache follows the one that leads the scout which it follows now.
 *
 * Caffeine climbs: it moves the window step by step and watches its own hit rate. For many workloads the hit rate has a
 * valley between the two ends, where climbing gets stuck, and each step takes a period. The scouts cross the valley in
 * one stride, within a fraction of the accesses that it takes to fill the cache.
 *
 * Following costs: the cache does not hold what the scout holds that it follows from now on. Where scouts lead by turns
 * (a scan to and fro), that is lost at each turn. So the tuner keeps account of its *regret*: by how many hits the
 * cache itself lies behind the scout that is the best of all in the long run. By so much must a lead be larger for
 * following another scout, less what that scout has been better in the long run. So each useless turn makes the next
 * one rarer; where following pays there is no regret, and the cache keeps following. Going back to plain LRU stays as
 * easy as at first, which is what bounds the loss against it: each departure from LRU costs a filling of the cache and
 * a lead at most, and has to have been earned by more than all that was lost before.
 *
 * As to the cache itself: one that lags far behind plain LRU, although its scout does not, is stuck with what it holds,
 * and becomes an LRU cache, which forgets that soonest.
 */
export class WindowTuner {
  /** Entries in the cache that the scouts are made to represent. */
  readonly entries: number
  /** Hashes below this are in the sample. */
  readonly threshold: number
  private readonly _scouts: readonly Scout[]
  private readonly _scoutEntries: number
  private readonly _lead: number
  /** Index of the scout that the cache follows. */
  private _followed: number
  /** Of each scout, in the long run. */
  private readonly _hits = new Float64Array(SHARES.length)
  /** Of the cache itself. */
  private _liveHits = 0
  private _accesses = 0
  /** Hits by which each leads the one that is followed. */
  private readonly _leads = new Float64Array(SHARES.length)
  /** Hits by which plain LRU leads the cache itself. */
  private _lag = 0
  private _quiet = 0
  /** What it takes to follow another scout. */
  private _needed: number

  /** The scouts start with what the live cache has. */
  constructor(live: EvictionPolicy, random: () => number) {
    const scoutEntries = Math.min(live.entries, Math.max(MIN_SCOUT_ENTRIES, Math.round(live.entries * SAMPLE)))
    this.entries = live.entries
    this.threshold = Math.floor((scoutEntries / live.entries) * 2 ** 32) - 2 ** 31
    const scale = scoutEntries / live.entries
    const maxEntries = Math.max(1, Math.round(live.maxEntries * scale))
    this._scouts = SHARES.map((share) => new Scout(maxEntries, live.maxBytes * scale, share, random))
    this._scoutEntries = scoutEntries
    this._lead = Math.max(MIN_LEAD, scoutEntries * LEAD_PER_ENTRY)
    this._needed = this._lead * FIRST
    this._followed = SHARES.indexOf(live.windowShare)
    live.each((hash, bytes, uses) => {
      if (hash >= this.threshold) return
      for (const scout of this._scouts) scout.insert(hash, bytes, uses)
    })
  }

  /** The share of the cache that should be window. */
  get share(): number {
    return SHARES[this._followed] as number
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
  access(hash: number, hit: boolean, bytes: number): void {
    this._quiet++
    if (++this._accesses >= HALVED_AFTER * this._scoutEntries) this._halve()
    if (hit) this._liveHits++
    const scouts = this._scouts
    const hits = this._hits
    const leads = this._leads
    const followedHit = Number((scouts[this._followed] as Scout).access(hash, bytes))
    hits[this._followed] = (hits[this._followed] as number) + followedHit
    let best = this._followed
    let recencyHit = followedHit
    for (let index = 0; index < scouts.length; index++) {
      if (index !== this._followed) {
        const scoutHit = Number((scouts[index] as Scout).access(hash, bytes))
        hits[index] = (hits[index] as number) + scoutHit
        leads[index] = Math.max(0, (leads[index] as number) + scoutHit - followedHit)
        if (index === RECENCY) recencyHit = scoutHit
      }
      if ((hits[index] as number) > (hits[best] as number)) best = index
    }
    this._lag = Math.max(0, this._lag + recencyHit - Number(hit))
    this._choose(best)
  }

  /** @param best the scout that has most hits in the long run */
  private _choose(best: number): void {
    const hits = this._hits
    const regret = Math.max(0, (hits[best] as number) - this._liveHits - FREE_REGRET * this._lead)
    let chosen = this._followed
    let surplus = 0
    for (let index = 0; index < this._leads.length; index++) {
      if (index === this._followed) continue
      const advantage = Math.max(0, (hits[index] as number) - (hits[this._followed] as number))
      const caution = index === RECENCY ? 0 : Math.max(0, regret - advantage)
      const more = (this._leads[index] as number) - this._needed - caution
      if (more >= surplus) {
        chosen = index
        surplus = more
      }
    }
    if (chosen === this._followed && this._lag >= LAG_PER_ENTRY * this._scoutEntries) chosen = RECENCY
    if (chosen === this._followed) return
    this._followed = chosen
    this._needed = this._lead
    this._leads.fill(0)
    this._lag = 0
  }

  private _halve(): void {
    this._accesses /= 2
    this._liveHits /= 2
    for (let index = 0; index < this._hits.length; index++) this._hits[index] = (this._hits[index] as number) / 2
  }
}
