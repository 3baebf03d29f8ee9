/** What writes are about: a number, which grows with each `setWithDelayedPersist`. */
export interface Value {
  key: string
  n: number
}

/** As applications do it: a handler that stops when it is told to, or a source that refuses what is older than it has. */
export type Discipline = 'obeys' | 'refuses'

/** The system of record behind the cache, and the witness of the order in which writes reach it. */
export class Source {
  readonly wrong: string[] = []
  readonly #discipline: Discipline
  readonly #rows = new Map<string, { id: string; value: Value }>()

  constructor(discipline: Discipline) {
    this.#discipline = discipline
  }

  /** @param late whether the handler was told to stop */
  write(key: string, id: string, value: Value, late: boolean): void {
    if (value.key !== key) this.wrong.push(`${key} was handed a value of ${value.key}`)
    const before = this.idOf(key)
    if (this.#discipline === 'obeys' ? late : id < before) return
    if (id < before) this.wrong.push(`${key}: the source got write ${value.n} after a newer one`)
    this.#rows.set(key, { id, value })
  }

  read(key: string): Value {
    return this.#rows.get(key)?.value ?? { key, n: 0 }
  }

  /** Of the write that it has; `''` for none. */
  idOf(key: string): string {
    return this.#rows.get(key)?.id ?? ''
  }
}
