import { within } from '../../support/deadline.ts'
import { CacheLoadTimeoutError, InvalidCacheValueError } from '../../support/errors.ts'
import type { Found, Levels } from '../coherence/levels.ts'
import type { Counters } from '../counters.ts'
import { globMatcher } from '../glob.ts'
import { checkTags, GENERATION, tagName } from '../names.ts'
import type { ResolvedOptions } from '../options.ts'
import type { LeaseAnswer, Message, Stamp } from '../tier/contract.ts'
import { encode, unique, versionOf } from '../tier/record.ts'
import type { Loader, LoadOptions } from '../types.ts'
import { Context, type Plan, planOf } from './load-context.ts'

type Lease = Extract<LeaseAnswer, { state: 'granted' }> & { token: string; key: string }

interface Load {
  promise: Promise<unknown>
  startedAt: number
  /** Renewals of stamps heard before it began: after another one nobody may join. */
  renewals: number
  /** Whether its callers take a stale value. */
  allowsStale: boolean
  /** Given to them while the load runs. */
  stale: Found | undefined
}

/** A lease lasts this long and is renewed while its loader runs: a process that died holds others up no longer. */
const LEASE = 3_000
/** How long a waiter trusts the bus to tell it of a fill before it looks for itself. */
const LOOK_AGAIN = 100
const MAX_FAILURES = 10_000

/**
 * Loads of one namespace: one for a key in this process, one for a key among all instances by leases in the store.
 * A load that an invalidation overtakes still answers those who asked before it, but is never stored, and whoever
 * asks afterwards does not join it.
 */
export class Loads {
  readonly #levels: Levels
  readonly #options: ResolvedOptions
  readonly #counters: Counters
  readonly #pending = new Map<string, Load>()
  readonly #waiting = new Map<string, Set<() => void>>()
  readonly #failures = new Map<string, { error: unknown; until: number }>()
  #renewals = 0

