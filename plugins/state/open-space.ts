import type { Commit, Op, Position } from '../../openapi/schemas/state.ts'
import type { Clock, Timer } from '../support/clock.ts'
import { StateConflictError } from '../support/errors.ts'
import { randomText } from '../support/random.ts'
import { type LeaseSpace, Leases } from './leases/leases.ts'
import { continues, type Hint, type Retention, type StateLog } from './log/contract.ts'
import type { Damage } from './log/damage.ts'
import type { StateLimits } from './options.ts'
import { Expiry } from './replica/expiry.ts'
import { type KeyChange, Replica } from './replica/replica.ts'
import type { SequencerCounts } from './writing/counts.ts'
import type { Middleware } from './writing/middleware.ts'
import type { KeySchemas } from './writing/schemas.ts'
import { Sequencer } from './writing/sequencer.ts'
import type { Committed, ReplaceRequest, WriteRequest } from './writing/write.ts'

/** Fewer than may wait at the same time. */
const OVERDUE_AT_ONCE = 100

export interface OpenSpaceOptions {
  name: string
  log: StateLog
  limits: StateLimits
  clock: Clock
  /** From 0 inclusive to 1 exclusive. */
  random: () => number
  /** Of this process and no other. */
  processId: string
  /** Milliseconds. */
  writeTimeout: number
  /** Milliseconds between two looks at where a shared log stands. */
  pollInterval: number
  /** Calls at each look; one timer for all spaces. */
  onPoll: (look: () => void) => Timer
  history: Retention
  schemas: KeySchemas
  layers: readonly Middleware[]
  /** What happens is added to these, which outlive the closing. */
  counts: SequencerCounts
  damage: Damage
  /** What leases are taken of. */
  space: LeaseSpace
  /** Right after the replica applied a commit; `context` of the write if it was made here. */
  onApplied: (commit: Commit, changes: KeyChange[], clear: boolean, context: unknown) => void
  /** Right after the replica was replaced as a whole. */
  onReplaced: (changes: KeyChange[], previousEpoch: string, context: unknown) => void
  /** It may not be busy any more. */
  onQuiet: () => void
  onError: (error: unknown, what: string) => void
}

/**
 * What a space has only while it is open: its log, this instance's replica of that, whoever moves the two, and the
 * subscriptions and timers that this takes.
 *
 *   loading --the log has been read--> loaded --close--> closed
 *   loading --the log cannot be read: `ready` rejects--> useless --close--> closed
 */
export class OpenSpace {
  /** Resolves when the replica is loaded. */
  readonly ready: Promise<void>
  readonly replica: Replica
  readonly log: StateLog
  readonly leases: Leases
  readonly #options: OpenSpaceOptions
  readonly #sequencer: Sequencer
  readonly #expiry: Expiry
  #loaded = false
  #closing: Promise<void> | undefined
  #poll: Timer | undefined
  #unwatch: (() => Promise<void>) | undefined

