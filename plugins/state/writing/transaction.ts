import type { Json, Op } from '../../../openapi/schemas/state.ts'
import type { Clock } from '../../support/clock.ts'
import { InvalidStateOpError, StateConflictError, StateLimitError } from '../../support/errors.ts'
import { isPromiseLike } from '../../support/promise-like.ts'
import { applyOp } from '../values/apply-op.ts'
import type { ValueOf } from '../values/key-types.ts'
import type { ElementOf, FieldsOf, Holds } from '../values/operands.ts'
import { checkOp } from './operations.ts'
import type { Turns } from './turns.ts'
import type { Committed, Guard, View, WriteRequest } from './write.ts'
import { readWriteOptions, type WriteOptions } from './write-options.ts'

type ListKey<Key extends string> = Key & Holds<ValueOf<Key>, 'list'>

/** What a transaction function reads and writes; keys have the types that were declared for them. */
export interface Transaction {
  get<Key extends string>(key: Key): ValueOf<Key> | undefined
  has(key: string): boolean
  /** @param options `ttl`: the key is deleted after this time */
  set<Key extends string>(key: Key, value: ValueOf<Key>, options?: Pick<WriteOptions, 'ttl'>): void
  merge<Key extends string>(key: Key & Holds<ValueOf<Key>, 'fields'>, value: FieldsOf<ValueOf<Key>>): void
  increment<Key extends string>(key: Key & Holds<ValueOf<Key>, 'number'>, by?: number): void
  append<Key extends string>(key: ListKey<Key>, value: ElementOf<ValueOf<Key>>): void
  setAdd<Key extends string>(key: ListKey<Key>, value: ElementOf<ValueOf<Key>>): void
  setRemove<Key extends string>(key: ListKey<Key>, value: ElementOf<ValueOf<Key>>): void
  delete(key: string): void
}

/** Remembers at which revision each key was read, and collects the writes. */
class TransactionView implements Transaction {
  readonly #view: View
  readonly #limit: number
  readonly #read = new Map<string, { revision: number; value: Json | undefined }>()
  readonly #written = new Map<string, Json | undefined>()
  readonly #ops: Op[] = []
  #closed = false

  constructor(view: View, limit: number) {
    this.#view = view
    this.#limit = limit
  }

  get<Key extends string>(key: Key): ValueOf<Key> | undefined {
    return this.#current(key) as ValueOf<Key> | undefined
  }

  has(key: string): boolean {
    return this.#current(key) !== undefined
  }

  set(key: string, value: unknown, options?: Pick<WriteOptions, 'ttl'>): void {
    const { ttl } = readWriteOptions(options, "a transaction's set", 'context', 'compareLease')
    this.#write('set', key, value, ttl)
  }

  merge(key: string, value: unknown): void {
    this.#write('merge', key, value)
  }

  increment(key: string, by = 1): void {
    this.#write('increment', key, by)
  }

  append(key: string, value: unknown): void {
    this.#write('append', key, value)
  }

  setAdd(key: string, value: unknown): void {
    this.#write('setAdd', key, value)
  }

  setRemove(key: string, value: unknown): void {
    this.#write('setRemove', key, value)
  }

  delete(key: string): void {
    this.#write('delete', key)
  }

  guards(): Guard[] {
    return Array.from(this.#read, ([key, { revision }]) => ({ key, revision }))
  }

  /** Ends it: a function that goes on writing after its promise has resolved has made a mistake. */
  close(): Op[] {
    this.#closed = true
    return this.#ops
  }

  #write(kind: Op['op'], key: string, value?: unknown, ttl?: number): void {
    if (this.#closed) throw new InvalidStateOpError('the transaction has ended')
    if (this.#ops.length >= this.#limit) {
      throw new StateLimitError(`A transaction holds at most ${this.#limit} operations.`)
    }
    const op = checkOp({ op: kind, key, value, ttl } as Op)
    // Evaluated at once, so that the function sees its own writes and learns of a mismatch where it happens.
    this.#written.set(op.key, applyOp(op.op === 'set' || op.op === 'delete' ? undefined : this.#current(op.key), op))
    this.#ops.push(op)
  }

  #current(key: string): Json | undefined {
    if (this.#written.has(key)) return this.#written.get(key)
    const known = this.#read.get(key)
    if (known) return known.value
    const read = { revision: this.#view.revisionOf(key), value: this.#view.get(key) }
    this.#read.set(key, read)
    return read.value
  }
}

export interface Transacted<Result> {
  result: Result
  /** `undefined` when the function wrote nothing. */
  committed: Committed | undefined
}

export interface TransactOptions {
  submit: (request: WriteRequest) => Promise<Committed | undefined>
  /** At which revision the replica has a key now; 0 when it is not there. */
  revisionOf: (key: string) => number
  opsPerCommit: number
  clock: Clock
  /** Milliseconds in which an async function may be started again. */
  timeout: number
  /** Async functions of the same key begin one after the other. */
  turns?: { of: Turns; key: string }
}

/**
 * Runs a function against the state and commits what it wrote, if what it read still holds; else runs it again.
 * @throws what the function throws
 */
export async function transact<Result>(
  fn: (tx: Transaction) => Result | PromiseLike<Result>,
  { submit, revisionOf, opsPerCommit, clock, timeout, turns }: TransactOptions,
): Promise<Transacted<Result>> {
  let deadline = clock.monotonic() + timeout
  let endTurn: (() => void) | undefined
  try {
    for (;;) {
      let view: TransactionView | undefined
      let outcome: Result | PromiseLike<Result> | undefined
      let mustWait = false
      const committed = await submit({
        ops: (state) => {
          mustWait = turns !== undefined && !endTurn && turns.of.isTaken(turns.key)
          if (mustWait) return []
          view = new TransactionView(state, opsPerCommit)
          outcome = fn(view)
          if (!isPromiseLike(outcome)) return view.close()
          endTurn ??= turns?.of.take(turns.key)
          // What an async function writes is not known yet; it is committed below under guards.
          outcome.then(undefined, () => {})
          return []
        },
      })
      if (mustWait && turns) {
        endTurn = await turns.of.wait(turns.key)
        deadline = clock.monotonic() + timeout
        continue
      }
      if (!isPromiseLike(outcome)) return { result: outcome as Result, committed }
      const tx = view as unknown as TransactionView
      try {
        const result = await outcome
        const ops = tx.close()
        if (ops.length === 0) return { result, committed: undefined }
        return { result, committed: await submit({ ops, guards: tx.guards() }) }
      } catch (error) {
        // Reads of an async function may come from different revisions: what it makes of those does not count.
        const torn = tx.guards().some(({ key, revision }) => revisionOf(key) !== revision)
        if (!(error instanceof StateConflictError || torn) || clock.monotonic() >= deadline) throw error
      }
    }
  } finally {
    endTurn?.()
  }
}
