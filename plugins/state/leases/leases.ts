import type { Commit, Json, Op } from '../../../openapi/schemas/state.ts'
import type { Clock, Timer } from '../../support/clock.ts'
import type { Duration } from '../../support/durations.ts'
import {
  StateClosedError,
  StateConflictError,
  StateLeaseHeldError,
  StateOutcomeUnknownError,
} from '../../support/errors.ts'
import { duration, type Rules, readOptions, supplied } from '../../support/options.ts'
import { randomText } from '../../support/random.ts'
import type { Entry } from '../log/contract.ts'
import { isFields } from '../values/reducer.ts'
import type { CommitOptions, Guard } from '../writing/write.ts'
import { Lease, type LeaseHolding } from './lease.ts'
import { beatKey, leaseKey } from './proof.ts'

/** Options of `lease`. */
export interface LeaseOptions {
  /** How long it lasts without being renewed; if its holder dies, others wait so long for it. Default 10 s. */
  ttl?: Duration
  /** How long to wait while somebody else holds it; 0: not at all. Default: until it is free. */
  wait?: Duration
  /** Ends the wait. */
  signal?: AbortSignal
}

const LEASE_RULES = {
  ttl: duration('10s', { least: '100ms', most: '1d' }),
  wait: duration(undefined, { least: 0 }),
  signal: supplied<AbortSignal>(),
} satisfies Rules<LeaseOptions>

/**
 * `every` so often, by one of the instances, which holds a lease of `ttl` while it runs. If it dies meanwhile, another one
 * runs it after the `ttl`. A period that ends while the run of the one before still goes on is left out.
 */
export interface Schedule {
  every: Duration
  /** Default 10 s. */
  ttl?: Duration
}

const SCHEDULE_RULES = {
  every: (given: unknown, option: string) => duration(undefined, { least: '100ms', most: '365d' })(given, option) ?? 0,
  ttl: LEASE_RULES.ttl,
} satisfies Rules<Schedule>

/** What is done under a lease. */
export type Task<Result> = (lease: Lease) => Result | PromiseLike<Result>

/** What leases need of their space. */
export interface LeaseSpace {
  readonly name: string
  entry(key: string): Entry | undefined
  epochOf(revision: number): string
  freshen(): Promise<void>
  commit(ops: readonly Op[], options: CommitOptions): Promise<Commit>
  onCommit(listener: (commit: Commit) => void): () => void
  onReset(listener: () => void): () => void
}

export interface LeasesOptions {
  clock: Clock
  /** Whether other processes write to the log as well. */
  shared: boolean
  /** Of this process and no other: of a log that is not shared, other holders are gone. */
  processId: string
  onError: (error: unknown, what: string) => void
}

const onceKey = (name: string): string => `once:${name}`

/**
 * Leases of one space. Who holds one, and since which commit, stands in the space; the holder says again and again that
 * it is there. A candidate measures by its own monotonic clock how long nothing was said, and takes it when that is
 * longer than the ttl: no two clocks are ever compared, and none may jump.
 */
export class Leases {
  readonly #space: LeaseSpace
  readonly #options: LeasesOptions
  readonly #held = new Set<Lease>()
  readonly #waiting = new Set<(error?: Error) => void>()
  readonly #schedules = new Set<() => void>()
  #closed = false

  constructor(space: LeaseSpace, options: LeasesOptions) {
    this.#space = space
    this.#options = options
  }

  /** Somebody holds one, waits for one, or has a schedule. */
  get busy(): boolean {
    return this.#held.size + this.#waiting.size + this.#schedules.size > 0
  }

  /** @throws STATEFUL_STATE_LEASE_HELD, the reason of the signal, and what a write throws */
  take(name: string, given: LeaseOptions = {}): Promise<Lease> {
    return this.#takeUnless(name, given, () => false) as Promise<Lease>
  }

