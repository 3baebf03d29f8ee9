import t from 'tap'
import { Cache, type CacheNamespace } from '../../../../plugins/cache/index.ts'
import { LocalTier } from '../../../../plugins/cache/tier/local.ts'
import { MemoryShelf } from '../../../../plugins/cache/tier/memory.ts'
import { MemoryJournal } from '../../../../plugins/cache/write-behind/memory.ts'
import { systemClock } from '../../../../plugins/support/clock.ts'
import { ManualClock } from '../../../../plugins/support/manual-clock.ts'
import { onEveryStorage, openTestStorage, storageUrl } from '../../../fixtures/storages.ts'
import { deferred, freshCache, startCache } from '../fixture.ts'

const LATER = { writeBehind: { delay: '1h' } }
const NEVER = () => {
  throw new Error('the source has the old value still')
}

const invalidations: Record<string, (cache: CacheNamespace) => Promise<unknown>> = {
  delete: (cache) => cache.delete('user:1'),
  expire: (cache) => cache.expire('user:1'),
  invalidateTags: (cache) => cache.invalidateTags('t'),
  clear: (cache) => cache.clear(),
  deleteMatching: (cache) => cache.deleteMatching('*er:1'),
  'deleteMatching of a prefix': (cache) => cache.deleteMatching('user:*'),
}

t.test('an invalidation while a write waits does not bring the old value back', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const url = await storageUrl(t, kind)
    const options = { ...LATER, prefixes: ['user:'] }
    const cache = await startCache(t, url, options)
    const other = kind === 'redis' ? await startCache(t, url, options) : cache
    const source = new Map<string, unknown>()
    for (const one of new Set([cache, other])) {
      one.writeBehind('default', (writes) => {
        for (const { namespace, value } of writes) source.set(namespace, value)
      })
    }
    for (const [how, invalidate] of Object.entries(invalidations)) {
      const [here, there] = [cache.namespace(how.replaceAll(' ', '-')), other.namespace(how.replaceAll(' ', '-'))]
      source.set(here.name, 'old')
      const read = () => source.get(here.name)
      t.equal(await there.getOrSet('user:1', read, { tags: ['t'], stale: '1h' }), 'old')
      await here.setWithDelayedPersist('user:1', 'new', { tags: ['t'], stale: '1h' })
      await invalidate(here)
      for (const one of new Set([here, there])) {
        t.equal(await one.getOrSet('user:1', NEVER), 'new', how)
        t.equal(await one.get('user:1'), 'new', how)
        t.same(await one.getMany(['user:1', 'none']), new Map([['user:1', 'new']]))
      }
      await cache.writers.flush()
      t.equal(read(), 'new')
      for (const one of new Set([here, there])) t.equal(await one.getOrSet('user:1', read), 'new', how)
    }
  }),
)

t.test('what is persisted can be removed by a pattern like everything else', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const cache = await freshCache(t, kind, LATER)
    cache.writeBehind('default', () => {})
    await cache.setWithDelayedPersist('user:1', 'new')
    await cache.writers.flush()
    t.equal(await cache.get('user:1'), 'new')
    t.equal(await cache.deleteMatching('*er:1'), 1)
    t.equal(await cache.get('user:1'), undefined)
  }),
)

t.test('nor does the end of its time', async (t) => {
  const clock = new ManualClock()
  const cache = await startCache(t, 'memory:', { clock, ...LATER })
  let source = 'old'
  cache.writeBehind('default', ([write]) => {
    source = write?.value as string
  })
  await cache.setWithDelayedPersist('k', 'new', { ttl: 1_000 })
  clock.advance(2_000)
  t.equal(await cache.get('k'), 'new')
  t.equal(await cache.getOrSet('k', NEVER), 'new')
  await cache.writers.flush()
  t.equal(await cache.get('k'), undefined, 'what is persisted is the business of the source')
  t.equal(await cache.getOrSet('k', () => source), 'new')
})

t.test('a load that a write overtakes is not stored, also when the write has been invalidated since', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const cache = await freshCache(t, kind, LATER)
    cache.writeBehind('default', () => {})
    const loading = deferred<string>()
    const began = deferred()
    const load = cache.getOrSet('k', () => {
      began.resolve()
      return loading.promise
    })
    await began.promise
    await cache.setWithDelayedPersist('k', 'new')
    await cache.delete('k')
    loading.resolve('old')
    t.equal(await load, 'old', 'who asked before')
    t.equal(await cache.getOrSet('k', NEVER), 'new')
  }),
)

t.test('nor is one granted that looked before the write and asked after its invalidation', async (t) => {
  let meanwhile: (() => Promise<unknown>) | undefined
  class LateLease extends LocalTier {
    override async lease(...args: Parameters<LocalTier['lease']>) {
      await meanwhile?.()
      return super.lease(...args)
    }
  }
  const tier = new LateLease('memory', new MemoryShelf({ maxEntries: 10, maxBytes: 10_000 }, systemClock), systemClock)
  const cache = new Cache({ tier, journal: new MemoryJournal(tier, systemClock) }, LATER)
  t.teardown(() => cache.close())
  cache.writeBehind('default', () => {})
  meanwhile = async () => {
    meanwhile = undefined
    await cache.setWithDelayedPersist('k', 'new')
    await cache.delete('k')
  }
  t.equal(await cache.getOrSet('k', NEVER), 'new')
})

