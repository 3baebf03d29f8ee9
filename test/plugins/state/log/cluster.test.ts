import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import t from 'tap'
import { type RedisClusterNode, startRedisCluster } from '../../../fixtures/redis-cluster.ts'
import { testState } from '../../../fixtures/state.ts'

t.test(
  'a space on a Redis Cluster lies in one slot, and moves with it under load without losing a write',
  async (t) => {
    const cluster = await startRedisCluster(t)
    const url = `redis+cluster://${cluster.nodes.map(({ host, port }) => `${host}:${port}`).join(',')}`
    const { state: one } = await testState(t, { url, pollInterval: 50 })
    const { state: two } = await testState(t, { url, pollInterval: 50 })
    await one.set('k', 1)
    const position = { epoch: one.epoch, revision: one.revision }

    const keysOf = async ({ host, port }: RedisClusterNode) => {
      const node = new Redis(port, host)
      const keys = await node.keys('*{state:app}*')
      const slots = await Promise.all(keys.map((key) => node.cluster('KEYSLOT', key)))
      node.disconnect()
      return { keys, slots }
    }
    const before = await Promise.all(cluster.nodes.map(keysOf))
    const slots = before.flatMap(({ slots }) => slots)
    t.equal(new Set(slots).size, 1, 'all its keys have one slot')
    const slot = slots[0] as number
    const owner = before.findIndex(({ keys }) => keys.length > 0)
    const target = cluster.nodes[(owner + 1) % 3] as RedisClusterNode

    let counted = 0
    let moved = false
    const load = [one, two].map(async (state) => {
      while (!moved) {
        await state.increment('n')
        counted++
        await delay(1)
      }
    })
    await delay(20)
    await cluster.moveSlot(slot, target)
    moved = true
    await Promise.all(load)
    await Promise.all([one.freshen(), two.freshen()])
    t.equal(one.get('n'), counted, 'each of them counts once')
    t.same(one.snapshot(), two.snapshot())
    t.equal((await keysOf(target)).keys.length > 0, true, 'now on another node')
    t.not(one.epoch, position.epoch, 'which is another server, so another epoch')
    t.equal((await one.history(position))?.length, counted, 'that continues the history')
    // The server that has the space is the one whose replicas are asked for; here it has none.
    const { state: strict } = await testState(t, { url, ack: { replicas: 1 } })
    const spaces = ['a', 'b', 'c', 'd'].map((name) => strict.space(name))
    for (const outcome of await Promise.allSettled(spaces.map((space) => space.set('k', 1)))) {
      t.match(outcome, { status: 'rejected', reason: { code: 'STATEFUL_STATE_NOT_REPLICATED' } })
    }
    t.same(
      spaces.map((space) => space.get('k')),
      [1, 1, 1, 1],
      'made nevertheless',
    )
  },
)
