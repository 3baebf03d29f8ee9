/**
 * A long answer in parts. Each part is made when the first of its readers comes to it, and then shared: readers who
 * stop early cost what they have read, and many readers cost what one does.
 */
export class SharedSequence<Part> {
  readonly #made: Part[] = []
  #rest: Iterator<Part, unknown> | undefined

  constructor(parts: Iterable<Part>) {
    this.#rest = parts[Symbol.iterator]()
  }

  /** @returns `undefined` after the last part */
  at(index: number): Part | undefined {
    while (index >= this.#made.length && this.#rest) {
      const { done, value } = this.#rest.next()
      // What the parts were made from is let go with it.
      if (done) this.#rest = undefined
      else this.#made.push(value)
    }
    return this.#made[index]
  }

  *[Symbol.iterator](): Generator<Part> {
    for (let index = 0; ; index++) {
      const part = this.at(index)
      if (part === undefined) return
      yield part
    }
  }
}
