import type { Timing } from './link.ts'

interface Entry<Thing> {
  readonly thing: Thing
  /** Without holders it is leaving: a new holder goes on where it was. */
  holders: number
}

/**
 * Things that several may hold at the same time, by name. The last who lets go of one ends it, but not in the same
 * moment: a component that is unmounted and mounted again (as React's StrictMode does) finds what it had.
 */
export class Held<Thing extends object> {
  readonly #entries = new Map<string, Entry<Thing>>()
  readonly #timing: Pick<Timing, 'after'>
  readonly #onGone: (thing: Thing) => void

  constructor(timing: Pick<Timing, 'after'>, onGone: (thing: Thing) => void) {
    this.#timing = timing
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
    if (known && known.holders > 0) {
      known.holders++
      return known.thing
    }
    const entry = { thing: make(known?.thing), holders: 1 }
    this.#entries.set(id, entry)
    return entry.thing
  }

  /** @returns whether that was the last holder */
  release(id: string, thing: Thing): boolean {
    const entry = this.#entries.get(id)
    if (entry?.thing !== thing || entry.holders === 0 || --entry.holders > 0) return false
    this.#timing.after(0, () => {
      if (this.#entries.get(id) !== entry) return
      this.#entries.delete(id)
      this.#onGone(thing)
    })
    return true
  }

  /** Their holders. */
  clear(): Thing[] {
    const things = this.all()
    this.#entries.clear()
    return things
  }
}
