import type { CacheTier, Message } from '../../../../plugins/cache/tier/contract.ts'
import type { KeptStamp, Shelf } from '../../../../plugins/cache/tier/local.ts'
import type { Journal } from '../../../../plugins/cache/write-behind/journal.ts'
import type { Engine } from './engine.ts'
import type { VirtualTime } from './virtual-time.ts'

/** How badly the network between the instances and the store behaves; probabilities from 0 to 1. */
export interface Weather {
  drop: number
  duplicate: number
  /** A message or command takes up to `slowness` instead of a few milliseconds. */
  slow: number
  slowness: number
  /** A command is lost on its way there or back. */
  fail: number
}

/** As the client would: whoever waits longer gives up, though the command may still be carried out. */
const COMMAND_TIMEOUT = 1_000
const FAR_AWAY = 1_000_000

/** Redis as the cache sees it: one place where commands are carried out one after the other, and a bus. */
export class World {
  readonly #engine: Engine
  readonly #time: VirtualTime
  readonly #random: () => number
  /** By the bucket that they listen to. */
  readonly #listeners = new Map<string, Set<(message: Message) => void>>()
  /** Of the one namespace, as on a Cluster when there are several. */
  readonly #buckets: readonly string[]
  readonly #interrupted = new Set<() => void>()
  readonly #cutOff = new Set<number>()
  readonly #crashed = new Set<number>()
  #shelf = new ModelShelf()
  #backup: ModelShelf
  #weather: Weather
  store: CacheTier
  /** Survives everything: what an append-only file that is written at once would keep. */
  readonly journal: InstanceType<Engine['MemoryJournal']>

