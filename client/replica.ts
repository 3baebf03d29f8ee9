import type { Ack, Change, FullSync, Reject, StateChange } from '../openapi/messages/server.ts'
import type { Json, Op, Position } from '../openapi/schemas/state.ts'
import { applyOp, sameJson } from '../plugins/state/values/reducer.ts'
import { Listeners, ListenersByName } from '../plugins/support/listeners.ts'
import { reportFault } from './report-fault.ts'

/** Which part of a space a replica holds. Neither: all of it. */
export interface Topic {
  key?: string
  prefix?: string
}

/** A write that was not committed. */
export class WriteError extends Error {
  /** Stable, machine-readable: see docs/errors.md. */
  readonly code: string
  /** `refused`: nothing was written. `unknown`: nobody can tell. */
  readonly outcome: 'refused' | 'unknown'

  constructor(code: string, message: string, outcome: 'refused' | 'unknown') {
    super(message)
    this.name = 'WriteError'
    this.code = code
    this.outcome = outcome
  }
}

/** What a replica needs of its connection. */
export interface ReplicaLink {
  /** Takes the next number for a write. */
  nextSeq(): number
  /** How the server marks this client's writes; `undefined` before the first hello. */
  readonly publicId: string | undefined
  send(message: object): void
  release(replica: Replica): void
  /** Calls `run` once, after a while that grows with each attempt. */
  later(attempt: number, run: () => void): void
  /** The writes under way have changed. */
  queued(): void
}

/** Writes that wait in one replica; more are refused at once, so that a page that stays offline does not grow. */
const MAX_PENDING = 1_000
/** How often a write whose outcome is unknown is sent again (which is safe) before the application is told. */
const MAX_ATTEMPTS = 6

interface Pending {
  readonly seq: number
  readonly ops: Op[]
  /** The revision that it became; known once it is acknowledged. */
  revision?: number
  /** Times that its outcome was unknown. */
  attempts: number
  resolve(written: { revision: number }): void
  reject(error: WriteError): void
}

export type ReplicaStatus = 'connecting' | 'live' | 'offline' | 'unauthenticated' | 'closed'

/**
 * A live copy of (a part of) a space. Reads are synchronous and show this client's own writes at once; a write
 * that the server refuses is taken back. What the server has confirmed is kept apart (`base`), so that a view is
 * always the base with the writes that are still under way applied on top of it.
 */
export class Replica {
  /** Names the space and the part of it. */
  readonly id: string
  readonly space: string
  readonly topic: Topic
  readonly #link: ReplicaLink
  readonly #base = new Map<string, Json>()
  readonly #view = new Map<string, Json>()
  readonly #pending: Pending[] = []
  /** How many of them the listeners know of. */
  #toldPending = 0
  readonly #listeners = new Listeners<void>(reportFault)
  readonly #keyListeners = new ListenersByName<Json | undefined>(reportFault)
  #position: Position | undefined
  #status: ReplicaStatus = 'connecting'
  #snapshot: { readonly [key: string]: Json } | undefined
  #synced: (() => void)[] = []
  /** The parts so far of a full sync that comes in several. */
  #parts: { [key: string]: Json } = {}

  constructor(link: ReplicaLink, space: string, topic: Topic) {
    this.#link = link
    this.id = replicaId(space, topic)
    this.space = space
    this.topic = topic
  }

  // --- reading -------------------------------------------------------------------------------

  get(key: string): Json | undefined {
    return this.#view.get(key)
  }

  has(key: string): boolean {
    return this.#view.has(key)
  }

