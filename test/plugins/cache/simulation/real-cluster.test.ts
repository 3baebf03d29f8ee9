import { setTimeout as wait } from 'node:timers/promises'
import slotOf from 'cluster-key-slot'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { BUCKETS } from '../../../../plugins/cache/tier/buckets.ts'
import { openStorage, type RedisStorage } from '../../../../plugins/storage/index.ts'
import { evenTags } from '../../../../plugins/storage/redis/slots.ts'
import { type Random, seededRandom } from '../../../fixtures/random.ts'
import { type RedisCluster, startRedisCluster } from '../../../fixtures/redis-cluster.ts'
import { playRealHistories, type TroubledWorld } from './real-histories.ts'
import { evict, fleetOf, LOSS, troubledInstance } from './real-world.ts'

t.setTimeout(600_000)

/** Few: each of their namespaces has 16 buckets, whose proofs are asked for all the time. */
const SIDE_BY_SIDE = 4
const SEED = Number(process.env['CACHE_SEED'] ?? 1)
const INSTANCES = 3
const WINDOW = 400

/** A real Redis Cluster in trouble, a node at a time. */
class RealCluster implements TroubledWorld {
  readonly #cluster: RedisCluster
  readonly #admins: Redis[]
  readonly #random: Random
  readonly #weather = { loss: LOSS }

  constructor(t: Test, cluster: RedisCluster, random: Random) {
    this.#cluster = cluster
    this.#random = random
    this.#admins = cluster.nodes.map(({ port }) => new Redis(port, { retryStrategy: () => 10 }))
    for (const admin of this.#admins) admin.on('error', () => {})
    t.teardown(() => {
      for (const admin of this.#admins) admin.disconnect()
    })
  }

  async instances(window: number) {
    this.#weather.loss = LOSS
    const url = `redis+cluster://${this.#cluster.nodes.map(({ host, port }) => `${host}:${port}`).join(',')}`
    const opening = Array.from({ length: INSTANCES }, async () =>
      troubledInstance((await openStorage(url)) as RedisStorage, window, this.#random, this.#weather),
    )
    return fleetOf(await Promise.all(opening))
  }

  async trouble(): Promise<string> {
    const index = this.#random.integer(0, this.#admins.length - 1)
    const admin = this.#admins[index] as Redis
    const node = this.#cluster.nodes[index] as RedisCluster['nodes'][number]
    const ms = this.#random.integer(10, 250)
    const troubles: Record<string, () => unknown> = {
      killCommands: () => admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes'),
      killBus: () => admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub'),
      pause: async () => {
        await admin.call('CLIENT', 'PAUSE', ms, 'ALL')
        await wait(ms)
      },
      freeze: async () => {
        node.process().kill('SIGSTOP')
        await wait(ms)
        node.process().kill('SIGCONT')
      },
      flush: () => admin.flushall(),
      evict: () => evict(admin, this.#random),
      move: () => {
        const buckets = evenTags(`history-0-${this.#random.integer(0, SIDE_BY_SIDE - 1)}`, BUCKETS)
        return this.#cluster.moveSlot(slotOf(this.#random.pick(buckets)), node)
      },
    }
    const name = this.#random.pick(Object.keys(troubles))
    await troubles[name]?.()
    return name
  }

  calm(): void {
    this.#weather.loss = 0
  }
}

t.test('histories on a Redis Cluster in trouble serve nothing that was invalidated', async (t) => {
  const random = seededRandom(SEED)
  const world = new RealCluster(t, await startRedisCluster(t), random)
  await playRealHistories(t, { world, random, rounds: 1, sideBySide: SIDE_BY_SIDE, window: WINDOW })
})
