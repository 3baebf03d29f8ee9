/** The first few of many texts, each once, without holding all of them. */
export class FirstInOrder {
  readonly #most: number
  #texts = new Set<string>()
  /** What is behind it is not among the first. */
  #last: string | undefined

  constructor(most: number) {
    this.#most = most
  }

  add(text: string): void {
    if (this.#last !== undefined && text > this.#last) return
    this.#texts.add(text)
    if (this.#texts.size >= 4 * this.#most) this.#trim()
  }

  list(): string[] {
    return this.#trim()
  }

  #trim(): string[] {
    const first = [...this.#texts].sort((a, b) => (a < b ? -1 : 1)).slice(0, this.#most)
    this.#texts = new Set(first)
    if (first.length === this.#most) this.#last = first.at(-1)
    return first
  }
}