t.test('a journal that cannot be asked leaves no load behind for which others wait', async (t) => {
  const tier = new LocalTier('memory', new MemoryShelf({ maxEntries: 10, maxBytes: 10_000 }, systemClock), systemClock)
  let asked = 0
  class Trouble extends MemoryJournal {
    override waits = () => true
    override async pending(): Promise<undefined[]> {
      // Once when the key is looked for, once when the load has its lease.
      if (++asked === 2) throw new Error('gone')
      return [undefined]
    }
  }
  // A clock that stands still: who waited for a lease to end would wait for ever.
  const clock = new ManualClock()
  const cache = new Cache({ tier, journal: new Trouble(tier, clock) }, { clock })
  t.teardown(() => cache.close())
  t.equal(await cache.getOrSet('k', () => 'first'), 'first')
  t.equal(asked, 2)
  t.equal(await cache.getOrSet('k', () => 'second', { ttl: '1m' }), 'second')
  t.equal(await cache.get('k'), 'second', 'and the next load is stored')
})

t.test('after a restart it is the journal that is read', (t) =>
  onEveryStorage(t, async (t, kind) => {
    // The journal in memory lives and dies with the process, as documented.
    if (kind === 'memory') return
    const storage = await openTestStorage(t, await storageUrl(t, kind))
    const before = await startCache(t, storage, LATER)
    before.writeBehind('default', () => Promise.reject(new Error('not now')))
    await before.setWithDelayedPersist('k', 'older')
    await before.setWithDelayedPersist('k', 'new')
    await before.close()
    const cache = await startCache(t, storage, LATER)
    await cache.clear()
    t.equal(await cache.getOrSet('k', NEVER), 'new')
    const handed: unknown[] = []
    cache.writeBehind('default', (writes) => handed.push(...writes.map(({ value }) => value)))
    await cache.writers.flush()
    t.same(handed, ['new'])
  }),
)

t.test('two handlers may have the same key, each with its own write', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const cache = await freshCache(t, kind, LATER)
    const handed: string[] = []
    let broken = true
    cache.writeBehind('db', (writes) => handed.push(...writes.map(({ value }) => `db ${value}`)))
    cache.writeBehind('search', (writes) => {
      if (broken) throw new Error('not now')
      handed.push(...writes.map(({ value }) => `search ${value}`))
    })
    await cache.setWithDelayedPersist('k', 1, { writer: 'search' })
    await cache.setWithDelayedPersist('k', 2, { writer: 'db' })
    await cache.delete('k')
    t.equal(await cache.get('k'), 2, 'the latest of both')
    await cache.writers.flush()
    t.same(handed, ['db 2'])
    broken = false
    await cache.writers.flush()
    t.same(handed, ['db 2', 'search 1'])
    await cache.delete('k')
    t.equal(await cache.get('k'), undefined)
  }),
)

t.test('what went to the dead letters is no longer served, unless it was written again', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const told: unknown[] = []
    const cache = await freshCache(t, kind, {
      writeBehind: {
        delay: '1h',
        attempts: 1,
        onDeadLetter(letter) {
          told.push(letter)
          throw new Error('and who listens may be broken')
        },
      },
    })
    const asked = deferred()
    const answer = deferred()
    let refuse = true
    const source: unknown[] = []
    cache.writeBehind('w', async (writes) => {
      asked.resolve()
      await answer.promise
      if (refuse && writes.some(({ key }) => key === 'bad')) throw new Error('constraint violated')
      source.push(...writes.map(({ value }) => value))
    })
    await cache.setWithDelayedPersist('bad', 'never', { writer: 'w' })
    await cache.setWithDelayedPersist('again', 1, { writer: 'w' })
    const flushed = cache.writers.flush()
    await asked.promise
    await cache.setWithDelayedPersist('again', 2, { writer: 'w' })
    answer.resolve()
    t.equal(await cache.get('bad'), 'never')
    await flushed
    t.match(told, [{ writer: 'w', namespace: 'default', key: 'bad', value: 'never', reason: 'constraint violated' }])
    t.equal(await cache.get('again'), 2)
    t.equal(await cache.get('bad'), undefined)
    t.equal(await cache.getOrSet('bad', () => 'of the source'), 'of the source')
    refuse = false
    t.equal(await cache.writers.retryDeadLetters('w'), 1)
    t.equal(await cache.get('bad'), 'never', 'it waits again')
    await cache.writers.flush()
    t.ok(source.includes('never'))
  }),
)

t.test('a dead letter does not come back over a newer write that waits', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const cache = await freshCache(t, kind, { writeBehind: { delay: '1h', attempts: 1 } })
    let refuse = true
    const source: unknown[] = []
    cache.writeBehind('default', (writes) => {
      if (refuse) throw new Error('no')
      source.push(...writes.map(({ value }) => value))
    })
    await cache.setWithDelayedPersist('k', 'old')
    await cache.writers.flush()
    await cache.setWithDelayedPersist('k', 'new')
    refuse = false
    await cache.writers.retryDeadLetters('default')
    t.equal(await cache.get('k'), 'new')
    await cache.writers.flush()
    t.same(source, ['new'])
    t.same(await cache.writers.deadLetters('default'), [])
  }),
)
