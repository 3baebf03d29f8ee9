import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Commit } from '../../../openapi/schemas/state.ts'
import type { Clock } from '../../support/clock.ts'
import {
  StateClosedError,
  StateNotReplicatedError,
  StateOutcomeUnknownError,
  StateOverloadedError,
} from '../../support/errors.ts'
import { type StateCommitEvent, stateCommit } from '../../support/tracing.ts'
import {
  type CommitOutcome,
  type Hint,
  isUnavailable,
  type LogRecord,
  type LogState,
  type LogTail,
  type StateLog,
  surelyNotWritten,
} from '../log/contract.ts'
import type { Damage } from '../log/damage.ts'
import type { StateLimits } from '../options.ts'
import type { KeyChange, Replica } from '../replica/replica.ts'
import { ClientShares } from './client-shares.ts'
import { Contention } from './contention.ts'
import type { SequencerCounts } from './counts.ts'
import { Hints } from './hints.ts'
import type { Middleware } from './middleware.ts'
import { PendingWrites, WriteQueue } from './pending-writes.ts'
import type { KeySchemas } from './schemas.ts'
import { attemptWrite, forgotten, type Staged, Staging } from './staging.ts'
import { type Committed, type ReplaceRequest, Write, type WriteRequest } from './write.ts'

/** Commits that go into the log together; more wait for the next round, so that one round stays short. */
const BATCH_COMMITS = 1_000
const BATCH_BYTES = 4 * 1024 * 1024
const FIRST_PAUSE = 25
const LONGEST_PAUSE = 1_000

export interface SequencerOptions {
  space: string
  log: StateLog
  replica: Replica
  schemas: KeySchemas
  layers: readonly Middleware[]
  limits: StateLimits
  clock: Clock
  /** Milliseconds from the call of a write to its outcome. */
  timeout: number
  /** It adds to these. */
  counts: SequencerCounts
  damage: Damage
  /** Names this writer in transaction ids; unique among all that ever write to the log. */
  writerId: string
  /** Right after the replica applied a record; `context` of the write if it was made here. */
  onApplied: (record: LogRecord, changes: KeyChange[], context: unknown) => void
  /** Right after the replica was replaced as a whole. */
  onReplaced: (changes: KeyChange[], previousEpoch: string, context: unknown) => void
  /** Nothing is under way any more. */
  onQuiet: () => void
  onError: (error: unknown, what: string) => void
}

/**
 * Everything that moves one space, one thing at a time: it takes writes in the order of their calls, computes them
 * on top of each other, commits them together, and follows what other instances commit. Only it changes the
 * replica, so a record is applied exactly when it continues what is there.
 */
export class Sequencer {
  readonly #counts: SequencerCounts
  readonly #damage: Damage
  readonly #options: SequencerOptions
  readonly #queue: WriteQueue
  readonly #open: PendingWrites
  /** Own writes that were found in the log and have not been confirmed yet. */
  #found: { write: Write; committed: Committed | undefined }[] = []
  #fresh: { resolve(): void; reject(error: unknown): void }[] = []
  #running: Promise<void> | undefined
  readonly #hints: Hints
  readonly #contention: Contention
  readonly #shares = new ClientShares()
  #closed = false
  /** Closed while the log was out of reach: no caller waits for it. */
  #abandoned = false
  #wake: (() => void) | undefined
  #endPause: (() => void) | undefined
  #askedOnceMore = false
  #failures = 0
  /** Writes that go one by one, because together they did not fit into the store. */
  #apart = 0
  #transactions = 0
  /** Counts looks at the log; a look that succeeded proves that the replica was at its head when it began. */
  #round = 0
  #provenRound = 0
  #fault: Error | undefined
  /** The first write that waits was committed before, at a revision that only the log holds. */
  #known: { write: Write; revision: number } | undefined

