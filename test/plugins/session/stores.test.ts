import t from 'tap'
import { CallbackSessionStore, type CallbackStore } from '../../../plugins/session/stores/callback.ts'
import { LmdbSessionStore } from '../../../plugins/session/stores/lmdb.ts'
import { MemorySessionStore } from '../../../plugins/session/stores/memory.ts'
import { RedisSessionStore } from '../../../plugins/session/stores/redis.ts'
import { openTestStorage, storageUrl } from '../../fixtures/storages.ts'
import { sessionStoreSuite } from '../../suites/session-store.ts'

t.test('memory', (t) => sessionStoreSuite(t, async () => new MemorySessionStore()))

t.test('lmdb', (t) =>
  sessionStoreSuite(t, async (t) => {
    const storage = await openTestStorage(t, await storageUrl(t, 'lmdb'))
    if (storage.kind !== 'lmdb') throw new Error(storage.kind)
    return new LmdbSessionStore(storage)
  }),
)

t.test('redis', async (t) => {
  const storage = await openTestStorage(t, await storageUrl(t, 'redis'))
  if (storage.kind !== 'redis') throw new Error(storage.kind)
  const { client } = storage
  // One server for all: each store gets a prefix of its own.
  let stores = 0
  await sessionStoreSuite(t, async () => new RedisSessionStore({ client, prefix: `test-${stores++}:` }))
})

t.test('a store of express-session', (t) =>
  sessionStoreSuite(t, async () => {
    const kept = new Map<string, string>()
    const store: CallbackStore = {
      get: (sid, callback) => setImmediate(() => callback(null, JSON.parse(kept.get(sid) ?? 'null'))),
      set: (sid, session, callback) => {
        kept.set(sid, JSON.stringify(session))
        setImmediate(callback)
      },
      destroy: (sid, callback) => {
        kept.delete(sid)
        setImmediate(callback)
      },
    }
    return new CallbackSessionStore(store)
  }),
)
