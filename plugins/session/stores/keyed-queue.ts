/** Steps of the same key run one after the other, in the order in which they were asked for; others meanwhile. */
export class KeyedQueue {
  readonly #last = new Map<string, Promise<unknown>>()

  run<T>(key: string, step: () => Promise<T>): Promise<T> {
    const before = this.#last.get(key) ?? Promise.resolve()
    const result = before.then(step, step)
    this.#last.set(key, result)
    const clear = () => {
      if (this.#last.get(key) === result) this.#last.delete(key)
    }
    result.then(clear, clear)
    return result
  }
}
