import type { Clock, Timer } from '../../support/clock.ts'
import { TinyLfu } from '../policy/tiny-lfu.ts'
import type { KeptStamp, Shelf } from './local.ts'
import { sweeping } from './sweep.ts'

const MAX_STAMPS = 100_000

/** Encoded entries in this process, bounded; lives and dies with it. */
export class MemoryShelf implements Shelf {
  readonly #entries: TinyLfu<{ data: Uint8Array; deadAt: number }>
  readonly #stamps = new Map<string, KeptStamp>()
  readonly #timers: Timer[]

  /** @param bounds of all namespaces together */
  constructor(bounds: { maxEntries: number; maxBytes: number }, clock: Clock) {
    this.#entries = new TinyLfu(bounds)
    const deadEntries = roundAndRound(() => this.#entries)
    const deadStamps = roundAndRound(() => this.#stamps)
    this.#timers = [
      sweeping(clock, (most) => deadEntries(most, (entry) => !(entry.deadAt > clock.now()), this.#entries)),
      sweeping(clock, (most) => deadStamps(most, (stamp) => !(stamp.until > clock.now()), this.#stamps)),
    ]
  }

  get(namespace: string, key: string): { data: Uint8Array; deadAt: number } | undefined {
    return this.#entries.get(`${namespace}:${key}`)
  }

  put(namespace: string, key: string, data: Uint8Array, deadAt: number): void {
    this.#entries.set(`${namespace}:${key}`, { data, deadAt }, data.length)
  }

  replace(namespace: string, key: string, data: Uint8Array, deadAt: number): void {
    this.put(namespace, key, data, deadAt)
  }

  remove(namespace: string, key: string): boolean {
    return this.#entries.delete(`${namespace}:${key}`)
  }

  *keys(namespace: string): Iterable<string> {
    const start = `${namespace}:`
    for (const key of this.#entries.keys()) if (key.startsWith(start)) yield key.slice(start.length)
  }

  stamp(namespace: string, name: string): KeptStamp | undefined {
    return this.#stamps.get(`${namespace}:${name}`)
  }

  setStamp(namespace: string, name: string, stamp: KeptStamp): void {
    const full = `${namespace}:${name}`
    this.#stamps.delete(full)
    this.#stamps.set(full, stamp)
    // Forgetting the oldest only makes its entries a miss.
    if (this.#stamps.size > MAX_STAMPS) this.#stamps.delete(this.#stamps.keys().next().value as string)
  }

  async settled(): Promise<void> {}

  async close(): Promise<void> {
    for (const timer of this.#timers) timer.cancel()
    this.#entries.clear()
    this.#stamps.clear()
  }
}

/** Goes on where it stopped, and begins again at the end: what is removed or added meanwhile does a Map no harm. */
function roundAndRound<V>(all: () => Iterable<[key: string, value: V]>) {
  let place: Iterator<[key: string, value: V]> | undefined
  return (most: number, isDead: (value: V) => boolean, from: { delete(key: string): unknown }): number => {
    let dead = 0
    for (let seen = 0; seen < most; seen++) {
      place ??= all()[Symbol.iterator]()
      const next = place.next()
      if (next.done) {
        place = undefined
        break
      }
      const [key, value] = next.value
      if (!isDead(value)) continue
      from.delete(key)
      dead++
    }
    return dead
  }
}
