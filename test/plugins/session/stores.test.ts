import t from 'tap'
import { LmdbSessionStore } from '../../../plugins/session/stores/lmdb.ts'
import { MemorySessionStore } from '../../../plugins/session/stores/memory.ts'
import { RedisSessionStore } from '../../../plugins/session/stores/redis.ts'
import { openTestStorage, storageUrl } from '../../fixtures/storages.ts'
import { sessionStoreSuite } from '../../suites/session-store.ts'

t.test('memory', (t) => sessionStoreSuite(t, async () => new MemorySessionStore()))

t.test('lmdb', (t) =>
  sessionStoreSuite(t, async (t) => {
    const storage = await openTestStorage(t, await storageUrl(t, 'lmdb'))
    return storage.kind === 'lmdb' ? new LmdbSessionStore(storage.root) : t.bailout()
  }),
)

t.test('redis', async (t) => {
  const storage = await openTestStorage(t, await storageUrl(t, 'redis'))
  if (storage.kind !== 'redis') return t.bailout()
  const { client } = storage
  // One server for all: each store gets a prefix of its own.
  let stores = 0
  await sessionStoreSuite(t, async () => new RedisSessionStore({ client, prefix: `test-${stores++}:` }))
})
