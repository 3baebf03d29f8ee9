import t from 'tap'
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
