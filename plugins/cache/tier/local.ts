import type { Clock } from '../../support/clock.ts'
import { globMatcher } from '../glob.ts'
import { GENERATION } from '../names.ts'
import {
  type CacheTier,
  type Entry,
  type Fill,
  type Head,
  type Invalidation,
  type LeaseAnswer,
  type LeaseRequest,
  type LeaseTerms,
  type Message,
  type Mutation,
  STAMP_LIFE,
  type Stamp,
  type Stamps,
} from './contract.ts'
import { EXPIRED, stampsIn, unique, VERSION_LENGTH, versionOf } from './record.ts'

/** What a store inside this process must do: a `get` sees each earlier `put` and `remove` at once. */
export interface Shelf {
  get(namespace: string, key: string): { data: Uint8Array; deadAt: number } | undefined
  put(namespace: string, key: string, data: Uint8Array, deadAt: number): void
  /** The same for what is there already, in another form of the same length; it needs no more room. */
  replace(namespace: string, key: string, data: Uint8Array, deadAt: number): void
  /** Whether it was there. */
  remove(namespace: string, key: string): boolean
  keys(namespace: string): Iterable<string>
  stamp(namespace: string, name: string): KeptStamp | undefined
  setStamp(namespace: string, name: string, stamp: KeptStamp): void
  /** Resolves when everything so far is committed; rejects when it is not. */
  settled(): Promise<void>
  close(): Promise<void>
}

/** A stamp, and the moment on the clock of the tier from which it is no longer needed. */
export interface KeptStamp {
  value: string
  until: number
}

/** By how much of the time that it is needed a stamp is kept longer, so that it is written down again rarely. */
const SPARE = 1 / 4

interface Lease {
  token: string
  until: number
}

/**
 * The second level when one process owns it: heads, leases and the bus live in memory, and every step is atomic
 * because it does not wait. After a restart the epoch is another one, so leases and sequence numbers of an earlier
 * life mean nothing; entries and stamps are the shelf's.
 */
export class LocalTier implements CacheTier {
  readonly kind: 'memory' | 'lmdb'
  readonly shared = false
  readonly #shelf: Shelf
  readonly #clock: Clock
  /** Wall time at the start: later jumps of the wall clock change no expiry. */
  readonly #offset: number
  readonly #epoch = unique()
  readonly #seqs = new Map<string, { seq: number; named: number }>()
  readonly #leases = new Map<string, Lease>()
  readonly #listeners = new Map<string, Set<(message: Message) => void>>()

  constructor(kind: 'memory' | 'lmdb', shelf: Shelf, clock: Clock) {
    this.kind = kind
    this.#shelf = shelf
    this.#clock = clock
    this.#offset = clock.now() - clock.monotonic()
  }

  buckets(namespace: string): string[] {
    return [namespace]
  }

  now(): number {
    return this.#clock.monotonic() + this.#offset
  }

