/** cache-manager 7, which takes Keyv stores, over the cache. */
import { createCache } from 'cache-manager'
import Keyv from 'keyv'
import t from 'tap'
import { KeyvStore } from '../../plugins/cache/index.ts'
import { eventually } from '../fixtures/eventually.ts'
import { onEveryStorage } from '../fixtures/storages.ts'
import { freshCache } from '../plugins/cache/fixture.ts'

t.test('cache-manager: values, batches, wrap and its refresh', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const store = new KeyvStore((await freshCache(t, kind)).namespace('manager'))
    const cache = createCache({ stores: [new Keyv({ store })], ttl: 60_000, refreshThreshold: 30_000 })
    await cache.set('a', { n: 1 })
    t.strictSame(await cache.get('a'), { n: 1 })
    const end = (await cache.ttl('a')) ?? 0
    t.ok(Math.abs(end - Date.now() - 60_000) < 5_000, 'ends when it was told to')
    await cache.mset<boolean | string>([
      { key: 'b', value: false },
      { key: 'c', value: 'text', ttl: 20 },
    ])
    t.strictSame(await cache.mget(['a', 'none', 'b']), [{ n: 1 }, undefined, false])
    await new Promise((resolve) => setTimeout(resolve, 30))
    t.equal(await cache.get('c'), undefined)

    let loads = 0
    const load = async () => ++loads
    t.strictSame(await Promise.all([cache.wrap('w', load), cache.wrap('w', load)]), [1, 1], 'one load for both')
    t.equal(await cache.wrap('w', load), 1)
    // Its time is nearly over, so the next reader gets what is there, and it is loaded again behind him.
    await cache.set('w', 'old', 10_000)
    t.equal(await cache.wrap('w', load), 'old')
    await eventually(async () => (await cache.get('w')) === 2)

    t.equal(await cache.del('a'), true)
    t.equal(await cache.mdel(['b', 'w']), true)
    t.strictSame(await cache.mget(['a', 'b', 'w']), [undefined, undefined, undefined])
    await cache.set('a', 1)
    t.equal(await cache.clear(), true)
    t.equal(await cache.get('a'), undefined)
    await cache.disconnect()
  }),
)

t.test('cache-manager: several stores, of which the first one that has it answers', async (t) => {
  const cache = await freshCache(t, 'lmdb')
  const first = new Keyv()
  const second = new Keyv({ store: new KeyvStore(cache.namespace('second')) })
  const manager = createCache({ stores: [first, second] })
  await manager.set('k', 1, 60_000)
  t.strictSame([await first.get('k'), await second.get('k')], [1, 1])
  await first.delete('k')
  t.equal(await manager.get('k'), 1)
  let loads = 0
  t.equal(await manager.wrap('k', () => ++loads, 60_000), 1, 'from the second')
  t.equal(loads, 0)
  t.equal(await first.get('k'), 1, 'and into the first')
  await manager.del('k')
  t.strictSame([await first.get('k'), await second.get('k')], [undefined, undefined])
})
