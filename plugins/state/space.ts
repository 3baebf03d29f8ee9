import type { Commit, Json, Op, Position } from '../../openapi/schemas/state.ts'
import type { Clock, Timer } from '../support/clock.ts'
import { InvalidStateOpError, StateConflictError, StateLimitError } from '../support/errors.ts'
import { refuseUnknown } from '../support/options.ts'
import { isPromiseLike } from '../support/promise-like.ts'
import { WATCH_OPTIONS, type WatchEvent, type WatchOptions, watchCommits } from './following/watch.ts'
import type { Lease } from './leases/lease.ts'
import { type LeaseOptions, Leases, type Schedule, type Task } from './leases/leases.ts'
import { leaseKey } from './leases/proof.ts'
import {
  continues,
  type Durability,
  type EpochCause,
  type Hint,
  type Retention,
  type StateLog,
} from './log/contract.ts'
import type { StateLimits } from './options.ts'
import { Expiry } from './replica/expiry.ts'
import { Readable } from './replica/readable.ts'
import { type KeyChange, Replica } from './replica/replica.ts'
import { checkKey } from './values/json.ts'
import type { ValueOf } from './values/key-types.ts'
import type { SequencerCounts } from './writing/counts.ts'
import { type Middleware, passAll, type WriteContext } from './writing/middleware.ts'
import { checkAuthor, checkOp, restorable } from './writing/operations.ts'
import { type KeySchema, KeySchemas } from './writing/schemas.ts'
import { Sequencer } from './writing/sequencer.ts'
import { type Transacted, type Transaction, transact } from './writing/transaction.ts'
import { Turns } from './writing/turns.ts'
import { COMMIT_OPTIONS, type CommitOptions, type Committed, type Guard, type View } from './writing/write.ts'
import { leaseGuard, readWriteOptions, type WriteOptions } from './writing/write-options.ts'

/** Fewer than may wait at the same time. */
const OVERDUE_AT_ONCE = 100

export interface SpaceStats extends SequencerCounts {
  name: string
  durability: Durability
  epoch: string
  revision: number
  keys: number
  bytes: number
  /** Writes without an outcome yet. */
  waiting: number
  /** Commits that history answers from memory. */
  retained: number
  /** Bytes of the history that the log retains. */
  historyBytes: number
  /** Epochs that began here because the end of the log may have been lost. */
  epochChanges: number
  lastEpochCause: EpochCause | undefined
  /** Keys and commits of the log that could not be read or applied, and were left out. */
  unreadable: number
}

export interface SpaceOptions {
  name: string
  log: StateLog
  limits: StateLimits
  clock: Clock
  /** From 0 inclusive to 1 exclusive. */
  random: () => number
  writerId: string
  /** Milliseconds. */
  writeTimeout: number
  /** Milliseconds between two looks at where a shared log stands. */
  pollInterval: number
  /** Calls at each look; one timer for all spaces. */
  onPoll: (look: () => void) => Timer
  history: Retention
  /** What a `$ref` in the schema of a key may name. */
  sharedSchemas?: (() => Record<string, unknown>) | undefined
  onError: (error: unknown, what: string) => void
}

/**
 * The unit of order and transaction: one log, and this instance's replica of it. Reads are synchronous and come from
 * the replica; writes resolve when they are durable and visible here.
 *
 * Values are frozen and shared: read them, pass them on, but make new ones instead of changing them.
 */
export class Space extends Readable {
  /** Resolves when the replica is loaded; reads before that throw STATEFUL_STATE_NOT_READY, writes wait. */
  readonly ready: Promise<void>
  readonly #options: SpaceOptions
  readonly #replica: Replica
  readonly #schemas: KeySchemas
  readonly #layers: Middleware[] = []
  readonly #turns: Turns
  readonly #leases: Leases
  readonly #sequencer: Sequencer
  readonly #expiry: Expiry
  #closing: Promise<void> | undefined
  #poll: Timer | undefined
  #unwatch: (() => Promise<void>) | undefined

