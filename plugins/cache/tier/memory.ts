import { TinyLfu } from '../policy/tiny-lfu.ts'
import type { Shelf } from './local.ts'

const MAX_STAMPS = 100_000

/** Encoded entries in this process, bounded; lives and dies with it. */
export class MemoryShelf implements Shelf {
  readonly #entries: TinyLfu<{ data: Uint8Array; deadAt: number }>
  readonly #stamps = new Map<string, string>()

  /** @param bounds of all namespaces together */
  constructor(bounds: { maxEntries: number; maxBytes: number }) {
    this.#entries = new TinyLfu(bounds)
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

  stamp(namespace: string, name: string): string | undefined {
    return this.#stamps.get(`${namespace}:${name}`)
  }

  setStamp(namespace: string, name: string, value: string): void {
    const full = `${namespace}:${name}`
    this.#stamps.delete(full)
    this.#stamps.set(full, value)
    // Forgetting the oldest only makes its entries a miss.
    if (this.#stamps.size > MAX_STAMPS) this.#stamps.delete(this.#stamps.keys().next().value as string)
  }

  async settled(): Promise<void> {}

  async close(): Promise<void> {
    this.#entries.clear()
    this.#stamps.clear()
  }
}
