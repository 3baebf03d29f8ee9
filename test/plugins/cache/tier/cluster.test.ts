/** On a Redis Cluster a namespace lies on all shards, and all that holds on one server holds there. */
import slotOf from 'cluster-key-slot'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import type { Cache, CacheOptions } from '../../../../plugins/cache/index.ts'
import { BUCKETS, placeOf } from '../../../../plugins/cache/tier/buckets.ts'
import { openStorage } from '../../../../plugins/storage/index.ts'
import { evenTags } from '../../../../plugins/storage/redis/slots.ts'
import { refuseUndeclaredKeys } from '../../../fixtures/declared-keys.ts'
import { eventually } from '../../../fixtures/eventually.ts'
import { type RedisCluster, type RedisClusterNode, startRedisCluster } from '../../../fixtures/redis-cluster.ts'
import { deferred, startCache } from '../fixture.ts'

refuseUndeclaredKeys()

const many = Array.from({ length: 600 }, (_, i) => `user:${i}`)

/** A started cache of an application with a prefix of its own. */
async function start(t: Test, { nodes }: RedisCluster, prefix: string, options: CacheOptions = {}): Promise<Cache> {
  const url = `redis+cluster://${nodes.map(({ host, port }) => `${host}:${port}`).join(',')}`
  const storage = await openStorage({ url, prefix })
  const cache = await startCache(t, storage, { prefixes: ['user:'], l2: { timeout: 2_000 }, ...options })
  t.teardown(() => storage.close())
  return cache
}

const bucketOf = (key: string) => evenTags('default', BUCKETS)[placeOf(key, BUCKETS)] as string
const shardOf = (key: string, { nodes }: RedisCluster) =>
  nodes.find(({ slots: [from, to] }) => from <= slotOf(bucketOf(key)) && slotOf(bucketOf(key)) <= to)

