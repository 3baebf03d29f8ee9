import { type RemovalReason, TinyLfu } from '../policy/tiny-lfu.ts'
import type { Cell } from './stamp-mirror.ts'

/** A stamp that an entry was made under, and what it was then. */
export interface Guard {
  cell: Cell
  value: string
}

/** A value on its way into the first level. Times are on the monotonic clock. */
export interface Held {
  value: unknown
  /** Served from here without asking anybody until then. */
  freshUntil: number
  /** While the store is away those who take stale values get it until then. */
  staleUntil: number
  /** Every mutation up to this number is in it. */
  asOf: number
  /** What it was made under; `undefined` where nothing has to be looked at, see `Levels.hold`. */
  guards: Guard[] | undefined
}

const NONE = new Float64Array(0)

export interface FirstLevelOptions {
  maxEntries: number
  maxBytes: number
  random: () => number
  /** An entry went because there was no room for it. */
  onEvict: () => void
}

/**
 * What this process holds of one namespace, of all of its buckets, by the slots of {@link TinyLfu}.
 *
 * An entry is no object but a row: a number that every entry has lies in a typed array, what only some have (guards, a
 * promise) in arrays that are made when the first one has it. An object of the same fields, with its boxed numbers, took
 * another 90 bytes an entry.
 *
 * ```
 * slot        0    1    2      3      4
 * freshUntil            8,100  9,020  …
 * staleUntil            8,100  9,320
 * asOf                  17     21
 * guards                       [user]         none as long as nothing has a tag
 * promises              ▷                     none until a value is shared
 * ```
 */
export class FirstLevel {
  private readonly _entries: TinyLfu<unknown>
  private _freshUntil = NONE
  private _staleUntil = NONE
  private _asOf = NONE
  private _guards: (Guard[] | undefined)[] = []
  private _promises: (Promise<unknown> | undefined)[] = []
  private _sweeping = false

  constructor({ onEvict, ...bounds }: FirstLevelOptions) {
    this._entries = new TinyLfu({
      ...bounds,
      onEvict: (_key, _value, reason, slot) => {
        this._forget(slot)
        if (isEviction(reason)) onEvict()
      },
    })
  }

  get size(): number {
    return this._entries.size
  }

  get bytes(): number {
    return this._entries.bytes
  }

  keys(): IterableIterator<string> {
    return this._entries.keys()
  }

  /** The keys that were used most. */
  hottest(n: number): string[] {
    return this._entries.hottest(n)
  }

  /** The slot of the key's entry, which counts as used; -1 when there is none. A slot is good until the next change. */
  use(key: string): number {
    return this._entries.use(key)
  }

  /** The same without a trace. */
  find(key: string): number {
    return this._entries.find(key)
  }

  value(slot: number): unknown {
    return this._entries.valueAt(slot)
  }

  /** Made by the first caller that needs one, then shared by all: a hit allocates nothing. */
  promise(slot: number): Promise<unknown> {
    let promise = this._promises[slot]
    if (promise === undefined) {
      promise = Promise.resolve(this._entries.valueAt(slot))
      // Not one by one: an array with large holes is a dictionary.
      if (this._promises.length <= slot) this._promises.length = this._freshUntil.length
      this._promises[slot] = promise
    }
    return promise
  }

  /** Whether it is within its time, and all that it was made under stands. */
  isFresh(slot: number, now: number): boolean {
    return now < (this._freshUntil[slot] as number) && this._stands(slot)
  }

  /** The same for those who take stale values. */
  isUsable(slot: number, now: number): boolean {
    return now < (this._staleUntil[slot] as number) && this._stands(slot)
  }

  /** Every mutation up to this number is in it. */
  asOf(slot: number): number {
    return this._asOf[slot] as number
  }

  set(key: string, { value, freshUntil, staleUntil, asOf, guards }: Held, bytes: number): void {
    const slot = this._entries.set(key, value, bytes)
    if (slot < 0) return
    if (slot >= this._freshUntil.length) this._grow()
    this._freshUntil[slot] = freshUntil
    this._staleUntil[slot] = staleUntil
    this._asOf[slot] = asOf
    this._forget(slot)
    if (guards === undefined) return
    if (this._guards.length <= slot) this._guards.length = this._freshUntil.length
    this._guards[slot] = guards
  }

  delete(key: string): void {
    this._entries.delete(key)
  }

  /** Removes all entries, returning the memory. */
  clear(): void {
    this._freshUntil = NONE
    this._staleUntil = NONE
    this._asOf = NONE
    this._guards = []
    this._promises = []
    this._entries.clear()
  }

  /** Soon lets go of all whose guards have fallen; once, however many buckets ask for it. */
  sweep(): void {
    if (this._sweeping) return
    this._sweeping = true
    setImmediate(() => {
      this._sweeping = false
      for (const key of [...this.keys()]) if (!this._stands(this.find(key))) this.delete(key)
    })
  }

  private _stands(slot: number): boolean {
    if (slot >= this._guards.length) return true
    const guards = this._guards[slot]
    return guards === undefined || stand(guards)
  }

  private _forget(slot: number): void {
    if (slot < this._guards.length) this._guards[slot] = undefined
    if (slot < this._promises.length) this._promises[slot] = undefined
  }

  private _grow(): void {
    const { slots } = this._entries
    this._freshUntil = grown(this._freshUntil, slots)
    this._staleUntil = grown(this._staleUntil, slots)
    this._asOf = grown(this._asOf, slots)
  }
}

export function stand(guards: readonly Guard[]): boolean {
  for (const { cell, value } of guards) if (cell.value !== value) return false
  return true
}

function isEviction(reason: RemovalReason): boolean {
  return reason === 'evicted' || reason === 'oversized'
}

function grown(numbers: Float64Array, length: number): Float64Array<ArrayBuffer> {
  const more = new Float64Array(length)
  more.set(numbers)
  return more
}
