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

  t.test('accounts of an earlier version, which kept no indexes, are listed and guarded', async (t) => {
    const prefix = 'earlier:'
    const write = async (id: string, role: string, extra: [string, string][] = []) => {
      const record = Object.entries({ id, username: id, nameKey: id, role, passwordHash: 'hash' }).concat(extra)
      await client.hset(`${prefix}{accounts}:account:${id}`, record.flat())
      await client.hset(`${prefix}{accounts}:names`, [id, id])
    }
    for (let n = 0; n < 250; n++) await write(`user-${n}`, 'user')
    await write('admin', 'administrator')
    const store = new RedisAccountStore({ client, prefix })
    t.equal((await store.list({ prefix: '', limit: 1_000 })).length, 251)
    t.equal(await store.delete('admin'), 'last')
    t.equal(await store.delete('user-1'), true)
    // Of an instance of that version that still runs.
    await write('second', 'administrator')
    t.match(await store.update('admin', { role: 'user' }), { role: 'user' })
    t.equal(await store.update('second', { disabled: true }), 'last')
    t.equal((await store.list({ prefix: 's', limit: 10 })).length, 1)
  })

  t.test('one that cannot be read hides no other', async (t) => {
    const prefix = 'broken:'
    const store = new RedisAccountStore({ client, prefix })
    const account = { role: 'user' as const, passwordHash: 'hash' }
    for (const id of ['a', 'b', 'c', 'd']) await store.create({ ...account, id, username: id, nameKey: id })
    await client.hset(`${prefix}{accounts}:account:b`, ['role', 'root'])
    await client.hset(`${prefix}{accounts}:account:c`, ['disabled', 'perhaps'])
    t.same(
      (await store.list({ prefix: '', limit: 2 })).map(({ id }) => id),
      ['a', 'd'],
    )
    await t.rejects(store.get('c'), { code: 'STATEFUL_STORAGE_CORRUPT' })
  })
})
