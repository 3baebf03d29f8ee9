import type { Ack, Change, FullSync, StateChange } from '../openapi/messages/server.ts'
import type { Json, Op, Position, StateSnapshot } from '../openapi/schemas/state.ts'
import type { Holds } from '../plugins/state/values/operands.ts'
import { type Misfit, reduce, sameJson } from '../plugins/state/values/reducer.ts'
import { Listeners } from '../plugins/support/listeners.ts'
import { type Refusal, ReplicaError, WriteError } from './errors.ts'
import type { KeptReplica } from './keeper.ts'
import { checkedOps } from './operations.ts'
import type { Write } from './outbox.ts'
import { reportFault } from './report-fault.ts'
import type { AnyKeys, ElementFor, FieldsFor, KeyOf, Keys, OpFor, Snapshot, ValueFor } from './types.ts'

/** Which part of a space a replica holds. Neither: all of it. */
export interface Topic {
  key?: string
  prefix?: string
}

/** What a replica needs of its connection. */
export interface ReplicaLink {
  /** What the page came with. */
  initial(space: string): StateSnapshot | undefined
  /** How the server marks this client's writes; `undefined` before the first hello. */
  readonly publicId: string | undefined
  /** The id that new writes are numbered under. */
  readonly clientId: string
  /** Somebody wants it: connects if nothing has yet. */
  wanted(): void
  send(message: object): void
  /** @throws WriteError when it cannot be taken */
  write(replica: AnyReplica, ops: readonly Op[], outcome: Pick<Write, 'resolve' | 'reject'>): void
  /** One holder less. @returns whether it was the last one */
  release(held: AnyReplica): boolean
  /** What it holds has changed. */
  changed(replica: AnyReplica): void
}

/** A replica with any types of keys. */
export type AnyReplica = Pick<
  Replica,
  | 'id'
  | 'space'
  | 'topic'
  | 'status'
  | 'add'
  | 'restore'
  | 'remove'
  | 'ack'
  | 'request'
  | 'receive'
  | 'changeStatus'
  | 'refuse'
  | 'forget'
  | 'keep'
  | 'end'
>

/**
 * connecting: has never heard of the server. live. offline: tries again by itself. limited: there is no room, or too
 * much is asked for; tries again when there may be. unauthenticated, forbidden, invalid (there is no such space, or its
 * name is wrong): nothing is tried before `client.reconnect()`. closed: by its last holder.
 */
export type ReplicaStatus =
  | 'connecting'
  | 'live'
  | 'offline'
  | 'limited'
  | 'unauthenticated'
  | 'forbidden'
  | 'invalid'
  | 'closed'

/** The revision before none. */
const NOWHERE = -1
const NOTHING: { readonly [key: string]: never } = {}

/**
 * A live copy of (a part of) a space. Reads are synchronous and show this client's own writes at once; a write
 * that the server refuses is taken back. What the server has confirmed is kept apart (`base`), so that a view is
 * always the base with the writes that are still under way applied on top of it:
 *
 *     view = base at `position` + pending        a write is pending until `position` has reached its revision
 */
export class Replica<K extends Keys = AnyKeys> {
  /** Names the space and the part of it. */
  readonly id: string
  readonly space: string
  readonly topic: Topic
  readonly #link: ReplicaLink
  readonly #base: Map<string, Json>
  readonly #view = new Map<string, Json>()
  readonly #pending: Write[] = []
  /** How many of them the listeners know of. */
  #toldPending = 0
  readonly #listeners = new Listeners<void>(reportFault)
  #position: Position | undefined
  #status: ReplicaStatus = 'connecting'
  #snapshot: { readonly [key: string]: Json } | undefined
  #waiting: { resolve(): void; reject(error: ReplicaError): void }[] = []
  #refusal: Refusal | undefined
  /** The parts so far of a full sync that comes in several. */
  #parts: [string, Json][][] = []

  /**
   * @param writes of this client in this space that are under way
   * @param known what there is already of its content
   */
  constructor(link: ReplicaLink, space: string, topic: Topic, writes: Write[], known?: KeptReplica) {
    this.#link = link
    this.id = replicaId(space, topic)
    this.space = space
    this.topic = topic
    // A page comes with a whole space.
    this.#base = new Map(known?.entries.filter(([key]) => this.#holds(key)))
    if (known) this.#position = { epoch: known.epoch, revision: known.revision }
    this.#pending.push(...writes.filter((write) => this.#concerns(write)))
    this.#show([...this.#base.keys(), ...keysIn(this.#pending)])
  }

