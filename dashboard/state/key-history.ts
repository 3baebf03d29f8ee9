import type { Commit, Json, Op } from '../../openapi/schemas/state.ts'
import { reduce } from '../../plugins/state/values/reducer.ts'

/** What a key held before the history that is kept: operations other than `set` do not tell. */
export const UNKNOWN = Symbol('unknown')

/** `undefined`: the key was not there. */
export type Held = Json | undefined | typeof UNKNOWN

/** What one commit did to the key. */
export interface KeyChange {
  epoch: string
  revision: number
  /** Milliseconds since the Unix epoch. */
  at: number
  /** Those on the key. */
  ops: readonly Op[]
  before: Held
  after: Held
}

/** The changes of one key out of the commits of its space, each with what the key held before and after it. */
export class KeyHistory {
  readonly #key: string
  readonly #most: number
  #held: Held = UNKNOWN
  #epoch: string | undefined
  #changes: KeyChange[] = []

  /** @param most changes that are kept; the oldest go */
  constructor(key: string, most: number) {
    this.#key = key
    this.#most = most
  }

  /** The newest first. */
  get changes(): readonly KeyChange[] {
    return this.#changes
  }

  /** @param commits that continue those before */
  add(commits: readonly Commit[]): void {
    const added: KeyChange[] = []
    for (const { epoch, prev, revision, at, ops } of commits) {
      // In a space that had no commit there was nothing; in another epoch the key may hold anything.
      if (prev === 0) this.#held = undefined
      else if (this.#epoch !== undefined && this.#epoch !== epoch) this.#held = UNKNOWN
      this.#epoch = epoch
      const own = ops.filter(({ key }) => key === this.#key)
      if (own.length === 0) continue
      const before = this.#held
      this.#held = own.reduce(after, before)
      added.push({ epoch, revision, at, ops: own, before, after: this.#held })
    }
    if (added.length > 0) this.#changes = [...added.reverse(), ...this.#changes].slice(0, this.#most)
  }
}

function after(before: Held, op: Op): Held {
  if (op.op === 'set') return op.value as Json
  if (op.op === 'delete') return undefined
  if (before === UNKNOWN) return UNKNOWN
  try {
    return reduce(before, op, (_, expected) => new TypeError(expected))
  } catch {
    // It was committed, so what is held here is not what was held there.
    return UNKNOWN
  }
}
