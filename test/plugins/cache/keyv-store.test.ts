import t from 'tap'
import { KeyvStore } from '../../../plugins/cache/keyv-store.ts'
import { ManualClock } from '../../fixtures/manual-clock.ts'
import { onEveryStorage } from '../../fixtures/storages.ts'
import { freshCache, startCache } from './fixture.ts'

t.test('answers as a Keyv store has to', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const store = new KeyvStore((await freshCache(t, kind)).namespace('keyv'))
    t.equal(await store.get('a'), undefined)
    t.equal(await store.set('a', { value: null }), true)
    t.strictSame(await store.get('a'), { value: null })
    t.strictSame(
      await store.setMany([
        { key: 'b', value: 2 },
        { key: 'c', value: null, ttl: 60_000 },
      ]),
      [true, true],
    )
    t.strictSame(await store.getMany(['c', 'none', 'b']), [null, undefined, 2])
    t.strictSame(await store.hasMany(['c', 'none']), [true, false])
    t.equal(await store.has('b'), true)
    t.equal(await store.delete('b'), true)
    t.equal(await store.delete('b'), false)
    t.equal(await store.deleteMany(['c', 'none']), true)
    t.equal(await store.set('a', undefined), true)
    t.equal(await store.get('a'), undefined)
    await store.set('one:a', 1)
    await store.set('two:a', 2)
    store.namespace = 'one'
    await store.clear()
    t.strictSame(await store.getMany(['one:a', 'two:a']), [undefined, 2])
    store.namespace = undefined
    await store.clear()
    t.equal(await store.get('two:a'), undefined)
    await store.disconnect()
  }),
)

t.test('an entry ends with its time to live, and lasts without one', async (t) => {
  const clock = new ManualClock()
  const store = new KeyvStore(await startCache(t, 'memory:', { clock }))
  await store.set('short', 1, 1_000)
  await store.set('long', 1, 0)
  clock.advance(1_000)
  t.strictSame(await store.getMany(['short', 'long']), [undefined, 1])
  clock.advance(7 * 24 * 3_600_000)
  t.equal(await store.get('long'), 1)
})