  constructor(engine: Engine, time: VirtualTime, random: () => number, weather: Weather, buckets = 1) {
    this.#buckets = buckets === 1 ? ['default'] : Array.from({ length: buckets }, (_, i) => `default:${i}.0`)
    for (const bucket of this.#buckets) this.#listeners.set(bucket, new Set())
    this.#engine = engine
    this.#time = time
    this.#random = random
    this.#weather = weather
    this.#backup = this.#shelf.copy()
    this.store = this.#start()
    const tier = {
      put: (...args: Parameters<CacheTier['put']>) => this.store.put(...args),
      invalidate: (...args: Parameters<CacheTier['invalidate']>) => this.store.invalidate(...args),
    }
    this.journal = new engine.MemoryJournal(tier, time.clock(0, 0))
  }

  /**
   * The journal as one instance reaches it.
   * @param appended is told of each write when it gets its number
   */
  connectJournal(instance: number, appended: (id: string, data: Uint8Array) => void): Journal {
    const execute = <T>(command: () => Promise<T>): Promise<T> => this.#execute(command, instance)
    const { journal } = this
    return {
      shared: true,
      // For tools that look at a journal from outside; no engine calls them.
      letters: (writer) => journal.letters(writer),
      adoptLetters: (writer, letters) => execute(() => journal.adoptLetters(writer, letters)),
      writers: () => execute(() => journal.writers()),
      append: (writer, write, most) =>
        execute(async () => {
          const answer = await journal.append(writer, write, most)
          if (answer.state === 'done') appended(answer.id, write.data)
          return answer
        }),
      own: (...args) => execute(() => journal.own(...args)),
      disown: (...args) => execute(() => journal.disown(...args)),
      read: (...args) => execute(() => journal.read(...args)),
      remove: (...args) => execute(() => journal.remove(...args)),
      bury: (...args) => execute(() => journal.bury(...args)),
      dead: (...args) => execute(() => journal.dead(...args)),
      retry: (...args) => execute(() => journal.retry(...args)),
      queued: (...args) => execute(() => journal.queued(...args)),
      size: (...args) => execute(() => journal.size(...args)),
      waited: (...args) => execute(() => journal.waited(...args)),
      // Told with the answers to other commands, which are older.
      waits: (namespace) => journal.waits(namespace),
      pending: (...args) => execute(() => journal.pending(...args)),
    }
  }

  /** The process is gone: it hears nothing any more, and what it asks for is not done. */
  crash(instance: number): void {
    this.#crashed.add(instance)
  }

  /** The store as one instance reaches it. */
  connect(instance: number): CacheTier {
    const execute = <T>(command: () => Promise<T>): Promise<T> => this.#execute(command, instance)
    return {
      kind: 'redis',
      shared: true,
      buckets: (namespace) => (namespace === 'default' ? this.#buckets : [namespace]),
      now: (bucket) => this.store.now(bucket),
      get: (...args) => execute(() => this.store.get(...args)),
      stamps: (...args) => execute(() => this.store.stamps(...args)),
      exists: (...args) => execute(() => this.store.exists(...args)),
      lease: (...args) => execute(() => this.store.lease(...args)),
      renew: (...args) => execute(() => this.store.renew(...args)),
      release: (...args) => execute(() => this.store.release(...args)),
      fill: (...args) => execute(() => this.store.fill(...args)),
      put: (...args) => execute(() => this.store.put(...args)),
      invalidate: (...args) => execute(() => this.store.invalidate(...args)),
      expire: (...args) => execute(() => this.store.expire(...args)),
      head: (...args) => execute(() => this.store.head(...args)),
      keys: (...args) => this.store.keys(...args),
      subscribe: async (bucket, listener) => {
        const deliver = (message: Message) => this.#deliver(message, listener, instance)
        const listeners = this.#listeners.get(bucket)
        listeners?.add(deliver)
        return async () => {
          listeners?.delete(deliver)
        }
      },
      onInterrupted: (listener) => {
        this.#interrupted.add(listener)
        return () => this.#interrupted.delete(listener)
      },
      close: async () => {},
    }
  }

  /** One piece of metadata is gone, as an evicting server may decide. */
  evictStamp(): void {
    const names = [...this.#shelf.stamps.keys()].filter((name) => !name.endsWith(':'))
    const name = names[Math.floor(this.#random() * names.length)]
    if (name !== undefined) this.#shelf.stamps.delete(name)
  }

  /** The head is gone, entries stay; whoever comes next makes a new one. */
  loseHead(): void {
    for (const name of [...this.#shelf.stamps.keys()]) if (name.endsWith(':')) this.#shelf.stamps.delete(name)
    this.store = this.#start()
  }

  flush(): void {
    this.#shelf = new ModelShelf()
    this.store = this.#start()
  }

  /** What a replica has at this moment. */
  replicate(): void {
    this.#backup = this.#shelf.copy()
  }

  /** The replica takes over: what happened since is lost. Its run id is another one, so the head is made anew. */
  failOver(): void {
    this.#shelf = this.#backup.copy()
    this.loseHead()
    for (const listener of this.#interrupted) listener()
  }

  /** Nothing gets through between one instance and the store, and nobody tells it so. */
  cutOff(instance: number): void {
    this.#cutOff.add(instance)
  }

  rejoin(): void {
    this.#cutOff.clear()
  }

  calm(): void {
    this.rejoin()
    this.#weather = { drop: 0, duplicate: 0, slow: 0, slowness: 0, fail: 0 }
  }

  #start(): CacheTier {
    const store = new this.#engine.LocalTier('memory', this.#shelf, this.#time.clock(0, 0))
    for (const [bucket, listeners] of this.#listeners) {
      void store.subscribe(bucket, (message) => {
        for (const listener of listeners) listener(message)
      })
    }
    return store
  }

  async #execute<T>(command: () => Promise<T>, instance: number): Promise<T> {
    if (this.#crashed.has(instance)) return new Promise(() => {})
    const lost = this.#cutOff.has(instance) || this.#random() < this.#weather.fail
    const lostOnTheWayThere = lost && this.#random() < 0.5
    const answer = this.#carryOut(
      command,
      lostOnTheWayThere ? FAR_AWAY : this.#latency(),
      lost ? FAR_AWAY : this.#latency(),
    )
    let timer: { cancel(): void } | undefined
    const tooLate = new Promise<never>((_, reject) => {
      timer = this.#time.at(this.#time.now + COMMAND_TIMEOUT, () => reject(new Error('Command timed out')))
    })
    try {
      return await Promise.race([answer, tooLate])
    } finally {
      timer?.cancel()
    }
  }

  async #carryOut<T>(command: () => Promise<T>, there: number, back: number): Promise<T> {
    await this.#time.after(there)
    const result = await command()
    await this.#time.after(back)
    return result
  }

  #deliver(message: Message, listener: (message: Message) => void, instance: number): void {
    if (this.#crashed.has(instance) || this.#cutOff.has(instance) || this.#random() < this.#weather.drop) return
    this.#time.at(this.#time.now + this.#latency(), () => listener(message))
    if (this.#random() < this.#weather.duplicate) {
      this.#time.at(this.#time.now + this.#latency(), () => listener(message))
    }
  }

  #latency(): number {
    return this.#random() < this.#weather.slow ? this.#random() * this.#weather.slowness : this.#random() * 4
  }
}

/** Entries and stamps in plain sight. */
export class ModelShelf implements Shelf {
  readonly entries = new Map<string, { data: Uint8Array; deadAt: number }>()
  readonly stamps = new Map<string, KeptStamp>()

  copy(): ModelShelf {
    const copy = new ModelShelf()
    for (const [key, entry] of this.entries) copy.entries.set(key, entry)
    for (const [name, value] of this.stamps) copy.stamps.set(name, value)
    return copy
  }

  get(namespace: string, key: string) {
    return this.entries.get(`${namespace}:${key}`)
  }

  put(namespace: string, key: string, data: Uint8Array, deadAt: number) {
    this.entries.set(`${namespace}:${key}`, { data, deadAt })
  }

  replace(namespace: string, key: string, data: Uint8Array, deadAt: number) {
    this.put(namespace, key, data, deadAt)
  }

  remove(namespace: string, key: string) {
    return this.entries.delete(`${namespace}:${key}`)
  }

  keys(namespace: string) {
    const start = `${namespace}:`
    return [...this.entries.keys()].flatMap((key) => (key.startsWith(start) ? [key.slice(start.length)] : []))
  }

  stamp(namespace: string, name: string) {
    return this.stamps.get(`${namespace}:${name}`)
  }

  setStamp(namespace: string, name: string, stamp: KeptStamp) {
    this.stamps.set(`${namespace}:${name}`, stamp)
  }

  async settled() {}

  async close() {}
}