  // --- reading -------------------------------------------------------------------------------

  get<Key extends KeyOf<K>>(key: Key): K[Key] | undefined {
    return this.#view.get(key) as K[Key] | undefined
  }

  has(key: KeyOf<K>): boolean {
    return this.#view.has(key)
  }

  keys(): KeyOf<K>[] {
    return [...this.#view.keys()] as KeyOf<K>[]
  }

  /** The whole state as one object: the same object until something changes. */
  snapshot = (): Snapshot<K> => {
    this.#snapshot ??= Object.fromEntries(this.#view)
    return this.#snapshot as Snapshot<K>
  }

  /** What a page is rendered with on the server, and once more when it comes to life in the browser. */
  getServerSnapshot = (): Snapshot<K> => (this.#link.initial(this.space)?.state ?? NOTHING) as Snapshot<K>

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

  /**
   * Resolves when the replica holds the state for the first time. While offline it waits.
   * @throws ReplicaError when it is refused: `status` and `code` say why
   */
  ready(): Promise<void> {
    this.#link.wanted()
    if (this.#refusal) return Promise.reject(new ReplicaError(this.#refusal))
    if (this.#position) return Promise.resolve()
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }))
  }

  /**
   * Calls `listener` after each change of the state, of the status or of how many writes are pending; with a key, only
   * when its value changes. A listener that throws is reported like any error of the page, and does not stop the
   * others.
   * `subscribe` and `snapshot` are what `useSyncExternalStore` takes.
   * @returns ends it
   */
  subscribe: {
    (listener: () => void): () => void
    <Key extends KeyOf<K>>(key: Key, listener: (value: K[Key] | undefined) => void): () => void
  } = (first: string | (() => void), second?: (value: never) => void) => {
    this.#link.wanted()
    if (typeof first === 'function') return this.#listeners.add(first)
    let before = this.#view.get(first)
    return this.#listeners.add(() => {
      const value = this.#view.get(first)
      if (value === before) return undefined
      before = value
      return second?.(value as never)
    })
  }

  // --- writing -------------------------------------------------------------------------------

  set<Key extends KeyOf<K>, const T>(
    key: Key,
    value: ValueFor<K, Key, T>,
    options: { /** Milliseconds until it is deleted. */ ttl?: number } = {},
  ): Promise<{ revision: number }> {
    return this.#write([{ op: 'set', key, value: value as Json, ...options }])
  }

  delete(key: KeyOf<K>): Promise<{ revision: number }> {
    return this.#write([{ op: 'delete', key }])
  }

  merge<Key extends KeyOf<K>, const T extends object>(
    key: Key & Holds<K[Key], 'fields'>,
    value: FieldsFor<K, Key, T>,
  ): Promise<{ revision: number }> {
    return this.#write([{ op: 'merge', key, value: value as unknown as Json }])
  }

  increment<Key extends KeyOf<K>>(key: Key & Holds<K[Key], 'number'>, by = 1): Promise<{ revision: number }> {
    return this.#write([{ op: 'increment', key, value: by }])
  }

  append<Key extends KeyOf<K>, const T>(
    key: Key & Holds<K[Key], 'list'>,
    value: ElementFor<K, Key, T>,
  ): Promise<{ revision: number }> {
    return this.#write([{ op: 'append', key, value: value as Json }])
  }

  /**
   * Writes several operations as one revision. What they hold is copied and checked now, by the rules of the server,
   * and shown here at once; resolves when the server has it for good and this replica has it confirmed. While offline
   * it waits, also when the replica is closed meanwhile.
   * @throws WriteError when it was refused (it is taken back then), or its outcome is unknown
   */
  commit<const Key extends KeyOf<K>>(ops: readonly ({ key: Key } & OpFor<K, Key>)[]): Promise<{ revision: number }> {
    return this.#write(ops as unknown as readonly Op[])
  }

  /** Gives it back. The last of those who asked for it ends it. */
  close(): void {
    if (this.#status !== 'closed' && this.#link.release(this)) this.end()
  }

  /** Its last holder has let go of it. */
  end(): void {
    this.#status = 'closed'
    this.#resolveAcknowledged()
    this.#listeners.tell()
  }

  // --- what the connection tells ---------------------------------------------------------------

  /** What an earlier page had, found later than this was made. */
  restore({ epoch, revision, entries }: KeptReplica): void {
    if (this.#position) return
    for (const [key, value] of entries) this.#base.set(key, value)
    this.#moveTo({ epoch, revision }, new Set(this.#base.keys()))
  }

  /** A write of this client in this space, made through whichever replica. */
  add(write: Write): void {
    if (!this.#concerns(write)) return
    this.#pending.push(write)
    this.#show(keysIn([write]))
  }

  #concerns({ ops, origin }: Write): boolean {
    return origin === this || ops.some(({ key }) => this.#holds(key))
  }

  /** A message about this topic, with what is known of it. */
  request(type: 'subscribe' | 'syncRequest' | 'unsubscribe'): object {
    const since = this.#position && type !== 'unsubscribe' ? { since: this.#position } : {}
    return { type, space: this.space, ...this.topic, ...since }
  }

  changeStatus(status: ReplicaStatus): void {
    if (status === 'live') this.#refusal = undefined
    if (this.#status === status || this.#status === 'closed') return
    this.#status = status
    this.#listeners.tell()
  }

  /** The server will not let it follow; `undefined`: it cannot now. */
  refuse(refusal: Refusal | undefined): void {
    this.#refusal = refusal
    if (refusal) for (const { reject } of this.#waiting.splice(0)) reject(new ReplicaError(refusal))
    this.changeStatus(refusal?.status ?? 'offline')
  }

  /** Its content for another page, or for a later call; `undefined` before the first sync. */
  keep(): KeptReplica | undefined {
    return this.#position && { ...this.#position, entries: [...this.#base] }
  }

  receive(message: FullSync | StateChange): void {
    if (message.type === 'fullSync') this.#fullSync(message)
    else this.#stateChange(message)
    this.changeStatus('live')
  }

  #fullSync({ epoch, revision, state: part, part: index = 0, more }: FullSync): void {
    if (index === 0) this.#parts = []
    const follows = index === this.#parts.length
    if (follows) this.#parts.push(Object.entries(part))
    else this.#resync()
    if (more || !follows) return
    const state = new Map(this.#parts.splice(0).flat())
    const keys = new Set([...this.#base.keys(), ...state.keys()])
    for (const key of keys) {
      const value = state.get(key)
      // What is the same stays the same object, so that it is not rendered again.
      if (!sameJson(this.#base.get(key), value)) put(this.#base, key, value)
    }
    this.#moveTo({ epoch, revision }, keys)
  }

  #stateChange({ epoch, since, changes }: Pick<StateChange, 'epoch' | 'since' | 'changes'>): void {
    const mine = this.#position
    if (!mine) return
    // An answer to `since` may lead from an earlier epoch into this one; nothing else may cross epochs.
    const continues = epoch === mine.epoch || (since?.epoch === mine.epoch && since.revision === mine.revision)
    let { revision } = mine
    let isGap = !continues
    const keys = new Set<string>()
    for (const change of continues ? changes : []) {
      if (change.prev === revision) {
        this.#confirm(change, keys, epoch)
        revision = change.revision
      } else if (change.revision > revision) {
        isGap = true
        break
      }
    }
    if (continues) this.#moveTo({ epoch, revision }, keys)
    if (isGap) this.#resync()
  }

  /**
   * @param ack of any write of this client in this space
   * @param ops its operations, if they are known
   */
  ack({ epoch, prev, revision }: Ack, ops: readonly Op[] | undefined): void {
    // A part of a space hears of this client's writes by changes, if they concern it at all.
    if (this.topic.key !== undefined || this.topic.prefix !== undefined) this.#moveTo(this.#position)
    // One whose operations are unknown leaves a gap.
    else this.#stateChange({ epoch, changes: [{ prev: ops ? prev : NOWHERE, revision, ops: [...(ops ?? [])] }] })
  }

  /** A write is no more: it was refused, or is in the base. */
  remove(write: Write): void {
    const index = this.#pending.indexOf(write)
    if (index < 0) return
    this.#pending.splice(index, 1)
    this.#show(keysIn([write]))
  }

  /** The session ended: nothing of it may stay on this device. */
  forget(): void {
    const keys = [...this.#view.keys()]
    this.#resolveAcknowledged()
    this.#base.clear()
    this.#position = undefined
    this.#pending.length = 0
    this.#show(keys)
  }

  // --- within ----------------------------------------------------------------------------------

  #write(ops: readonly Op[]): Promise<{ revision: number }> {
    return new Promise((resolve, reject) => {
      if (this.#status === 'closed') throw new WriteError('STATEFUL_CLOSED', 'The replica is closed.')
      this.#link.write(this, checkedOps(ops), { resolve, reject })
    })
  }

  #holds(key: string): boolean {
    if (this.topic.key !== undefined) return key === this.topic.key
    return this.topic.prefix === undefined || key.startsWith(this.topic.prefix)
  }

  #resync(): void {
    this.#link.send(this.request('syncRequest'))
  }

  #confirm({ ops, clientId, seq, revision }: Change, keys: Set<string>, epoch: string): void {
    for (const op of ops) {
      put(this.#base, op.key, reduce(this.#base.get(op.key), op, misfit))
      keys.add(op.key)
    }
    if (clientId === undefined || clientId !== this.#link.publicId) return
    const write = this.#pending.find((one) => one.seq === seq && one.clientId === this.#link.clientId)
    // Its ack was lost, or comes in a moment; either way it is in the base now.
    if (!write || write.revision !== undefined) return
    write.epoch = epoch
    write.revision = revision
  }

  /** Takes confirmed writes off the pending ones and shows what changed. */
  #moveTo(position: Position | undefined, keys = new Set<string>()): void {
    this.#position = position
    for (const write of [...this.#pending]) {
      if (!this.#isConfirmed(write)) continue
      this.#pending.splice(this.#pending.indexOf(write), 1)
      for (const key of keysIn([write])) keys.add(key)
      if (write.origin === this) write.resolve({ revision: write.revision as number })
    }
    this.#show(keys)
    if (!position) return
    for (const { resolve } of this.#waiting.splice(0)) resolve()
    this.#link.changed(this)
  }

  /** The server has them; that they will not be confirmed here is no failure of theirs. */
  #resolveAcknowledged(): void {
    for (const { origin, revision, resolve } of this.#pending) {
      if (origin === this && revision !== undefined) resolve({ revision })
    }
  }

  #isConfirmed({ revision, epoch = '', ops }: Write): boolean {
    if (revision === undefined) return false
    if (!ops.some(({ key }) => this.#holds(key))) return true
    if (!this.#position) return false
    if (epoch === this.#position.epoch) return revision <= this.#position.revision
    // Epochs are counted: what a later one does not hold was lost with the end of the one before.
    return Number.parseInt(this.#position.epoch, 10) >= Number.parseInt(epoch, 10)
  }

  /** Brings the view of these keys up to date and tells who wants to know. */
  #show(keys: Iterable<string>): void {
    let changed = this.#pending.length !== this.#toldPending
    this.#toldPending = this.#pending.length
    for (const key of new Set(keys)) {
      if (!this.#holds(key)) continue
      let value = this.#base.get(key)
      for (const { ops } of this.#pending) {
        for (const op of ops) if (op.key === key) value = optimistic(value, op)
      }
      if (value === this.#view.get(key)) continue
      put(this.#view, key, value)
      this.#snapshot = undefined
      changed = true
    }
    if (changed) this.#listeners.tell()
  }
}

function put(values: Map<string, Json>, key: string, value: Json | undefined): void {
  if (value === undefined) values.delete(key)
  else values.set(key, value)
}

const keysIn = (writes: readonly Write[]) => writes.flatMap(({ ops }) => ops.map(({ key }) => key))

export function replicaId(
  space: string,
  { key, prefix }: { key?: string | undefined; prefix?: string | undefined },
): string {
  return JSON.stringify([space, key, prefix])
}

/** Without telling listeners: the server's answer does. */
const misfit: Misfit = () => new Error()

/** What the server will refuse is not shown: the base stays visible until its answer comes. */
function optimistic(value: Json | undefined, op: Op): Json | undefined {
  try {
    return reduce(value, op, misfit)
  } catch {
    return value
  }
}
