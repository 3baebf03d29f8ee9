import fc from 'fast-check'
import type { Cache, CacheOptions } from '../../../../../plugins/cache/index.ts'
import { decode } from '../../../../../plugins/cache/tier/record.ts'
import type { Engine } from '../../simulation/engine.ts'
import { seeded, VirtualTime } from '../../simulation/virtual-time.ts'
import { type Weather, World } from '../../simulation/world.ts'
import { type Read, violations, type Write } from './history.ts'
import { type Discipline, Source, type Value } from './source.ts'

const WINDOW = 500
const HOUR = 3_600_000
const KEYS = ['user:1', 'user:2', 'post:1']
const TAG = 'x'
/** Shorter than some handlers take, so that they are renewed, and than some hang. */
const OPTIONS: NonNullable<CacheOptions['writeBehind']> = {
  delay: 20,
  batch: 2,
  attempts: 3,
  backoff: 20,
  timeout: 1_200,
  lease: 400,
  takeover: 300,
}

type Invalidation = 'delete' | 'expire' | 'tag' | 'pattern' | 'clear'
type Trouble = 'crash' | 'cutOff' | 'rejoin' | 'loseHead' | 'evictStamp'
const TROUBLES: ReadonlySet<string> = new Set(['crash', 'cutOff'] satisfies Trouble[])
type Kind = 'write' | 'get' | 'load' | Invalidation | Trouble

interface Step {
  gap: number
  kind: Kind
  instance: number
  key: number
  /** Of a write, or how long a loader takes. */
  ms: number
}

export interface Plan {
  seed: number
  instances: number
  discipline: Discipline
  weather: Weather
  /** Chances of a call of the handler. */
  handler: { fails: number; hangs: number; slow: number }
  steps: Step[]
}

const rarely = (max: number) => fc.oneof(fc.constant(0), fc.double({ min: 0, max, noNaN: true }))

export const plans: fc.Arbitrary<Plan> = fc.record({
  seed: fc.integer(),
  instances: fc.integer({ min: 2, max: 3 }),
  discipline: fc.constantFrom<Discipline>('obeys', 'obeys', 'refuses'),
  weather: fc.record({
    drop: rarely(0.3),
    duplicate: rarely(0.3),
    slow: rarely(0.3),
    slowness: fc.constantFrom(50, 300, 700),
    fail: rarely(0.1),
  }),
  handler: fc.record({ fails: rarely(0.6), hangs: rarely(0.3), slow: rarely(0.9) }),
  steps: fc.array(
    fc.record({
      gap: fc.oneof(fc.integer({ min: 0, max: 10 }), fc.integer({ min: 0, max: 400 })),
      kind: fc.oneof(
        { weight: 8, arbitrary: fc.constantFrom<Kind>('write') },
        { weight: 6, arbitrary: fc.constantFrom<Kind>('get', 'load', 'load') },
        { weight: 6, arbitrary: fc.constantFrom<Kind>('delete', 'expire', 'tag', 'pattern', 'clear') },
        {
          weight: 2,
          arbitrary: fc.constantFrom<Kind>('crash', 'cutOff', 'cutOff', 'rejoin', 'rejoin', 'loseHead', 'evictStamp'),
        },
      ),
      instance: fc.nat(2),
      key: fc.oneof(fc.constant(0), fc.nat(KEYS.length - 1)),
      ms: fc.oneof(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: 1_500 })),
    }),
    { minLength: 4, maxLength: 30 },
  ),
})

/** Plays a history, lets everybody finish, and answers where source, cache and journal do not agree. */
export async function play(engine: Engine, plan: Plan): Promise<string[]> {
  const game = new Game(engine, plan)
  await game.time.run(20)
  for (const step of plan.steps) {
    await game.time.run(game.time.now + step.gap)
    game.perform(step)
  }
  return game.finish()
}

class Game {
  readonly time = new VirtualTime()
  readonly #engine: Engine
  readonly #plan: Plan
  readonly #random: () => number
  readonly #world: World
  readonly #source: Source
  /** The living one of each place, and its number: a process that is started again is another one. */
  readonly #places: { cache: Cache; instance: number }[] = []
  /** Those whose handler is running. */
  readonly #handling = new Set<number>()
  #instances = 0
  readonly #crashed = new Set<number>()
  /** By their numbers, from 1. */
  readonly #writes: Write[] = []
  readonly #reads: Read[] = []
  #calm = false

  constructor(engine: Engine, plan: Plan) {
    this.#engine = engine
    this.#plan = plan
    this.#random = seeded(plan.seed)
    this.#source = new Source(plan.discipline)
    this.#world = new World(engine, this.time, this.#random, plan.weather)
    for (let place = 0; place < plan.instances; place++) this.#start(place)
  }

  perform({ kind, instance: at, key: index, ms }: Step): void {
    // Trouble comes to who is at it, as a rule.
    const busy =
      TROUBLES.has(kind) && ms % 4 > 0 ? this.#places.findIndex((one) => this.#handling.has(one.instance)) : -1
    const place = busy >= 0 ? busy : at % this.#places.length
    const { cache, instance } = this.#places[place] as { cache: Cache; instance: number }
    const key = KEYS[index] as string
    const actions: Record<Kind, () => unknown> = {
      write: () => this.#write(cache, instance, key, ms),
      get: () => this.#read(cache, instance, key, 'get', () => cache.get<Value>(key)),
      load: () => this.#load(cache, instance, key, ms),
      delete: () => cache.delete(key),
      expire: () => cache.expire(key),
      tag: () => cache.invalidateTags(TAG),
      pattern: () => cache.deleteMatching('*s*:?'),
      clear: () => cache.clear(),
      crash: () => this.#crash(place),
      cutOff: () => this.#world.cutOff(instance),
      rejoin: () => this.#world.rejoin(),
      loseHead: () => this.#world.loseHead(),
      evictStamp: () => this.#world.evictStamp(),
    }
    // What fails is not judged; what hangs does not hold up the history.
    void Promise.resolve(actions[kind]()).catch(() => {})
  }

