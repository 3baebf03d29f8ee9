import { setTimeout as wait } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { Test } from 'tap'
import { Cache } from '../../../../plugins/cache/index.ts'
import { Breaker } from '../../../../plugins/cache/tier/breaker.ts'
import type { Message } from '../../../../plugins/cache/tier/contract.ts'
import { RedisTier } from '../../../../plugins/cache/tier/redis.ts'
import { MemoryJournal } from '../../../../plugins/cache/write-behind/memory.ts'
import { openStorage, type RedisStorage } from '../../../../plugins/storage/index.ts'
import { type Clock, systemClock } from '../../../../plugins/support/clock.ts'
import { type FaultProxy, startFaultProxy } from '../../../fixtures/fault-proxy.ts'
import type { Random } from '../../../fixtures/random.ts'
import { type RedisServer, startRedis } from '../../../fixtures/redis-server.ts'
import { PREFIX } from './player.ts'
import type { TroubledWorld } from './real-histories.ts'

const HOUR = 3_600_000
/** Probability that a message is dropped, and that it is doubled, and that it is late. */
export const LOSS = 0.03

/** A bus that drops, doubles and delays messages, on top of what a cut connection loses. */
class LossyTier extends RedisTier {
  readonly #random: Random
  readonly #weather: { loss: number }

  constructor(storage: RedisStorage, clock: Clock, random: Random, weather: { loss: number }) {
    super(storage, clock)
    this.#random = random
    this.#weather = weather
  }

  override subscribe(namespace: string, listener: (message: Message) => void): Promise<() => Promise<void>> {
    const happens = () => this.#random.chance(this.#weather.loss)
    return super.subscribe(namespace, (message) => {
      if (happens()) return
      if (happens()) systemClock.after(this.#random.integer(1, 100), () => listener(message))
      else listener(message)
      if (happens()) systemClock.after(this.#random.integer(1, 100), () => listener(message))
    })
  }
}

/** A real Redis server, several instances of the cache, each behind a network of its own, and their troubles. */
export class RealWorld implements TroubledWorld {
  readonly #server: RedisServer
  readonly #networks: FaultProxy[]
  readonly #random: Random
  readonly #admin: Redis
  readonly #weather = { loss: LOSS }

  private constructor(server: RedisServer, networks: FaultProxy[], random: Random) {
    this.#server = server
    this.#networks = networks
    this.#random = random
    this.#admin = new Redis(server.url, { retryStrategy: () => 10 })
    this.#admin.on('error', () => {})
  }

  static async start(t: Test, instances: number, random: Random): Promise<RealWorld> {
    const server = await startRedis(t)
    const target = { port: server.port }
    const networks = await Promise.all(Array.from({ length: instances }, () => startFaultProxy(t, { target })))
    const world = new RealWorld(server, networks, random)
    t.teardown(() => world.#admin.disconnect())
    return world
  }

  /** Clocks differ by hours. */
  async instances(window: number): Promise<{ caches: Cache[]; close(): Promise<void> }> {
    this.#weather.loss = LOSS
    const opened = await Promise.all(
      this.#networks.map(async ({ port }) => {
        const storage = (await openStorage(`redis://127.0.0.1:${port}`)) as RedisStorage
        return troubledInstance(storage, window, this.#random, this.#weather)
      }),
    )
    return fleetOf(opened)
  }

  async trouble(): Promise<string> {
    const network = this.#random.pick(this.#networks)
    const ms = this.#random.integer(10, 250)
    const troubles: Record<string, () => unknown> = {
      killCommands: () => this.#admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes'),
      killBus: () => this.#admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub'),
      cut: () => network.cut(),
      dropReplies: () => network.dropReplies(),
      unplug: async () => {
        network.halfOpen()
        await wait(2 * ms)
      },
      slow: async () => {
        network.delay(this.#random.integer(1, 60))
        await wait(ms)
      },
      pause: async () => {
        await this.#admin.call('CLIENT', 'PAUSE', ms, 'ALL')
        await wait(ms)
      },
      freeze: async () => {
        this.#server.process().kill('SIGSTOP')
        await wait(ms)
        this.#server.process().kill('SIGCONT')
      },
      flush: () => this.#admin.flushall(),
      evict: () => evict(this.#admin, this.#random),
      restart: async () => {
        // Starting takes as long as many other troubles together.
        if (this.#random.chance(0.2)) await this.#server.restart()
      },
    }
    const name = this.#random.pick(Object.keys(troubles))
    try {
      await troubles[name]?.()
    } finally {
      network.heal()
    }
    return name
  }

  calm(): void {
    this.#weather.loss = 0
    for (const network of this.#networks) network.heal()
  }
}

/** Metadata goes: stamps, leases or heads, as an evicting server may decide. */
export async function evict(server: Redis, random: Random): Promise<void> {
  const pattern = random.pick(['*}:s:*', '*}:l:*', '*}:h'])
  const keys = await server.keys(pattern)
  const some = random.shuffle(keys).slice(0, Math.ceil(keys.length / 3))
  // One by one: on a Cluster they lie in many slots.
  await Promise.all(some.map((key) => server.del(key)))
}

/** One instance, its clock hours off, its bus lossy. */
export async function troubledInstance(
  storage: RedisStorage,
  window: number,
  random: Random,
  weather: { loss: number },
): Promise<{ storage: RedisStorage; cache: Cache }> {
  const clock = skewed(random)
  const tier = new Breaker(new LossyTier(storage, clock, random.fork(), weather), {
    clock,
    deadline: 150,
    failures: 5,
    pause: 30,
    journal: false,
    onChange: () => {},
  })
  const cache = new Cache(
    { tier, journal: new MemoryJournal(tier, clock) },
    {
      clock,
      coherence: window,
      prefixes: [PREFIX],
      loadTimeout: 600,
      warming: { keys: 0 },
      // Who is cut off does not hear of invalidations, as documented; here everybody has to.
      outage: { serveL1: 0 },
    },
  )
  await cache.start()
  return { storage, cache }
}

export function fleetOf(opened: { storage: RedisStorage; cache: Cache }[]): {
  caches: Cache[]
  close(): Promise<void>
} {
  return {
    caches: opened.map(({ cache }) => cache),
    async close() {
      for (const { cache, storage } of opened) {
        await cache.close()
        await storage.close()
      }
    },
  }
}

function skewed(random: Random): Clock {
  const wall = random.integer(-HOUR, HOUR)
  const start = random.integer(0, HOUR)
  return { ...systemClock, now: () => systemClock.now() + wall, monotonic: () => systemClock.monotonic() + start }
}
