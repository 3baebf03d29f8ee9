import { within } from '../../support/deadline.ts'
import {
  CacheLoadTimeoutError,
  InvalidCacheKeyError,
  InvalidCacheValueError,
  NestedLoadError,
} from '../../support/errors.ts'
import { type CacheLoadEvent, cacheLoad } from '../../support/tracing.ts'
import type { Found, Levels } from '../coherence/levels.ts'
import type { Counters } from '../counters.ts'
import { globMatcher } from '../glob.ts'
import { checkTags, GENERATION, tagName } from '../names.ts'
import type { ResolvedOptions } from '../options.ts'
import type { Message, Stamp } from '../tier/contract.ts'
import { bytesInMemory, type CacheRecord, encode, unique, versionOf } from '../tier/record.ts'
import type { Loader, LoadOptions } from '../types.ts'
import { Interim } from './interim.ts'
import { Load } from './load.ts'
import { Context, type Plan, planOf } from './load-context.ts'
import type { LoaderMeter } from './loader-meter.ts'

interface Lease {
  key: string
  token: string
  epoch: string
  /** Of the head when it was granted. */
  seq: number
  /** What the value is made under: as it was when the lease was granted, hence before its loader runs. */
  stamps: Stamp[]
}

/** What becomes of a call: a value, an error, or the right to load one (without a lease when the store is away). */
type Outcome =
  | { state: 'found'; value: unknown }
  | { state: 'failed'; error: unknown }
  | { state: 'load'; found: Found | undefined; lease: Lease | undefined }

/** Loads of a key that have failed, one after the other. */
interface Failure {
  error: unknown
  times: number
  /** Until then callers without another value get the error. */
  toldUntil: number
  /** Until then those who have a stale value are given it without another attempt. */
  restsUntil: number
}

/** A lease lasts this long and is renewed while its loader runs: a process that died holds others up no longer. */
const LEASE = 3_000
/** How long a waiter trusts the bus to tell it of a fill before it looks for itself. */
const LOOK_AGAIN = 100
/** How long a value is served from the first level that the second one did not take. */
const UNSTORED = 1_000
const MAX_FAILURES = 10_000
/** Pause after a refresh that failed; doubles with each further one. */
const REST = 1_000
const MAX_REST = 30_000

/**
 * Loads of one bucket: one for a key in this process, one for a key among all instances by leases in the store.
 * A load that an invalidation overtakes still answers those who asked before it, but is never stored, and a caller that
 * asks afterwards does not join it.
 */
export class Loads {
  readonly #levels: Levels
  readonly #options: ResolvedOptions
  readonly #counters: Counters
  readonly #meter: LoaderMeter
  readonly #pending = new Map<string, Load>()
  readonly #waiting = new Map<string, Set<() => void>>()
  readonly #failures = new Map<string, Failure>()
  readonly #interim: Interim
  #renewals = 0

