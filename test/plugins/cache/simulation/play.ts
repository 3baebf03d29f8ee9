import fc from 'fast-check'
import type { Cache } from '../../../../plugins/cache/index.ts'
import type { Engine } from './engine.ts'
import { type History, type Invalidated, type Value, violations } from './history.ts'
import { seeded, VirtualTime } from './virtual-time.ts'
import { type Weather, World } from './world.ts'

const WINDOW = 500
const HOUR = 3_600_000
const KEYS = ['user:1', 'user:2', 'post:1']
/** What each entry carries, whoever stores it. */
const TAGS: Record<string, string[]> = { 'user:1': ['x', 'y'], 'user:2': ['x'], 'post:1': ['y'] }

type Kind =
  | ('get' | 'load' | 'staleLoad' | 'lateTagLoad' | 'set' | 'delete' | 'expire' | 'tag' | 'pattern' | 'prefix')
  | ('clear' | 'evictStamp' | 'loseHead' | 'flush' | 'replicate' | 'failOver' | 'cutOff' | 'rejoin')

interface Step {
  gap: number
  kind: Kind
  instance: number
  key: number
  /** How long the loader takes. */
  loading: number
}

export interface Plan {
  seed: number
  instances: number
  weather: Weather
  steps: Step[]
}

const rarely = (max: number) => fc.oneof(fc.constant(0), fc.double({ min: 0, max, noNaN: true }))

export const plans: fc.Arbitrary<Plan> = fc.record({
  seed: fc.integer(),
  instances: fc.integer({ min: 2, max: 3 }),
  weather: fc.record({
    drop: rarely(0.5),
    duplicate: rarely(0.5),
    slow: rarely(0.3),
    slowness: fc.constantFrom(50, 700, 2_500),
    fail: rarely(0.15),
  }),
  steps: fc.array(
    fc.record({
      gap: fc.oneof(fc.integer({ min: 0, max: 8 }), fc.integer({ min: 0, max: 700 })),
      kind: fc.oneof(
        { weight: 12, arbitrary: fc.constantFrom<Kind>('load', 'load', 'lateTagLoad', 'get', 'get', 'staleLoad') },
        {
          weight: 6,
          arbitrary: fc.constantFrom<Kind>('set', 'delete', 'expire', 'tag', 'tag', 'pattern', 'prefix', 'clear'),
        },
        {
          weight: 2,
          arbitrary: fc.constantFrom<Kind>(
            ...([
              'evictStamp',
              'loseHead',
              'flush',
              'replicate',
              'replicate',
              'failOver',
              'failOver',
              'cutOff',
              'rejoin',
            ] as const),
          ),
        },
      ),
      instance: fc.nat(2),
      key: fc.nat(KEYS.length - 1),
      loading: fc.oneof(fc.integer({ min: 0, max: 20 }), fc.integer({ min: 0, max: 1_500 })),
    }),
    { minLength: 4, maxLength: 30 },
  ),
})

/** Plays a history, lets the weather calm down, reads everything once more, and answers what was wrong. */
export async function play(engine: Engine, plan: Plan): Promise<string[]> {
  const random = seeded(plan.seed)
  const time = new VirtualTime()
  const world = new World(engine, time, random, plan.weather)
  const caches: Cache[] = []
  for (let i = 0; i < plan.instances; i++) {
    const clock = time.clock((random() * 2 - 1) * HOUR, random() * HOUR)
    const parts = { tier: world.connect(i), journal: new engine.MemoryJournal() }
    caches.push(new engine.Cache(parts, { clock, random, coherence: WINDOW, prefixes: ['user:'] }))
  }
  const player = new Player(caches, time)
  for (const cache of caches) void cache.start()
  await time.run(20)
  for (const step of plan.steps) {
    await time.run(time.now + step.gap)
    perform(step, player, world)
  }
  await time.run(time.now + 1_000)
  world.calm()
  await time.run(time.now + 6_000)
  for (let instance = 0; instance < plan.instances; instance++) {
    for (const key of KEYS) {
      player.get(instance, key)
      player.get(instance, key)
    }
  }
  await time.run(time.now + 100)
  return violations(player.history, WINDOW)
}

