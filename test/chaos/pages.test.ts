import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { createClient, type Replica, type StatefulClient, type WriteError } from '../../client/index.ts'
import type { Json, Op } from '../../openapi/schemas/state.ts'
import { ManualClock } from '../../plugins/support/manual-clock.ts'
import { SyncHub } from '../../plugins/sync/hub.ts'
import { settingsOf } from '../../plugins/sync/options.ts'
import { type Random, seededRandom } from '../fixtures/random.ts'
import { MemorySpace } from '../plugins/sync/memory-space.ts'
import { Network } from './wire.ts'

const SEED = Number(process.env['CHAOS_SEED'] ?? 1)
const SCHEDULES = Number(process.env['CHAOS_PAGES'] ?? 40)
const STEPS = 60
const MOST_PAGES = 5

/** What a write of a schedule is known by: an item of a list. */
interface Sent {
  readonly item: string
  fate: 'open' | 'acknowledged' | 'refused' | 'unknown'
}

/** A tab: its storage lives longer than the page in it. */
interface Tab {
  storage: Map<string, string>
  client: StatefulClient
  replicas: Replica[]
  /** Of the page that is in it, and of those before it. */
  sent: Sent[]
}

/** Timers of clients, which fire when a schedule says so. */
class Timers {
  readonly #waiting = new Set<{ run: () => void }>()

  after = (_ms: number, run: () => void) => {
    const timer = { run }
    this.#waiting.add(timer)
    return () => void this.#waiting.delete(timer)
  }

