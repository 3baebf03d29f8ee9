import type { Commit, Json } from '../../../openapi/schemas/state.ts'
import { Listeners, type ReportError } from '../../support/listeners.ts'
import type { KeyChange, Replica } from '../replica/replica.ts'
import { type ResetReason, type StateChange, type StateEventMap, StateEvents, type StateListener } from './events.ts'

/**
 * What can be listened to. Everybody is told in the tick in which the replica moved, so that none of them ever sees
 * another revision than the one it hears of. A listener that throws or rejects is reported and does not disturb the
 * others.
 */
export class Followable {
  readonly #events: StateEvents
  readonly #commits: Listeners<Commit>
  readonly #resets: Listeners<ResetReason>

  constructor(report: ReportError) {
    this.#events = new StateEvents(report)
    this.#commits = new Listeners(report)
    this.#resets = new Listeners(report)
  }

  /** Whether somebody listens. */
  get observed(): boolean {
    return this.#commits.size > 0 || this.#events.size > 0 || this.#resets.size > 0
  }

  on<Name extends keyof StateEventMap>(name: Name, listener: StateListener<StateEventMap[Name]>): () => void
  on<Key extends string>(name: `change:${Key}` | `delete:${Key}`, listener: StateListener<StateChange<Key>>): () => void
  /** @returns a function that ends it */
  on(name: string, listener: (event: never) => void): () => void {
    this.followed()
    return this.#events.on(name, listener)
  }

  /**
   * Every change of a key, of all keys with a prefix (`'user:*'`) or of all (`'*'`), deletion included (`value` is
   * `undefined` then), made by any writer.
   * @returns a function that ends it
   */
  subscribe<Pattern extends string>(pattern: Pattern, listener: StateListener<ChangeOf<Pattern>>): () => void {
    this.followed()
    return this.#events.subscribe(pattern, listener)
  }

  /** Called in the order of revisions, in the tick in which the replica applied the commit. */
  onCommit(listener: (commit: Commit) => void): () => void {
    this.followed()
    return this.#commits.add(listener)
  }

  /** The replica was replaced as a whole: what was derived from it must be derived again. */
  onReset(listener: (reason: ResetReason) => void): () => void {
    this.followed()
    return this.#resets.add(listener)
  }

  /** Somebody begins to listen. */
  protected followed(): void {}

  /** @param clear the commit emptied the space */
  protected tellCommit(commit: Commit, changes: readonly KeyChange[], clear: boolean, context: unknown): void {
    this.#commits.tell(commit)
    if (this.#events.size === 0) return
    const origin = originOf(commit, context)
    for (const change of changes) this.#events.changed({ ...change, ...origin })
    if (clear) this.#events.emit('clear', origin)
  }

  /**
   * The replica was replaced as a whole.
   * @param state what it holds now, for those who listen to `restore`
   */
  protected tellReplacement(
    { epoch, revision, epochs }: Pick<Replica, 'epoch' | 'revision' | 'epochs'>,
    changes: readonly KeyChange[],
    previousEpoch: string,
    context: unknown,
    state: () => Record<string, Json>,
  ): void {
    const cause = epoch === previousEpoch ? undefined : epochs.at(-1)?.cause
    const onPurpose = cause === 'restore' || cause === 'clear'
    const reason = onPurpose ? 'restore' : cause === undefined ? 'resync' : 'epoch'
    this.#resets.tell(reason)
    const origin = originOf({ epoch, revision }, context)
    for (const change of changes) this.#events.changed({ ...change, ...origin })
    if (cause === 'clear') this.#events.emit('clear', origin)
    if (cause === 'restore') this.#events.emit('restore', { ...origin, state: state() })
  }

  protected removeListeners(): void {
    this.#events.removeAll()
    this.#commits.clear()
    this.#resets.clear()
  }
}

/** What matches `'note:*'` has the type that was declared for all such keys. */
type ChangeOf<Pattern extends string> = StateChange<Pattern extends `${infer Prefix}*` ? `${Prefix}${string}` : Pattern>

function originOf({ epoch, revision }: { epoch: string; revision: number }, context: unknown) {
  return { epoch, revision, ...(context === undefined ? {} : { context }) }
}
