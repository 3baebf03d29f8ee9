import t from 'tap'
import { LmdbAccountStore } from '../../../plugins/accounts/stores/lmdb.ts'
import { MemoryAccountStore } from '../../../plugins/accounts/stores/memory.ts'
import { RedisAccountStore } from '../../../plugins/accounts/stores/redis.ts'
import { openTestStorage, storageUrl } from '../../fixtures/storages.ts'
import { accountStoreSuite } from '../../suites/account-store.ts'

t.test('memory', (t) => accountStoreSuite(t, async () => new MemoryAccountStore()))

t.test('lmdb', (t) =>
  accountStoreSuite(t, async (t) => {
    const storage = await openTestStorage(t, await storageUrl(t, 'lmdb'))
    if (storage.kind !== 'lmdb') throw new Error(storage.kind)
    return new LmdbAccountStore(storage)
  }),
)

t.test('redis', async (t) => {
  const storage = await openTestStorage(t, await storageUrl(t, 'redis'))
  if (storage.kind !== 'redis') throw new Error(storage.kind)
  const { client } = storage
  let stores = 0
  await accountStoreSuite(t, async () => new RedisAccountStore({ client, prefix: `test-${stores++}:` }))
})
