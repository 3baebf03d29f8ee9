import type { Test } from 'tap'
import { Cache, type CacheOptions } from '../../../plugins/cache/index.ts'
import type { CacheTier, Message } from '../../../plugins/cache/tier/contract.ts'
import { LocalTier } from '../../../plugins/cache/tier/local.ts'
import { MemoryJournal } from '../../../plugins/cache/write-behind/memory.ts'
import { ManualClock } from '../../../plugins/support/manual-clock.ts'
import { deferred } from './fixture.ts'
import { ModelShelf } from './simulation/world.ts'

type Command = 'get' | 'stamps' | 'lease' | 'fill' | 'put' | 'invalidate' | 'expire' | 'head'

/** The way of one instance to the store, on which everything happens by direction. */
export interface Line {
  /** Commands sent. */
  readonly calls: Record<string, number>
  /** Messages for it are lost. */
  deaf: boolean
  /** No command gets through. */
  cut: boolean
  /** Buckets for which that holds, and messages are lost. */
  readonly away: Set<string>
  /** Keeps the answer to the next such command, which has been carried out, until `release`. */
  holdAnswer(command: Command): { held: Promise<void>; release(): void }
  /** Every message that it was told comes once more, the oldest first. */
  repeatMessages(): void
}

/** A store shared by instances, as the simulation models it, but without any chance: the test directs what happens. */
export class Stage {
  readonly clock = new ManualClock()
  readonly shelf = new ModelShelf()
  readonly #store = new LocalTier('memory', this.shelf, this.clock)
  readonly #buckets: number

  /** @param buckets of each namespace: several are a Cluster */
  constructor(buckets = 1) {
    this.#buckets = buckets
  }

  connect(): { tier: CacheTier; line: Line } {
    const line = new StagedLine(this.#buckets)
    return { tier: line.tier(this.#store), line }
  }

  /** An instance that has heard everything so far. */
  async instance(t: Test, options: CacheOptions = {}): Promise<{ cache: Cache; line: Line }> {
    const { tier, line } = this.connect()
    const cache = new Cache(
      { tier, journal: new MemoryJournal(tier, this.clock) },
      { clock: this.clock, coherence: 500, warming: { keys: 0 }, ...options },
    )
    await cache.start()
    t.teardown(() => cache.close())
    return { cache, line }
  }

  /** The store forgets a stamp, as an evicting one may: `'t:<tag>'`, or `''` for the generation. */
  loseStamp(name: string): void {
    if (!this.shelf.stamps.delete(`default:${name}`)) throw new Error(`no stamp '${name}'`)
  }

  /** Lets so much time go by, and whatever becomes due be done. */
  async pass(ms: number): Promise<void> {
    const end = this.clock.monotonic() + ms
    while (this.clock.monotonic() < end) {
      this.clock.advance(Math.min(50, end - this.clock.monotonic()))
      await turn()
    }
  }
}

class StagedLine implements Line {
  readonly calls: Record<string, number> = {}
  deaf = false
  cut = false
  readonly away = new Set<string>()
  readonly #buckets: number
  readonly #told: (() => void)[] = []
  readonly #gates = new Map<string, { reached: () => void; open: Promise<void> }>()

  constructor(buckets: number) {
    this.#buckets = buckets
  }

  holdAnswer(command: Command) {
    const reached = deferred()
    const open = deferred()
    this.#gates.set(command, { reached: reached.resolve, open: open.promise })
    return { held: reached.promise, release: () => open.resolve() }
  }

  repeatMessages(): void {
    for (const tell of [...this.#told]) tell()
  }

  tier(store: CacheTier): CacheTier {
    const send = async <T>(command: string, bucket: string, run: () => Promise<T>): Promise<T> => {
      this.calls[command] = (this.calls[command] ?? 0) + 1
      if (this.cut || this.away.has(bucket)) throw new Error('no way to the store')
      const answer = await run()
      const gate = this.#gates.get(command)
      this.#gates.delete(command)
      gate?.reached()
      await gate?.open
      return answer
    }
    return {
      kind: 'redis',
      shared: true,
      buckets: (namespace) =>
        this.#buckets === 1 ? [namespace] : Array.from({ length: this.#buckets }, (_, i) => `${namespace}:${i}.0`),
      now: (bucket) => store.now(bucket),
      get: (...args) => send('get', args[0], () => store.get(...args)),
      stamps: (...args) => send('stamps', args[0], () => store.stamps(...args)),
      exists: (...args) => send('exists', args[0], () => store.exists(...args)),
      lease: (...args) => send('lease', args[0], () => store.lease(...args)),
      renew: (...args) => send('renew', args[0], () => store.renew(...args)),
      release: (...args) => send('release', args[0], () => store.release(...args)),
      fill: (...args) => send('fill', args[0], () => store.fill(...args)),
      put: (...args) => send('put', args[0], () => store.put(...args)),
      invalidate: (...args) => send('invalidate', args[0], () => store.invalidate(...args)),
      expire: (...args) => send('expire', args[0], () => store.expire(...args)),
      head: (...args) => send('head', args[0], () => store.head(...args)),
      keys: (...args) => store.keys(...args),
      subscribe: (bucket, listener: (message: Message) => void) =>
        store.subscribe(bucket, (message) => {
          if (this.deaf || this.cut || this.away.has(bucket)) return
          listener(message)
          this.#told.push(() => listener(message))
        }),
      onInterrupted: () => () => {},
      close: async () => {},
    }
  }
}

/** Everything that only waits for promises has happened. */
export async function turn(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve))
}
