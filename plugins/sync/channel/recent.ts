import type { Commit } from '../../../openapi/schemas/state.ts'

/** A commit that was heard, with its operations serialised once. */
export interface Heard {
  readonly commit: Commit
  readonly opsText: string
}

/**
 * The latest commits of a space within one epoch, bounded by count and by characters, so that a resume and the
 * catching up of a slow client cost no storage access.
 */
export class Recent {
  readonly #maxCommits: number
  readonly #maxCharacters: number
  #heard: Heard[] = []
  /** Commits before this index were dropped; removing them one by one from the array would be O(n) each. */
  #start = 0
  #characters = 0

  constructor(maxCommits: number, maxCharacters: number) {
    this.#maxCommits = maxCommits
    this.#maxCharacters = maxCharacters
  }

  add(commit: Commit): Heard {
    const heard = { commit, opsText: JSON.stringify(commit.ops) }
    this.#heard.push(heard)
    this.#characters += heard.opsText.length
    while (this.#heard.length - this.#start > this.#maxCommits || this.#characters > this.#maxCharacters) {
      const oldest = this.#heard[this.#start]
      if (!oldest || this.#heard.length - this.#start === 1) break
      this.#characters -= oldest.opsText.length
      this.#start++
    }
    if (this.#start > 256 && this.#start * 2 > this.#heard.length) {
      this.#heard = this.#heard.slice(this.#start)
      this.#start = 0
    }
    return heard
  }

  clear(): void {
    this.#heard = []
    this.#start = 0
    this.#characters = 0
  }

  /** Everything after `revision`, or `undefined` when it does not reach back so far. */
  since(revision: number): Heard[] | undefined {
    const oldest = this.#heard[this.#start]
    if (!oldest || oldest.commit.prev > revision) return undefined
    // Binary search: revisions rise.
    let low = this.#start
    let high = this.#heard.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#heard[middle] as Heard).commit.revision > revision) high = middle
      else low = middle + 1
    }
    return this.#heard.slice(low)
  }
}

/** A commit of the history, of which a range may hold many: serialised when its turn comes, and not kept. */
export function heardLater(commit: Commit): Heard {
  return {
    commit,
    get opsText() {
      return JSON.stringify(commit.ops)
    },
  }
}

/** The keys that the commits touched; their latest values are what a conflated range consists of. */
export function keysOf(commits: readonly Heard[]): Set<string> {
  const keys = new Set<string>()
  for (const { commit } of commits) for (const { key } of commit.ops) keys.add(key)
  return keys
}
