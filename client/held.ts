interface Entry<Thing> {
  readonly thing: Thing
  holders: number
  /** Nobody holds it, but whoever asks now goes on where it was. */
  leaving: boolean
}

/**
 * Things that several may hold at the same time, by name. The last who lets go of one ends it, but not in the same moment:
 * a component that is unmounted and mounted again (as React's StrictMode does) finds what it had.
 */
export class Held<Thing extends object> {
  readonly #entries = new Map<string, Entry<Thing>>()
  readonly #soon: (run: () => void) => void
  readonly #onGone: (thing: Thing) => void

  constructor(soon: (run: () => void) => void, onGone: (thing: Thing) => void) {
    this.#soon = soon
    this.#onGone = onGone
  }

  get size(): number {
    return this.#entries.size
  }

  get(id: string): Thing | undefined {
    return this.#entries.get(id)?.thing
  }

  all(): Thing[] {
    return Array.from(this.#entries.values(), ({ thing }) => thing)
  }

  /** @param make a new one, out of the one that is just leaving if there is one */
  hold(id: string, make: (leaving: Thing | undefined) => Thing): Thing {
    const known = this.#entries.get(id)
    if (known && !known.leaving) {
      known.holders++
      return known.thing
    }
    const entry = { thing: make(known?.thing), holders: 1, leaving: false }
    this.#entries.set(id, entry)
    return entry.thing
  }

  /** @returns whether nobody holds it any more */
  release(id: string, thing: Thing): boolean {
    const entry = this.#entries.get(id)
    if (entry?.thing !== thing || entry.leaving || --entry.holders > 0) return false
    entry.leaving = true
    this.#soon(() => {
      if (this.#entries.get(id) !== entry) return
      this.#entries.delete(id)
      this.#onGone(thing)
    })
    return true
  }

  /** Whoever holds them. */
  clear(): Thing[] {
    const things = this.all()
    this.#entries.clear()
    return things
  }
}