  async get(namespace: string, keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    return keys.map((key) => this.#live(namespace, key))
  }

  async stamps(namespace: string, names: readonly string[]): Promise<Stamps> {
    return this.#current(namespace, names, STAMP_LIFE)
  }

  async lease(namespace: string, { key, token, ms, seen, names = [] }: LeaseRequest): Promise<LeaseAnswer> {
    const data = this.#live(namespace, key)
    if ((data ? versionOf(data) : '') !== seen) return { state: 'changed' }
    if (this.#lease(namespace, key)) return { state: 'busy' }
    this.#leases.set(`${namespace}:${key}`, { token, until: this.#clock.monotonic() + ms })
    return { state: 'granted', seq: this.#head(namespace).seq, ...this.#current(namespace, names, ms) }
  }

  async renew(namespace: string, { key, token, ms, names = [] }: LeaseTerms): Promise<boolean> {
    const lease = this.#lease(namespace, key)
    if (lease?.token !== token) return false
    lease.until = this.#clock.monotonic() + ms
    this.#keep(namespace, names, ms)
    return true
  }

  async release(namespace: string, { key, token }: Pick<LeaseTerms, 'key' | 'token'>): Promise<void> {
    if (this.#lease(namespace, key)?.token === token) this.#leases.delete(`${namespace}:${key}`)
  }

  async fill(namespace: string, { key, token, data, ttl, stamps }: Fill): Promise<Mutation | undefined> {
    if (this.#lease(namespace, key)?.token !== token || !this.#stand(namespace, stamps)) return undefined
    this.#leases.delete(`${namespace}:${key}`)
    this.#shelf.put(namespace, key, data, this.now() + ttl)
    this.#keep(namespace, stamps.map(nameOf), ttl)
    return this.#done(namespace, 0, { keys: [key], filled: true })
  }

  async put(namespace: string, entries: readonly Entry[], stamps: readonly Stamp[]): Promise<Mutation | undefined> {
    if (!this.#stand(namespace, stamps)) return undefined
    for (const { key, data, ttl } of entries) {
      this.#leases.delete(`${namespace}:${key}`)
      this.#shelf.put(namespace, key, data, this.now() + ttl)
      this.#keep(namespace, stamps.map(nameOf), ttl)
    }
    return this.#done(namespace, 0, { keys: entries.map(({ key }) => key) })
  }

  async invalidate(namespace: string, { keys = [], names = [], pattern }: Invalidation): Promise<Mutation> {
    const head = this.#head(namespace)
    let removed = 0
    const remove = (key: string) => {
      this.#leases.delete(`${namespace}:${key}`)
      const data = this.#live(namespace, key)
      const stamps = data && stampsIn(data)
      if (stamps && this.#stand(namespace, stamps)) removed++
      this.#shelf.remove(namespace, key)
    }
    for (const key of keys) remove(key)
    if (pattern !== undefined) {
      const matches = globMatcher(pattern)
      for (const key of [...this.#shelf.keys(namespace)]) if (matches(key)) remove(key)
      for (const lease of [...this.#leases.keys()]) {
        const [of, key] = [lease.slice(0, namespace.length + 1), lease.slice(namespace.length + 1)]
        if (of === `${namespace}:` && matches(key)) this.#leases.delete(lease)
      }
    }
    const renewed = names.map((name): [string, string] => {
      const value = `${head.seq + 1}:${this.#epoch}:${unique()}`
      const kept = this.#shelf.stamp(namespace, name)?.until ?? 0
      this.#setStamp(namespace, name, value, Math.max(kept, this.now() + STAMP_LIFE))
      if (name !== GENERATION) head.named = head.seq + 1
      return [name, value]
    })
    return this.#done(namespace, removed, {
      ...(keys.length > 0 ? { keys: [...keys] } : {}),
      ...(renewed.length > 0 ? { names: renewed } : {}),
      ...(pattern === undefined ? {} : { pattern }),
    })
  }

  async expire(namespace: string, keys: readonly string[]): Promise<Mutation> {
    let marked = 0
    for (const key of keys) {
      this.#leases.delete(`${namespace}:${key}`)
      const found = this.#shelf.get(namespace, key)
      if (!found) continue
      const data = Uint8Array.from(found.data)
      data[VERSION_LENGTH] = EXPIRED
      this.#shelf.replace(namespace, key, data, found.deadAt)
      marked++
    }
    return this.#done(namespace, marked, { keys: [...keys] })
  }

  async exists(namespace: string): Promise<boolean> {
    return this.#shelf.stamp(namespace, GENERATION) !== undefined
  }

  async head(namespace: string): Promise<Head> {
    const { values } = await this.stamps(namespace, [GENERATION])
    return { epoch: this.#epoch, seq: this.#head(namespace).seq, generation: values[0] as string }
  }

  async subscribe(namespace: string, listener: (message: Message) => void): Promise<() => Promise<void>> {
    const listeners = this.#listeners.get(namespace) ?? new Set()
    this.#listeners.set(namespace, listeners.add(listener))
    return async () => {
      listeners.delete(listener)
      if (listeners.size === 0) this.#listeners.delete(namespace)
    }
  }

  /** Never: the store ends with the process. */
  onInterrupted(): () => void {
    return () => {}
  }

  async *keys(namespace: string): AsyncGenerator<string[]> {
    yield [...this.#shelf.keys(namespace)]
  }

  close(): Promise<void> {
    return this.#shelf.close()
  }

  #head(namespace: string): { seq: number; named: number } {
    const head = this.#seqs.get(namespace) ?? { seq: 0, named: 0 }
    this.#seqs.set(namespace, head)
    return head
  }

  /** The stamps of the names, made if they are missing, and kept for `ms` at least. */
  #current(namespace: string, names: readonly string[], ms: number): Stamps {
    const { named } = this.#head(namespace)
    const values = names.map((name) => {
      const value = this.#stamp(namespace, name)
      if (value !== undefined) return value
      // As old as the latest renewal of any name: a load that began before that must not trust it.
      const made = `${named}:${this.#epoch}:${unique()}`
      this.#setStamp(namespace, name, made, this.now() + ms)
      return made
    })
    this.#keep(namespace, names, ms)
    return { epoch: this.#epoch, values, since: values.map((value) => this.#since(value)) }
  }

  #keep(namespace: string, names: readonly string[], ms: number): void {
    const until = this.now() + ms
    for (const name of names) {
      const kept = this.#shelf.stamp(namespace, name)
      if (kept && kept.until < until) this.#setStamp(namespace, name, kept.value, until + ms * SPARE)
    }
  }

  /** The generation is needed as long as its namespace. */
  #setStamp(namespace: string, name: string, value: string, until: number): void {
    this.#shelf.setStamp(namespace, name, { value, until: name === GENERATION ? Number.POSITIVE_INFINITY : until })
  }

  #stamp(namespace: string, name: string): string | undefined {
    const kept = this.#shelf.stamp(namespace, name)
    return kept && kept.until > this.now() ? kept.value : undefined
  }

  /** A stamp of an earlier life of the process is older than everything in this one. */
  #since(value: string): number {
    const [seq, epoch] = value.split(':')
    return epoch === this.#epoch ? Number(seq) : 0
  }

  #stand(namespace: string, stamps: readonly Stamp[]): boolean {
    return stamps.every(([name, value]) => this.#stamp(namespace, name) === value)
  }

  #live(namespace: string, key: string): Uint8Array | undefined {
    const found = this.#shelf.get(namespace, key)
    return found && found.deadAt > this.now() ? found.data : undefined
  }

  #lease(namespace: string, key: string): Lease | undefined {
    const lease = this.#leases.get(`${namespace}:${key}`)
    return lease && lease.until > this.#clock.monotonic() ? lease : undefined
  }

  async #done(namespace: string, removed: number, what: Partial<Message>): Promise<Mutation> {
    const seq = ++this.#head(namespace).seq
    const settled = this.#shelf.settled()
    const message: Message = { epoch: this.#epoch, seq, ...what }
    for (const listener of this.#listeners.get(namespace) ?? []) listener(message)
    await settled
    return { epoch: this.#epoch, seq, removed }
  }
}

const nameOf = ([name]: Stamp): string => name
