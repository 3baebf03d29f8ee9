import type { Commit, Json, Op, Position } from '../../../openapi/schemas/state.ts'
import { applyOp } from '../../../plugins/state/values/apply-op.ts'
import type { SyncSpace } from '../../../plugins/sync/channel/space.ts'

/** A space in an object, whose every step a test can decide: the double for what plugins/state does. */
export class MemorySpace implements SyncSpace {
  readonly name: string
  readonly ready: Promise<void>
  readonly log: Commit[] = []
  /** How many of the latest commits `history` still knows. */
  retained = Number.POSITIVE_INFINITY
  /** Runs before a commit; may rewrite its operations, wait, or throw. */
  before: (ops: Op[]) => Op[] | Promise<Op[]> = (ops) => ops
  /** Runs before history answers. */
  beforeHistory: () => Promise<void> = async () => {}
  #epoch = '1:test'
  #revision = 0
  #state: Record<string, Json> = {}
  readonly #commitListeners = new Set<(commit: Commit) => void>()
  readonly #resetListeners = new Set<(reason: string) => void>()

  constructor(name = 'app', ready: Promise<void> = Promise.resolve()) {
    this.name = name
    this.ready = ready
  }

  get listeners(): number {
    return this.#commitListeners.size + this.#resetListeners.size
  }

  get epoch(): string {
    return this.#epoch
  }

  get revision(): number {
    return this.#revision
  }

  get bytes(): number {
    return JSON.stringify(this.#state).length
  }

  get(key: string): Json | undefined {
    return this.#state[key]
  }

  snapshot() {
    return { epoch: this.#epoch, revision: this.#revision, state: { ...this.#state } }
  }

  onCommit(listener: (commit: Commit) => void): () => void {
    this.#commitListeners.add(listener)
    return () => this.#commitListeners.delete(listener)
  }

  onReset(listener: (reason: string) => void): () => void {
    this.#resetListeners.add(listener)
    return () => this.#resetListeners.delete(listener)
  }

  async history(since: Position): Promise<Commit[] | undefined> {
    await this.beforeHistory()
    if (since.epoch !== this.#epoch || since.revision > this.#revision) return undefined
    const missed = this.#revision - since.revision
    if (missed > this.retained) return undefined
    return missed === 0 ? [] : this.log.slice(-missed)
  }

  async commit(ops: Op[], options: { clientId?: string; seq?: number } = {}): Promise<Commit> {
    const { clientId, seq } = options
    const earlier = this.log.find((one) => seq !== undefined && one.clientId === clientId && one.seq === seq)
    return earlier ?? this.apply(await this.before(ops), options)
  }

  /** Commits in this tick. */
  apply(ops: Op[], { clientId, seq }: { clientId?: string; seq?: number } = {}): Commit {
    const next: Record<string, Json> = { ...this.#state }
    for (const op of ops) {
      const value = applyOp(next[op.key], op)
      if (value === undefined) delete next[op.key]
      else next[op.key] = value
    }
    this.#state = next
    const commit: Commit = {
      space: this.name,
      epoch: this.#epoch,
      prev: this.#revision,
      revision: ++this.#revision,
      ops,
      at: 0,
      ...(clientId === undefined ? {} : { clientId }),
      ...(seq === undefined ? {} : { seq }),
    }
    this.log.push(commit)
    for (const listener of this.#commitListeners) listener(commit)
    return commit
  }

  set(key: string, value: Json): Commit {
    return this.apply([{ op: 'set', key, value }])
  }

  /** The next commit belongs to another epoch of the same history. */
  continueIn(epoch: string): void {
    this.#epoch = epoch
  }

  /** Another history begins: what was before is lost to everybody. */
  restore(epoch: string, state: Record<string, Json>, revision = 0): void {
    this.#epoch = epoch
    this.#revision = revision
    this.#state = state
    this.log.length = 0
    for (const listener of this.#resetListeners) listener('restore')
  }
}
