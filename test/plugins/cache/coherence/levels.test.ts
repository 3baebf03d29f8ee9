import t, { type Test } from 'tap'
import { Cache, type CacheOptions, cacheParts } from '../../../../plugins/cache/index.ts'
import type { CacheTier } from '../../../../plugins/cache/tier/contract.ts'
import { openStorage } from '../../../../plugins/storage/index.ts'
import { startRedis } from '../../../fixtures/redis-server.ts'

/** A cache on Redis and the keys of each read that reaches the second level. */
async function watched(t: Test, options: CacheOptions = {}) {
  const storage = await openStorage((await startRedis(t)).url)
  const parts = await cacheParts(storage, options)
  const reads: string[][] = []
  const steps: string[] = []
  const tier = new Proxy(parts.tier, {
    get(target, name: keyof CacheTier) {
      const member = target[name]
      if (typeof member !== 'function') return member
      return (...args: unknown[]) => {
        if (name === 'get') reads.push([...(args[1] as string[])])
        if (!['now', 'head', 'subscribe', 'onInterrupted'].includes(name)) steps.push(name)
        return Reflect.apply(member, target, args) as unknown
      }
    },
  })
  const cache = new Cache({ ...parts, tier }, options)
  await cache.start()
  t.teardown(async () => {
    await cache.close()
    await storage.close()
  })
  return { cache, reads, steps }
}

t.test('what is asked for in one turn of the event loop is one read of a shared store', async (t) => {
  const { cache, reads } = await watched(t, { l1: { ttl: 0.000_001 }, warming: { keys: 0 } })
  const keys = Array.from({ length: 300 }, (_, i) => `k${i}`)
  await cache.setMany(keys.map((key, i) => [key, i]))
  reads.length = 0
  const values = await Promise.all(
    keys.map((key, i) => (i % 2 === 0 ? cache.get(key) : cache.getOrSet(key, () => 'loaded'))),
  )
  t.strictSame(
    values,
    keys.map((_, i) => i),
  )
  t.strictSame(
    reads.map(({ length }) => length),
    [256, 44],
    'as few commands as their bound allows',
  )
})

t.test('a hit in the first level asks the store nothing, whatever its tags', async (t) => {
  const { cache, steps } = await watched(t, { prefixes: ['user:'], warming: { keys: 0 } })
  await cache.set('user:1', 'me', { tags: ['users', 'people'] })
  steps.length = 0
  for (let i = 0; i < 10; i++) t.equal(await cache.getOrSet('user:1', () => 'loaded'), 'me')
  t.strictSame(steps, [])
})

t.test('peek leaves no trace', async (t) => {
  const { cache } = await watched(t, { warming: { keys: 0 } })
  await cache.setMany([
    ['used', 1],
    ['peeked', 2],
  ])
  for (let i = 0; i < 5; i++) await cache.get('used')
  for (let i = 0; i < 50; i++) t.equal(cache.peek('peeked'), 2)
  t.equal(cache.stats().lookups, 5)
  t.strictSame(cache.hottest(1), ['used'])
})
