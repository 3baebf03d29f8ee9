import type { ClientWrite } from '../log/contract.ts'

/**
 * Which writes of clients the retained history holds, so that one that is sent again is not made again. As many as
 * there may be commits in the history: what a client did is remembered as long as that.
 */
export class ClientWrites {
  readonly #commits: number
  /** clientId → seq → revision, each in the order of revisions. */
  readonly #known = new Map<string, Map<number, number>>()
  /** All of them in the order of revisions, the first ones of which may be forgotten already. */
  #order: ClientWrite[] = []
  #start = 0

  /** @param commits how many revisions back they are remembered */
  constructor(commits: number) {
    this.#commits = commits
  }

  /**
   * What is known of a write: its revision, `'new'` when it surely was not made, `'unknown'` when that cannot be told.
   */
  find(clientId: string, seq: number): number | 'new' | 'unknown' {
    const known = this.#known.get(clientId)
    if (!known) return 'new'
    const revision = known.get(seq)
    if (revision !== undefined) return revision
    // A client's writes are committed in the order of their numbers. One that is newer than a retained one
    // would be retained as well, so it never was committed.
    const oldest = known.keys().next().value ?? Number.POSITIVE_INFINITY
    return seq > oldest ? 'new' : 'unknown'
  }

  add(write: ClientWrite): void {
    const { clientId, seq, revision } = write
    const known = this.#known.get(clientId) ?? new Map<number, number>()
    this.#known.set(clientId, known.set(seq, revision))
    this.#order.push(write)
    for (let oldest = this.#order[this.#start]; oldest; oldest = this.#order[this.#start]) {
      if (oldest.revision > revision - this.#commits) break
      this.#forget(oldest)
      this.#start++
    }
    if (this.#start <= this.#order.length / 2) return
    this.#order.splice(0, this.#start)
    this.#start = 0
  }

  clear(): void {
    this.#known.clear()
    this.#order = []
    this.#start = 0
  }

  #forget({ clientId, seq }: ClientWrite): void {
    const known = this.#known.get(clientId)
    known?.delete(seq)
    if (known?.size === 0) this.#known.delete(clientId)
  }
}
