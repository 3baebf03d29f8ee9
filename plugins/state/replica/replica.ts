import type { Commit, Json, Op, Position } from '../../../openapi/schemas/state.ts'
import { deepFreeze } from '../../support/freeze.ts'
import { sizeOf } from '../log/codec.ts'
import {
  continues,
  type Entry,
  type EpochStart,
  type LogHead,
  type LogRecord,
  type LogState,
  type Retention,
  type WrittenEntry,
  withoutJson,
} from '../log/contract.ts'
import { History } from '../log/history.ts'
import { applyOp } from '../values/apply-op.ts'
import { sameJson } from '../values/reducer.ts'
import { ClientWrites } from './client-writes.ts'

/** What happened to one key. `value` is `undefined` when it was deleted, `previous` when it was not there before. */
export interface KeyChange {
  key: string
  value: Json | undefined
  previous: Json | undefined
}

/** What a key holds after a commit; `undefined` when it is gone. */
export type Results = ReadonlyMap<string, WrittenEntry | undefined>

/**
 * What the operations of one commit make of the keys that they touch. A key whose value stays the same
 * (an element that was in the set already) is left out and keeps its revision.
 *
 * @throws TypeMismatchError, before anything has changed
 */
export function reduceCommit(
  read: (key: string) => Entry | undefined,
  ops: readonly Op[],
  revision: number,
  at: number,
): Results {
  const results = new Map<string, WrittenEntry | undefined>()
  // Most commits have one operation, which needs no second look.
  const pending = ops.length > 1 ? new Map<string, typeof ABSENT>() : undefined
  for (const op of ops) {
    const now = pending?.get(op.key) ?? read(op.key) ?? ABSENT
    const value = applyOp(now.value, op)
    const expiresAt = op.ttl !== undefined ? at + op.ttl : op.op === 'set' ? undefined : now.expiresAt
    // Same value and expiry by identity: only operations that found nothing to do return what they were given.
    if (value === now.value && expiresAt === now.expiresAt && op.op !== 'set') continue
    if (pending) pending.set(op.key, { value, expiresAt })
    else if (value !== undefined) results.set(op.key, written(op.key, value, revision, expiresAt))
    else if (now !== ABSENT) results.set(op.key, undefined)
  }
  for (const [key, { value, expiresAt }] of pending ?? []) {
    if (value !== undefined) results.set(key, written(key, value, revision, expiresAt))
    else if (read(key)) results.set(key, undefined)
  }
  return results
}

const ABSENT: { value: Json | undefined; expiresAt?: number | undefined } = { value: undefined, expiresAt: undefined }

function written(key: string, value: Json, revision: number, expiresAt: number | undefined): WrittenEntry {
  const json = JSON.stringify(value)
  const bytes = sizeOf(key, json)
  if (expiresAt === undefined) return { value: deepFreeze(value), revision, bytes, json }
  return { value: deepFreeze(value), revision, expiresAt, bytes, json }
}

/** Bytes of history that a replica holds; more of it is asked of the log. */
const MOST_HISTORY = 8 * 1024 * 1024

/** Before the log has been read. */
const NOWHERE = '0:none'

/**
 * One instance's copy of a space: the values at one revision and the newest part of the log. It applies a record
 * only when that continues exactly what it has, so it can be behind but never beside the log.
 */
export class Replica {
  #entries = new Map<string, Entry>()
  #bytes = 0
  /** Its revision moves with every record. */
  #head = { epoch: NOWHERE, revision: 0, floor: 1, epochs: [] as readonly EpochStart[] }
  #epochChanges = 0
  readonly #history: History
  readonly #clientWrites: ClientWrites

  /** @param retention of the log; of its history only the newest part is held here */
  constructor({ commits, bytes }: Retention) {
    this.#history = new History({ commits, bytes: Math.min(bytes, MOST_HISTORY) })
    this.#clientWrites = new ClientWrites(commits)
  }

