import fc from 'fast-check'
import type { Cache } from '../../../../plugins/cache/index.ts'
import type { Engine } from './engine.ts'
import { violations } from './history.ts'
import { type Action, KEYS, Player, PREFIX } from './player.ts'
import { seeded, VirtualTime } from './virtual-time.ts'
import { type Weather, World } from './world.ts'

const WINDOW = 500
const HOUR = 3_600_000
type Trouble = 'evictStamp' | 'loseHead' | 'flush' | 'replicate' | 'failOver' | 'cutOff' | 'rejoin'
type Kind = Action | Trouble

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
  /** Of the namespace: several are a Cluster. */
  buckets: number
  weather: Weather
  steps: Step[]
}

const rarely = (max: number) => fc.oneof(fc.constant(0), fc.double({ min: 0, max, noNaN: true }))

export const plans: fc.Arbitrary<Plan> = fc.record({
  seed: fc.integer(),
  instances: fc.integer({ min: 2, max: 3 }),
  buckets: fc.constantFrom(1, 1, 2, 3),
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
  const world = new World(engine, time, random, plan.weather, plan.buckets)
  const caches: Cache[] = []
  for (let i = 0; i < plan.instances; i++) {
    const clock = time.clock((random() * 2 - 1) * HOUR, random() * HOUR)
    const tier = world.connect(i)
    const parts = { tier, journal: new engine.MemoryJournal(tier, clock) }
    caches.push(new engine.Cache(parts, { clock, random, coherence: WINDOW, prefixes: [PREFIX] }))
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

function perform({ kind, instance, key, loading }: Step, player: Player, world: World): void {
  const at = instance % player.instances
  const troubles: Record<Trouble, () => void> = {
    evictStamp: () => world.evictStamp(),
    loseHead: () => world.loseHead(),
    flush: () => world.flush(),
    replicate: () => world.replicate(),
    failOver: () => world.failOver(),
    cutOff: () => world.cutOff(at),
    rejoin: () => world.rejoin(),
  }
  if (Object.hasOwn(troubles, kind)) troubles[kind as Trouble]()
  else player.act(kind as Action, at, KEYS[key] as string, loading)
}
