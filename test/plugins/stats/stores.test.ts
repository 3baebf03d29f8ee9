import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { RedisBoard } from '../../../plugins/stats/stores/redis.ts'
import { singleBoard } from '../../../plugins/stats/stores/single.ts'
import type { RedisStorage } from '../../../plugins/storage/index.ts'
import { startRedis } from '../../fixtures/redis-server.ts'
import { openTestStorage } from '../../fixtures/storages.ts'
import { boardSuite } from '../../suites/stats-board.ts'

const LIFETIME = 60_000

t.test('one process', (t) => boardSuite(t, async () => ({ board: singleBoard })))

t.test('Redis', async (t) => {
  const redis = await startRedis(t)
  await boardSuite(t, async (t) => {
    const open = async () => (await openTestStorage(t, redis.url)) as RedisStorage
    const storage = await open()
    await storage.client.servers.client.flushall()
    return {
      board: new RedisBoard(storage, LIFETIME),
      another: async () => new RedisBoard(await open(), LIFETIME),
      // The server's clock cannot be moved, but what it wrote can be made old.
      expire: async () => {
        const key = 'fs:{stats}:instances'
        const flat = (await storage.client.hgetall(key)) as unknown as string[] | Record<string, string>
        const entries = Array.isArray(flat)
          ? flat.flatMap((field, i) => (i % 2 === 0 ? [[field, flat[i + 1] as string] as const] : []))
          : Object.entries(flat)
        for (const [field, value] of entries) {
          const [at, ...rest] = value.split(' ')
          await storage.client.hset(key, [field, [Number(at) - LIFETIME - 1_000, ...rest].join(' ')])
        }
      },
    }
  })
})

t.test('nothing stays in Redis when all instances are gone', async (t) => {
  const redis = await startRedis(t)
  const storage = (await openTestStorage(t, redis.url)) as RedisStorage
  const board = new RedisBoard(storage, 100)
  await board.publish({ instance: 'one' } as Parameters<RedisBoard['publish']>[0])
  t.equal(await storage.client.exists('fs:{stats}:instances'), 1)
  for (let waited = 0; waited < 2_000; waited += 20) {
    if ((await storage.client.exists('fs:{stats}:instances')) === 0) break
    await delay(20)
  }
  t.equal(await storage.client.exists('fs:{stats}:instances'), 0)
})

t.test('without Redis it says so', async (t) => {
  const redis = await startRedis(t)
  const storage = (await openTestStorage(t, redis.url)) as RedisStorage
  const board = new RedisBoard(storage, LIFETIME)
  await redis.kill()
  await t.rejects(board.others(), { code: 'STATEFUL_STORAGE_UNAVAILABLE', statusCode: 503 })
})
