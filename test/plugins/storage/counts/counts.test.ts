import t from 'tap'
import { MemoryCounts } from '../../../../plugins/storage/counts/memory.ts'
import { openCounts } from '../../../../plugins/storage/counts/open.ts'
import { ManualClock } from '../../../../plugins/support/manual-clock.ts'
import { startRedis } from '../../../fixtures/redis-server.ts'
import { openTestStorage, storageUrl } from '../../../fixtures/storages.ts'
import { countsSuite } from '../../../suites/counts.ts'

for (const kind of ['memory', 'lmdb'] as const) {
  t.test(`counts on ${kind}`, async (t) => {
    const clock = new ManualClock()
    const counts = openCounts(await openTestStorage(t, await storageUrl(t, kind)), 'test', clock)
    await countsSuite(t, counts, counts, async (ms) => clock.advance(ms))
  })
}

t.test('counts on redis, of two instances', async (t) => {
  const url = await storageUrl(t, 'redis')
  const [one, two] = [await openTestStorage(t, url), await openTestStorage(t, url)]
  const wait = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))
  await countsSuite(t, openCounts(one, 'test'), openCounts(two, 'test'), wait)
  const counts = openCounts(one, 'test')
  await counts.add('a', 60_000)
  t.equal((await openCounts(one, 'other').read('a')).count, 0, 'another name has counts of its own')
})

t.test('in memory they are bounded: who was not counted for longest is forgotten', async (t) => {
  const counts = new MemoryCounts(new ManualClock(), 3)
  for (const key of ['a', 'b', 'c', 'a', 'd']) await counts.add(key, 60_000)
  const left = await Promise.all(['a', 'b', 'c', 'd'].map(async (key) => (await counts.read(key)).count))
  t.strictSame(left, [2, 0, 1, 1])
})

t.test('a Redis that is away or full is an error', async (t) => {
  const redis = await startRedis(t)
  const storage = await openTestStorage(t, redis.url)
  const counts = openCounts(storage, 'test')
  await counts.add('a', 60_000)
  if (storage.kind === 'redis') await storage.client.call('config', ['SET', 'maxmemory', 1])
  await t.rejects(counts.add('a', 60_000), { code: 'STATEFUL_STORAGE_FULL' })
  t.equal((await counts.read('a')).count, 1)
  await redis.kill()
  await t.rejects(counts.add('a', 60_000), { code: 'STATEFUL_STORAGE_UNAVAILABLE' })
  await t.rejects(counts.read('a'), { code: 'STATEFUL_STORAGE_UNAVAILABLE' })
})