  keys(): string[] {
    return [...this.#view.keys()]
  }

  /** The whole state as one object: the same object until something changes. */
  snapshot = (): { readonly [key: string]: Json } => {
    this.#snapshot ??= Object.fromEntries(this.#view)
    return this.#snapshot
  }

  /** Where in the history of the space the confirmed part is; `undefined` before the first sync. */
  get position(): Position | undefined {
    return this.#position
  }

  get status(): ReplicaStatus {
    return this.#status
  }

  /** Writes that are not confirmed yet. */
  get pending(): number {
    return this.#pending.length
  }

  /** Resolves when the replica holds the state for the first time. */
  ready(): Promise<void> {
    return this.#position ? Promise.resolve() : new Promise((resolve) => this.#synced.push(resolve))
  }

  /**
   * Calls `listener` after each change of the state, of the status or of how many writes are pending; with a key, only
   * when its value changes. A listener that throws is reported like any error of the page, and stops nobody else.
   * `subscribe` and `snapshot` are what `useSyncExternalStore` takes.
   * @returns ends it
   */
  subscribe: {
    (listener: () => void): () => void
    (key: string, listener: (value: Json | undefined) => void): () => void
  } = (first: string | (() => void), second?: (value: Json | undefined) => void) => {
    if (typeof first === 'function') return this.#listeners.add(first)
    return this.#keyListeners.add(first, second as (value: Json | undefined) => void)
  }

  // --- writing -------------------------------------------------------------------------------

  set(key: string, value: Json): Promise<{ revision: number }> {
    return this.commit([{ op: 'set', key, value }])
  }

  delete(key: string): Promise<{ revision: number }> {
    return this.commit([{ op: 'delete', key }])
  }

  merge(key: string, value: { [name: string]: Json }): Promise<{ revision: number }> {
    return this.commit([{ op: 'merge', key, value }])
  }

  increment(key: string, by = 1): Promise<{ revision: number }> {
    return this.commit([{ op: 'increment', key, value: by }])
  }

  append(key: string, value: Json): Promise<{ revision: number }> {
    return this.commit([{ op: 'append', key, value }])
  }

  /**
   * Writes several operations as one revision. Shown here at once; resolves when the server has it for good and
   * this replica has it confirmed. While offline it waits.
   * @throws WriteError when it was refused (it is taken back then), or its outcome is unknown
   */
  commit(ops: Op[]): Promise<{ revision: number }> {
    if (this.#status === 'closed') {
      return Promise.reject(new WriteError('STATEFUL_CLOSED', 'The replica is closed.', 'refused'))
    }
    if (this.#pending.length >= MAX_PENDING) {
      return Promise.reject(new WriteError('STATEFUL_QUEUE_FULL', 'Too many writes wait.', 'refused'))
    }
    return this.#begin(this.#link.nextSeq(), ops)
  }

  #begin(seq: number, ops: Op[]): Promise<{ revision: number }> {
    return new Promise((resolve, reject) => {
      const write: Pending = { seq, ops, attempts: 0, resolve, reject }
      this.#pending.push(write)
      this.#link.queued()
      this.#link.send(this.#message(write))
      this.#show(ops.map(({ key }) => key))
    })
  }

  /** Writes of an earlier page that may or may not have arrived: sent again under their numbers. */
  adopt(writes: { seq: number; ops: Op[] }[]): void {
    // Nobody waits for them any more; what becomes of them shows in the state.
    for (const { seq, ops } of writes) this.#begin(seq, ops).catch(() => {})
  }

  /** The writes that are not confirmed yet. */
  get unconfirmed(): { seq: number; ops: Op[] }[] {
    return this.#pending.map(({ seq, ops }) => ({ seq, ops }))
  }

  close(): void {
    if (this.#status === 'closed') return
    this.#link.release(this)
    this.#status = 'closed'
    for (const write of this.#pending.splice(0)) {
      write.reject(
        new WriteError('STATEFUL_CLOSED', 'The replica was closed before the write was confirmed.', 'unknown'),
      )
    }
    this.#listeners.tell()
  }

  // --- what the connection tells ---------------------------------------------------------------

  /** What to send on a new connection: go on from here, then what is not confirmed, in order. */
  resumption(): object[] {
    return [
      this.subscription(),
      ...this.#pending.filter(({ revision }) => revision === undefined).map((write) => this.#message(write)),
    ]
  }

  subscription(): object {
    const since = this.#position ? { since: this.#position } : {}
    return { type: 'subscribe', space: this.space, ...this.topic, ...since }
  }

  #message({ seq, ops }: Pending): object {
    return { type: 'write', space: this.space, seq, ops }
  }

