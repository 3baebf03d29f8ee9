import type { Json, Op } from '../../openapi/schemas/state.ts'
import { InvalidStateOpError, StateLimitError } from '../support/errors.ts'
import { applyOp } from './reducer.ts'
import type { Guard, View } from './staging.ts'

/** What a transaction function reads and writes. */
export interface Transaction {
  get(key: string): Json | undefined
  has(key: string): boolean
  set(key: string, value: Json): void
  merge(key: string, value: { readonly [name: string]: Json }): void
  increment(key: string, by?: number): void
  append(key: string, value: Json): void
  setAdd(key: string, value: Json): void
  setRemove(key: string, value: Json): void
  delete(key: string): void
}

/** Remembers at which revision each key was read, and collects the writes. */
export class TransactionView implements Transaction {
  readonly #view: View
  readonly #admit: (op: Op) => Op
  readonly #limit: number
  readonly #read = new Map<string, { revision: number; value: Json | undefined }>()
  readonly #written = new Map<string, Json | undefined>()
  readonly #ops: Op[] = []
  #closed = false

  constructor(view: View, admit: (op: Op) => Op, limit: number) {
    this.#view = view
    this.#admit = admit
    this.#limit = limit
  }

  get(key: string): Json | undefined {
    if (this.#written.has(key)) return this.#written.get(key)
    const known = this.#read.get(key)
    if (known) return known.value
    const read = { revision: this.#view.revisionOf(key), value: this.#view.get(key) }
    this.#read.set(key, read)
    return read.value
  }

  has(key: string): boolean {
    return this.get(key) !== undefined
  }

  set(key: string, value: Json): void {
    this.#write({ op: 'set', key, value })
  }

  merge(key: string, value: { readonly [name: string]: Json }): void {
    this.#write({ op: 'merge', key, value })
  }

  increment(key: string, by = 1): void {
    this.#write({ op: 'increment', key, value: by })
  }

  append(key: string, value: Json): void {
    this.#write({ op: 'append', key, value })
  }

  setAdd(key: string, value: Json): void {
    this.#write({ op: 'setAdd', key, value })
  }

  setRemove(key: string, value: Json): void {
    this.#write({ op: 'setRemove', key, value })
  }

  delete(key: string): void {
    this.#write({ op: 'delete', key })
  }

  guards(): Guard[] {
    return Array.from(this.#read, ([key, { revision }]) => ({ key, revision }))
  }

  /** Ends it: a function that goes on writing after its promise has resolved has made a mistake. */
  close(): Op[] {
    this.#closed = true
    return this.#ops
  }

  #write(given: Op): void {
    if (this.#closed) throw new InvalidStateOpError('the transaction has ended')
    if (this.#ops.length >= this.#limit) {
      throw new StateLimitError(`A transaction holds at most ${this.#limit} operations.`)
    }
    const op = this.#admit(given)
    // Evaluated at once, so that the function sees its own writes and learns of a mismatch where it happens.
    this.#written.set(op.key, applyOp(op.op === 'set' || op.op === 'delete' ? undefined : this.get(op.key), op))
    this.#ops.push(op)
  }
}
