import { isPromiseLike } from './promise-like.ts'

/** Told of what a listener threw, or what its promise rejected with. */
export type ReportError = (error: unknown) => void

/**
 * Those who want to hear of something. One that throws, or whose promise rejects, is reported and keeps no other from
 * hearing. For servers and browsers alike.
 */
export class Listeners<Event> {
  readonly #listeners = new Set<(event: Event) => unknown>()
  readonly #report: ReportError

  constructor(report: ReportError) {
    this.#report = report
  }

  get size(): number {
    return this.#listeners.size
  }

  /** @returns ends it */
  add(listener: (event: Event) => unknown): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  delete(listener: (event: Event) => unknown): void {
    this.#listeners.delete(listener)
  }

  /** One that is added meanwhile first hears of the next event. */
  tell(event: Event): void {
    for (const listener of [...this.#listeners]) {
      try {
        const outcome = listener(event)
        // An unhandled rejection would end the process.
        if (isPromiseLike(outcome)) outcome.then(undefined, this.#report)
      } catch (error) {
        this.#report(error)
      }
    }
  }

  clear(): void {
    this.#listeners.clear()
  }
}

/** The same by name. A name is forgotten with its last listener. */
export class ListenersByName<Event> {
  readonly #byName = new Map<string, Listeners<Event>>()
  readonly #report: ReportError

  constructor(report: ReportError) {
    this.#report = report
  }

  /** Names that somebody listens to. */
  get size(): number {
    return this.#byName.size
  }

  names(): Iterable<string> {
    return this.#byName.keys()
  }

  /** @returns ends it */
  add(name: string, listener: (event: Event) => unknown): () => void {
    const listeners = this.#byName.get(name) ?? new Listeners<Event>(this.#report)
    this.#byName.set(name, listeners)
    listeners.add(listener)
    return () => this.delete(name, listener)
  }

  delete(name: string, listener: (event: Event) => unknown): void {
    const listeners = this.#byName.get(name)
    listeners?.delete(listener)
    if (listeners?.size === 0) this.#byName.delete(name)
  }

  tell(name: string, event: Event): void {
    this.#byName.get(name)?.tell(event)
  }

  clear(): void {
    this.#byName.clear()
  }
}
