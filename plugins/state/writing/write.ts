import type { Commit, Json, Op } from '../../../openapi/schemas/state.ts'
import { namesFor } from '../../support/options.ts'
import type { LeaseProof } from '../leases/proof.ts'
import type { Entry, WrittenEntry } from '../log/contract.ts'
import { type Middleware, pass } from './middleware.ts'
import { checkOp } from './operations.ts'

/** What a write sees: the replica with everything that goes into the log before it. */
export interface View {
  get(key: string): Json | undefined
  /** The revision at which the key last changed; 0 when it is not there. */
  revisionOf(key: string): number
  keys(): IterableIterator<string>
  readonly size: number
}

/** A condition of a commit: the key last changed at this revision; 0 means that it is not there. */
export interface Guard {
  key: string
  revision: number
  /** The epoch in which that revision was made: one of a lost history is not the same. */
  epoch?: string
  /** It stands for this lease: who does not hold it any more gets STATEFUL_STATE_LEASE_LOST. */
  lease?: string
}

export interface WriteRequest {
  /**
   * The operations. As a function they depend on what is there; it is called again when another writer came first.
   */
  ops: Op[] | ((view: View) => Op[])
  guards?: readonly Guard[] | undefined
  clientId?: string | undefined
  seq?: number | undefined
  context?: unknown
  /** It counts within what clients may fill of the space; where it is named, what this one may. */
  forClient?: boolean | string | undefined
  /** The commit empties the space. */
  clear?: boolean
}

/** For whom, and on what conditions, a commit is made. */
export interface CommitOptions {
  /** With `seq`: the commit has its effect once, however often it is sent while its record is retained. */
  clientId?: string
  seq?: number
  context?: unknown
  /** The commit is made only if these hold. */
  guards?: readonly Guard[]
  /** The commit is made only if this lease still is its holder's. */
  compareLease?: LeaseProof
  /**
   * It comes from a client: all of them together fill no more of the space than `limits.clientPercent`, and one who is
   * named here, in any way that names nobody else, no more than `limits.userPercent`. Default `false`.
   */
  forClient?: boolean | string
}

export const COMMIT_OPTIONS = namesFor<CommitOptions>({
  clientId: true,
  seq: true,
  context: true,
  guards: true,
  compareLease: true,
  forClient: true,
})

/** Replaces the whole content instead. */
export interface ReplaceRequest {
  cause: 'restore' | 'clear'
  /** At the revision that the replacement will have. */
  entries: (revision: number) => Map<string, WrittenEntry>
  context?: unknown
}

/** What a commit came to. */
export interface Committed {
  commit: Commit
  /** What the key of its first operation holds right after it. */
  entry: Entry | undefined
}

/** Where a write stands in a list until it is over. */
export interface Place {
  write: Write | undefined
}

/**
 * A write from its call to its outcome. `prepare` takes it through the middleware; afterwards `ops` is what shall
 * be committed. Every attempt has its own passage through the onion, because a recomputed value must
 * be judged again.
 */
export class Write {
  readonly request: WriteRequest | ReplaceRequest
  /** Names this write in the log, whichever attempt got there. */
  readonly tx: string
  readonly deadline: number
  /** Resolves to `undefined` when there was nothing to do. */
  readonly promise: Promise<Committed | undefined>
  /** The round of the sequencer in which it arrived: a refusal must rest on a later look at the log. */
  readonly round: number
  /** The operations after the middleware; absent while it has not been prepared. */
  ops: Op[] | undefined
  /** While a layer of the middleware is still thinking. */
  pending: Promise<void> | undefined
  /** It has been handed to the store at least once: its outcome may be unknown. */
  sent = false
  /** A store may have it although it did not say so: since the try at this revision. */
  doubtfulSince: number | undefined
  settled = false
  /** Where it is listed by its deadline. */
  place: Place | undefined
  #layers: Promise<void>[] = []
  /** What the layers of the present attempt wait for; most writes pass none. */
  #attempt: Deferred<Committed | undefined> | undefined
  #resolve!: (committed: Committed | undefined) => void
  #reject!: (error: unknown) => void

  constructor(request: WriteRequest | ReplaceRequest, tx: string, deadline: number, round: number) {
    this.request = request
    this.tx = tx
    this.deadline = deadline
    this.round = round
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  get clientKey(): string | undefined {
    if ('cause' in this.request) return undefined
    const { clientId, seq } = this.request
    return clientId === undefined || seq === undefined ? undefined : `${seq}:${clientId}`
  }

  /** Whether it must be computed again when something else was committed first. */
  get dependsOnView(): boolean {
    return !('cause' in this.request) && typeof this.request.ops === 'function'
  }

  /**
   * Computes the operations and sends them through the middleware. Sets `ops`, at once or when `pending` resolves.
   * @throws what the function of `ops` throws
   */
  prepare(space: string, layers: readonly Middleware[], view: View): void {
    const { ops, clientId, context } = this.request as WriteRequest
    const given = typeof ops === 'function' ? ops(view) : ops
    if (layers.length === 0) {
      this.ops = given
      return
    }
    const passed: Op[] = []
    const attempt = deferred<Committed | undefined>()
    this.#attempt = attempt
    const step = (index: number): void | Promise<void> => {
      for (let i = index; i < given.length; i++) {
        const op = given[i] as Op
        const ctx = { space, op: op.op, key: op.key, value: op.value, previous: view.get(op.key), context, clientId }
        const { entered, left } = pass(layers, ctx, attempt.promise)
        this.#layers.push(left)
        const keep = () => passed.push(checkOp(ctx.value === op.value ? op : rewritten(op, ctx.value)))
        if (entered) {
          return entered.then(() => {
            keep()
            return step(i + 1)
          })
        }
        keep()
      }
    }
    const rest = step(0)
    if (!rest) {
      this.ops = passed
      return
    }
    this.pending = rest.then(
      () => {
        if (this.#attempt !== attempt) return
        this.pending = undefined
        this.ops = passed
      },
      (error) => {
        if (this.#attempt !== attempt) return
        this.pending = undefined
        this.reject(error)
      },
    )
  }

  /** Makes it be prepared again; the layers that wait on this attempt learn `reason`. */
  restart(reason: Error): void {
    this.#attempt?.reject(reason)
    this.#attempt = undefined
    this.#layers = []
    this.ops = undefined
    this.pending = undefined
  }

  resolve(committed: Committed | undefined): void {
    if (this.settled) return
    this.settled = true
    this.#attempt?.resolve(committed)
    if (this.#layers.length === 0) this.#resolve(committed)
    else Promise.all(this.#layers).then(() => this.#resolve(committed), this.#reject)
  }

  reject(error: unknown): void {
    if (this.settled) return
    this.settled = true
    this.#attempt?.reject(error)
    this.#reject(error)
  }
}

function rewritten(op: Op, value: Op['value']): Op {
  const { value: _, ...rest } = op
  return value === undefined ? rest : { ...rest, value }
}

interface Deferred<T> {
  promise: Promise<T>
  resolve(value: T): void
  reject(error: unknown): void
}

function deferred<T>(): Deferred<T> {
  let resolve!: (value: T) => void
  let reject!: (error: unknown) => void
  const promise = new Promise<T>((fulfil, refuse) => {
    resolve = fulfil
    reject = refuse
  })
  // If no caller waits for it, a rejection is of no interest.
  promise.catch(() => {})
  return { promise, resolve, reject }
}