function perform({ kind, instance, key: index, loading }: Step, player: Player, world: World): void {
  const at = instance % player.instances
  const key = KEYS[index] as string
  const tagged = KEYS.filter((key) => TAGS[key]?.includes('y'))
  const users = KEYS.filter((key) => key.startsWith('user:'))
  const actions: Record<Kind, () => void> = {
    get: () => player.get(at, key),
    load: () => player.load(at, key, loading, kind),
    staleLoad: () => player.load(at, key, loading, kind),
    lateTagLoad: () => player.load(at, key, loading, kind),
    set: () => player.set(at, key),
    delete: () => player.invalidate(at, [key], kind, (cache) => cache.delete(key)),
    expire: () => player.invalidate(at, [key], kind, (cache) => cache.expire(key), true),
    tag: () => player.invalidate(at, tagged, kind, (cache) => cache.invalidateTags('y')),
    pattern: () => player.invalidate(at, KEYS, kind, (cache) => cache.deleteMatching('*s*:?')),
    prefix: () => player.invalidate(at, users, kind, (cache) => cache.deleteMatching('user:*')),
    clear: () => player.invalidate(at, KEYS, kind, (cache) => cache.clear()),
    evictStamp: () => world.evictStamp(),
    loseHead: () => world.loseHead(),
    flush: () => world.flush(),
    replicate: () => world.replicate(),
    failOver: () => world.failOver(),
    cutOff: () => world.cutOff(at),
    rejoin: () => world.rejoin(),
  }
  actions[kind]()
}

class Player {
  readonly history: History = { births: new Map(), invalidations: [], reads: [] }
  readonly #caches: Cache[]
  readonly #time: VirtualTime
  #events = 0

  constructor(caches: Cache[], time: VirtualTime) {
    this.#caches = caches
    this.#time = time
  }

  get instances(): number {
    return this.#caches.length
  }

  get(instance: number, key: string): void {
    const cache = this.#caches[instance] as Cache
    const beganAt = this.#time.now
    const read = (how: string, value: Value | undefined) => {
      if (value) this.history.reads.push({ instance, how, key, takesStale: false, beganAt, value })
    }
    read('peek', cache.peek<Value>(key))
    void cache.get<Value>(key).then((value) => read('get', value))
  }

  load(instance: number, key: string, ms: number, how: string): void {
    const beganAt = this.#time.now
    const takesStale = how === 'staleLoad'
    const loader = async ({ tags }: { tags: string[] }): Promise<Value> => {
      const id = ++this.#events
      this.history.births.set(id, id)
      await this.#time.after(ms)
      if (how === 'lateTagLoad') tags.push(...(TAGS[key] as string[]))
      return { key, id }
    }
    const options = {
      ...(how === 'lateTagLoad' ? {} : { tags: TAGS[key] as string[] }),
      ...(takesStale ? { stale: 5_000 } : {}),
    }
    void (this.#caches[instance] as Cache).getOrSet<Value>(key, loader, options).then(
      (value) => this.history.reads.push({ instance, how, key, takesStale, beganAt, value }),
      // A waiter may run into its deadline; that returns nothing old.
      () => {},
    )
  }

  set(instance: number, key: string): void {
    const value: Value = { key, id: ++this.#events }
    // While it runs, or when nobody knows whether it happened, it may take effect after whatever else is done.
    this.history.births.set(value.id, Number.POSITIVE_INFINITY)
    this.#record(instance, [key], 'set', false, value.id, async (cache) => {
      await cache.set(key, value, { tags: TAGS[key] as string[] })
      this.history.births.set(value.id, ++this.#events)
    })
  }

  invalidate(
    instance: number,
    keys: readonly string[],
    how: string,
    run: (cache: Cache) => Promise<unknown>,
    soft = false,
  ): void {
    this.#record(instance, keys, how, soft, ++this.#events, run)
  }

  #record(
    instance: number,
    keys: readonly string[],
    how: string,
    soft: boolean,
    beganAt: number,
    run: (cache: Cache) => Promise<unknown>,
  ): void {
    const invalidation: Invalidated = { keys, instance, how, soft, beganAt, doneAt: undefined }
    this.history.invalidations.push(invalidation)
    run(this.#caches[instance] as Cache).then(
      () => {
        invalidation.doneAt = this.#time.now
      },
      () => {},
    )
  }
}
