import t from 'tap'
import { ManualClock } from '../../../plugins/support/manual-clock.ts'
import { onEveryStorage, storageUrl } from '../../fixtures/storages.ts'
import { freshCache, startCache } from './fixture.ts'

const mallory = { userId: 'mallory', address: '10.0.0.1' }

t.test('reading makes no namespace, on every storage', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const cache = await freshCache(t, kind, { maxNamespaces: 2 })
    for (let n = 0; n < 100; n++) t.equal(await cache.readAs(mallory, `junk${n}`, 'k'), undefined)
    t.same(cache.namespaces, ['default'])
    const own = cache.namespace('own')
    await own.set('k', 1)
    t.equal(await cache.readAs(mallory, 'own', 'k'), 1)
    t.throws(() => cache.namespace('another'), { code: 'STATEFUL_TOO_MANY_NAMESPACES' })
  }),
)

t.test('what clients have opened is closed when idle, found again, and bounded', async (t) => {
  const clock = new ManualClock()
  const clients = { namespaces: 2, namespacesPerUser: 1 }
  const cache = await startCache(t, await storageUrl(t, 'memory'), { clock, clients })
  const first = cache.borrow('a', mallory)
  await first.namespace.set('k', 1)
  t.throws(() => cache.borrow('b', mallory), { code: 'STATEFUL_TOO_MANY_AT_ONCE' })
  cache.borrow('b', { ...mallory, userId: 'grace' })
  t.throws(() => cache.borrow('c', { ...mallory, userId: 'heidi' }), { code: 'STATEFUL_OVERLOADED' })
  t.ok(cache.namespace('own'), 'the application has its own')
  t.equal(await first.namespace.get('k'), 1)
  first.release()
  clock.advance(60_000)
  t.same(cache.namespaces.sort(), ['b', 'default', 'own'])
  t.equal(cache.stats().lookups, 1, 'what was counted stays counted')
  t.equal(await cache.readAs(mallory, 'a', 'k'), 1)
})

t.test('bounds are checked at boot', async (t) => {
  await t.rejects(freshCache(t, 'memory', { clients: { namespaces: 0 } }), { code: 'STATEFUL_INVALID_OPTION' })
})
