/** unstorage over the cache. */
import fc from 'fast-check'
import t from 'tap'
import { createStorage, prefixStorage } from 'unstorage'
import { unstorageDriver } from '../../plugins/cache/adapters/index.ts'
import { startRedis } from '../fixtures/redis-server.ts'
import { onEveryStorage } from '../fixtures/storages.ts'
import { freshCache, startCache } from '../plugins/cache/fixture.ts'

t.test('items, raw items, keys, bases', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const cache = (await freshCache(t, kind)).namespace('items')
    const storage = createStorage({ driver: unstorageDriver(cache) })
    await storage.setItem('s1:a', 'test_data')
    await storage.setItem('s2:a', { n: [1, null] })
    await storage.setItem('s3:a', true)
    await storage.setItem('s3:sub:b', 0)
    t.equal(await storage.hasItem('s1:a'), true)
    t.equal(await storage.hasItem('s1:b'), false)
    t.equal(await storage.getItem('s1:a'), 'test_data')
    t.strictSame(await storage.getItem('s2:a'), { n: [1, null] })
    t.equal(await storage.getItem('s3:sub:b'), 0)
    t.equal(await storage.getItem('none'), null)
    t.strictSame(await storage.getItems(['s1:a', 'none', { key: 's3:a' }]), [
      { key: 's1:a', value: 'test_data' },
      { key: 'none', value: null },
      { key: 's3:a', value: true },
    ])
    await storage.setItems([
      { key: 'm:1', value: 'one' },
      { key: 'm:2', value: 'two' },
    ])
    t.strictSame((await storage.getKeys()).sort(), ['m:1', 'm:2', 's1:a', 's2:a', 's3:a', 's3:sub:b'])
    t.strictSame((await storage.getKeys('s3')).sort(), ['s3:a', 's3:sub:b'])
    t.strictSame(await storage.getKeys('s'), [], 'a base ends at a colon')
    t.strictSame(await prefixStorage(storage, 's3').getKeys(), ['a', 'sub:b'])

    const bytes = new Uint8Array([0, 255, 7])
    await storage.setItemRaw('raw:bytes', bytes)
    t.strictSame(await storage.getItemRaw('raw:bytes'), bytes)
    await storage.setItemRaw('raw:buffer', Buffer.from([0, 255]))
    t.strictSame(await storage.getItemRaw('raw:buffer'), Buffer.from([0, 255]))
    await storage.setItemRaw('raw:map', new Map([['k', new Date(1)]]))
    t.strictSame(await storage.getItemRaw('raw:map'), new Map([['k', new Date(1)]]))
    t.match(await storage.getMeta('raw:bytes'), { size: 3 })
    await storage.setMeta('raw:bytes', { mine: 1 })
    t.match(await storage.getMeta('raw:bytes'), { size: 3, mine: 1 })
    t.strictSame({ ...(await storage.getMeta('none')) }, {})

    await storage.setItem('s1:a', null)
    t.equal(await storage.getItem('s1:a'), null)
    await storage.setItem('s1:a', undefined as never)
    t.equal(await storage.hasItem('s1:a'), false, 'undefined removes')
    await storage.removeItem('s2:a')
    t.equal(await storage.hasItem('s2:a'), false)
    await prefixStorage(storage, 's3').removeItem('sub:b')
    t.strictSame((await storage.getKeys()).sort(), ['m:1', 'm:2', 'raw:buffer', 'raw:bytes', 'raw:map', 's3:a'])
    await storage.clear()
    t.strictSame(await storage.getKeys(), [])
    await storage.dispose()
    await storage.setItem('after', 1)
    t.equal(await storage.getItem('after'), 1, 'the cache is not its own to end')
  }),
)

t.test('ttl in seconds, of an item or of all; without it there is no end', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const cache = await freshCache(t, kind, { l2: { ttl: 20 } })
    const items = createStorage({ driver: unstorageDriver(cache.namespace('items')) })
    const short = createStorage({ driver: unstorageDriver(cache.namespace('short'), { ttl: 0.02 }) })
    await items.setItem('long', 1)
    await items.setItem('short', 1, { ttl: 0.02 })
    await items.setItemRaw('raw', Buffer.from('x'), { ttl: 0.02 })
    await short.setItem('short', 1)
    await short.setItem('long', 1, { ttl: 60 })
    await new Promise((resolve) => setTimeout(resolve, 40))
    t.strictSame(await items.getKeys(), ['long'])
    t.equal(await items.getItemRaw('raw'), null)
    t.strictSame(await short.getKeys(), ['long'])
  }),
)

t.test('what is stored comes back, under any key, and its base finds it', async (t) => {
  const cache = (await freshCache(t, 'memory', { l1: { maxEntries: 1 } })).namespace('items')
  const driver = unstorageDriver(cache)
  const part = fc.string({ unit: 'binary', minLength: 1, maxLength: 700 }).filter((text) => !text.includes(':'))
  await fc.assert(
    fc.asyncProperty(part, fc.string({ unit: 'grapheme' }), fc.uint8Array(), async (name, text, bytes) => {
      await driver.setItem(`base:${name}`, text)
      await driver.setItemRaw(`raw:${name}`, bytes)
      await driver.setItem('other:x', 'other')
      t.equal(await driver.getItem(`base:${name}`), text)
      t.strictSame(await driver.getItemRaw(`raw:${name}`), bytes)
      const keys = await driver.getKeys('base:')
      t.equal(keys.length, 1)
      t.equal(await driver.getItem(keys[0] as string), text, 'by the key that it tells')
      await driver.clear('base:')
      t.strictSame([await driver.hasItem(`base:${name}`), await driver.hasItem('other:x')], [false, true])
    }),
    { numRuns: 60 },
  )
})

t.test('a base that looks like a pattern is cleared alone', async (t) => {
  const driver = unstorageDriver((await freshCache(t, 'memory')).namespace('items'))
  for (const key of ['a*:1', 'ab:1']) await driver.setItem(key, 'x')
  await driver.clear('a*:')
  t.strictSame(await driver.getKeys(), ['ab:1'])
})

t.test('watch hears of changes through the same storage', async (t) => {
  const storage = createStorage({ driver: unstorageDriver((await freshCache(t, 'memory')).namespace('items')) })
  const heard: string[] = []
  const unwatch = await storage.watch((event, key) => heard.push(`${event} ${key}`))
  await storage.setItem('a', 1)
  await storage.removeItem('a')
  await unwatch()
  await storage.setItem('a', 1)
  t.strictSame(heard, ['update a', 'remove a'])
})

t.test('without Redis reads are misses and changes reject', async (t) => {
  const redis = await startRedis(t)
  const cache = (await startCache(t, redis.url)).namespace('items')
  const storage = createStorage({ driver: unstorageDriver(cache) })
  await redis.kill()
  t.equal(await storage.getItem('a'), null)
  for (const change of [storage.setItem('a', 1), storage.removeItem('a'), storage.clear()]) {
    await t.rejects(change, { code: 'STATEFUL_CACHE_STORE_UNAVAILABLE' })
  }
})