  constructor(levels: Levels, options: ResolvedOptions, counters: Counters) {
    this.#levels = levels
    this.#options = options
    this.#counters = counters
    levels.watch((message) => this.#overtake(message))
  }

  get size(): number {
    return this.#pending.size
  }

  /** @throws whatever the loader throws; STATEFUL_CACHE_LOAD_TIMEOUT; STATEFUL_INVALID_CACHE_VALUE */
  load(key: string, loader: Loader, options: LoadOptions): Promise<unknown> {
    const running = this.#pending.get(key)
    // Who takes only fresh values cannot wait with those who may be given a stale one.
    if (running && this.#joinable(running) && (!running.allowsStale || options.stale !== undefined)) {
      if (running.stale) {
        return Promise.resolve(this.#serve(running.stale))
      }
      this.#counters.joined++
      return running.promise
    }
    const failure = this.#failures.get(key)
    if (failure) {
      if (failure.until > this.#options.clock.monotonic()) {
        this.#counters.joined++
        return Promise.reject(failure.error)
      }
      this.#failures.delete(key)
    }
    const plan = planOf(options, this.#options)
    const load: Load = {
      promise: Promise.resolve(),
      startedAt: this.#options.clock.monotonic(),
      renewals: this.#renewals,
      allowsStale: plan.stale > 0,
      stale: undefined,
    }
    this.#pending.set(key, load)
    load.promise = this.#run(load, key, loader, plan)
    return load.promise
  }

  /** Waits for all loads, whatever comes of them. */
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
    if (!message || message.names || message.pattern !== undefined) this.#failures.clear()
    if (!message) {
      this.#pending.clear()
      return
    }
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

  async #run(load: Load, key: string, loader: Loader, plan: Plan): Promise<unknown> {
    let background: Promise<unknown> | undefined
    try {
      const outcome = await this.#acquire(key, plan)
      if (outcome.state === 'found') return outcome.value
      const { found, lease } = outcome
      const refresh = this.#execute(key, loader, plan, lease, found)
      if (!found) {
        this.#counters.misses++
        return await refresh
      }
      load.stale = found
      background = refresh
      return await this.#staleUnlessSoon(refresh, found, plan)
    } finally {
      const done = () => {
        if (this.#pending.get(key) === load) this.#pending.delete(key)
      }
      if (background) background.then(done, done)
      else done()
    }
  }

  /** Finds a value, or the right to load one (without a lease when the store is away). */
  async #acquire(
    key: string,
    plan: Plan,
  ): Promise<
    { state: 'found'; value: unknown } | { state: 'load'; found: Found | undefined; lease: Lease | undefined }
  > {
    const { clock } = this.#options
    const deadline = clock.monotonic() + plan.hardTimeout
    let waited = false
    try {
      for (;;) {
        const { data, found } = await this.#levels.look(key)
        if (found?.fresh && !this.#early(found, plan)) {
          if (waited) this.#counters.joined++
          else this.#counters.l2Hits++
          return { state: 'found', value: found.record.value }
        }
        // A value that is still fresh may be served by whoever does not get to refresh it.
        const stale = plan.stale > 0 || found?.fresh ? found : undefined
        const seen = data ? versionOf(data) : ''
        const token = unique()
        const answer = await this.#levels.tier.lease(this.#levels.namespace, key, token, LEASE, seen)
        if (answer.state === 'granted') {
          // From here on a write ends the lease; one that waits for the source since before is newer than what it has.
          const waiting = await this.#levels.waiting(key)
          if (!waiting) return { state: 'load', found: stale, lease: { ...answer, token, key } }
          await this.#levels.tier.release(this.#levels.namespace, key, token)
          return { state: 'found', value: waiting.record.value }
        }
        if (answer.state === 'changed') continue
        if (stale) return { state: 'found', value: this.#serve(stale) }
        waited = true
        const left = deadline - clock.monotonic()
        if (left <= 0) throw new CacheLoadTimeoutError(this.#levels.namespace, plan.hardTimeout)
        await this.#heard(key, Math.min(left, LOOK_AGAIN))
      }
    } catch (error) {
      if (error instanceof CacheLoadTimeoutError) throw error
      this.#counters.storeFailures++
      return { state: 'load', found: plan.stale > 0 ? this.#levels.leftover(key) : undefined, lease: undefined }
    }
  }

  /** What is there, to somebody who does not wait for the refresh; before its end it is as good as any. */
  #serve({ record, fresh }: Found): unknown {
    if (fresh) this.#counters.l2Hits++
    else this.#counters.stale++
    return record.value
  }

  /**
   * XFetch (Vattani, Chierichetti, Lowenstein, "Optimal probabilistic cache stampede prevention"): the chance to refresh
   * early grows towards the end, the more so the longer a load takes, so that one caller comes before the crowd.
   */
  #early({ record }: Found, { early }: Plan): boolean {
    if (early === 0 || record.cost === 0) return false
    const lead = -early * record.cost * Math.log(1 - this.#options.random())
    return this.#levels.tier.now() + lead >= record.freshUntil
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
    key: string,
    loader: Loader,
    plan: Plan,
    lease: Lease | undefined,
    found: Found | undefined,
  ): Promise<unknown> {
    const { clock } = this.#options
    const { tier, namespace } = this.#levels
    const era = this.#levels.era
    const renewal =
      lease && clock.every(LEASE / 3, () => void tier.renew(namespace, key, lease.token, LEASE).catch(() => {}))
    let filled = false
    try {
      // Before the loader starts: what is renewed while it runs then differs, and the fill is refused.
      const current =
        lease && (await this.#levels.currentStamps(this.#levels.namesFor(key, plan.tags)).catch(() => undefined))
      const started = clock.monotonic()
      const context = new Context(key, plan, found)
      this.#counters.loads++
      let value: unknown
      try {
        value = await this.#withTimeout(loader, context, plan)
      } catch (error) {
        this.#counters.loadFailures++
        if (plan.negative > 0) this.#remember(key, error, plan.negative)
        throw error
      } finally {
        this.#counters.loaded(clock.monotonic() - started)
      }
      if (value === undefined || context.skipped || !lease) return value
      filled = await this.#fill(lease, value, context, current?.stamps, clock.monotonic() - started, era)
      return value
    } finally {
      renewal?.cancel()
      if (lease && !filled) await tier.release(namespace, key, lease.token).catch(() => {})
      for (const wake of [...(this.#waiting.get(key) ?? [])]) wake()
    }
  }

  #remember(key: string, error: unknown, ms: number): void {
    if (this.#failures.size >= MAX_FAILURES) this.#failures.delete(this.#failures.keys().next().value as string)
    this.#failures.set(key, { error, until: this.#options.clock.monotonic() + ms })
  }

  async #withTimeout(loader: Loader, context: Context, plan: Plan): Promise<unknown> {
    const loading = Promise.resolve(loader(context))
    return within(loading, plan.hardTimeout, this.#options.clock, () => {
      const error = new CacheLoadTimeoutError(this.#levels.namespace, plan.hardTimeout)
      context.abort(error)
      return error
    })
  }

  /** Whether the value is in the store; if not, the lease may still be there. */
  async #fill(
    lease: Lease,
    value: unknown,
    context: Context,
    captured: Stamp[] | undefined,
    cost: number,
    era: number,
  ): Promise<boolean> {
    const { tier, namespace } = this.#levels
    const now = tier.now()
    const fresh = context.ttl * (1 - this.#options.jitter * this.#options.random())
    const freshUntil = now + fresh
    const ttl = fresh + context.stale
    try {
      const stamps = captured && (await this.#withLateTags(lease, captured, context))
      if (!stamps) {
        this.#counters.refused++
        return false
      }
      const record = { freshUntil, deadAt: now + ttl, cost, stamps, value }
      const data = encode(record)
      const { key, token } = lease
      const mutation = await tier.fill(namespace, { key, token, data, ttl, stamps })
      if (!mutation) {
        this.#counters.refused++
        return false
      }
      await this.#levels.adopt(mutation, [{ key, record, data }], era)
      return true
    } catch (error) {
      if (error instanceof InvalidCacheValueError) throw error
      this.#counters.storeFailures++
      return false
    }
  }

  /** Tags that only the loader knew: good if none of them was renewed since the load began, told by the store itself. */
  async #withLateTags(lease: Lease, captured: Stamp[], context: Context): Promise<Stamp[] | undefined> {
    const known = new Set(captured.map(([name]) => name))
    const late = [...new Set(context.tags.map(tagName))].filter((name) => !known.has(name))
    if (late.length === 0) return captured
    checkTags(context.tags)
    const { epoch, values, since } = await this.#levels.tier.stamps(this.#levels.namespace, late)
    if (epoch !== lease.epoch || since.some((seq) => seq > lease.seq)) return undefined
    return [...captured, ...late.map((name, i): Stamp => [name, values[i] as string])]
  }
}
