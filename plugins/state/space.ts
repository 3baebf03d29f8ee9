import type { Commit, Json, Op, Position } from '../../openapi/schemas/state.ts'
import {
  InvalidStateOpError,
  StateClosedError,
  StateConflictError,
  StateLimitError,
  StateNotReadyError,
} from '../support/errors.ts'
import { refuseUnknown } from '../support/options.ts'
import { isPromiseLike } from '../support/promise-like.ts'
import { WATCH_OPTIONS, type WatchEvent, type WatchOptions, watchCommits } from './following/watch.ts'
import type { Lease } from './leases/lease.ts'
import type { LeaseOptions, Schedule, Task } from './leases/leases.ts'
import { leaseKey } from './leases/proof.ts'
import type { Durability, EpochCause, StateLog } from './log/contract.ts'
import { Damage } from './log/damage.ts'
import { OpenSpace, type OpenSpaceOptions } from './open-space.ts'
import { Readable } from './replica/readable.ts'
import type { Replica } from './replica/replica.ts'
import { checkKey } from './values/json.ts'
import type { OpOf, ValueOf } from './values/key-types.ts'
import type { ElementOf, FieldsOf, Holds, ListOf } from './values/operands.ts'
import { noCounts, type SequencerCounts } from './writing/counts.ts'
import { type Middleware, passAll, type WriteContext } from './writing/middleware.ts'
import { checkAuthor, checkOp, restorable } from './writing/operations.ts'
import { type KeySchema, KeySchemas } from './writing/schemas.ts'
import { type Transacted, type Transaction, transact } from './writing/transaction.ts'
import { Turns } from './writing/turns.ts'
import {
  COMMIT_OPTIONS,
  type CommitOptions,
  type Committed,
  type Guard,
  type ReplaceRequest,
  type View,
  type WriteRequest,
} from './writing/write.ts'
import { leaseGuard, type ReadWriteOptions, readWriteOptions, type WriteOptions } from './writing/write-options.ts'

/** What has happened, as far as it is counted. */
export interface SpaceCounts extends SequencerCounts {
  /** Epochs that began here because the end of the log may have been lost. */
  epochChanges: number
  /** Keys and commits of the log that could not be read or applied, and were left out. */
  unreadable: number
}

/** Statistics of a space. */
export interface SpaceStats extends SpaceCounts {
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
  lastEpochCause: EpochCause | undefined
}

/** What the spaces of a manager have in common, and what each may ask of it. */
export interface SpaceOptions
  extends Pick<
    OpenSpaceOptions,
    | 'limits'
    | 'clock'
    | 'random'
    | 'processId'
    | 'writeTimeout'
    | 'pollInterval'
    | 'onPoll'
    | 'history'
    | 'onQuiet'
    | 'onError'
  > {
  name: string
  /** What a `$ref` in the schema of a key may name. */
  sharedSchemas?: (() => Record<string, unknown>) | undefined
  /**
   * Calls `open`, as soon as one more space may be open.
   * @throws STATEFUL_STATE_TOO_MANY_SPACES, STATEFUL_STATE_CLOSED
   */
  reopen: () => Promise<unknown>
  /** The application has configured it, which must last even without references to it. */
  onConfigured: () => void
}

/** Counts the uses of all spaces: who was used last has the highest number. */
let uses = 0

/**
 * The unit of order and transaction: one log, and this instance's replica of it. Reads are synchronous and come from
 * the replica; writes resolve when they are durable and visible here.
 *
 * Values are frozen and shared: read them, pass them on, but make new ones instead of changing them.
 *
 *   closed --used, and there is room--> loading --read--> open --not busy, and its room is needed--> closed
 *                                          |--the log cannot be read--> closed
 *
 * While it is closed its log and its replica are gone; schemas, middleware, listeners and counts are not. Whatever is
 * asynchronous opens it by itself. It closes only between two turns of the event loop, so that what was awaited can be
 * read synchronously right after. It stays open while somebody listens, writes, or holds a lease.
 */