  fire(some: () => boolean = () => true): void {
    for (const timer of [...this.#waiting]) {
      if (!some() || !this.#waiting.delete(timer)) continue
      timer.run()
    }
  }
}

class Schedule {
  readonly random: Random
  readonly #hub: SyncHub
  readonly #space = new MemorySpace()
  readonly #network: Network
  readonly #timers = new Timers()
  readonly #tabs: Tab[] = []
  readonly #sent: Sent[] = []
  readonly #broken: string[] = []
  /** The store fails, before or after it has written. */
  #failing: 'no' | 'before' | 'after' = 'no'

  constructor(seed: number) {
    this.random = seededRandom(seed)
    this.#hub = new SyncHub({
      settings: settingsOf({ clock: new ManualClock(), maxQueuedMessages: 8, maxPayload: 2_000, maxSubscriptions: 3 }),
      instance: 'here',
      space: () => ({ space: this.#space, release() {} }),
      onError() {},
    })
    this.#network = new Network(this.#hub, this.random)
    this.#space.set('theirs', 0)
    // As a real space has it: looking for the number and writing are one step.
    const commit = (ops: Op[], { clientId = '', seq = 0 }: { clientId?: string; seq?: number } = {}) =>
      this.#space.log.find((one) => one.clientId === clientId && one.seq === seq) ??
      this.#space.apply(ops, { clientId, seq })
    this.#space.commit = async (ops: Op[], options) => {
      const fails = this.random.chance(0.5) ? this.#failing : 'no'
      if (fails === 'before') throw new Error('the store is away')
      if (ops.some(({ key }) => key === 'locked')) throw Object.assign(new Error('locked'), { statusCode: 422 })
      const committed = commit(ops, options)
      if (fails === 'after') throw new Error('the store is away')
      return committed
    }
  }

  async run(): Promise<string[]> {
    await this.open(new Map(), [])
    for (let step = 0; step < STEPS && this.#broken.length === 0; step++) {
      await this.act()
      await this.#network.deliver(this.random.integer(1, 12))
      this.look()
    }
    await this.heal()
    for (const { client } of this.#tabs) client.close()
    return this.#broken
  }

  async open(storage: Map<string, string>, sent: Sent[]): Promise<void> {
    const before = this.#network.wires.size
    const client = createClient({
      baseUrl: 'http://localhost',
      WebSocket: this.#network.WebSocket,
      storage: {
        getItem: (key) => storage.get(key) ?? null,
        setItem: (key, text) => storage.set(key, text),
      },
      timing: { random: () => this.random.next(), after: this.#timers.after },
    })
    const replicas = [client.replica(), client.replica('app', { prefix: 'list' })]
    this.#tabs.push({ storage, client, replicas, sent })
    // It loads what keeps its writes first, which takes as long as the disk does.
    while (this.#network.wires.size === before) await turn()
  }

  async act(): Promise<void> {
    const tab = this.random.pick(this.#tabs)
    const wires = [...this.#network.wires]
    const actions: { [name: string]: () => unknown } = {
      write: () => this.write(tab, this.random.integer(1, 3)),
      'write again': () => this.write(tab, 1),
      overflow: () => this.write(tab, 40),
      invalid: () => this.writeInvalid(tab),
      'the server writes': () => this.#space.set('theirs', this.random.integer(1, 100)),
      lose: () => wires.length > 0 && this.random.pick(wires).lose(1006),
      'half-open': () => {
        if (wires.length > 0) this.random.pick(wires).halfOpen = true
      },
      'time passes': () => this.#timers.fire(() => this.random.chance(0.7)),
      'time passes again': () => this.#timers.fire(),
      network: () => {
        this.#network.down = !this.#network.down
      },
      store: () => {
        this.#failing = this.random.pick(['no', 'no', 'before', 'after'])
      },
      reload: () => this.reload(tab),
      duplicate: () => {
        if (this.#tabs.length < MOST_PAGES) return this.open(new Map(tab.storage), [...tab.sent])
        return undefined
      },
      reconnect: () => tab.client.reconnect(),
    }
    await actions[this.random.pick(Object.keys(actions))]?.()
  }

  write(tab: Tab, count: number): void {
    for (let index = 0; index < count; index++) {
      const sent: Sent = { item: `${this.#sent.length}`, fate: 'open' }
      this.#sent.push(sent)
      tab.sent.push(sent)
      this.random
        .pick(tab.replicas)
        .append('list', sent.item)
        .then(
          () => {
            sent.fate = 'acknowledged'
            if (!this.#list().includes(sent.item)) this.#broken.push(`${sent.item} was acknowledged and is not there`)
          },
          ({ outcome }: WriteError) => {
            sent.fate = outcome
          },
        )
    }
  }

  /** Each is refused with an answer of its own, and the rest goes on. */
  writeInvalid({ replicas: [whole] }: Tab): void {
    if (!whole) return
    const refused = (name: string, written: Promise<unknown>) =>
      written.then(
        () => this.#broken.push(`${name} was not refused`),
        ({ outcome, code }: WriteError) => {
          if (outcome === undefined) this.#broken.push(`${name}: ${code}`)
        },
      )
    refused('a number that is none', whole.set('n', Number.NaN))
    refused('what is too large', whole.set('n', 'x'.repeat(3_000)))
    refused('what a rule forbids', whole.set('locked', 1))
    refused('the wrong type', whole.append('theirs', 1))
  }

  /** The page is gone without a word, and another one is in its place. */
  async reload(tab: Tab): Promise<void> {
    this.#tabs.splice(this.#tabs.indexOf(tab), 1)
    const storage = new Map(tab.storage)
    // What becomes of its writes nobody is told.
    tab.client.close()
    await this.open(storage, tab.sent)
  }

  #list(): Json[] {
    return (this.#space.get('list') ?? []) as Json[]
  }

  /** What a page shows beyond what the server has is its own, and undecided. */
  look(): void {
    const there = new Set(this.#list())
    for (const { replicas, sent } of this.#tabs) {
      const own = new Map(sent.map((one) => [one.item, one]))
      for (const replica of replicas) {
        const shown = (replica.get('list') ?? []) as string[]
        for (const item of shown) {
          if (there.has(item)) continue
          if (!own.has(item)) this.#broken.push(`${item} is shown by a page that never wrote it`)
          else if (replica.pending === 0) this.#broken.push(`${item} is shown as confirmed and is not there`)
        }
      }
    }
  }

  /** Everything works again: each write gets its outcome, and all pages show what the server has. */
  async heal(): Promise<void> {
    this.#network.down = false
    this.#failing = 'no'
    for (const wire of this.#network.wires) if (wire.halfOpen) wire.lose(1006)
    for (let round = 0; round < 80; round++) {
      this.#timers.fire()
      for (let times = 0; times < 3; times++) await this.#network.deliver()
      if (
        this.#tabs.every(({ replicas }) => replicas.every(({ pending, status }) => pending === 0 && status === 'live'))
      )
        break
    }
    await this.#network.deliver()
    const list = this.#list()
    for (const item of list) {
      if (list.indexOf(item) !== list.lastIndexOf(item)) this.#broken.push(`${item} was applied twice`)
    }
    for (const { item, fate } of this.#sent) {
      if (fate === 'acknowledged' && !list.includes(item)) this.#broken.push(`${item} is lost`)
      if (fate === 'refused' && list.includes(item)) this.#broken.push(`${item} was refused and is there`)
      if (fate === 'open') this.#broken.push(`${item} has no outcome`)
    }
    const expected = JSON.stringify(Object.entries(this.#space.snapshot().state).sort())
    for (const { replicas } of this.#tabs) {
      const [whole] = replicas
      const shown = JSON.stringify(Object.entries(whole?.snapshot() ?? {}).sort())
      if (shown !== expected) this.#broken.push(`a page shows ${shown.slice(0, 200)}, not ${expected.slice(0, 200)}`)
      for (const { pending, status } of replicas) {
        if (pending > 0 || status !== 'live') this.#broken.push(`a replica is ${status} with ${pending} writes`)
      }
    }
  }
}

t.test(
  `pages that reload, are duplicated, overflow and write nonsense (${SCHEDULES} schedules from ${SEED})`,
  async (t) => {
    t.setTimeout(SCHEDULES * 3_000)
    let writes = 0
    for (let seed = SEED; seed < SEED + SCHEDULES; seed++) {
      const broken = await new Schedule(seed).run()
      if (broken.length > 0) {
        t.fail(`seed ${seed}: ${broken.slice(0, 5).join('; ')} (replay: CHAOS_SEED=${seed} CHAOS_PAGES=1)`)
        return
      }
      writes++
    }
    t.equal(writes, SCHEDULES)
  },
)
