/** Both major versions of Keyv over the cache, as an application uses them. */
import fc from 'fast-check'
import Keyv from 'keyv'
import { Keyv as Keyv6 } from 'keyv-6'
import t from 'tap'
import { type CacheNamespace, KeyvStore, KeyvStore6 } from '../../plugins/cache/index.ts'
import { startRedis } from '../fixtures/redis-server.ts'
import { onEveryStorage } from '../fixtures/storages.ts'
import { freshCache, startCache } from '../plugins/cache/fixture.ts'

/** What both have in common. */
interface AnyKeyv {
  get(key: string): Promise<unknown>
  getMany(keys: string[]): Promise<unknown[]>
  set(key: string, value: unknown, ttl?: number): Promise<boolean>
  setMany(entries: { key: string; value: unknown; ttl?: number }[]): Promise<unknown>
  has(key: string): Promise<boolean>
  hasMany(keys: string[]): Promise<boolean[]>
  delete(key: string): Promise<boolean>
  deleteMany(keys: string[]): Promise<boolean | boolean[]>
  clear(): Promise<void>
  disconnect(): Promise<void>
  iterator?: unknown
}

const VERSIONS: [name: string, open: (cache: CacheNamespace, namespace?: string) => AnyKeyv][] = [
  ['Keyv 5', (cache, namespace) => new Keyv({ ...named(namespace), store: new KeyvStore(cache) })],
  ['Keyv 6', (cache, namespace) => new Keyv6({ ...named(namespace), store: new KeyvStore6(cache) })],
]
const named = (namespace?: string) => ({ throwOnErrors: true, ...(namespace === undefined ? {} : { namespace }) })

/** Keyv 5 wants to be told its namespace by whoever iterates. */
async function entriesOf(keyv: AnyKeyv, namespace?: string): Promise<[string, unknown][]> {
  const list: [string, unknown][] = []
  const iterate = keyv.iterator as (namespace?: string) => AsyncIterable<[string, unknown]>
  for await (const [key, value] of iterate.call(keyv, namespace)) list.push([key, value])
  return list.sort()
}

for (const [name, open] of VERSIONS) {
  t.test(`${name}: namespaces, batches, times to live, iteration`, (t) =>
    onEveryStorage(t, async (t, kind) => {
      const cache = (await freshCache(t, kind)).namespace('keyv')
      const users = open(cache, 'users')
      const orders = open(cache, 'orders')
      t.equal(await users.set('1', { name: 'Ada' }), true)
      await orders.set('1', [1, null])
      t.strictSame(await users.get('1'), { name: 'Ada' })
      t.strictSame(await orders.get('1'), [1, null])
      await users.setMany([
        { key: '2', value: null },
        { key: '3', value: 3, ttl: 60_000 },
        { key: 'short', value: 0, ttl: 30 },
      ])
      t.strictSame(await users.getMany(['1', 'none', '2', '3', 'short']), [{ name: 'Ada' }, undefined, null, 3, 0])
      t.strictSame(await users.hasMany(['1', 'none', '2']), [true, false, true])
      t.equal(await users.has('3'), true)
      await new Promise((resolve) => setTimeout(resolve, 40))
      t.equal(await users.get('short'), undefined, 'its time is over')
      t.strictSame(await entriesOf(users, 'users'), [
        ['1', { name: 'Ada' }],
        ['2', null],
        ['3', 3],
      ])
      t.equal(await users.delete('3'), true)
      t.equal(await users.delete('3'), false)
      const deleted = await users.deleteMany(['2', 'none'])
      t.strictSame(deleted, name === 'Keyv 5' ? true : [true, false])
      t.strictSame(await users.getMany(['2', '1']), [undefined, { name: 'Ada' }])
      await users.set('x'.repeat(2_000), 'long')
      t.equal(await users.get('x'.repeat(2_000)), 'long')
      await users.clear()
      t.equal(await users.get('1'), undefined)
      t.equal(await users.get('x'.repeat(2_000)), undefined)
      t.strictSame(await orders.get('1'), [1, null], 'another namespace keeps what it has')
      await orders.disconnect()
      t.strictSame(await orders.get('1'), [1, null], 'the cache is not its own to end')
      // Keyv 5 has a namespace even then, 'keyv'.
      await open(cache).clear()
      t.strictSame(await orders.get('1'), name === 'Keyv 5' ? [1, null] : undefined)
    }),
  )

  t.test(`${name}: what is stored comes back`, async (t) => {
    const cache = await freshCache(t, 'memory', { l1: { maxEntries: 1 } })
    const keyv = open(cache.namespace('keyv'), 'ns')
    await fc.assert(
      fc.asyncProperty(
        fc.string({ unit: 'binary', minLength: 1 }),
        fc.jsonValue({ noUnicodeString: false }),
        async (key, value) => {
          await keyv.set(key, value)
          // As JSON has it: Keyv serialises.
          t.strictSame(await keyv.get(key), JSON.parse(JSON.stringify(value)))
          t.equal(await keyv.has(key), true)
        },
      ),
      { numRuns: 100 },
    )
  })
}

t.test('Keyv 6: an entry whose end is this moment is over', async (t) => {
  const store = new KeyvStore6((await freshCache(t, 'memory')).namespace('keyv'))
  for (const ago of [0, 1, 1_000]) {
    await store.set('k', 1, Date.now() - ago)
    t.equal(await store.get('k'), undefined)
  }
  await store.set('k', 1, Date.now() + 60_000)
  t.equal(await store.get('k'), 1)
})

t.test('what Keyv 5 has stored, Keyv 6 reads, and the other way round', async (t) => {
  const cache = (await freshCache(t, 'lmdb')).namespace('keyv')
  const [five, six] = VERSIONS.map(([, open]) => open(cache, 'users')) as [AnyKeyv, AnyKeyv]
  await five.set('a', { n: 1 }, 60_000)
  await six.set('b', { n: 2 }, 60_000)
  t.strictSame(await six.getMany(['a', 'b']), [{ n: 1 }, { n: 2 }])
  t.strictSame(await five.getMany(['a', 'b']), [{ n: 1 }, { n: 2 }])
})

t.test('a Redis that is away is a miss for reads and an error for writes', async (t) => {
  const redis = await startRedis(t)
  const cache = await startCache(t, redis.url)
  const keyvs = VERSIONS.map(([name, open]) => open(cache.namespace(name.replace(' ', '-'))))
  for (const keyv of keyvs) await keyv.set('k', 1)
  await redis.kill()
  for (const keyv of keyvs) {
    t.equal(await keyv.get('other'), undefined)
    const away = { code: 'STATEFUL_CACHE_STORE_UNAVAILABLE' }
    await t.rejects(keyv.set('k', 2), away)
    await t.rejects(keyv.delete('k'), away)
    await t.rejects(keyv.clear(), away)
  }
})
