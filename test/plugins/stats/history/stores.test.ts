import t from 'tap'
import { LmdbHistory } from '../../../../plugins/stats/history/stores/lmdb.ts'
import { MemoryHistory } from '../../../../plugins/stats/history/stores/memory.ts'
import { openHistory } from '../../../../plugins/stats/history/stores/open.ts'
import { RedisHistory } from '../../../../plugins/stats/history/stores/redis.ts'
import { openStorage, type RedisStorage } from '../../../../plugins/storage/index.ts'
import { startRedis } from '../../../fixtures/redis-server.ts'
import { onEveryStorage, openTestStorage, storageUrl, temporaryFolder } from '../../../fixtures/storages.ts'
import { historySuite, RESOLUTION, sample } from '../../../suites/stats-history.ts'

const KINDS = { memory: MemoryHistory, lmdb: LmdbHistory, redis: RedisHistory }

t.test('every storage', (t) =>
  onEveryStorage(t, (t, kind) =>
    historySuite(t, async (t) => {
      const store = openHistory(await openTestStorage(t, await storageUrl(t, kind)))
      t.ok(store instanceof KINDS[kind])
      return store
    }),
  ),
)

t.test('on LMDB it outlives a restart, and a broken record does no harm', async (t) => {
  const url = `lmdb:${await temporaryFolder(t)}`
  const now = Date.now()
  const before = await openStorage(url)
  await openHistory(before).append(RESOLUTION, sample(now - 10_000))
  await openHistory(before).append(RESOLUTION, { ...sample(now), numbers: { requests: 'many' } } as never)
  await before.close()
  const store = openHistory(await openTestStorage(t, url))
  t.same(await store.read(RESOLUTION, 0, now), [sample(now - 10_000)])
})

t.test('there is an end to how many samples are kept', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const store = openHistory(await openTestStorage(t, await storageUrl(t, kind)), 50)
    const now = Math.floor(Date.now() / 10_000) * 10_000
    const all = Array.from({ length: 60 }, (_, i) => sample(now - 1_000_000 + i, { instance: `${i}` }))
    for (const one of all) await store.append(RESOLUTION, one)
    t.same(await store.read(RESOLUTION, 0, now), all.slice(10), 'the oldest go')
  }),
)

t.test('on Redis all instances read it, what another version wrote is left out, and it ends by itself', async (t) => {
  const redis = await startRedis(t)
  const [one, two] = (await Promise.all([1, 2].map(() => openTestStorage(t, redis.url)))) as [
    RedisStorage,
    RedisStorage,
  ]
  const now = Math.floor(Date.now() / 10_000) * 10_000
  await openHistory(one).append(RESOLUTION, sample(now))
  const { client } = one.client.servers
  const [key] = await client.keys('*history*')
  t.equal(key, 'fs:{stats}:history:10000')
  for (const text of ['{', '{}', 'null', JSON.stringify({ ...sample(now), at: -1 })]) {
    await client.zadd(String(key), now, text)
  }
  t.same(await openHistory(two).read(RESOLUTION, 0, now), [sample(now)])
  const left = await client.pttl(String(key))
  t.ok(left > 0 && left <= RESOLUTION.reach)
  await redis.kill()
  await t.rejects(openHistory(two).read(RESOLUTION, 0, now), { code: 'STATEFUL_STORAGE_UNAVAILABLE' })
})