  /** @param isNeedless asked before each try. @returns `undefined` once it says so */
  async #takeUnless(name: string, given: LeaseOptions, isNeedless: () => boolean): Promise<Lease | undefined> {
    const { ttl, wait, signal } = readOptions(LEASE_RULES, given, 'lease')
    const { clock } = this.#options
    const holder = randomText(12)
    const asked = clock.monotonic()
    let began: number | undefined
    let seen = { what: '', since: 0 }
    for (;;) {
      await this.#space.freshen()
      // After what may take long, and in the same turn as the wait below: neither can come unnoticed between them.
      if (this.#closed) throw new StateClosedError(this.#space.name)
      signal?.throwIfAborted()
      if (isNeedless()) return undefined
      const now = clock.monotonic()
      const owner = this.#space.entry(leaseKey(name))
      const beat = this.#space.entry(beatKey(name))
      const record = recordOf(owner)
      if (owner && record?.holder === holder) {
        // What became of the attempt was unknown; here it is.
        const token = { epoch: this.#space.epochOf(owner.revision), revision: owner.revision }
        return this.#hold({ name, token, ttl, since: began ?? asked })
      }
      const what = `${owner?.revision} ${beat?.revision}`
      if (what !== seen.what) seen = { what, since: now }
      const left = owner && !this.#isGone(record) ? seen.since + (record?.ttl ?? ttl) - now : 0
      if (left <= 0) {
        began ??= now
        const commit = await this.#tryToTake(name, { holder, ttl, process: this.#options.processId }, [
          { key: leaseKey(name), revision: owner?.revision ?? 0 },
          { key: beatKey(name), revision: beat?.revision ?? 0 },
        ])
        if (commit) {
          return this.#hold({ name, token: { epoch: commit.epoch, revision: commit.revision }, ttl, since: now })
        }
        continue
      }
      const patience = wait === undefined ? left : asked + wait - now
      if (patience <= 0) throw new StateLeaseHeldError(name, wait)
      await this.#news(name, Math.min(left, patience), signal)
    }
  }

  /** @returns what `task` returned, if this call ran it; `undefined` when it has been done */
  async once<Result>(name: string, task: Task<Result>, ttl?: Duration): Promise<Result | undefined> {
    const isDone = () => this.#space.entry(onceKey(name)) !== undefined
    const lease = await this.#takeUnless(`once:${name}`, ttl === undefined ? {} : { ttl }, isDone)
    if (!lease) return undefined
    try {
      // The replica holds what was committed before the lease was taken.
      if (isDone()) return undefined
      const result = await task(lease)
      await this.#note(lease, name, this.#options.clock.now())
      return result
    } finally {
      await lease.release()
    }
  }

  /** @returns ends it */
  schedule(name: string, given: Schedule, task: Task<unknown>): () => void {
    const { every, ttl } = readOptions(SCHEDULE_RULES, given, 'schedule')
    const { clock, onError } = this.#options
    const ending = new AbortController()
    let timer: Timer | undefined
    const run = async () => {
      const slot = Math.floor(clock.now() / every)
      const isDone = () => {
        const last = this.#space.entry(onceKey(name))?.value
        // One that lies far ahead was written by a clock that was wrong.
        return typeof last === 'number' && last >= slot && last <= slot + 1
      }
      const isOver = () => Math.floor(clock.now() / every) > slot
      // The holder may have died: then the next one does the rest.
      const options = { ttl, signal: ending.signal }
      const lease = await this.#takeUnless(`once:${name}`, options, () => isDone() || isOver())
      if (!lease) return
      try {
        if (isDone()) return
        await task(lease)
        await this.#note(lease, name, slot)
      } finally {
        await lease.release()
      }
    }
    const look = () => {
      timer = clock.after(every - (clock.now() % every), look)
      run().catch((error) => {
        if (!ending.signal.aborted) onError(error, `the scheduled '${name}' failed`)
      })
    }
    const stop = () => {
      timer?.cancel()
      ending.abort()
      this.#schedules.delete(stop)
    }
    if (this.#closed) throw new StateClosedError(this.#space.name)
    this.#schedules.add(stop)
    look()
    return stop
  }

  /** Gives back what is held, without waiting for that, and ends all waits. */
  close(): void {
    this.#closed = true
    for (const stop of this.#schedules) stop()
    for (const lease of this.#held) lease.release().catch(() => {})
    for (const end of this.#waiting) end(new StateClosedError(this.#space.name))
  }

  #hold(holding: LeaseHolding): Lease {
    const lease = new Lease(this.#space, this.#options.clock, holding, () => this.#held.delete(lease))
    this.#held.add(lease)
    return lease
  }

  /** @returns `undefined` when another was faster, or the outcome is unknown: then the space tells */
  async #tryToTake(name: string, record: LeaseRecord, guards: Guard[]): Promise<Commit | undefined> {
    const ops: Op[] = [
      { op: 'set', key: leaseKey(name), value: { ...record } },
      { op: 'set', key: beatKey(name), value: 0 },
    ]
    try {
      return await this.#space.commit(ops, { guards })
    } catch (error) {
      if (error instanceof StateConflictError || error instanceof StateOutcomeUnknownError) return undefined
      throw error
    }
  }

  #note(lease: Lease, name: string, value: Json): Promise<Commit> {
    return this.#space.commit([{ op: 'set', key: onceKey(name), value }], { compareLease: lease })
  }

  /** Of a log that only this process writes to, the holders of processes before are gone with them. */
  #isGone(record: LeaseRecord | undefined): boolean {
    return !record || (!this.#options.shared && record.process !== this.#options.processId)
  }

  /** Resolves when the lease has changed, or after this time. */
  #news(name: string, ms: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = (error?: Error) => {
        timer.cancel()
        for (const stop of stops) stop()
        signal?.removeEventListener('abort', abort)
        this.#waiting.delete(end)
        if (error) reject(error)
        else resolve()
      }
      const abort = () => end()
      const timer = this.#options.clock.after(ms, () => end())
      const keys = [leaseKey(name), beatKey(name)]
      const stops = [
        this.#space.onCommit(({ ops }) => ops.some(({ key }) => keys.includes(key)) && end()),
        this.#space.onReset(() => end()),
      ]
      signal?.addEventListener('abort', abort)
      this.#waiting.add(end)
    })
  }
}

interface LeaseRecord {
  holder: string
  ttl: number
  process: string
}

/** `undefined` also for what somebody else has written there. */
function recordOf(entry: Entry | undefined): LeaseRecord | undefined {
  const value = entry?.value
  if (!isFields(value)) return undefined
  const { holder, ttl, process } = value
  if (typeof holder !== 'string' || typeof ttl !== 'number' || typeof process !== 'string') return undefined
  return { holder, ttl, process }
}