export class Space extends Readable {
  readonly #options: SpaceOptions
  readonly #schemas: KeySchemas
  readonly #layers: Middleware[] = []
  readonly #turns: Turns
  readonly #counts = noCounts()
  readonly #damage: Damage
  /** Of the times before that it was open. */
  #epochChanges = 0
  #open: OpenSpace | undefined
  /** Who wants it to be opened, in the order of their calls. */
  #waiting: { go(open: OpenSpace): void; refuse(error: unknown): void }[] = []
  #reopening = false
  /** Functions of transactions that are under way. */
  #transactions = 0
  #lastUse = 0

  constructor(options: SpaceOptions) {
    super(options.name, (error) => options.onError(error, 'a state listener failed'))
    this.#options = options
    this.#schemas = new KeySchemas(options.sharedSchemas)
    this.#turns = new Turns(options.clock, options.writeTimeout)
    this.#damage = new Damage(options.name, options.onError)
  }

  /**
   * Resolves when the replica is loaded, and what follows in the same turn can read it: reads before that throw
   * STATEFUL_STATE_NOT_READY, writes wait. A space that was closed meanwhile is opened.
   *
   * @example
   * const room = app.state.space('room-17')
   * await room.ready
   * return room.entries()
   * @throws STATEFUL_STATE_TOO_MANY_SPACES, STATEFUL_STORAGE_UNAVAILABLE
   */
  get ready(): Promise<void> {
    this.#lastUse = ++uses
    return this.#open?.ready ?? this.#whenLoaded(async () => {})
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
  freshen(): Promise<void> {
    return this.#whenLoaded((open) => open.freshen())
  }

  // --- writing ----------------------------------------------------------------------------------

  /** Adds a layer around every write of this space; the first one added is the outermost. */
  use(layer: Middleware): this {
    this.#layers.push(layer)
    this.#options.onConfigured()
    return this
  }

  /**
   * From now on every write's result for the key, or for every key with the prefix `'user:*'`, must fit the schema: one
   * of TypeBox or any JSON Schema, which means what it means in a route (formats, a `$ref` to what was added by
   * `addSchema`), or a Standard Schema of zod, valibot and others, which is asked and whose output is not kept.
   * @throws STATEFUL_INVALID_OPTION with the key and the reason when it cannot be used
   */
  define(pattern: string, schema: KeySchema): this {
    this.#schemas.define(pattern, schema)
    this.#options.onConfigured()
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
    const read = readWriteOptions(options)
    const { ttl } = read
    const { result, committed } = await this.#transact(
      (tx) => {
        const current = tx.get(key)
        const settle = (next: ValueOf<Key> | undefined) => {
          if (next !== undefined) tx.set(key, next, ttl === undefined ? undefined : { ttl })
          return current
        }
        const next = fn(current)
        return isPromiseLike(next) ? next.then(settle) : settle(next as ValueOf<Key> | undefined)
      },
      read,
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
  async increment<Key extends string>(
    key: Key & Holds<ValueOf<Key>, 'number'>,
    by = 1,
    options?: WriteOptions | unknown,
  ): Promise<number> {
    const { entry } = await this.#apply({ op: 'increment', key, value: by }, options)
    return entry?.value as number
  }

  /** Adds one element to the end of a list. @returns the list */
  async append<Key extends string>(
    key: Key & Holds<ValueOf<Key>, 'list'>,
    value: ElementOf<ValueOf<Key>>,
    options?: WriteOptions | unknown,
  ): Promise<ListOf<ValueOf<Key>>> {
    const { entry } = await this.#apply({ op: 'append', key, value: value as Json }, options)
    return entry?.value as ListOf<ValueOf<Key>>
  }

  /** Replaces or adds fields of an object. @returns the object */
  async merge<Key extends string>(
    key: Key & Holds<ValueOf<Key>, 'fields'>,
    value: FieldsOf<ValueOf<Key>>,
    options?: WriteOptions | unknown,
  ): Promise<ValueOf<Key>> {
    const { entry } = await this.#apply({ op: 'merge', key, value: value as Json }, options)
    return entry?.value as ValueOf<Key>
  }

  /** @returns whether the key was there */
  async delete(key: string, options?: WriteOptions | unknown): Promise<boolean> {
    checkKey(key)
    const { context, guards } = readWriteOptions(options, 'delete', 'ttl')
    const committed = await this.#submit({
      ops: (view) => (view.get(key) === undefined ? [] : [{ op: 'delete', key }]),
      guards,
      context,
    })
    return committed !== undefined
  }

