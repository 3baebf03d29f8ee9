interface Entry {
  at: number
  id: string
}

/** Ids in the order of their times: a binary heap, O(log n) a step. */
export class ExpiryHeap {
  readonly #entries: Entry[] = []

  get size(): number {
    return this.#entries.length
  }

  push(at: number, id: string): void {
    const entries = this.#entries
    const entry = { at, id }
    let index = entries.push(entry) - 1
    while (index > 0) {
      const parent = (index - 1) >> 1
      const above = entries[parent] as Entry
      if (above.at <= at) break
      entries[index] = above
      index = parent
    }
    entries[index] = entry
  }

  /** Takes the earliest id out if its time has come. */
  popDue(now: number): string | undefined {
    const entries = this.#entries
    const first = entries[0]
    if (!first || first.at > now) return undefined
    const last = entries.pop() as Entry
    if (entries.length > 0) this.#sink(last)
    return first.id
  }

  #sink(entry: Entry): void {
    const entries = this.#entries
    let index = 0
    for (;;) {
      let child = 2 * index + 1
      if (child >= entries.length) break
      if (child + 1 < entries.length && (entries[child + 1] as Entry).at < (entries[child] as Entry).at) child += 1
      const below = entries[child] as Entry
      if (below.at >= entry.at) break
      entries[index] = below
      index = child
    }
    entries[index] = entry
  }
}