  constructor(options: SequencerOptions) {
    const { space, clock, timeout, counts, damage } = options
    this.#options = options
    this.#counts = counts
    this.#damage = damage
    this.#queue = new WriteQueue(options.writerId)
    this.#hints = new Hints(options.replica)
    this.#contention = new Contention(clock)
    this.#open = new PendingWrites({ space, clock, timeout, counts, onExpired: () => this.#wake?.() })
  }

  /** Writes without an outcome yet. */
  get waiting(): number {
    return this.#open.size
  }

  /** Somebody waits for it, or it is at work. */
  get busy(): boolean {
    return this.#open.size > 0 || this.#fresh.length > 0 || this.#running !== undefined
  }

  /**
   * Why the log cannot be followed, since its last look; another one may mend it. Not: a store that is out of reach.
   */
  get fault(): Error | undefined {
    return this.#fault
  }

  /** @returns the commit, or `undefined` when there was nothing to do */
  submit(request: WriteRequest | ReplaceRequest): Promise<Committed | undefined> {
    if (!stateCommit.hasSubscribers) return this.#submit(request)
    const event: StateCommitEvent = {
      space: this.#options.space,
      kind: 'cause' in request ? request.cause : 'commit',
    }
    return stateCommit.trace(
      event,
      () => this.#submit(request),
      (event, committed) => {
        if (!committed) return
        const { epoch, revision, ops } = committed.commit
        Object.assign(event, { epoch, revision, operations: ops.length })
      },
    )
  }

