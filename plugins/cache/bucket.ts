import { type Found, Levels, type LevelsOptions, type Look } from './coherence/levels.ts'
import { Mutations } from './coherence/mutations.ts'
import type { LoaderMeter } from './loading/loader-meter.ts'
import { Loads } from './loading/loads.ts'
import { placeOf } from './tier/buckets.ts'

/** One bucket of a namespace, see tier/buckets.ts: what is there, what is being loaded, and what changes it. */
export class Bucket {
  readonly levels: Levels
  readonly loads: Loads
  readonly mutations: Mutations
  readonly #options: LevelsOptions

  constructor({ meter, ...options }: LevelsOptions & { meter: LoaderMeter }) {
    this.#options = options
    this.levels = new Levels(options)
    this.loads = new Loads(this.levels, options.options, options.counters, meter)
    this.mutations = new Mutations(this.levels, options.options, options.counters)
  }

  /** What both levels have of the keys after the writes under way; what is known when the store cannot be asked. */
  async read(keys: readonly string[]): Promise<(Found | undefined)[]> {
    const write = this.levels.written(keys)
    if (write) await write
    try {
      return (await this.levels.read(keys)).found
    } catch {
      this.#options.counters.storeFailures++
      return keys.map((key) => this.#interim(key))
    }
  }

  /** The same for one key; what is asked for in one turn of the event loop goes in one round trip. */
  async look(key: string): Promise<Found | undefined> {
    const write = this.levels.written([key])
    if (write) await write
    const { found } = await this.levels.look(key).catch((): Look => {
      this.#options.counters.storeFailures++
      return { data: undefined, found: this.#interim(key) }
    })
    return found
  }

  #interim(key: string): Found | undefined {
    const interim = this.loads.interim(key)
    if (!interim) return undefined
    const record = { expired: false, freshUntil: 0, deadAt: 0, cost: 0, stamps: [], value: interim.value, bytes: 0 }
    return { record, fresh: true, guards: [] }
  }
}

/** All buckets of one namespace. */
export class Buckets {
  readonly all: readonly Bucket[]
  readonly #first: Bucket
  readonly #single: boolean

  constructor(all: readonly Bucket[]) {
    this.all = all
    this.#first = all[0] as Bucket
    this.#single = all.length === 1
  }

  /** The one that has the key. */
  of(key: string): Bucket {
    // What is no key is refused by the bucket that is asked for it, whichever.
    return this.#single || typeof key !== 'string' ? this.#first : (this.all[placeOf(key, this.all.length)] as Bucket)
  }

  /** What the keys of the items are grouped by; the order within a bucket is that of the items. */
  grouped<T>(items: readonly T[], keyOf: (item: T) => string): Map<Bucket, T[]> {
    if (this.#single) return new Map([[this.#first, items as T[]]])
    const groups = new Map<Bucket, T[]>()
    for (const item of items) {
      const bucket = this.of(keyOf(item))
      const group = groups.get(bucket)
      if (group) group.push(item)
      else groups.set(bucket, [item])
    }
    return groups
  }

  /** Does something to each; all have ended when it rejects, with the first failure. */
  everywhere<R>(run: (bucket: Bucket) => Promise<R>): Promise<R[]> {
    return ended(this.all.map(run))
  }

  /** The same to those that have one of the keys. */
  withKeys<R>(keys: readonly string[], run: (bucket: Bucket, keys: string[]) => Promise<R>): Promise<R[]> {
    return ended([...this.grouped(keys, (key) => key)].map(([bucket, some]) => run(bucket, some)))
  }
}

/** All of them, when all have ended; rejects with the first failure, however the others went. */
export async function ended<R>(steps: readonly Promise<R>[]): Promise<R[]> {
  if (steps.length === 1) return [await (steps[0] as Promise<R>)]
  const outcomes = await Promise.allSettled(steps)
  return outcomes.map((outcome) => {
    if (outcome.status === 'rejected') throw outcome.reason
    return outcome.value
  })
}
