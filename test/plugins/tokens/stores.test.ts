import t from 'tap'
import { LmdbTokenStore } from '../../../plugins/tokens/stores/lmdb.ts'
import { MemoryTokenStore } from '../../../plugins/tokens/stores/memory.ts'
import { RedisTokenStore } from '../../../plugins/tokens/stores/redis.ts'
import { checkedToken } from '../../../plugins/tokens/token-store.ts'
import { openTestStorage, storageUrl } from '../../fixtures/storages.ts'
import { tokenStoreSuite } from '../../suites/token-store.ts'

t.test('memory', (t) => tokenStoreSuite(t, async () => new MemoryTokenStore()))

t.test('lmdb', (t) =>
  tokenStoreSuite(t, async (t) => {
    const storage = await openTestStorage(t, await storageUrl(t, 'lmdb'))
    if (storage.kind !== 'lmdb') throw new Error(storage.kind)
    return new LmdbTokenStore(storage)
  }),
)

t.test('redis', async (t) => {
  const storage = await openTestStorage(t, await storageUrl(t, 'redis'))
  if (storage.kind !== 'redis') throw new Error(storage.kind)
  const { client } = storage
  let stores = 0
  await tokenStoreSuite(t, async () => new RedisTokenStore({ client, prefix: `test-${stores++}:` }))
  t.test('a record that cannot be read opens nothing, and hides no other', async (t) => {
    const store = new RedisTokenStore({ client, prefix: 'broken:' })
    await client.hset('broken:{tokens}:tokens', ['digest', '{"id":'])
    await t.rejects(store.find('digest'), { code: 'STATEFUL_STORAGE_CORRUPT' })
    await store.create({ id: 'a', digest: 'd', name: 'a', scopes: ['stats:read'], createdAt: 1 }, 10)
    t.match(await store.list(), [{ id: 'a' }])
  })
})

t.test('what is written like a token but is none is refused: above all an expiry that is no number', async (t) => {
  const token = { id: 'a', digest: 'd', name: 'a', scopes: ['stats:read'], createdAt: 1 }
  t.same(
    checkedToken(() => token),
    token,
  )
  for (const broken of [
    { ...token, expiresAt: 'never' },
    { ...token, expiresAt: null },
    { ...token, scopes: 'stats:read' },
    { ...token, digest: '' },
    { ...token, createdAt: undefined },
    null,
    'token',
  ]) {
    t.throws(() => checkedToken(() => broken), { code: 'STATEFUL_STORAGE_CORRUPT' })
  }
})