  constructor(options: OpenSpaceOptions) {
    const { name, log, clock, random, pollInterval, processId, onError } = options
    this.#options = options
    this.log = log
    this.replica = new Replica(options.history)
    this.#sequencer = new Sequencer({
      space: name,
      log,
      replica: this.replica,
      schemas: options.schemas,
      layers: options.layers,
      limits: options.limits,
      clock,
      timeout: options.writeTimeout,
      counts: options.counts,
      damage: options.damage,
      // Stands in every record, so it is no longer than it must be to be unique.
      writerId: randomText(12),
      onApplied: ({ commit, clear = false }, changes, context) => {
        for (const { key } of changes) this.#expiry.note(key, this.replica.get(key))
        options.onApplied(commit, changes, clear, context)
      },
      onReplaced: (changes, previousEpoch, context) => {
        this.#expiry.reset(this.replica.entries())
        options.onReplaced(changes, previousEpoch, context)
      },
      onQuiet: options.onQuiet,
      onError,
    })
    this.#expiry = new Expiry({
      clock,
      random,
      spread: log.shared ? pollInterval : 0,
      onDue: (key, revision) => void this.#expire(key, revision),
    })
    this.leases = new Leases(options.space, { clock, shared: log.shared, processId, onError })
    this.ready = this.#load()
    // Users of the space await it, or get the error from the first operation.
    this.ready.then(options.onQuiet, () => {})
  }

  /** Whether the replica can be read. */
  get loaded(): boolean {
    return this.#loaded
  }

  /** It is being loaded, something has no outcome yet, or a lease is held. */
  get busy(): boolean {
    return !this.#loaded || this.#sequencer.busy || this.leases.busy
  }

  /** Writes without an outcome yet. */
  get waiting(): number {
    return this.#sequencer.waiting
  }

  /** Why the log cannot be followed. */
  get fault(): Error | undefined {
    return this.#sequencer.fault
  }

  // What follows is for one that is loaded, but for writes, which wait for that.

  submit(request: WriteRequest | ReplaceRequest): Promise<Committed | undefined> {
    if (this.#loaded) return this.#sequencer.submit(request)
    // Awaiting would let two calls of one tick change their order only if one of them found it ready; both do or
    // neither.
    return this.ready.then(() => this.#sequencer.submit(request))
  }

  /** Brings the replica up to everything that was acknowledged before the call. */
  freshen(): Promise<void> {
    return this.#sequencer.freshen()
  }

  /** The position from which on `history` has every commit; the log has more than the replica. */
  async oldest(): Promise<Position> {
    const { position, floor } = this.replica
    const tail = await this.log.since(position)
    return { epoch: position.epoch, revision: (tail?.floor ?? floor) - 1 }
  }

  /** The commits after a position; `undefined` when they are not retained or the position lies in a lost history. */
  async history(since: Position): Promise<Commit[] | undefined> {
    const { position } = this.replica
    const known = this.replica.since(since)
    if (known) return known
    const tail = await this.log.since(since)
    // Not further than the replica: who reads history goes on with onCommit from there.
    if (!tail || !continues(tail, position)) return undefined
    return tail.records.map(({ commit }) => commit).filter(({ revision }) => revision <= position.revision)
  }

  /** Ends what is under way. One that is not busy does nothing more from this call on. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #load(): Promise<void> {
    const { log, replica } = this
    const { damage, onPoll } = this.#options
    // Listening first: what is committed while the content is read is found by the first catch-up.
    if (log.shared) this.#unwatch = await log.watch((hint) => this.#hinted(hint))
    const state = await log.load()
    damage.note(state)
    replica.load(state)
    this.#expiry.reset(replica.entries())
    this.#loaded = true
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
    const due = [...this.replica.entries()].filter(([, { expiresAt }]) => expiresAt !== undefined && expiresAt <= now)
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
    this.leases.close()
    await this.#sequencer.close()
    await this.#unwatch?.().catch((error) => this.#options.onError(error, 'a subscription could not be ended'))
    await this.log.close()
  }

  /** The log is read only if it stands elsewhere than the replica, or if that is unknown. */
  async #look(): Promise<void> {
    const head = this.fault ? undefined : await this.log.head?.().catch(() => undefined)
    if (head) this.#hinted({ ...head, prev: head.revision, records: () => undefined })
    else this.#sequencer.hint()
  }

  #hinted(hint: Hint): void {
    if (!this.#loaded) return
    const { epoch, revision } = this.replica
    if (hint.epoch !== epoch || hint.revision > revision) this.#sequencer.hint(hint)
  }

  /** @returns whether it is gone; never rejects */
  async #expire(key: string, revision: number): Promise<boolean> {
    const ops: Op[] = [{ op: 'delete', key }]
    try {
      await this.submit({ ops, guards: [{ key, revision }] })
      return true
    } catch (error) {
      // Somebody else wrote or expired it first: then there is nothing to do.
      if (error instanceof StateConflictError) return true
      this.#options.onError(error, 'an expired key could not be deleted')
      return false
    }
  }
}