  constructor(options: SpaceOptions) {
    const replica = new Replica(options.history)
    super(options.name, replica, (error) => options.onError(error, 'a state listener failed'))
    this.#options = options
    this.#schemas = new KeySchemas(options.sharedSchemas)
    this.#turns = new Turns(options.clock, options.writeTimeout)
    this.#replica = replica
    this.#sequencer = new Sequencer({
      space: options.name,
      log: options.log,
      replica: this.#replica,
      schemas: this.#schemas,
      layers: this.#layers,
      limits: options.limits,
      clock: options.clock,
      timeout: options.writeTimeout,
      writerId: options.writerId,
      onApplied: (record, changes, context) => this.#applied(record.commit, changes, record.clear === true, context),
      onReplaced: (changes, previousEpoch, context) => this.#replaced(changes, previousEpoch, context),
      onError: options.onError,
    })
    this.#leases = new Leases(this, {
      clock: options.clock,
      shared: options.log.shared,
      processId: options.writerId,
      onError: options.onError,
    })
    this.#expiry = new Expiry({
      clock: options.clock,
      random: options.random,
      spread: options.log.shared ? options.pollInterval : 0,
      onDue: (key, revision) => void this.#expire(key, revision),
    })
    this.ready = this.#open()
    // Whoever uses the space awaits it or gets the error from the first operation.
    this.ready.catch(() => {})
  }

  // --- reading: what the replica holds is in Readable ---------------------------------------------

  /**
   * Linearisable: sees every write that any instance had acknowledged before the call.
   * @throws STATEFUL_STORAGE_UNAVAILABLE
   */
  async read<Key extends string>(key: Key): Promise<ValueOf<Key> | undefined> {
    await this.freshen()
    return this.get(key)
  }

  /** Brings the replica up to everything that was acknowledged before the call. */
  async freshen(): Promise<void> {
    await this.ready
    await this.#sequencer.freshen()
  }

  // --- writing ----------------------------------------------------------------------------------

  /** Adds a layer around every write of this space; the first one added is the outermost. */
  use(layer: Middleware): this {
    this.#layers.push(layer)
    return this
  }

  /**
   * From now on every write's result for the key, or for every key with the prefix `'user:*'`, must fit the schema: one of
   * TypeBox or any JSON Schema, which means what it means in a route (formats, a `$ref` to what was added by
   * `addSchema`), or a Standard Schema of zod, valibot and others, which is asked and whose output is not kept.
   * @throws STATEFUL_INVALID_OPTION with the key and the reason when it cannot be used
   */
  define(pattern: string, schema: KeySchema): this {
    this.#schemas.define(pattern, schema)
    return this
  }

  /**
   * Writes of one space apply in the order of their calls.
   * @throws STATEFUL_STATE_INVALID_KEY, STATEFUL_STATE_INVALID_VALUE, STATEFUL_STATE_LIMIT, STATEFUL_STATE_SCHEMA,
   * STATEFUL_STATE_REFUSED, STATEFUL_STATE_TIMEOUT, STATEFUL_STATE_OUTCOME_UNKNOWN, STATEFUL_STATE_OVERLOADED
   */
  async set<Key extends string>(key: Key, value: ValueOf<Key>, options?: WriteOptions | unknown): Promise<Commit> {
    return (await this.#apply({ op: 'set', key, value: value as Json }, options)).commit
  }

  /**
   * Computes the new value from the present one without ever losing a concurrent write, of this instance or another:
   * `fn` runs again when somebody was faster. `undefined` leaves the key as it is. Async functions of one key run one
   * after the other, in the order of their calls.
   * @returns what the key holds afterwards
   */
  async update<Key extends string>(
    key: Key,
    fn: (current: ValueOf<Key> | undefined) => ValueOf<Key> | undefined | PromiseLike<ValueOf<Key> | undefined>,
    options?: WriteOptions | unknown,
  ): Promise<ValueOf<Key> | undefined> {
    checkKey(key)
    const { ttl } = readWriteOptions(options)
    const { result, committed } = await this.#transact(
      (tx) => {
        const current = tx.get(key) as ValueOf<Key> | undefined
        const settle = (next: ValueOf<Key> | undefined) => {
          if (next !== undefined) tx.set(key, next as Json, ttl === undefined ? undefined : { ttl })
          return current
        }
        const next = fn(current)
        return isPromiseLike(next) ? next.then(settle) : settle(next as ValueOf<Key> | undefined)
      },
      options,
      key,
    )
    return (committed ? committed.entry?.value : result) as ValueOf<Key> | undefined
  }

  /**
   * Sets the key only if it last changed at this revision; 0 means that it must not be there.
   * @returns whether it was set
   */
  async compareAndSet<Key extends string>(
    key: Key,
    revision: number,
    value: ValueOf<Key>,
    options?: WriteOptions | unknown,
  ): Promise<boolean> {
    try {
      await this.#apply({ op: 'set', key, value: value as Json }, options, [{ key, revision }])
      return true
    } catch (error) {
      if (error instanceof StateConflictError) return false
      throw error
    }
  }

  /** @returns the new number; an absent key counts from 0 */
  async increment(key: string, by = 1, options?: WriteOptions | unknown): Promise<number> {
    const { entry } = await this.#apply({ op: 'increment', key, value: by }, options)
    return entry?.value as number
  }

  /** Adds one element to the end of a list. @returns the list */
  async append(key: string, value: Json, options?: WriteOptions | unknown): Promise<readonly Json[]> {
    const { entry } = await this.#apply({ op: 'append', key, value }, options)
    return entry?.value as readonly Json[]
  }

  /** Replaces or adds fields of an object. @returns the object */
  async merge(key: string, value: { readonly [name: string]: Json }, options?: WriteOptions | unknown): Promise<Json> {
    const { entry } = await this.#apply({ op: 'merge', key, value }, options)
    return entry?.value as Json
  }

  /** @returns whether the key was there */
  async delete(key: string, options?: WriteOptions | unknown): Promise<boolean> {
    checkKey(key)
    const { ttl, context, guards } = readWriteOptions(options)
    if (ttl !== undefined) throw new InvalidStateOpError('a deletion has no ttl')
    const committed = await this.#submit({
      ops: (view) => (view.get(key) === undefined ? [] : [{ op: 'delete', key }]),
      guards,
      context,
    })
    return committed !== undefined
  }

  /** Deletes every key at once: as one commit, or as a new epoch when they are more than one commit holds. */
  async clear(context?: unknown): Promise<void> {
    const { opsPerCommit } = this.#options.limits
    let tooMany = false
    const ops = (view: View): Op[] => {
      tooMany = view.size > opsPerCommit
      return tooMany ? [] : Array.from(view.keys(), (key) => ({ op: 'delete', key }))
    }
    await this.#submit({ ops, clear: true, context })
    if (!tooMany) return
    const contexts = Array.from(this.#replica.entries(), ([key, { value: previous }]): WriteContext => {
      return { space: this.name, op: 'delete', key, value: undefined, previous, context, clientId: undefined }
    })
    await passAll(this.#layers, contexts, () => this.#submit({ cause: 'clear', entries: () => new Map(), context }))
  }

  /** One operation; resolves to its commit and what the key holds right after it. */
  async apply(op: Op, options: CommitOptions = {}): Promise<Committed> {
    refuseUnknown(options, COMMIT_OPTIONS)
    const { clientId, seq, context } = options
    checkAuthor(clientId, seq)
    return (await this.#submit({ ops: [checkOp(op)], guards: guardsOf(options), clientId, seq, context })) as Committed
  }

  /**
   * One revision: all operations or none.
   * @throws STATEFUL_STATE_CONFLICT when a guard does not hold, and what `set` throws
   */
  async commit(ops: readonly Op[], options: CommitOptions = {}): Promise<Commit> {
    refuseUnknown(options, COMMIT_OPTIONS)
    const { opsPerCommit } = this.#options.limits
    if (ops.length === 0) throw new InvalidStateOpError('it has no operation')
    if (ops.length > opsPerCommit) {
      throw new StateLimitError(`A commit holds at most ${opsPerCommit} operations, not ${ops.length}.`)
    }
    const { clientId, seq, context } = options
    checkAuthor(clientId, seq)
    const guards = guardsOf(options)
    // No spread here and in `apply`: it costs more than all the rest of a small write.
    const committed = await this.#submit({ ops: ops.map(checkOp), guards, clientId, seq, context })
    return (committed as Committed).commit
  }

  /**
   * Reads and writes several keys as one commit. `fn` sees its own writes; it runs again when something that it read
   * has been changed by another writer, so it must have no effects of its own. It may be async.
   * @returns what `fn` returned in the run that was committed
   */
  async transaction<Result>(
    fn: (tx: Transaction) => Result | PromiseLike<Result>,
    options?: WriteOptions | unknown,
  ): Promise<Result> {
    const { result } = await this.#transact(fn, options)
    return result
  }

  /**
   * Replaces everything and starts a new epoch: whoever follows this space gets it whole again.
   * @throws STATEFUL_STATE_INVALID_KEY, STATEFUL_STATE_INVALID_VALUE, STATEFUL_STATE_LIMIT, STATEFUL_STATE_SCHEMA
   */
  async restore(snapshot: { state: Readonly<Record<string, unknown>> }, context?: unknown): Promise<Position> {
    const entries = restorable(snapshot.state, this.#schemas, this.#options.limits)
    await this.#submit({ cause: 'restore', entries, context })
    return this.#replica.position
  }

  // --- leases -----------------------------------------------------------------------------------

  /**
   * Waits until nobody else holds the lease of this name in this space, on any instance, and takes it. It is renewed by
   * itself; `signal` aborts when it may be lost. Whoever holds it for as long as it lives is the leader.
   * @throws STATEFUL_STATE_LEASE_HELD when somebody else holds it longer than `wait`
   */
  async lease(name: string, options: LeaseOptions = {}): Promise<Lease> {
    checkKey(leaseKey(name))
    await this.ready
    return this.#leases.take(name, options)
  }

  /**
   * Runs the task once, whichever instance asks how often: under a lease, and what was done is remembered. With a
   * schedule it runs once in each period; the returned function ends that.
   * @returns what the task returned, if it ran here; `undefined` when it has been done
   *
   * @example
   * await app.state.runOnce('import of 2026', () => importAll())
   * const stop = await app.state.runOnce('report', { every: '1h' }, ({ signal }) => report(signal))
   */
  async runOnce<Result>(name: string, task: Task<Result>): Promise<Result | undefined>
  async runOnce(name: string, schedule: Schedule, task: Task<unknown>): Promise<() => void>
  async runOnce(name: string, first: Schedule | Task<unknown>, task?: Task<unknown>): Promise<unknown> {
    checkKey(leaseKey(name))
    await this.ready
    if (typeof first === 'function') return this.#leases.once(name, first)
    if (typeof task !== 'function') throw new InvalidStateOpError('runOnce was given nothing to run')
    return this.#leases.schedule(name, first, task)
  }

  // --- following --------------------------------------------------------------------------------

  /** The log has more than this instance holds. */
  override async oldest(): Promise<Position> {
    await this.ready
    const { position } = this.#replica
    const tail = await this.#options.log.since(position)
    return tail ? { epoch: position.epoch, revision: tail.floor - 1 } : super.oldest()
  }

  /** The commits after a position; `undefined` when they are not retained or the position lies in a lost history. */
  async history(since: Position): Promise<Commit[] | undefined> {
    await this.ready
    const { position } = this.#replica
    const known = this.#replica.since(since)
    if (known) return known
    const tail = await this.#options.log.since(since)
    // Not further than the replica: who reads history goes on with onCommit from there.
    if (!tail || !continues(tail, position)) return undefined
    return tail.records.map(({ commit }) => commit).filter(({ revision }) => revision <= position.revision)
  }

  /**
   * The commits that touch keys with this prefix, first those since a position and then as they are made: in order,
   * whole, none twice and none left out. A `reset` says that what was missed is not retained any more.
   */
  watch(prefix: string, options: WatchOptions = {}): AsyncIterableIterator<WatchEvent> {
    refuseUnknown(options, WATCH_OPTIONS)
    // From this call on, although nothing runs before the first `next()`.
    const since = options.since ?? (this.loaded ? this.#replica.position : undefined)
    return watchCommits(this, prefix, this.#options.clock, since === undefined ? options : { ...options, since })
  }

  // --- life -------------------------------------------------------------------------------------

  /** It is being loaded, or a write has no outcome yet. */
  get busy(): boolean {
    return !this.loaded || this.#sequencer.waiting > 0 || this.#leases.busy
  }

  describe(): SpaceStats {
    const { log } = this.#options
    const { epoch, revision, size: keys, bytes, retained, epochs, epochChanges } = this.#replica
    return {
      name: this.name,
      durability: log.durability,
      epoch,
      revision,
      keys,
      bytes,
      waiting: this.#sequencer.waiting,
      retained,
      historyBytes: log.historyBytes,
      epochChanges,
      lastEpochCause: epochs.at(-1)?.cause,
      unreadable: this.#sequencer.damage.count,
      ...this.#sequencer.counts,
    }
  }

  /**
   * Why this instance cannot follow its log: what it reads is as it was before. `undefined` when it can, and while the
   * store is out of reach, which the storage tells.
   */
  get fault(): Error | undefined {
    return this.#sequencer.fault
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #open(): Promise<void> {
    const { log, onPoll } = this.#options
    // Listening first: what is committed while the content is read is found by the first catch-up.
    if (log.shared) this.#unwatch = await log.watch((hint) => this.#hinted(hint))
    const state = await log.load()
    this.#sequencer.damage.note(state)
    this.#replica.load(state)
    this.#expiry.reset(this.#replica.entries())
    this.loaded = true
    if (this.#closing) return
    if (log.shared) {
      this.#poll = onPoll(() => void this.#look())
      this.#sequencer.hint()
    }
    await this.#expireOverdue()
  }

  /** What had to go while the space was closed is gone before it is ready, as if it had been open all the time. */
  async #expireOverdue(): Promise<void> {
    const now = this.#options.clock.now()
    const due = [...this.#replica.entries()].filter(([, { expiresAt }]) => expiresAt !== undefined && expiresAt <= now)
    for (let start = 0; start < due.length && !this.#closing; start += OVERDUE_AT_ONCE) {
      const some = due.slice(start, start + OVERDUE_AT_ONCE)
      const done = await Promise.all(some.map(([key, { revision }]) => this.#expire(key, revision)))
      // The store takes nothing now: the timer goes on trying.
      if (!done.includes(true)) return
    }
  }

  async #close(): Promise<void> {
    this.#poll?.cancel()
    this.#expiry.stop()
    await this.ready.catch(() => {})
    this.#poll?.cancel()
    this.#leases.close()
    await this.#sequencer.close()
    await this.#unwatch?.().catch((error) => this.#options.onError(error, 'a subscription could not be ended'))
    this.removeListeners()
    await this.#options.log.close()
  }

  /** The log is read only if it stands elsewhere than the replica, or nobody can tell. */
  async #look(): Promise<void> {
    const head = this.fault ? undefined : await this.#options.log.head?.().catch(() => undefined)
    if (head) this.#hinted({ ...head, prev: head.revision, records: () => undefined })
    else this.#sequencer.hint()
  }

  #hinted(hint: Hint): void {
    if (!this.loaded) return
    const { epoch, revision } = this.#replica
    if (hint.epoch !== epoch || hint.revision > revision) this.#sequencer.hint(hint)
  }

  async #apply(op: Op, given: unknown, conditions: readonly Guard[] = []): Promise<Committed> {
    const { ttl, context, guards = [] } = readWriteOptions(given)
    const checked = checkOp(ttl === undefined ? op : { ...op, ttl })
    const all = conditions.length + guards.length > 0 ? [...conditions, ...guards] : undefined
    return (await this.#submit({ ops: [checked], guards: all, context })) as Committed
  }

  #submit(request: Parameters<Sequencer['submit']>[0]): Promise<Committed | undefined> {
    if (this.loaded) return this.#sequencer.submit(request)
    // Awaiting would let two calls of one tick change their order only if one of them found it ready; both do or neither.
    return this.ready.then(() => this.#sequencer.submit(request))
  }

  #transact<Result>(
    fn: (tx: Transaction) => Result | PromiseLike<Result>,
    options: unknown,
    key?: string,
  ): Promise<Transacted<Result>> {
    const { context, guards: required = [] } = readWriteOptions(options)
    const { clock, writeTimeout, limits } = this.#options
    return transact(fn, {
      submit: ({ ops, guards = [] }) => this.#submit({ ops, guards: [...guards, ...required], context }),
      revisionOf: (key) => this.#replica.get(key)?.revision ?? 0,
      opsPerCommit: limits.opsPerCommit,
      clock,
      timeout: writeTimeout,
      ...(key === undefined ? {} : { turns: { of: this.#turns, key } }),
    })
  }

  #applied(commit: Commit, changes: KeyChange[], clear: boolean, context: unknown): void {
    for (const { key } of changes) this.#expiry.note(key, this.#replica.get(key))
    this.tellCommit(commit, changes, clear, context)
  }

  #replaced(changes: KeyChange[], previousEpoch: string, context: unknown): void {
    this.#expiry.reset(this.#replica.entries())
    this.tellReplacement(this.#replica, changes, previousEpoch, context, () => this.snapshot().state)
  }

  /** @returns whether it is gone; never rejects */
  async #expire(key: string, revision: number): Promise<boolean> {
    try {
      await this.#submit({ ops: [{ op: 'delete', key }], guards: [{ key, revision }] })
      return true
    } catch (error) {
      // Somebody else wrote or expired it first: then there is nothing to do.
      if (error instanceof StateConflictError) return true
      this.#options.onError(error, 'an expired key could not be deleted')
      return false
    }
  }
}

function guardsOf({ guards, compareLease }: CommitOptions): readonly Guard[] | undefined {
  return compareLease === undefined ? guards : [...(guards ?? []), leaseGuard(compareLease)]
}
