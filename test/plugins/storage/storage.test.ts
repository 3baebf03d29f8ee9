import t from 'tap'
import { openStorage } from '../../../plugins/storage/index.ts'
import { freePort } from '../../fixtures/redis-server.ts'
import { onEveryStorage, storageUrl } from '../../fixtures/storages.ts'

t.test('each kind opens, answers and closes', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const storage = await openStorage(await storageUrl(t, kind))
    t.equal(storage.kind, kind)
    await storage.ping()
    await storage.close()
  }),
)

t.test('an unknown storage is refused without repeating what may be a password', async (t) => {
  const error: Error = await openStorage('postgres://u:secret@h/db').then(t.fail, (error) => error)
  t.match(error, { code: 'STATEFUL_UNKNOWN_STORAGE' })
  t.notMatch(error.message, /secret/)
})

t.test('an unreachable Redis is one clear error within the deadline', async (t) => {
  const started = Date.now()
  const error: Error = await openStorage(`redis://:secret@127.0.0.1:${await freePort()}`).then(t.fail, (error) => error)
  t.match(error, { code: 'STATEFUL_STORAGE_UNAVAILABLE', message: /127\.0\.0\.1:\d+.*ECONNREFUSED/ })
  t.notMatch(error.message, /secret/)
  t.ok(Date.now() - started < 4_000)
})