  /** Deletes every key at once: as one commit, or as a new epoch when they are more than one commit holds. */
  async clear(options?: Pick<WriteOptions, 'context'> | unknown): Promise<void> {
    const { context } = readWriteOptions(options, 'clear', 'ttl', 'compareLease')
    const { opsPerCommit } = this.#options.limits
    let tooMany = false
    const ops = (view: View): Op[] => {
      tooMany = view.size > opsPerCommit
      return tooMany ? [] : Array.from(view.keys(), (key) => ({ op: 'delete', key }))
    }
    await this.#submit({ ops, clear: true, context })
    if (!tooMany) return
    const contexts = Array.from(this.held().entries(), ([key, { value: previous }]): WriteContext => {
      return { space: this.name, op: 'delete', key, value: undefined, previous, context, clientId: undefined }
    })
    await passAll(this.#layers, contexts, () => this.#submit({ cause: 'clear', entries: () => new Map(), context }))
  }

  /** One operation; resolves to its commit and what the key holds right after it. */
  async apply<const Key extends string>(op: { key: Key } & OpOf<Key>, options: CommitOptions = {}): Promise<Committed> {
    refuseUnknown(options, COMMIT_OPTIONS)
    const { clientId, seq, context, forClient } = options
    checkAuthor(clientId, seq)
    return (await this.#submit({
      ops: [checkOp(op as Op)],
      guards: guardsOf(options),
      clientId,
      seq,
      context,
      forClient,
    })) as Committed
  }

  /**
   * One revision: all operations or none.
   * @throws STATEFUL_STATE_CONFLICT when a guard does not hold, and what `set` throws
   */
  async commit<const Key extends string>(
    ops: readonly ({ key: Key } & OpOf<Key>)[],
    options: CommitOptions = {},
  ): Promise<Commit> {
    refuseUnknown(options, COMMIT_OPTIONS)
    const { opsPerCommit } = this.#options.limits
    if (ops.length === 0) throw new InvalidStateOpError('it has no operation')
    if (ops.length > opsPerCommit) {
      throw new StateLimitError(`A commit holds at most ${opsPerCommit} operations, not ${ops.length}.`)
    }
    const { clientId, seq, context, forClient } = options
    checkAuthor(clientId, seq)
    const guards = guardsOf(options)
    const checked = (ops as readonly Op[]).map(checkOp)
    // No spread here and in `apply`: it costs more than all the rest of a small write.
    const committed = await this.#submit({ ops: checked, guards, clientId, seq, context, forClient })
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
    const { result } = await this.#transact(fn, readWriteOptions(options, 'transaction', 'ttl'))
    return result
  }

  /**
   * Replaces everything and starts a new epoch: all who follow this space get it whole again.
   * @throws STATEFUL_STATE_INVALID_KEY, STATEFUL_STATE_INVALID_VALUE, STATEFUL_STATE_LIMIT, STATEFUL_STATE_SCHEMA
   */
  async restore(
    snapshot: { state: Readonly<Record<string, unknown>> },
    options?: Pick<WriteOptions, 'context'> | unknown,
  ): Promise<Position> {
    const { context } = readWriteOptions(options, 'restore', 'ttl', 'compareLease')
    const entries = restorable(snapshot.state, this.#schemas, this.#options.limits)
    await this.#submit({ cause: 'restore', entries, context })
    return this.held().position
  }

  // --- leases -----------------------------------------------------------------------------------

  /**
   * Waits until no other caller holds the lease of this name in this space, on any instance, and takes it. It is
   * renewed by itself; `signal` aborts when it may be lost. The holder is the leader for as long as it lives.
   * @throws STATEFUL_STATE_LEASE_HELD when somebody else holds it longer than `wait`
   */
  async lease(name: string, options: LeaseOptions = {}): Promise<Lease> {
    checkKey(leaseKey(name))
    return this.#whenLoaded(({ leases }) => leases.take(name, options))
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
    return this.#whenLoaded<unknown>(async ({ leases }) => {
      if (typeof first === 'function') return leases.once(name, first)
      if (typeof task !== 'function') throw new InvalidStateOpError('runOnce was given nothing to run')
      return leases.schedule(name, first, task)
    })
  }

  // --- following --------------------------------------------------------------------------------

  override oldest(): Promise<Position> {
    return this.#whenLoaded((open) => open.oldest())
  }

  /** The commits after a position; `undefined` when they are not retained or the position lies in a lost history. */
  history(since: Position): Promise<Commit[] | undefined> {
    return this.#whenLoaded((open) => open.history(since))
  }

  /**
   * The commits that touch keys with this prefix, first those since a position and then as they are made: in order,
   * whole, none twice and none left out. A `reset` says that what was missed is not retained any more.
   */
  watch<Prefix extends string>(prefix: Prefix, options: WatchOptions = {}): AsyncIterableIterator<WatchEvent<Prefix>> {
    refuseUnknown(options, WATCH_OPTIONS)
    // From this call on, although nothing runs before the first `next()`.
    const since = options.since ?? (this.#open?.loaded ? this.#open.replica.position : undefined)
    return watchCommits(this, prefix, this.#options.clock, since === undefined ? options : { ...options, since })
  }

  // --- life -------------------------------------------------------------------------------------

  /** It is being loaded, something has no outcome yet, a lease is held, or somebody listens: it stays open. */
  get busy(): boolean {
    return this.observed || this.#transactions > 0 || this.#open?.busy === true
  }

  /** When it was used: the higher, the later. */
  get lastUse(): number {
    return this.#lastUse
  }

  /** @throws STATEFUL_STATE_NOT_READY when it is closed */
  describe(): SpaceStats {
    const { replica, log, waiting } = this.#open ?? this.#refuse()
    const { epoch, revision, size: keys, bytes, retained, epochs } = replica
    return {
      name: this.name,
      durability: log.durability,
      epoch,
      revision,
      keys,
      bytes,
      waiting,
      retained,
      historyBytes: log.historyBytes,
      lastEpochCause: epochs.at(-1)?.cause,
      ...this.counts(),
    }
  }

  /** What has happened here since this instance began, open or not. */
  counts(): SpaceCounts {
    const epochChanges = this.#epochChanges + (this.#open?.replica.epochChanges ?? 0)
    return { ...this.#counts, epochChanges, unreadable: this.#damage.count }
  }

  /**
   * Why this instance cannot follow its log: what it reads is as it was before. `undefined` when it can, while the
   * store is out of reach, which the storage tells, and while it is closed.
   */
  get fault(): Error | undefined {
    return this.#open?.fault
  }

  /** By the manager, which counts those that are open. */
  open(log: StateLog): void {
    const open = new OpenSpace({
      ...this.#options,
      log,
      schemas: this.#schemas,
      layers: this.#layers,
      counts: this.#counts,
      damage: this.#damage,
      space: this,
      onApplied: (commit, changes, clear, context) => this.tellCommit(commit, changes, clear, context),
      onReplaced: (changes, previousEpoch, context) => {
        this.tellReplacement(open.replica, changes, previousEpoch, context, () => this.snapshot().state)
      },
    })
    this.#open = open
    this.#lastUse = ++uses
    // At once, so that no later call comes before them.
    for (const { go } of this.#waiting.splice(0)) go(open)
  }

  /** By the manager: until it is used again. Resolves when nothing of it is left. */
  async close(): Promise<void> {
    const open = this.#open
    this.#open = undefined
    this.#epochChanges += open?.replica.epochChanges ?? 0
    // Only one that could not be loaded is closed although somebody listens.
    if (this.observed) this.#reopenLater()
    await open?.close()
  }

  /** By the manager, for good: what is under way gets its outcome, and what was read last can be read further on. */
  async end(): Promise<void> {
    await this.#open?.close()
    this.removeListeners()
  }

  protected override held(): Replica {
    this.#lastUse = ++uses
    return this.#open?.loaded ? this.#open.replica : this.#refuse()
  }

  /** Who listens hears of everything from now on. */
  protected override followed(): void {
    if (!this.#open) this.#reopen()
  }

  /** @throws STATEFUL_STATE_NOT_READY, and has it opened: the next call may find it open */
  #refuse(): never {
    if (!this.#open) this.#reopen()
    throw new StateNotReadyError(this.name)
  }

  #reopen(): void {
    if (this.#reopening) return
    this.#reopening = true
    this.#options
      .reopen()
      .catch((error) => {
        for (const { refuse } of this.#waiting.splice(0)) refuse(error)
        if (!this.observed || this.#open || error instanceof StateClosedError) return
        this.#options.onError(error, 'it is listened to and could not be opened')
        this.#reopenLater()
      })
      .finally(() => {
        this.#reopening = false
      })
  }

  /** Who listens has no call that would fail. */
  #reopenLater(): void {
    const { clock, pollInterval } = this.#options
    clock.after(pollInterval, () => {
      if (this.observed && !this.#open) this.#reopen()
    })
  }

  #whenLoaded<Result>(use: (open: OpenSpace) => Promise<Result>): Promise<Result> {
    this.#lastUse = ++uses
    const open = this.#open
    if (open?.loaded) return use(open)
    return new Promise((resolve, reject) => {
      const go = (open: OpenSpace) => resolve(open.ready.then(() => use(open)))
      if (open) go(open)
      else this.#whenOpen(go, reject)
    })
  }

  #whenOpen(go: (open: OpenSpace) => void, refuse: (error: unknown) => void): void {
    this.#waiting.push({ go, refuse })
    this.#reopen()
  }

  async #apply(op: Op, given: unknown, conditions: readonly Guard[] = []): Promise<Committed> {
    const { ttl, context, guards = [] } = readWriteOptions(given)
    const checked = checkOp(ttl === undefined ? op : { ...op, ttl })
    const all = conditions.length + guards.length > 0 ? [...conditions, ...guards] : undefined
    return (await this.#submit({ ops: [checked], guards: all, context })) as Committed
  }

  #submit(request: WriteRequest | ReplaceRequest): Promise<Committed | undefined> {
    this.#lastUse = ++uses
    if (this.#open) return this.#open.submit(request)
    return new Promise((resolve, reject) => this.#whenOpen((open) => resolve(open.submit(request)), reject))
  }

  async #transact<Result>(
    fn: (tx: Transaction) => Result | PromiseLike<Result>,
    { context, guards: required = [] }: ReadWriteOptions,
    key?: string,
  ): Promise<Transacted<Result>> {
    const { clock, writeTimeout, limits } = this.#options
    this.#transactions++
    try {
      return await transact(fn, {
        submit: ({ ops, guards = [] }) => this.#submit({ ops, guards: [...guards, ...required], context }),
        revisionOf: (key) => this.#open?.replica.get(key)?.revision ?? 0,
        opsPerCommit: limits.opsPerCommit,
        clock,
        timeout: writeTimeout,
        ...(key === undefined ? {} : { turns: { of: this.#turns, key } }),
      })
    } finally {
      this.#transactions--
      this.#options.onQuiet()
    }
  }
}

function guardsOf({ guards, compareLease }: CommitOptions): readonly Guard[] | undefined {
  return compareLease === undefined ? guards : [...(guards ?? []), leaseGuard(compareLease)]
}
