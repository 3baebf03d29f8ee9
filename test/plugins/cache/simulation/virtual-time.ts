import type { Clock, Timer } from '../../../../plugins/support/clock.ts'

interface Event {
  at: number
  order: number
  run: () => void
}

/** Time that passes only when everything that can happen at a moment has happened. */
export class VirtualTime {
  now = 0
  #order = 0
  readonly #events: Event[] = []

  at(time: number, run: () => void): Timer {
    const event = { at: Math.max(time, this.now), order: this.#order++, run }
    let low = 0
    let high = this.#events.length
    // Latest first, so that the next one is at the end.
    while (low < high) {
      const middle = (low + high) >> 1
      const other = this.#events[middle] as Event
      if (other.at > event.at || (other.at === event.at && other.order > event.order)) low = middle + 1
      else high = middle
    }
    this.#events.splice(low, 0, event)
    return {
      cancel: () => {
        const index = this.#events.indexOf(event)
        if (index >= 0) this.#events.splice(index, 1)
      },
    }
  }

  after(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.at(this.now + ms, resolve)
    })
  }

  async run(until: number): Promise<void> {
    await settle()
    for (let next = this.#events.at(-1); next && next.at <= until; next = this.#events.at(-1)) {
      this.#events.pop()
      this.now = next.at
      next.run()
      await settle()
    }
    this.now = until
  }

  /** A clock of one host: wall clocks differ by whatever they like, monotonic ones start anywhere. */
  clock(wall: number, start: number): Clock {
    return {
      now: () => this.now + wall,
      monotonic: () => this.now + start,
      after: (ms, run) => this.at(this.now + ms, run),
      every: (ms, run) => {
        let timer: Timer
        const again = () => {
          timer = this.at(this.now + ms, () => {
            again()
            run()
          })
        }
        again()
        return { cancel: () => timer.cancel() }
      },
    }
  }
}

/** All microtasks have run. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** A small seeded generator (mulberry32): the same seed, the same history. */
export function seeded(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
