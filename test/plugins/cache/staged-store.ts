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

  connect(): { tier: CacheTier; line: Line } {
    const line = new StagedLine()
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
  readonly #told: (() => void)[] = []
  readonly #gates = new Map<string, { reached: () => void; open: Promise<void> }>()

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
    const send = async <T>(command: string, run: () => Promise<T>): Promise<T> => {
      this.calls[command] = (this.calls[command] ?? 0) + 1
      if (this.cut) throw new Error('no way to the store')
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
      now: () => store.now(),
      get: (...args) => send('get', () => store.get(...args)),
      stamps: (...args) => send('stamps', () => store.stamps(...args)),
      exists: (...args) => send('exists', () => store.exists(...args)),
      lease: (...args) => send('lease', () => store.lease(...args)),
      renew: (...args) => send('renew', () => store.renew(...args)),
      release: (...args) => send('release', () => store.release(...args)),
      fill: (...args) => send('fill', () => store.fill(...args)),
      put: (...args) => send('put', () => store.put(...args)),
      invalidate: (...args) => send('invalidate', () => store.invalidate(...args)),
      expire: (...args) => send('expire', () => store.expire(...args)),
      head: (...args) => send('head', () => store.head(...args)),
      keys: (...args) => store.keys(...args),
      subscribe: (namespace, listener: (message: Message) => void) =>
        store.subscribe(namespace, (message) => {
          if (this.deaf || this.cut) return
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
