import t from 'tap'
import type { Cache } from '../../../plugins/cache/index.ts'
import { onEveryStorage } from '../../fixtures/storages.ts'
import { deferred, freshCache } from './fixture.ts'

t.test('get, set, delete: a cached null is a value, a miss is undefined', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const cache = await freshCache(t, kind)
    t.equal(await cache.get('none'), undefined)
    await cache.set('null', null)
    t.equal(await cache.get('null'), null)
    let loads = 0
    t.equal(await cache.getOrSet('null', () => ++loads), null)
    t.equal(await cache.getOrSet('nothing', () => null), null)
    t.equal(await cache.getOrSet('nothing', () => ++loads), null)
    t.equal(loads, 0)
    t.equal(cache.peek('null'), null)
    t.equal(await cache.delete('null'), 1)
    t.equal(await cache.delete('null'), 0)
    t.equal(await cache.get('null'), undefined)
    t.equal(cache.peek('null'), undefined)
    await t.rejects(cache.set('k', undefined), { code: 'STATEFUL_INVALID_CACHE_VALUE' })
    t.equal(await cache.getOrSet('void', () => undefined), undefined, 'not cached')
    t.equal(await cache.getOrSet('void', () => 'value'), 'value')
  }),
)

t.test('values keep their types in the second level', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const cache = await freshCache(t, kind, { l1: { ttl: 1 } })
    const value = { date: new Date(5), map: new Map([[{ a: 1 }, new Set(['x'])]]), bytes: Buffer.from('x'), n: -0.5 }
    await cache.set('k', value)
    await new Promise((resolve) => setTimeout(resolve, 5))
    t.strictSame(await cache.get('k'), value)
    t.equal(cache.stats().l2Hits, 1)
    await t.rejects(
      cache.set('k', () => {}),
      { code: 'STATEFUL_INVALID_CACHE_VALUE' },
    )
  }),
)

t.test('clear empties its own namespace only', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const cache = await freshCache(t, kind)
    const other = cache.namespace('other')
    await cache.set('k', 1)
    await other.set('k', 2)
    await cache.clear()
    t.equal(await cache.get('k'), undefined)
    t.equal(await other.get('k'), 2)
    await cache.set('k', 3)
    t.equal(await cache.get('k'), 3)
    t.throws(() => cache.namespace('no:colon'), { code: 'STATEFUL_INVALID_CACHE_KEY' })
  }),
)

t.test('`user:*` matches, in both levels', (t) =>
  onEveryStorage(t, async (t, kind) => {
    for (const prefixes of [[], ['user:']]) {
      const cache = (await freshCache(t, kind, { prefixes })).namespace('x')
      await cache.setMany([
        ['user:1', 1],
        ['user:2', 2],
        ['users', 3],
      ])
      await cache.deleteMatching('user:*')
      t.strictSame([...(await cache.getMany(['user:1', 'user:2', 'users']))], [['users', 3]])
      t.equal(await cache.deleteMatching('users'), 1, 'a pattern without wildcards is a key')
    }
  }),
)

t.test('tags reach everything that carries them', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const cache = await freshCache(t, kind)
    await cache.set('a', 1, { tags: ['red', 'blue'] })
    await cache.set('b', 2, { tags: ['blue'] })
    await cache.getOrSet(
      'c',
      ({ tags }) => {
        tags.push('red')
        return 3
      },
      { tags: ['green'] },
    )
    t.equal(await cache.get('c'), 3)
    await cache.invalidateTags('red')
    t.strictSame([...(await cache.getMany(['a', 'b', 'c']))], [['b', 2]])
    await cache.set('a', 4, { tags: ['red'] })
    t.equal(await cache.get('a'), 4)
  }),
)

