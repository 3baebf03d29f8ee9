import t from 'tap'
import { onEveryStorage } from '../../fixtures/storages.ts'
import { freshCache } from './fixture.ts'
import { Stage } from './staged-store.ts'

const keys = Array.from({ length: 100 }, (_, i) => `user:${i}`)

t.test('a batch costs one round trip a level', async (t) => {
  const stage = new Stage()
  const { cache: writer, line: written } = await stage.instance(t)
  await writer.setMany(
    keys.map((key, i) => [key, i]),
    { tags: ['x'] },
  )
  t.equal(written.calls['put'], 1)

  const { cache, line } = await stage.instance(t)
  const cost = async (run: () => Promise<unknown>) => {
    const before = { ...line.calls }
    await run()
    return Object.fromEntries(
      Object.entries(line.calls)
        .map(([name, count]) => [name, count - (before[name] ?? 0)])
        .filter(([, count]) => count !== 0),
    )
  }
  t.match(await cost(() => cache.getMany(keys)), { get: 1 })
  t.strictSame(await cost(() => cache.getMany(keys)), {}, 'all in the first level')
  t.strictSame(await cost(() => cache.getOrSetMany(keys, () => t.fail('loaded'))), {})
  t.match(cache.stats(), { l2Hits: 100, l1Hits: 200, misses: 0 })

  const other = await stage.instance(t)
  const before = other.line.calls['get'] ?? 0
  const values = await other.cache.getOrSetMany(keys, () => t.fail('loaded'))
  t.equal((other.line.calls['get'] ?? 0) - before, 1)
  t.strictSame([...values.keys()], keys)
  t.strictSame(await cost(() => cache.getMany([])), {})
  t.strictSame(await cost(() => cache.setMany([])), {})
})

t.test('one step invalidates a declared prefix, however many entries it has', async (t) => {
  const stage = new Stage()
  const options = { prefixes: ['user:'] }
  const { cache, line } = await stage.instance(t, options)
  const { cache: other } = await stage.instance(t, options)
  await cache.setMany(keys.map((key, i) => [key, i]))
  await cache.set('post:1', 1)
  await other.getMany([...keys, 'post:1'])
  const stored = stage.shelf.entries.size
  const before = { ...line.calls }
  await cache.deleteMatching('user:*')
  t.strictSame(line.calls, { ...before, invalidate: (before['invalidate'] ?? 0) + 1 })
  t.equal(stage.shelf.entries.size, stored, 'nobody has gone through the keys')
  for (const one of [cache, other]) {
    t.strictSame([...(await one.getMany([...keys, 'post:1'])).keys()], ['post:1'])
    t.equal(one.peek('user:1'), undefined)
  }
})

t.test('what is more than one request can name is stored, read and removed all the same', (t) =>
  onEveryStorage(t, async (t, kind) => {
    // More would be no other question for LMDB.
    const many = kind === 'redis' ? 9_000 : 500
    const cache = await freshCache(t, kind, { l1: { maxEntries: 20_000 } })
    const all = Array.from({ length: many }, (_, i) => `k${i}`)
    await cache.setMany(
      all.map((key) => [key, key]),
      { tags: ['x'] },
    )
    await cache.expire('k0')
    t.equal((await cache.getMany(all)).size, many - 1)
    t.equal(await cache.expire(all), many)
    t.equal(await cache.delete([...all, 'none']), many)
    await cache.invalidateTags(all)
    t.equal(cache.stats().storeFailures, 0)
  }),
)

t.test('an entry has at most 1,000 tags, and those work', (t) =>
  onEveryStorage(t, async (t, kind) => {
    if (kind === 'lmdb') return
    const cache = await freshCache(t, kind)
    const tags = Array.from({ length: 1_000 }, (_, i) => `t${i}`)
    const late = async ({ tags: own }: { tags: string[] }) => own.push(...tags)
    await cache.set('set', 1, { tags })
    await cache.getOrSet('loaded', () => 1, { tags })
    await cache.getOrSet('late', late)
    cache.writeBehind('default', () => {})
    await cache.setWithDelayedPersist('delayed', 1, { tags })
    await cache.writers.flush()
    for (const key of ['set', 'loaded', 'late', 'delayed']) t.ok(await cache.get(key), key)
    await cache.invalidateTags('t999')
    for (const key of ['set', 'loaded', 'late', 'delayed']) t.equal(await cache.get(key), undefined, key)
    tags.push('one more')
    const refused = { code: 'STATEFUL_INVALID_CACHE_KEY', message: /1001, more than 1000/ }
    await t.rejects(cache.set('k', 1, { tags }), refused)
    await t.rejects(async () => cache.getOrSet('k', () => 1, { tags }), refused)
    await t.rejects(cache.getOrSet('k', late), refused)
  }),
)