  changeStatus(status: ReplicaStatus): void {
    if (this.#status === status || this.#status === 'closed') return
    this.#status = status
    this.#listeners.tell()
  }

  fullSync({ epoch, revision, state: part, part: index, more }: FullSync): void {
    const state = index ? Object.assign(this.#parts, part) : part
    this.#parts = more ? state : {}
    if (more) return
    const keys = new Set([...this.#base.keys(), ...Object.keys(state)])
    for (const key of keys) {
      const value = Object.hasOwn(state, key) ? state[key] : undefined
      // What is the same stays the same object, so that nobody renders it again.
      if (value === undefined) this.#base.delete(key)
      else if (!sameJson(this.#base.get(key), value)) this.#base.set(key, value)
    }
    this.#moveTo({ epoch, revision }, keys)
  }

  stateChange({ epoch, since, changes }: StateChange): void {
    const mine = this.#position
    if (!mine) return
    // An answer to `since` may lead from an earlier epoch into this one; nothing else may cross epochs.
    const continues = since?.epoch === mine.epoch && since.revision === mine.revision
    if (epoch !== mine.epoch && !continues) {
      this.#resync()
      return
    }
    let revision = mine.revision
    const keys = new Set<string>()
    for (const change of changes) {
      if (change.prev === revision) {
        this.#confirm(change, keys)
        revision = change.revision
      } else if (change.revision > revision) {
        this.#moveTo({ epoch, revision }, keys)
        this.#resync()
        return
      }
    }
    this.#moveTo({ epoch, revision }, keys)
  }

  /** The operations of a write that is under way, for its ack. */
  operationsOf(seq: number | undefined): Op[] | undefined {
    return this.#pending.find((one) => one.seq === seq)?.ops
  }

  /** @param ack of any write of this client in this space, with its operations if they are known */
  ack({ seq, epoch, prev, revision, ops }: Ack): void {
    const write = this.#pending.find((one) => one.seq === seq)
    if (write) write.revision = revision
    const mine = this.#position
    const whole = this.topic.key === undefined && this.topic.prefix === undefined
    if (!whole) {
      // A part of a space hears of this client's writes by changes, if they concern it at all.
      if (write && !write.ops.some(({ key }) => this.#holds(key))) this.#settle(write)
      else if (write && mine) this.#moveTo(mine, new Set())
      return
    }
    if (mine?.epoch === epoch && prev === mine.revision && ops) {
      const keys = new Set<string>()
      this.#confirm({ ops }, keys)
      this.#moveTo({ epoch, revision }, keys)
    } else if (mine?.epoch !== epoch || revision > mine.revision) this.#resync()
    else this.#moveTo(mine, new Set())
  }

  reject({ seq, code, message, outcome }: Reject): void {
    const write = this.#pending.find((one) => one.seq === seq)
    if (!write) return
    if (outcome === 'unknown' && ++write.attempts < MAX_ATTEMPTS) {
      this.#link.later(write.attempts, () => {
        if (this.#pending.includes(write)) this.#link.send(this.#message(write))
      })
      return
    }
    this.#remove(write)
    write.reject(new WriteError(code, message, outcome))
  }

  #remove(write: Pending): void {
    const index = this.#pending.indexOf(write)
    if (index < 0) return
    this.#pending.splice(index, 1)
    this.#link.queued()
    this.#show(write.ops.map(({ key }) => key))
  }

  /** The session ended: nothing of it may stay on this device. */
  forget(): void {
    const keys = new Set(this.#view.keys())
    this.#base.clear()
    this.#position = undefined
    for (const write of this.#pending.splice(0)) {
      write.reject(
        new WriteError('STATEFUL_UNAUTHENTICATED', 'The session ended before the write was confirmed.', 'unknown'),
      )
    }
    this.#link.queued()
    this.#show(keys)
  }

  // --- within ----------------------------------------------------------------------------------

  #holds(key: string): boolean {
    if (this.topic.key !== undefined) return key === this.topic.key
    return this.topic.prefix === undefined || key.startsWith(this.topic.prefix)
  }

  #resync(): void {
    const since = this.#position ? { since: this.#position } : {}
    this.#link.send({ type: 'syncRequest', space: this.space, ...this.topic, ...since })
  }

  #confirm({ ops, clientId, seq }: Pick<Change, 'ops' | 'clientId' | 'seq'>, keys: Set<string>): void {
    for (const op of ops) {
      const value = applyOp(this.#base.get(op.key), op)
      if (value === undefined) this.#base.delete(op.key)
      else this.#base.set(op.key, value)
      keys.add(op.key)
    }
    if (clientId === undefined || clientId !== this.#link.publicId) return
    const write = this.#pending.find((one) => one.seq === seq)
    // Its ack was lost, or comes in a moment; either way it is in the base now.
    if (write && write.revision === undefined) write.revision = 0
  }

  /** Takes confirmed writes off the pending ones and shows what changed. */
  #moveTo(position: Position, keys: Set<string>): void {
    this.#position = position
    for (const write of [...this.#pending]) {
      if (write.revision === undefined || write.revision > position.revision) continue
      for (const { key } of write.ops) keys.add(key)
      if (write.revision === 0) write.revision = position.revision
      this.#settle(write)
    }
    this.#show(keys)
    for (const resolve of this.#synced.splice(0)) resolve()
  }

  #settle(write: Pending): void {
    this.#remove(write)
    write.resolve({ revision: write.revision ?? 0 })
  }

  /** Brings the view of these keys up to date and tells who wants to know. */
  #show(keys: Iterable<string>): void {
    const changed: string[] = []
    for (const key of new Set(keys)) {
      const before = this.#view.get(key)
      let value = this.#holds(key) ? this.#base.get(key) : undefined
      for (const { ops } of this.#pending) {
        for (const op of ops) if (op.key === key && this.#holds(key)) value = optimistic(value, op)
      }
      if (value === before) continue
      if (value === undefined) this.#view.delete(key)
      else this.#view.set(key, value)
      changed.push(key)
    }
    if (changed.length === 0 && this.#pending.length === this.#toldPending) return
    this.#toldPending = this.#pending.length
    if (changed.length > 0) this.#snapshot = undefined
    for (const key of changed) this.#keyListeners.tell(key, this.#view.get(key))
    this.#listeners.tell()
  }
}

export function replicaId(space: string, { key, prefix }: Topic): string {
  return JSON.stringify([space, key, prefix])
}

/** What the server will refuse is not shown: the base stays visible until its answer comes. */
function optimistic(value: Json | undefined, op: Op): Json | undefined {
  try {
    return applyOp(value, op)
  } catch {
    return value
  }
}