  #submit(request: WriteRequest | ReplaceRequest): Promise<Committed | undefined> {
    const { space, limits, clock, timeout, writerId } = this.#options
    if (this.#closed) return Promise.reject(new StateClosedError(space))
    if (this.#open.size >= limits.waiting) return Promise.reject(new StateOverloadedError(space, this.#open.size))
    const tx = `${writerId}.${(this.#transactions++).toString(36)}`
    const write = new Write(request, tx, clock.monotonic() + timeout, this.#round)
    this.#queue.add(write)
    this.#open.add(write)
    this.#start()
    return write.promise
  }

  /**
   * The log may have moved.
   * @param hint what somebody says; without it the log is read
   */
  hint(hint?: Hint): void {
    if (this.#closed) return
    this.#hints.add(hint)
    if (!this.#hints.pending) return
    this.#contention.goOn()
    this.#start()
  }

  /** Resolves when the replica holds everything that was acknowledged, by any instance, before the call. */
  async freshen(): Promise<void> {
    if (!this.#options.log.shared) return
    if (this.#closed) throw new StateClosedError(this.#options.space)
    await new Promise<void>((resolve, reject) => {
      this.#fresh.push({ resolve, reject })
      this.hint()
    })
  }

  /**
   * Takes no more writes and resolves when those that are under way have their outcome. A log that cannot be reached is
   * asked once more: what was sent to it is unknown then.
   */
  async close(): Promise<void> {
    this.#closed = true
    this.#wake?.()
    this.#endPause?.()
    this.#contention.goOn()
    await this.#running
    this.#open.close()
    for (const { reject } of this.#fresh.splice(0)) reject(new StateClosedError(this.#options.space))
  }

  #start(): void {
    this.#wake?.()
    this.#running ??= Promise.resolve()
      // From the next microtask on, so that the writes of one tick go together.
      .then(() => this.#run())
      .catch((error) => this.#options.onError(error, 'the sequencer failed'))
      .finally(() => {
        this.#running = undefined
        if ((this.#queue.length > 0 || this.#hints.pending) && !this.#closed) this.#start()
        else this.#options.onQuiet()
      })
  }

  async #run(): Promise<void> {
    while (!this.#abandoned) {
      const told = this.#hints.next()
      if (told) {
        const followed = this.#attempt(() => this.#follow(told))
        // Own writes that were among it are confirmed, and told, by catching up.
        if (!followed || this.#found.length > 0) this.#hints.invalidate()
        // What is written in the turn in which others hear of their commits goes along with what waits.
        await nextTurn()
        continue
      }
      if (this.#hints.stale) {
        await this.#catchUp()
        continue
      }
      const staging = new Staging(this.#options.replica, this.#shares)
      const batch = this.#stage(staging)
      if (batch.length > 0) {
        await this.#commit(batch, staging)
        if (batch[0]?.write.settled && !this.#hints.pending && !this.#closed) await this.#contention.giveWay()
        continue
      }
      if (this.#hints.stale) continue
      const head = this.#queue.first
      if (!head) return
      if (this.#known?.write === head) {
        await this.#recall(head, this.#known.revision)
        continue
      }
      if ('cause' in head.request) await this.#replace(head, head.request)
      else if (head.pending) await Promise.race([head.pending, this.#woken()])
    }
  }

  /** Takes as many writes from the queue as go together. */
  #stage(staging: Staging): Staged[] {
    const { log } = this.#options
    const batch: Staged[] = []
    const clients = new Set<string>()
    let bytes = 0
    const most = this.#apart > 0 ? 1 : BATCH_COMMITS
    while (batch.length < most && bytes < BATCH_BYTES) {
      const write = this.#queue.first
      if (!write) break
      if (write.settled) {
        this.#queue.shift()
        this.#open.drop(write)
        continue
      }
      const { request } = write
      if ('cause' in request || write.pending || (write.clientKey && clients.has(write.clientKey))) break
      const attempt = attemptWrite(write, request, staging, this.#options)
      if (!attempt) break
      const { staged, commit, revision, error } = attempt
      if (staged) {
        this.#queue.shift()
        staging.add(staged.results, staged.sizes, clientOf(request))
        for (const entry of staged.results.values()) bytes += entry?.bytes ?? 0
        if (write.clientKey) clients.add(write.clientKey)
        batch.push(staged)
        continue
      }
      // It ends without a commit. That verdict must rest on what is in the log, not on writes that may still fail,
      // nor on a replica that is behind the call.
      if (batch.length > 0) break
      if (revision !== undefined) {
        this.#known = { write, revision }
        break
      }
      if (log.shared && this.#provenRound <= write.round && !commit) {
        this.#hints.invalidate()
        break
      }
      this.#queue.shift()
      this.#finish(write, error, commit)
    }
    return batch
  }

  async #commit(batch: Staged[], staging: Staging): Promise<void> {
    const { log, replica, onApplied } = this.#options
    const round = ++this.#round
    if (this.#apart > 0) this.#apart--
    for (const { write } of batch) write.sent = true
    const records = batch.map(({ record }) => record)
    let unconfirmed: unknown
    let outcome: CommitOutcome = 'committed'
    let missed: LogTail | undefined
    try {
      const { writes, size } = staging
      outcome = await log.commit(replica.position, { records, writes, added: size - replica.size }, (tail) => {
        missed = tail
      })
      this.#failures = 0
    } catch (error) {
      if (!(error instanceof StateNotReplicatedError)) return this.#failed(batch, error)
      // It is in the log and everybody sees it; only the promise about its copies is not kept.
      unconfirmed = error
    }
    if (outcome === 'conflict') return this.#lost(batch, missed, round)
    this.#provenRound = round
    this.#counts.batches++
    for (const { write, record, results } of batch) {
      const changes = replica.apply(record, results)
      if (!changes) throw new Error(`revision ${record.commit.revision} does not continue ${replica.revision}`)
      this.#counts.commits++
      this.#shares.write(results, clientOf(write.request))
      onApplied(record, changes, write.request.context)
      this.#finish(write, unconfirmed, record.commit)
    }
  }

  /** Another writer was faster. What it wrote may have come with the answer, which is a look at the log then. */
  #lost(batch: Staged[], missed: LogTail | undefined, round: number): void {
    this.#counts.conflicts++
    this.#queue.putBack(batch.map(({ write }) => write))
    const adopted = missed && this.#attempt(() => this.#adopt(missed))
    if (adopted) this.#provenRound = round
    if (!adopted || this.#found.length > 0) this.#hints.invalidate()
  }

  async #failed(batch: Staged[], error: unknown): Promise<void> {
    this.#counts.storeErrors++
    if (surelyNotWritten(error) && batch.length > 1) {
      // Some of them may fit, or make room: each gets its own answer.
      this.#queue.putBack(batch.map(({ write }) => write))
      this.#apart = batch.length
      return
    }
    if (surelyNotWritten(error)) {
      for (const { write } of batch) this.#finish(write, error)
      // What waits may have been computed on top of what has just failed.
      this.#queue.restart()
      return
    }
    this.#options.onError(error, 'a commit was not confirmed; asking the log')
    for (const { write } of batch) write.doubtfulSince ??= this.#options.replica.revision
    this.#queue.putBack(batch.map(({ write }) => write))
    this.#hints.invalidate()
    await this.#pause()
  }

  /** Its first commit is the answer to a write that was sent again. */
  async #recall(write: Write, revision: number): Promise<void> {
    const { clientId, seq } = write.request as WriteRequest
    try {
      const commit = (await this.#options.log.record(revision))?.commit
      this.#known = undefined
      this.#queue.shift()
      const same = commit?.clientId === clientId && commit?.seq === seq
      this.#finish(write, same ? undefined : forgotten(seq), same ? commit : undefined)
    } catch (error) {
      this.#counts.storeErrors++
      this.#known = undefined
      this.#options.onError(error, 'a commit could not be read')
      this.#abandoned = this.#closed
      if (!this.#abandoned) await this.#pause()
    }
  }

  async #replace(write: Write, request: ReplaceRequest): Promise<void> {
    const { log, replica } = this.#options
    if (write.settled) {
      this.#queue.shift()
      return
    }
    write.sent = true
    const base = replica.position
    try {
      const entries = request.entries(base.revision + 1)
      const outcome = await log.replace(base, { cause: request.cause, tx: write.tx, entries })
      if (outcome === 'conflict') this.#counts.conflicts++
      // Either way the log is elsewhere now; catching up finds the replacement by its transaction.
      this.#hints.invalidate()
    } catch (error) {
      this.#counts.storeErrors++
      if (surelyNotWritten(error) || !isUnavailable(error)) {
        this.#queue.shift()
        this.#finish(write, error)
        return
      }
      this.#hints.invalidate()
      await this.#pause()
    }
  }

  async #catchUp(): Promise<void> {
    const { log, replica } = this.#options
    this.#hints.clear()
    const round = ++this.#round
    const waiters = this.#fresh.splice(0)
    try {
      const tail = await log.since(replica.position)
      this.#counts.catchUps++
      // What the keys hold is there also where a commit on the way is not readable.
      if (!(tail && this.#attempt(() => this.#adopt(tail)))) this.#load(await log.load())
      this.#provenRound = round
      this.#fault = undefined
      for (const { resolve } of waiters.splice(0)) resolve()
      await this.#acknowledge()
      this.#failures = 0
    } catch (error) {
      this.#counts.storeErrors++
      if (!isUnavailable(error)) this.#fault = error as Error
      for (const { reject } of waiters) reject(error)
      this.#options.onError(error, 'the log could not be read')
      this.#abandoned = this.#closed
      if (this.#abandoned || (this.#queue.length === 0 && this.#found.length === 0)) return
      this.#hints.invalidate()
      await this.#pause()
    }
  }

  /** Applies what came of the log. A commit that does not fit what is here makes the space be read again. */
  #attempt(apply: () => void): boolean {
    try {
      apply()
      return true
    } catch (error) {
      this.#damage.count++
      this.#options.onError(error, 'a commit of the log cannot be applied; the space is read as a whole')
      return false
    }
  }

  #adopt(tail: LogTail): void {
    const { replica } = this.#options
    this.#follow(tail.records)
    replica.follow({ ...tail, revision: replica.revision })
  }

  #follow(records: readonly LogRecord[]): void {
    const { replica, onApplied } = this.#options
    let foreign = false
    for (const record of records) {
      const changes = replica.apply(record)
      if (!changes) throw new Error(`revision ${record.commit.revision} does not continue ${replica.revision}`)
      this.#shares.forget(changes)
      const own = this.#queue.take(record.tx)
      foreign ||= !own
      onApplied(record, changes, own?.request.context)
      if (own) this.#found.push({ write: own, committed: this.#committed(record.commit) })
    }
    if (foreign) {
      this.#contention.contend()
      this.#queue.restart()
    }
  }

  #load(state: LogState): void {
    const { replica, onReplaced, space } = this.#options
    const previousEpoch = replica.epoch
    this.#counts.resyncs++
    this.#damage.note(state)
    const changes = replica.load(state)
    this.#shares.forget(changes)
    // What was found in the history before, and not confirmed there, may not be in this one.
    for (const { write } of this.#found.splice(0)) this.#open.settle(write, new StateOutcomeUnknownError(space))
    for (const { tx, commit } of state.records) {
      const own = this.#queue.take(tx)
      if (own) this.#found.push({ write: own, committed: this.#committed(commit) })
    }
    for (const { tx } of state.epochs) {
      const own = tx === undefined ? undefined : this.#queue.take(tx)
      if (own) this.#found.push({ write: own, committed: undefined })
    }
    // Whether writes sent before the oldest record at hand are in the log is unknown.
    const oldest = state.records[0]?.commit.revision ?? state.revision + 1
    for (const write of this.#queue.takeDoubtful(oldest)) this.#open.settle(write, new StateOutcomeUnknownError(space))
    this.#queue.restart()
    onReplaced(changes, previousEpoch, this.#found.at(-1)?.write.request.context)
  }

  /**
   * Those own writes that were found in the log, once they are as durable there as was promised.
   * @throws STATEFUL_STORAGE_UNAVAILABLE: catching up once more shows whether the log still has them
   */
  async #acknowledge(): Promise<void> {
    if (this.#found.length === 0) return
    const { log, replica } = this.#options
    let unconfirmed: unknown
    try {
      await log.confirm?.(replica.position)
    } catch (error) {
      this.#found = this.#found.filter(({ write }) => !write.settled)
      if (isUnavailable(error)) throw error
      unconfirmed = error
    }
    for (const { write, committed } of this.#found.splice(0)) this.#open.settle(write, unconfirmed, committed)
  }

  #finish(write: Write, error?: unknown, commit?: Commit): void {
    this.#open.settle(write, error, commit && this.#committed(commit))
  }

  /** Right after the replica has applied it. */
  #committed(commit: Commit): Committed {
    const [first] = commit.ops
    return { commit, entry: first && this.#options.replica.get(first.key) }
  }

  #woken(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = () => {
        this.#wake = undefined
        resolve()
      }
    })
  }

  /** Until the store may be asked again. Closing does not wait for that: it asks once more, and no more. */
  async #pause(): Promise<void> {
    if (this.#closed) {
      this.#abandoned = this.#askedOnceMore
      this.#askedOnceMore = true
      return
    }
    const ms = Math.min(FIRST_PAUSE * 2 ** this.#failures++, LONGEST_PAUSE)
    await new Promise<void>((resolve) => {
      const timer = this.#options.clock.after(ms, resolve)
      this.#endPause = () => {
        timer.cancel()
        resolve()
      }
    })
    this.#endPause = undefined
  }
}

/** Who the keys that it writes count for. */
function clientOf(request: WriteRequest | ReplaceRequest): string | undefined {
  const forClient = 'cause' in request ? undefined : request.forClient
  return typeof forClient === 'string' ? forClient : undefined
}