  async finish(): Promise<string[]> {
    await this.time.run(this.time.now + 500)
    this.#world.calm()
    this.#calm = true
    await this.time.run(this.time.now + 6_000)
    const wrong: string[] = []
    const { pending } = await this.#world.journal.size('default')
    if (pending > 0) wrong.push(`${pending} writes wait for ever`)
    for (const { cache, instance } of this.#places) {
      for (const key of KEYS) {
        void this.#read(cache, instance, key, 'get', () => cache.get<Value>(key))
        void this.#load(cache, instance, key, 1)
        const agree = async (how: string, value: Promise<Value | undefined>) => {
          const { n } = (await value) ?? this.#source.read(key)
          const has = this.#source.read(key).n
          if (n !== has)
            wrong.push(`instance ${instance}: ${how}(${key}) is write ${n}, but the source has write ${has}`)
        }
        void agree('get', cache.get<Value>(key))
        void agree(
          'getOrSet',
          cache.getOrSet(key, async () => this.#source.read(key)),
        )
      }
    }
    await this.time.run(this.time.now + 100)
    const letters = await this.#world.journal.dead('default', 1_000)
    const dead = new Set(letters.map(({ data }) => numberIn(data)))
    return [...wrong, ...violations({ writes: this.#writes, reads: this.#reads, dead, source: this.#source }, WINDOW)]
  }

  #start(place: number): void {
    const instance = this.#instances++
    const clock = this.time.clock((this.#random() * 2 - 1) * HOUR, this.#random() * HOUR)
    const parts = {
      tier: this.#world.connect(instance),
      journal: this.#world.connectJournal(instance, (id, data) => {
        const write = this.#writes[numberIn(data) - 1]
        if (write) write.id = id
      }),
    }
    const options = { clock, random: this.#random, coherence: WINDOW, writeBehind: OPTIONS, warming: { keys: 0 } }
    const cache = new this.#engine.Cache(parts, options)
    this.#places[place] = { cache, instance }
    cache.writeBehind('default', (writes, { signal }) => this.#handle(instance, writes as never, signal))
    void cache.start()
  }

  #crash(place: number): void {
    const { instance } = this.#places[place] as { instance: number }
    this.#crashed.add(instance)
    this.#world.crash(instance)
    this.#start(place)
  }

  async #handle(instance: number, writes: { id: string; key: string; value: Value }[], signal: AbortSignal) {
    this.#handling.add(instance)
    try {
      return await this.#persist(instance, writes, signal)
    } finally {
      this.#handling.delete(instance)
    }
  }

  async #persist(instance: number, writes: { id: string; key: string; value: Value }[], signal: AbortSignal) {
    const { fails, hangs, slow } = this.#calm ? { fails: 0, hangs: 0, slow: 0 } : this.#plan.handler
    await this.time.after(this.#random() < slow ? 300 + this.#random() * 800 : this.#random() * 30)
    if (this.#random() < hangs) await this.time.after(3_000)
    const failsAt = this.#random() < fails ? Math.floor(this.#random() * (writes.length + 1)) : Number.POSITIVE_INFINITY
    for (const [i, { key, id, value }] of writes.entries()) {
      if (this.#crashed.has(instance)) return new Promise(() => {})
      if (i >= failsAt) throw new Error('refused')
      this.#source.write(key, id, value, signal.aborted)
    }
    if (failsAt === writes.length) throw new Error('the answer got lost')
    return undefined
  }

  async #write(cache: Cache, instance: number, key: string, ttl: number): Promise<void> {
    const write: Write = { key, n: this.#writes.length + 1, instance, id: undefined, acknowledgedAt: undefined }
    this.#writes.push(write)
    await cache.setWithDelayedPersist(key, { key, n: write.n }, { ttl, tags: [TAG] })
    write.acknowledgedAt = this.time.now
  }

  #load(cache: Cache, instance: number, key: string, ms: number): Promise<void> {
    return this.#read(cache, instance, key, 'getOrSet', () =>
      cache.getOrSet(
        key,
        async () => {
          const value = this.#source.read(key)
          await this.time.after(ms)
          return value
        },
        { ttl: 1_000, tags: [TAG] },
      ),
    )
  }

  async #read(cache: Cache, instance: number, key: string, how: string, read: () => Promise<Value | undefined>) {
    const beganAt = this.time.now
    const failures = cache.stats().storeFailures
    const value = await read()
    // Who cannot reach the store goes to the source, which may be behind.
    if (cache.stats().storeFailures !== failures) return
    const [data] = await this.#world.journal.pending('default', [key])
    this.#reads.push({ instance, how, key, beganAt, value, waiting: data && numberIn(data) })
  }
}

const numberIn = (data: Uint8Array): number => (decode(data)?.value as Value | undefined)?.n ?? 0