t.test('a load that an invalidation overtakes is not stored, nor joined', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const invalidations: Record<string, (cache: Cache) => Promise<unknown>> = {
      delete: (cache) => cache.delete('user:1'),
      expire: (cache) => cache.expire('user:1'),
      pattern: (cache) => cache.deleteMatching('user:*'),
      tag: (cache) => cache.invalidateTags('red'),
      lateTag: (cache) => cache.invalidateTags('late'),
      clear: (cache) => cache.clear(),
      set: (cache) => cache.set('user:1', 'set'),
    }
    const cache = await freshCache(t, kind)
    for (const [name, invalidate] of Object.entries(invalidations)) {
      const gate = deferred()
      const started = deferred()
      const first = cache.getOrSet(
        'user:1',
        async ({ tags }) => {
          started.resolve()
          await gate.promise
          tags.push('late')
          return 'old'
        },
        { tags: ['red'] },
      )
      await started.promise
      await invalidate(cache)
      const second = cache.getOrSet('user:1', () => 'new', { tags: ['red'] })
      gate.resolve()
      t.equal(await first, 'old', `${name}: those who asked before get it`)
      const expected = name === 'set' ? 'set' : 'new'
      t.equal(await second, expected, `${name}: those who ask afterwards do not`)
      t.equal(await cache.get('user:1'), expected)
      await cache.delete('user:1')
    }
  }),
)

t.test('concurrent misses make one load, and share its failure', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const cache = await freshCache(t, kind)
    let loads = 0
    const all = await Promise.all(Array.from({ length: 100 }, () => cache.getOrSet('k', async () => ++loads)))
    t.ok(all.every((value) => value === 1))
    t.match(cache.stats(), { loads: 1, misses: 1, joined: 99 })
    const failing = () => {
      loads++
      throw new Error('no source')
    }
    loads = 0
    const failures = await Promise.allSettled(Array.from({ length: 50 }, () => cache.getOrSet('f', failing)))
    t.ok(failures.every((failure) => failure.status === 'rejected' && failure.reason.message === 'no source'))
    t.equal(loads, 1)
    t.equal(await cache.getOrSet('f', () => 'back'), 'back', 'its lease was given back')
  }),
)

t.test('write-through persists first and caches nothing when that fails', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const cache = await freshCache(t, kind)
    const source = new Map<string, unknown>()
    await cache.setAndPersist('k', 1, async (value, key) => {
      t.equal(await cache.get('k'), undefined)
      source.set(key, value)
    })
    t.strictSame([source.get('k'), await cache.get('k')], [1, 1])
    const refuse = () => Promise.reject(new Error('disk full'))
    await t.rejects(cache.setAndPersist('k', 2, refuse), { message: 'disk full' })
    t.equal(await cache.get('k'), undefined)
  }),
)

t.test('write-behind hands the latest value of each key to its handler', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const cache = await freshCache(t, kind, { writeBehind: { delay: '1h', backoff: 1, attempts: 2 } })
    const batches: unknown[][] = []
    let failures = 1
    cache.writeBehind('default', (writes) => {
      if (failures-- > 0) throw new Error('not now')
      batches.push(writes.map(({ key, value }) => [key, value]))
    })
    await Promise.all([
      cache.setWithDelayedPersist('a', 1),
      cache.setWithDelayedPersist('b', null),
      cache.setWithDelayedPersist('a', 2),
    ])
    t.equal(await cache.get('a'), 2)
    await cache.writers.flush()
    await cache.writers.flush()
    t.strictSame(batches.flat().sort(), [
      ['a', 2],
      ['b', null],
    ])
    await t.rejects(cache.setWithDelayedPersist('a', 1, { writer: 'none' }), { code: 'STATEFUL_UNKNOWN_WRITER' })
    t.match(cache.stats().writeBehind, { pending: 0, dead: 0 })
  }),
)

t.test('a write that its handler refuses goes to the dead letters and holds nobody up', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const cache = await freshCache(t, kind, { writeBehind: { delay: 60_000, backoff: 60_000, attempts: 2 } })
    const written: unknown[] = []
    cache.writeBehind('default', (writes) => {
      if (writes.some(({ key }) => key === 'bad')) throw new Error('bad key')
      written.push(...writes.map(({ key }) => key))
    })
    await cache.setWithDelayedPersist('good', 1)
    await cache.setWithDelayedPersist('bad', { x: 1 })
    await cache.setWithDelayedPersist('fine', 1)
    await cache.writers.flush()
    await cache.writers.flush()
    t.strictSame(written, ['good', 'fine'])
    t.match(await cache.writers.deadLetters('default'), [{ key: 'bad', value: { x: 1 }, reason: 'bad key' }])
    t.match(cache.stats().writeBehind, { pending: 0, dead: 1 })
  }),
)