t.test('on a Redis Cluster', async (t) => {
  const cluster = await startRedisCluster(t)
  const clients = cluster.nodes.map(({ port }) => new Redis(port, '127.0.0.1'))
  t.teardown(() => {
    for (const client of clients) client.disconnect()
  })
  let prefixes = 0
  const prefix = () => `case${prefixes++}:`
  const fill = (cache: Cache) =>
    cache.setMany(
      many.map((key, i) => [key, i]),
      { tags: ['users'] },
    )
  const values = async (cache: Cache) => (await cache.getMany<number>(many)).size

  t.test('the entries of one namespace are spread evenly over all shards', async (t) => {
    const own = prefix()
    const cache = await start(t, cluster, own)
    await fill(cache)
    for (const [i, client] of clients.entries()) {
      const keys = await client.keys(`${own}cache:{default:*}:v:*`)
      t.ok(keys.length > many.length / 4 && keys.length < many.length / 2, `node ${i} has ${keys.length}`)
      t.ok(keys.every((key) => shardOf(key.slice(key.indexOf(':v:') + 3), cluster) === cluster.nodes[i]))
    }
    const other = await start(t, cluster, own)
    t.equal(await values(other), many.length)
    const listed = new Set<string>()
    for await (const some of other.keys()) for (const key of some) listed.add(key)
    t.equal(listed.size, many.length)
    t.equal(other.stats().l1Hits, 0)
    t.equal(await values(other), many.length)
    t.equal(other.stats().l1Hits, many.length, 'all of them are in the first level')
  })

  t.test('a tag, a prefix and clear take the same few steps, however many entries there are', async (t) => {
    const own = prefix()
    const [cache, other] = [await start(t, cluster, own), await start(t, cluster, own)]
    const scripts = async () => {
      const stats = await Promise.all(clients.map((client) => client.info('commandstats')))
      return stats.map((text) => Number(/cmdstat_unlink:calls=(\d+)/.exec(text)?.[1] ?? 0))
    }
    const ways: Record<string, (cache: Cache) => Promise<unknown>> = {
      tag: (cache) => cache.invalidateTags('users'),
      prefix: (cache) => cache.deleteMatching('user:*'),
      clear: (cache) => cache.clear(),
    }
    for (const [way, invalidate] of Object.entries(ways)) {
      await fill(cache)
      await cache.set('post:1', 'kept')
      t.equal(await values(other), many.length)
      const before = await scripts()
      await invalidate(cache)
      const removals = (await scripts()).map((count, i) => count - (before[i] ?? 0))
      t.ok(
        removals.every((count) => count <= BUCKETS),
        `${way}: ${removals} removals`,
      )
      t.equal(await values(cache), 0, `${way}, here at once`)
      await eventually(async () => (await values(other)) === 0)
      if (way !== 'clear') t.equal(await other.get('post:1'), 'kept')
    }
    await eventually(() => other.stats().entries === 0)
  })

  t.test('a pattern, expire and delete reach their keys wherever they are, and count them', async (t) => {
    const own = prefix()
    const [cache, other] = [await start(t, cluster, own), await start(t, cluster, own)]
    await fill(cache)
    t.equal(await values(other), many.length)
    t.equal(await cache.deleteMatching('user:*7'), 60)
    await eventually(async () => (await values(other)) === many.length - 60)
    t.equal(await other.expire([...many.slice(0, 100), 'none']), 90)
    t.equal(await values(other), many.length - 150)
    t.equal(await other.delete([...many, 'none']), many.length - 60)
    await eventually(async () => (await values(cache)) === 0)
    t.match(cache.stats(), { invalidations: 1 })
    t.match(other.stats(), { invalidations: 2, deletes: many.length - 60 })
  })

  t.test('a load that an invalidation overtakes is not stored, in whichever bucket it is', async (t) => {
    const own = prefix()
    const [cache, other] = [await start(t, cluster, own), await start(t, cluster, own)]
    const keys = many.slice(0, 40)
    const gate = deferred()
    const begun: string[] = []
    const loads = keys.map((key) =>
      cache.getOrSet(
        key,
        async () => {
          begun.push(key)
          await gate.promise
          return 'old'
        },
        { tags: ['users'] },
      ),
    )
    await eventually(() => begun.length === keys.length)
    t.equal(new Set(keys.map((key) => placeOf(key, BUCKETS))).size, BUCKETS)
    await other.invalidateTags('users')
    gate.resolve()
    await Promise.all(loads)
    for (const one of [cache, other]) t.equal((await one.getMany(keys)).size, 0)
    let count = 0
    const once = (key: string) => [cache, other].map((one) => one.getOrSet(key, async () => ++count))
    await Promise.all(keys.flatMap(once))
    t.equal(count, keys.length, 'one load a key, among both')
  })

  t.test('while a shard is away an invalidation is an error, the others go on, and it heals', async (t) => {
    const own = prefix()
    const options = { l2: { timeout: 500 }, outage: { failures: 3, retry: 50, serveL1: 0 } }
    const [cache, other] = [await start(t, cluster, own, options), await start(t, cluster, own, options)]
    await fill(cache)
    const [gone] = cluster.nodes as [RedisClusterNode]
    const there = many.filter((key) => shardOf(key, cluster) !== gone)
    const away = many.filter((key) => shardOf(key, cluster) === gone)
    gone.process().kill('SIGSTOP')
    try {
      await t.rejects(cache.invalidateTags('users'), { code: 'STATEFUL_CACHE_STORE_UNAVAILABLE' })
      await t.rejects(cache.clear(), { code: 'STATEFUL_CACHE_STORE_UNAVAILABLE' })
      await t.rejects(cache.delete(many), { code: 'STATEFUL_CACHE_STORE_UNAVAILABLE' })
      await t.rejects(cache.delete(away), { code: 'STATEFUL_CACHE_STORE_UNAVAILABLE' })
      for (let i = 0; i < 5; i++) await cache.getMany(away)
      t.equal((await other.getMany(there)).size, 0, 'where it was confirmed it has taken effect')
      // The others are no worse for it, though on a busy machine one of them may seem to be away for a moment as well.
      const done = (doing: Promise<unknown>) =>
        doing.then(
          () => true,
          () => false,
        )
      await eventually(() => done(cache.setMany(there.map((key) => [key, 'new']))))
      await eventually(async () => (await other.getMany(there)).size === there.length)
      await eventually(() => done(other.delete(there)))
      await eventually(async () => (await cache.getMany(there)).size === 0)
    } finally {
      gone.process().kill('SIGCONT')
    }
    await eventually(async () => cache.coherent && other.coherent, 10_000)
    await eventually(() =>
      cache.invalidateTags('users').then(
        () => true,
        () => false,
      ),
    )
    for (const one of [cache, other]) t.equal(await values(one), 0)
    await fill(cache)
    t.equal(await values(other), many.length)
  })

  t.test('a slot that moves begins anew and costs the others nothing, while the cache is used', async (t) => {
    const own = prefix()
    const [cache, other] = [await start(t, cluster, own), await start(t, cluster, own)]
    await fill(cache)
    const key = 'user:1'
    const wrong: unknown[] = []
    let written = 0
    let busy = true
    const use = (async () => {
      while (busy) {
        const done = await cache.set(key, ++written).then(
          () => true,
          () => false,
        )
        const found = done ? await cache.get(key) : undefined
        if (found !== undefined && found !== written) wrong.push([found, written])
      }
    })()
    for (const node of cluster.nodes) await cluster.moveSlot(slotOf(bucketOf(key)), node)
    busy = false
    await use
    t.strictSame(wrong, [])
    await eventually(() => cache.coherent && other.coherent)
    await cache.set(key, 'last')
    await eventually(async () => (await other.get(key)) === 'last')
    await other.delete(key)
    await eventually(async () => (await cache.get(key)) === undefined)
    // What another process serves from now on may be what it had before a failover: nothing of that bucket counts.
    const others = many.filter((other) => bucketOf(other) !== bucketOf(key))
    t.equal((await other.getMany(others)).size, others.length)
    const home = shardOf(key, cluster) as RedisClusterNode
    await cluster.moveSlot(slotOf(bucketOf(key)), home)
  })

  t.test('write-behind hands over from every bucket, under the name of the namespace', async (t) => {
    const own = prefix()
    const options = { writeBehind: { delay: 10, maxPending: 10_000, takeover: 50 } }
    const [cache, other] = [await start(t, cluster, own, options), await start(t, cluster, own, options)]
    const source = new Map<string, unknown>()
    for (const one of [cache, other]) {
      one.writeBehind('default', (writes) => {
        for (const { key, namespace, value } of writes) source.set(`${namespace} ${key}`, value)
      })
    }
    await Promise.all(many.map((key, i) => (i % 2 ? cache : other).setWithDelayedPersist(key, i)))
    await cache.delete('user:7')
    t.equal(await other.get('user:7'), source.has('default user:7') ? undefined : 7, 'what waits is seen')
    await eventually(() => source.size === many.length)
    t.ok(many.every((key, i) => source.get(`default ${key}`) === i))
    await Promise.all([cache.writers.flush(), other.writers.flush()])
    await eventually(async () => cache.stats().writeBehind.written + other.stats().writeBehind.written >= many.length)
  })
})