  get position(): Position {
    return { epoch: this.#head.epoch, revision: this.#head.revision }
  }

  get epoch(): string {
    return this.#head.epoch
  }

  get revision(): number {
    return this.#head.revision
  }

  get epochs(): readonly EpochStart[] {
    return this.#head.epochs
  }

  /** The epoch in which a revision was made; of one that is older than all that are remembered, the oldest of these. */
  epochOf(revision: number): string {
    const { epoch, epochs } = this.#head
    return (epochs.findLast(({ first }) => first <= revision) ?? epochs[0])?.epoch ?? epoch
  }

  /** Number of keys. */
  get size(): number {
    return this.#entries.size
  }

  /** Of all keys and their values as JSON. */
  get bytes(): number {
    return this.#bytes
  }

  /** Number of commits that `since` can answer from memory. */
  get retained(): number {
    return this.#history.size
  }

  /** The lowest revision whose commit `since` can answer from memory; `revision + 1` when there is none. */
  get floor(): number {
    return Math.max(this.#head.revision + 1 - this.#history.size, this.#head.floor)
  }

  get(key: string): Entry | undefined {
    return this.#entries.get(key)
  }

  entries(): IterableIterator<[string, Entry]> {
    return this.#entries.entries()
  }

  keys(): IterableIterator<string> {
    return this.#entries.keys()
  }

  /** Takes over a whole space and tells what that changed. */
  load(state: LogState): KeyChange[] {
    const before = this.#entries
    this.#entries = state.entries
    this.#bytes = 0
    for (const entry of state.entries.values()) this.#bytes += entry.bytes
    this.#history.clear()
    this.#clientWrites.clear()
    for (const write of state.clientWrites) this.#clientWrites.add(write)
    for (const record of state.records) this.#remember(record)
    this.follow(state)
    const changes: KeyChange[] = []
    for (const [key, { value: previous }] of before) {
      const value = state.entries.get(key)?.value
      if (!sameJson(value, previous)) changes.push({ key, value, previous })
    }
    for (const [key, { value }] of state.entries) {
      if (!before.has(key)) changes.push({ key, value, previous: undefined })
    }
    return changes
  }

  /** How often the log turned out to be another history, or one that may have lost its end. */
  get epochChanges(): number {
    return this.#epochChanges
  }

  /** Adopts epochs and floor of a head at the revision where this replica stands. */
  follow(head: LogHead): void {
    const cause = head.epochs.at(-1)?.cause
    const onPurpose = cause === 'restore' || cause === 'clear'
    if (head.epoch !== this.#head.epoch && this.#head.epoch !== NOWHERE && !onPurpose) this.#epochChanges++
    this.#head = { epoch: head.epoch, revision: head.revision, floor: head.floor, epochs: head.epochs }
  }

  /**
   * @param results what `reduceCommit` made of it, when the writer has that already
   * @returns what changed, in the order of the operations; `undefined`, and nothing changed, unless the record
   * continues exactly at this replica's revision
   */
  apply(record: LogRecord, results?: Results): KeyChange[] | undefined {
    const { commit } = record
    if (commit.prev !== this.#head.revision) return undefined
    const outcome = results ?? reduceCommit((key) => this.#entries.get(key), commit.ops, commit.revision, commit.at)
    const changes: KeyChange[] = []
    for (const [key, entry] of outcome) {
      const before = this.#entries.get(key)
      this.#bytes += (entry?.bytes ?? 0) - (before?.bytes ?? 0)
      if (entry) this.#entries.set(key, withoutJson(entry))
      else this.#entries.delete(key)
      changes.push({ key, value: entry?.value, previous: before?.value })
    }
    this.#remember(record, outcome)
    this.#head.revision = commit.revision
    return changes
  }

  /** The commits after a position; `undefined` when memory does not hold all of them or they do not continue it. */
  since(position: Position): Commit[] | undefined {
    const { floor } = this
    if (!continues({ ...this.#head, floor }, position)) return undefined
    return this.#history.last(this.#head.revision - position.revision).map(({ commit }) => commit)
  }

  /**
   * What is known about a client's write: where it was committed, and as what if that is held here; `'new'` when it
   * surely was not; `'unknown'` when it is older than what is retained of this client.
   */
  acknowledged(clientId: string, seq: number): { revision: number; commit: Commit | undefined } | 'new' | 'unknown' {
    const revision = this.#clientWrites.find(clientId, seq)
    return typeof revision === 'string' ? revision : { revision, commit: this.#history.at(revision)?.commit }
  }

  #remember(record: LogRecord, results?: Results): void {
    this.#history.add(record, results)
    const { clientId, seq, revision } = record.commit
    if (clientId !== undefined && seq !== undefined) this.#clientWrites.add({ clientId, seq, revision })
  }
}