t.test('decorators and wrap', async (t) => {
  const cache = await freshCache(t, 'memory')
  let reads = 0
  class Users {
    @cache.cached('1m', (id: number) => `user:${id}`)
    async get(id: number): Promise<string | null> {
      reads++
      return id === 0 ? null : `user ${id}`
    }

    @cache.cached()
    async list(page: number, order = 'name'): Promise<string> {
      return `${page}/${order}/${++reads}`
    }

    @cache.invalidatesCache('user:*')
    async removeAll(): Promise<void> {}

    @cache.invalidatesCache((id: number) => [`user:${id}`])
    async rename(id: number, name: string): Promise<string> {
      if (name === '') throw new Error('empty')
      return `${id} is ${name}`
    }
  }
  const users = new Users()
  t.strictSame(await Promise.all([users.get(1), users.get(1), users.get(0), users.get(0)]), [
    ...['user 1', 'user 1'],
    ...[null, null],
  ])
  t.equal(reads, 2)
  t.equal(await users.list(1), await users.list(1))
  t.not(await users.list(1), await users.list(1, 'age'))
  reads = 0
  await users.get(0)
  t.equal(await users.rename(1, 'x'), '1 is x')
  await t.rejects(users.rename(0, ''), { message: 'empty' })
  await users.get(0)
  t.equal(reads, 0, 'a failed method invalidates nothing')
  await users.get(1)
  t.equal(reads, 1)
  await users.removeAll()
  await Promise.all([users.get(0), users.get(1)])
  t.equal(reads, 3)

  const twice = cache.wrap((n: number) => {
    reads++
    return 2 * n
  })
  t.strictSame([await twice(4), await twice(4), reads], [8, 8, 4])
})

t.test('warming brings entries into the first level', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const cache = await freshCache(t, kind)
    await cache.set('there', 1)
    t.strictSame(
      await cache.warm([
        'there',
        'missing',
        { key: 'loaded', loader: () => 2 },
        {
          key: 'broken',
          loader: () => {
            throw new Error('x')
          },
        },
      ]),
      { warmed: 2, missing: 1, failed: 1 },
    )
    t.strictSame([cache.peek('there'), cache.peek('loaded')], [1, 2])
  }),
)

t.test('keys are checked', async (t) => {
  const cache = await freshCache(t, 'memory')
  const bad = ['', 'x'.repeat(513), 'ü'.repeat(257), '\ud800', 5 as unknown as string]
  for (const key of bad) {
    const refused = { code: 'STATEFUL_INVALID_CACHE_KEY' }
    await t.rejects(cache.get(key), refused)
    await t.rejects(
      cache.getOrSet(key, () => 1),
      refused,
    )
    await t.rejects(cache.getMany([key]), refused)
    await t.rejects(cache.set(key, 1), refused)
    await t.rejects(cache.delete(key), refused)
    await t.rejects(cache.set('k', 1, { tags: [key] }), refused)
    t.equal(cache.peek(key), undefined)
  }
  await cache.set('ü'.repeat(256), 1)
  t.equal(await cache.get('ü'.repeat(256)), 1)
})

t.test('the numbers add up and can be reset', async (t) => {
  const cache = await freshCache(t, 'memory')
  await cache.getOrSet('a', () => 1)
  await cache.get('a')
  await cache.namespace('other').get('a')
  const stats = cache.stats()
  t.match(stats, { lookups: 3, l1Hits: 1, misses: 2, l1HitRate: 1 / 3, missRate: 2 / 3, loads: 1, entries: 1 })
  t.match(stats.namespaces, { default: { lookups: 2 }, other: { lookups: 1, entries: 0 } })
  t.ok(stats.bytes > 0)
  cache.resetStats()
  t.match(cache.stats(), { lookups: 0, l1HitRate: 0, missRate: 0, entries: 1 })
})