  constructor(levels: Levels, options: ResolvedOptions, counters: Counters, meter: LoaderMeter) {
    this.#levels = levels
    this.#options = options
    this.#counters = counters
    this.#meter = meter
    this.#interim = new Interim(options.clock)
    levels.watch((message) => this.#overtake(message))
  }

  get size(): number {
    return this.#pending.size
  }

  /**
   * @throws what the loader throws; the reason of `signal`; STATEFUL_CACHE_LOAD_TIMEOUT;
   * STATEFUL_INVALID_CACHE_VALUE; STATEFUL_CACHE_NESTED_LOAD
   */
  load(key: string, loader: Loader, options: LoadOptions): Promise<unknown> {
    const { signal } = options
    if (signal?.aborted) return Promise.reject(signal.reason)
    const running = this.#pending.get(key)
    // Who takes only fresh values cannot wait with those who may be given a stale one.
    if (running && this.#joinable(running) && (!running.allowsStale || options.stale !== undefined)) {
      if (running.stale) {
        return Promise.resolve(this.#serve(running.stale))
      }
      if (running.waitsForCurrent()) return Promise.reject(new NestedLoadError(this.#levels.namespace))
      this.#counters.joined++
      return running.wait(signal)
    }
    if (Load.nests(this, key)) return Promise.reject(new NestedLoadError(this.#levels.namespace))
    const failure = this.#failures.get(key)
    if (failure && options.stale === undefined && failure.toldUntil > this.#options.clock.monotonic()) {
      this.#counters.joined++
      return Promise.reject(failure.error)
    }
    const plan = planOf(options, this.#options)
    const startedAt = this.#options.clock.monotonic()
    const load = new Load(
      { owner: this, key, startedAt, renewals: this.#renewals, allowsStale: plan.stale > 0 },
      // Later calls begin a new load.
      (load) => this.#over(load),
    )
    this.#pending.set(key, load)
    load.promise = this.#run(load, loader, plan)
    return load.wait(signal)
  }

  /** While the store cannot be asked: what was loaded a moment ago, on the same terms as the first level. */
  interim(key: string): { value: unknown } | undefined {
    return this.#levels.servesUnasked() ? this.#interim.get(key, this.#levels.era) : undefined
  }

  /** Waits for all loads, also those that fail. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.#pending.values()].map(({ promise }) => promise))
  }

  /**
   * Without a fresh proof of coherence an invalidation may have gone unheard, but not one that is older than the
   * window: a load that began within it is as good as a new one.
   */
  #joinable(load: Load): boolean {
    if (load.renewals !== this.#renewals) return false
    return this.#levels.coherent() || this.#options.clock.monotonic() - load.startedAt < this.#options.coherence
  }

  #overtake(message: Message | undefined): void {
    // A failure is no value, but an invalidation means: ask the source again.
    if (!message || message.names || message.pattern !== undefined) {
      this.#failures.clear()
      this.#interim.forget()
    }
    if (!message) {
      this.#pending.clear()
      return
    }
    this.#interim.forget(message.keys ?? [])
    for (const key of message.keys ?? []) {
      this.#pending.delete(key)
      this.#failures.delete(key)
    }
    if (message.names) {
      this.#renewals++
      if (message.names.some(([name]) => name === GENERATION)) this.#pending.clear()
    }
    const { pattern } = message
    if (pattern === undefined) return
    const matches = globMatcher(pattern)
    for (const key of [...this.#pending.keys()]) if (matches(key)) this.#pending.delete(key)
  }

  #over(load: Load): void {
    if (this.#pending.get(load.key) === load) this.#pending.delete(load.key)
  }

  async #run(load: Load, loader: Loader, plan: Plan): Promise<unknown> {
    let background: Promise<unknown> | undefined
    const done = () => {
      load.end()
      this.#over(load)
    }
    try {
      const outcome = await this.#acquire(load, plan)
      if (outcome.state === 'failed') throw outcome.error
      if (outcome.state === 'found') return outcome.value
      const { found, lease } = outcome
      const refresh = this.#execute(load, loader, plan, lease, found)
      if (!found) {
        this.#counters.misses++
        return await refresh
      }
      load.stale = found
      load.stay()
      background = refresh
      return await this.#staleUnlessSoon(refresh, found, plan)
    } finally {
      if (background) background.then(done, done)
      else done()
    }
  }

  /** Finds a value, or the right to load one. */
  async #acquire(load: Load, plan: Plan): Promise<Outcome> {
    const { key } = load
    const { clock } = this.#options
    const deadline = clock.monotonic() + plan.hardTimeout
    const names = this.#levels.namesFor(key, plan.tags)
    let waited = false
    let granted: string | undefined
    try {
      for (;;) {
        const { data, found } = await this.#levels.look(key)
        if (found?.fresh && !this.#early(found, plan)) {
          if (waited) this.#counters.joined++
          else this.#counters.l2Hits++
          return { state: 'found', value: found.record.value }
        }
        // A value that is still fresh may be served by callers that do not get to refresh it.
        const stale = plan.stale > 0 || found?.fresh ? found : undefined
        const failed = this.#resting(key, stale)
        if (failed) return failed
        const seen = data ? versionOf(data) : ''
        const token = unique()
        const learn = this.#levels.stamps.asking(names)
        const answer = await this.#levels.tier.lease(this.#levels.bucket, {
          key,
          token,
          ms: LEASE,
          seen,
          names,
        })
        if (answer.state === 'granted') {
          granted = token
          learn(answer)
          // From here on a write ends the lease; one that waits for the source since before is newer than what it has.
          const waiting = await this.#levels.waiting(key)
          if (load.abandoned || waiting) await this.#levels.tier.release(this.#levels.bucket, { key, token })
          if (load.abandoned) return { state: 'failed', error: load.abandoned.reason }
          if (waiting) return { state: 'found', value: waiting.record.value }
          const { epoch, seq } = answer
          const stamps = answer.values.map((value, i): Stamp => [names[i] as string, value])
          return { state: 'load', found: stale, lease: { key, token, epoch, seq, stamps } }
        }
        if (answer.state === 'changed') continue
        if (stale) return { state: 'found', value: this.#serve(stale) }
        waited = true
        if (load.abandoned) return { state: 'failed', error: load.abandoned.reason }
        const left = deadline - clock.monotonic()
        if (left <= 0) throw new CacheLoadTimeoutError(this.#levels.namespace, plan.hardTimeout)
        await this.#heard(key, Math.min(left, LOOK_AGAIN))
      }
    } catch (error) {
      if (error instanceof CacheLoadTimeoutError) throw error
      this.#counters.storeFailures++
      // What waits could not be told: no further caller may wait for a load that is not going to fill it.
      if (granted) void this.#levels.tier.release(this.#levels.bucket, { key, token: granted }).catch(() => {})
      const interim = this.interim(key)
      if (interim) {
        this.#counters.l1Hits++
        return { state: 'found', value: interim.value }
      }
      const found = plan.stale > 0 ? this.#levels.leftover(key) : undefined
      return this.#resting(key, found) ?? { state: 'load', found, lease: undefined }
    }
  }

  /** Whether the source is to be left alone for now, as the latest loads of the key have failed. */
  #resting(key: string, found: Found | undefined): Outcome | undefined {
    const failure = this.#failures.get(key)
    if (failure === undefined) return undefined
    const now = this.#options.clock.monotonic()
    if (found && Math.max(failure.restsUntil, failure.toldUntil) > now) {
      return { state: 'found', value: this.#serve(found) }
    }
    if (failure.toldUntil <= now) return undefined
    this.#counters.joined++
    return { state: 'failed', error: failure.error }
  }

  /** What is there, to somebody who does not wait for the refresh; before its end it is as good as any. */
  #serve({ record, fresh }: Found): unknown {
    if (fresh) this.#counters.l2Hits++
    else this.#counters.stale++
    return record.value
  }

  /**
   * XFetch (Vattani, Chierichetti, Lowenstein, "Optimal probabilistic cache stampede prevention"): the chance to
   * refresh early grows towards the end, the more so the longer a load takes, so that one caller comes before the
   * crowd.
   */
  #early({ record }: Found, { early }: Plan): boolean {
    if (early === 0 || record.cost === 0) return false
    const lead = -early * record.cost * Math.log(1 - this.#options.random())
    return this.#levels.tier.now(this.#levels.bucket) + lead >= record.freshUntil
  }

  /** Resolves when the bus tells of the key, when a load of this process ends, or after `ms`. */
  #heard(key: string, ms: number): Promise<void> {
    return new Promise((resolve) => {
      const waiting = this.#waiting.get(key) ?? new Set()
      const done = () => {
        timer.cancel()
        unwatch()
        waiting.delete(done)
        if (waiting.size === 0 && this.#waiting.get(key) === waiting) this.#waiting.delete(key)
        resolve()
      }
      this.#waiting.set(key, waiting.add(done))
      const timer = this.#options.clock.after(ms, done)
      const unwatch = this.#levels.watch((message) => {
        if (!message || message.names || message.pattern !== undefined || message.keys?.includes(key)) done()
      })
    })
  }

  /** The refreshed value if it comes within the soft timeout, else what is there; also when the loader fails. */
  async #staleUnlessSoon(refresh: Promise<unknown>, found: Found, plan: Plan): Promise<unknown> {
    const { softTimeout } = plan
    const soon =
      softTimeout > 0 &&
      (await within(refresh, softTimeout, this.#options.clock, () => new Error('not yet')).then(
        (value) => ({ value }),
        () => undefined,
      ))
    if (!soon) return this.#serve(found)
    this.#counters.misses++
    return soon.value
  }

  async #execute(
    load: Load,
    loader: Loader,
    plan: Plan,
    lease: Lease | undefined,
    found: Found | undefined,
  ): Promise<unknown> {
    const run = () => this.#loadAndFill(load, loader, plan, lease, found)
    if (!cacheLoad.hasSubscribers) return (await run()).value
    const event: CacheLoadEvent = { namespace: this.#levels.namespace, key: load.key, refresh: found !== undefined }
    const { value } = await cacheLoad.trace(event, run, (event, { stored }) => {
      event.stored = stored
    })
    return value
  }

  async #loadAndFill(
    load: Load,
    loader: Loader,
    plan: Plan,
    lease: Lease | undefined,
    found: Found | undefined,
  ): Promise<{ value: unknown; stored: boolean }> {
    const { key } = load
    const { clock } = this.#options
    const { tier, bucket } = this.#levels
    const era = this.#levels.era
    const names = lease?.stamps.map(([name]) => name)
    const renewal =
      lease && clock.every(LEASE / 3, () => void tier.renew(bucket, { ...lease, ms: LEASE, names }).catch(() => {}))
    let filled = false
    try {
      const started = clock.monotonic()
      const context = new Context(key, plan, found)
      this.#counters.loads++
      let value: unknown
      let failed = true
      try {
        value = await this.#withTimeout(load, loader, context, plan)
        failed = false
        this.#failures.delete(key)
      } catch (error) {
        this.#counters.loadFailures++
        if (!load.abandoned && (found || plan.negative > 0)) this.#remember(key, error, plan, found)
        throw error
      } finally {
        const took = clock.monotonic() - started
        this.#counters.loaded(took)
        this.#meter.ended(this.#levels.namespace, key, took, failed)
      }
      if (value === undefined || context.skipped || context.ttl === 0) return { value, stored: false }
      if (!lease) {
        // What overtook the load has taken it off the list, or begun another era.
        if (this.#pending.get(key) === load && era === this.#levels.era) this.#interim.set(key, value, context.ttl, era)
        return { value, stored: false }
      }
      filled = await this.#fill(lease, value, context, clock.monotonic() - started, era)
      return { value, stored: filled }
    } finally {
      renewal?.cancel()
      if (lease && !filled) await tier.release(bucket, lease).catch(() => {})
      for (const wake of [...(this.#waiting.get(key) ?? [])]) wake()
    }
  }

  #remember(key: string, error: unknown, { negative }: Plan, found: Found | undefined): void {
    const times = (this.#failures.get(key)?.times ?? 0) + 1
    this.#failures.delete(key)
    if (this.#failures.size >= MAX_FAILURES) this.#failures.delete(this.#failures.keys().next().value as string)
    const now = this.#options.clock.monotonic()
    const rest = found ? Math.min(REST * 2 ** (times - 1), MAX_REST) : 0
    this.#failures.set(key, { error, times, toldUntil: now + negative, restsUntil: now + rest })
  }

  #withTimeout(load: Load, loader: Loader, context: Context, plan: Plan): Promise<unknown> {
    const loading = load.run(
      () => loader(context),
      (reason) => context.abort(reason),
    )
    return within(loading, plan.hardTimeout, this.#options.clock, () => {
      const error = new CacheLoadTimeoutError(this.#levels.namespace, plan.hardTimeout)
      context.abort(error)
      return error
    })
  }

  /** Whether the value is in the store; if not, the lease may still be there. */
  async #fill(lease: Lease, value: unknown, context: Context, cost: number, era: number): Promise<boolean> {
    const { tier, bucket } = this.#levels
    const now = tier.now(bucket)
    let unstored: { record: Omit<CacheRecord, 'expired' | 'bytes'>; bytes: number } | undefined
    const fresh = context.ttl * (1 - this.#options.jitter * this.#options.random())
    const freshUntil = now + fresh
    const ttl = fresh + context.stale
    try {
      let stamps = await this.#withLateTags(lease, context)
      for (let attempt = 1; stamps; attempt++) {
        const record = { freshUntil, deadAt: now + ttl, cost, stamps, value }
        const data = encode(record)
        const { key, token } = lease
        unstored = { record, bytes: bytesInMemory(data, value) }
        const mutation = await tier.fill(bucket, { key, token, data, ttl, stamps })
        if (mutation) {
          await this.#levels.adopt(mutation, [{ key, record, data }], era)
          return true
        }
        // The store may have lost a stamp, which is no invalidation: without this nothing would be stored any more.
        const names = stamps.map(([name]) => name)
        stamps = attempt === 1 ? await this.#unrenewed(lease, names) : undefined
      }
      this.#counters.refused++
      return false
    } catch (error) {
      if (error instanceof InvalidCacheValueError || error instanceof InvalidCacheKeyError) throw error
      this.#counters.storeFailures++
      if (unstored) {
        const { record, bytes } = unstored
        const until = Math.min(now + UNSTORED, freshUntil)
        this.#levels.holdUnstored(lease, { ...record, freshUntil: until, deadAt: until, expired: false, bytes }, era)
      }
      return false
    }
  }

  /** With those of tags that only the loader knew. */
  async #withLateTags(lease: Lease, context: Context): Promise<Stamp[] | undefined> {
    const known = new Set(lease.stamps.map(([name]) => name))
    const late = [...new Set(context.tags.map(tagName))].filter((name) => !known.has(name))
    if (late.length === 0) return lease.stamps
    checkTags(context.tags)
    const stamps = await this.#unrenewed(lease, late)
    return stamps && [...lease.stamps, ...stamps]
  }

  /** The stamps as the store has them now, if none of them was renewed since the load began: by its own numbers. */
  async #unrenewed(lease: Lease, names: readonly string[]): Promise<Stamp[] | undefined> {
    const { stamps: mirror, tier, bucket } = this.#levels
    const learn = mirror.asking(names)
    const answer = await tier.stamps(bucket, names)
    learn(answer)
    if (answer.epoch !== lease.epoch || answer.since.some((seq) => seq > lease.seq)) return undefined
    return names.map((name, i): Stamp => [name, answer.values[i] as string])
  }
}
