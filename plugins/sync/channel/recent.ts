import type { Commit } from '../../../openapi/schemas/state.ts'

/** A commit that was heard, with its operations serialised once. */
export interface Heard {
  readonly commit: Commit
  readonly opsText: string
}

/** Characters above which a text is made again for those who come later: the operations themselves hold as many. */
const LONG = 4 * 1024

interface Kept {
  readonly heard: Heard
  readonly characters: number
}

/**
 * The latest commits of a space within one epoch, bounded by count and by characters, so that a resume and the
 * catching up of a slow client cost no storage access.
 */
export class Recent {
  readonly #maxCommits: number
  readonly #maxCharacters: number
  #kept: (Kept | undefined)[] = []
  /** Places before this index are empty; taking them out one by one would be O(n) each. */
  #start = 0
  #characters = 0

  constructor(maxCommits: number, maxCharacters: number) {
    this.#maxCommits = maxCommits
    this.#maxCharacters = maxCharacters
  }

  add(commit: Commit): Heard {
    const heard = { commit, opsText: JSON.stringify(commit.ops) }
    const characters = heard.opsText.length
    this.#kept.push({ heard: characters > LONG ? heardLater(commit) : heard, characters })
    this.#characters += characters
    while (this.#kept.length - this.#start > this.#maxCommits || this.#characters > this.#maxCharacters) {
      const oldest = this.#kept[this.#start]
      if (!oldest || this.#kept.length - this.#start === 1) break
      this.#characters -= oldest.characters
      this.#kept[this.#start++] = undefined
    }
    if (this.#start > 256 && this.#start * 2 > this.#kept.length) {
      this.#kept = this.#kept.slice(this.#start)
      this.#start = 0
    }
    return heard
  }

  clear(): void {
    this.#kept = []
    this.#start = 0
    this.#characters = 0
  }

  /** Everything after `revision`, or `undefined` when it does not reach back so far. */
  since(revision: number): Heard[] | undefined {
    const oldest = this.#kept[this.#start]
    if (!oldest || oldest.heard.commit.prev > revision) return undefined
    // Binary search: revisions rise.
    let low = this.#start
    let high = this.#kept.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#kept[middle] as Kept).heard.commit.revision > revision) high = middle
      else low = middle + 1
    }
    return this.#kept.slice(low).map((kept) => (kept as Kept).heard)
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
