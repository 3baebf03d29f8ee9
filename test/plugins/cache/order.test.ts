/** Calls that nobody waited for, and the first ones of a process. */
import t from 'tap'
import { eventually } from '../../fixtures/eventually.ts'
import { onEveryStorage, storageUrl } from '../../fixtures/storages.ts'
import { freshCache, startCache } from './fixture.ts'

t.test('a set that nobody waits for is seen by whatever comes after it', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const cache = await freshCache(t, kind)
    await cache.set('k', 'old')
    t.equal(await cache.get('k'), 'old')
    const writes = [cache.set('k', 1)]
    t.equal(await cache.get('k'), 1)
    writes.push(cache.set('k', 2, { tags: ['x'] }), cache.set('k', 3))
    t.equal(await cache.getOrSet('k', () => 'loaded'), 3, 'the last of them')
    writes.push(cache.set('k', 4))
    t.strictSame(await cache.getMany(['k', 'none']), new Map([['k', 4]]))
    writes.push(
      cache.setMany([
        ['a', 1],
        ['k', 5],
      ]),
    )
    t.strictSame(
      await cache.getOrSetMany(['a', 'k'], () => 'loaded'),
      new Map([
        ['a', 1],
        ['k', 5],
      ]),
    )
    await Promise.all(writes)
    t.equal(cache.peek('k'), 5)
  }),
)

t.test('nor does it come back after an invalidation', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const cache = await freshCache(t, kind)
    const gone: [string, () => Promise<unknown>][] = [
      ['delete', () => cache.delete('user:1')],
      ['expire', () => cache.expire('user:1')],
      ['tag', () => cache.invalidateTags('x')],
      ['pattern', () => cache.deleteMatching('u*1')],
      ['clear', () => cache.clear()],
    ]
    for (const [name, invalidate] of gone) {
      const write = cache.set('user:1', 1, { tags: ['x'] })
      await invalidate()
      t.equal(await cache.get('user:1'), undefined, name)
      await write
      t.equal(await cache.get('user:1'), undefined, name)
    }
  }),
)

t.test('the first read of a process finds what an earlier one has stored, in every namespace', async (t) => {
  for (const kind of ['lmdb', 'redis'] as const) {
    await t.test(kind, async (t) => {
      const url = await storageUrl(t, kind)
      await t.test('an earlier one', async (t) => {
        const cache = await startCache(t, url)
        await cache.set('k', 1, { tags: ['x'] })
        await cache.namespace('other').set('k', 2, { tags: ['x'] })
        await cache.namespace('third').set('k', 3)
      })
      const cache = await startCache(t, url, { warming: { keys: 0 } })
      t.equal(await cache.get('k'), 1)
      t.equal(await cache.namespace('other').get('k'), 2)
      t.equal(await cache.namespace('third').getOrSet('k', () => 'loaded'), 3)
    })
  }
})

t.test('hot keys of the default namespace are in the first level again after a restart', async (t) => {
  for (const kind of ['lmdb', 'redis'] as const) {
    await t.test(kind, async (t) => {
      const url = await storageUrl(t, kind)
      await t.test('before', async (t) => {
        const cache = await startCache(t, url)
        for (let i = 0; i < 10; i++) await cache.set(`k${i}`, i, { tags: ['x'] })
      })
      const cache = await startCache(t, url)
      await eventually(() => cache.peek('k1') === 1 && cache.peek('k9') === 9)
      t.match(cache.stats().warming, { warmed: 10, missing: 0 })
    })
  }
})
