import { setTimeout as delay } from 'node:timers/promises'
import type { Test } from 'tap'
import type { PresenceMember } from '../../openapi/messages/server.ts'
import { RedisAccountStore } from '../../plugins/accounts/stores/redis.ts'
import { RedisAudit } from '../../plugins/audit/stores/redis.ts'
import { openTier } from '../../plugins/cache/tier/open.ts'
import { RedisTier } from '../../plugins/cache/tier/redis.ts'
import { RedisJournal } from '../../plugins/cache/write-behind/redis.ts'
import { RedisSessionStore } from '../../plugins/session/stores/redis.ts'
import { openStateLog } from '../../plugins/state/log/open.ts'
import { RedisHistory } from '../../plugins/stats/history/stores/redis.ts'
import { RedisBoard } from '../../plugins/stats/stores/redis.ts'
import { RedisCounts } from '../../plugins/storage/counts/redis.ts'
import { openStorage, type RedisStorage } from '../../plugins/storage/index.ts'
import { systemClock } from '../../plugins/support/clock.ts'
import { RedisPresence } from '../../plugins/sync/cluster/redis-presence.ts'
import { RedisTokenStore } from '../../plugins/tokens/stores/redis.ts'
import { accountStoreSuite } from './account-store.ts'
import { auditSuite } from './audit.ts'
import { cacheTierSuite } from './cache-tier.ts'
import { journalContract } from './journal.ts'
import { sessionStoreSuite } from './session-store.ts'
import { stateLogSuite } from './state-log.ts'
import { boardSuite } from './stats-board.ts'
import { historySuite } from './stats-history.ts'
import { tokenStoreSuite } from './token-store.ts'

const member = (node: string): PresenceMember => ({ node, clientId: node, userId: node, connectedAt: 0 })

/** The contracts of all stores on one Redis, whatever kind it is; each case under a prefix of its own, below `fs:`. */
export async function redisStoresSuite(t: Test, url: string): Promise<void> {
  let cases = 0
  const open = async (t: Test): Promise<RedisStorage> => {
    const storage = await openStorage({ url, prefix: `fs:${cases++}:` })
    t.teardown(() => storage.close())
    if (storage.kind !== 'redis') throw new Error(storage.kind)
    return storage
  }

  await t.test('sessions', async (t) => {
    const { client } = await open(t)
    await sessionStoreSuite(t, async () => new RedisSessionStore({ client, prefix: `fs:${cases++}:` }))
  })

  await t.test('accounts', async (t) => {
    const { client } = await open(t)
    await accountStoreSuite(t, async () => new RedisAccountStore({ client, prefix: `fs:${cases++}:` }))
  })

  await t.test('access tokens', async (t) => {
    const { client } = await open(t)
    await tokenStoreSuite(t, async () => new RedisTokenStore({ client, prefix: `fs:${cases++}:` }))
  })

  await t.test('audit trail', (t) => auditSuite(t, async (t) => new RedisAudit(await open(t))))

  await t.test('history of the statistics', (t) => historySuite(t, async (t) => new RedisHistory(await open(t))))

  await t.test('state', async (t) => {
    const storage = await open(t)
    const retention = 8
    const historyBytes = 1_600_000
    await stateLogSuite(t, {
      open: async (space) => openStateLog(storage, space, { commits: retention, bytes: historyBytes }),
      durable: true,
      retention,
      historyBytes,
    })
  })

  await t.test('cache', (t) => {
    cacheTierSuite(t, async (t) => {
      const tier = await openTier(await open(t), systemClock, { maxEntries: 1_000, maxBytes: 1_000_000 })
      t.teardown(() => tier.close())
      return { tier, pass: (ms) => delay(ms) }
    })
    t.end()
  })

  await t.test('statistics', async (t) => {
    await boardSuite(t, async (t) => {
      const storage = await open(t)
      let others = 0
      const lifetime = 60_000
      return {
        board: new RedisBoard(storage, lifetime),
        another: async () => new RedisBoard({ ...storage, instanceId: `other-${others++}` }, lifetime),
        expire: async () => {
          const key = `${storage.prefix}{stats}:instances`
          for (const [field, value] of Object.entries(await storage.client.hgetall(key))) {
            const [at, ...rest] = value.split(' ')
            await storage.client.hset(key, [field, [Number(at) - lifetime - 1_000, ...rest].join(' ')])
          }
        },
      }
    })
  })

  await t.test('presence', async (t) => {
    const storage = await open(t)
    const [here, there] = ['here', 'there'].map((instanceId) => new RedisPresence({ ...storage, instanceId }, 60_000))
    t.same(await here?.exchange('app', [member('one')], true), [])
    t.same(await there?.exchange('app', [member('two')], true), [member('one')])
    t.same(await here?.exchange('app', [member('one')], false), [member('two')])
    const heard = new Promise((resolve) => void here?.listen(resolve).then(() => there?.announce('app')))
    t.equal(await heard, 'app')
    t.same(await there?.exchange('app', [], true), [member('one')])
    t.same(await here?.exchange('app', [member('one')], false), [])
    await here?.close()
  })

  await t.test('a journal of write-behind', async (t) => {
    const storage = await open(t)
    const instance = () => new RedisJournal(storage, new RedisTier(storage, systemClock))
    await journalContract(t, instance(), instance())
  })

  await t.test('failed logins', async (t) => {
    const storage = await open(t)
    const failures = new RedisCounts(storage, 'login')
    t.same(await failures.read('ada'), { count: 0, left: 0 })
    await failures.add('ada', 60_000)
    t.match(await failures.add('ada', 60_000), { count: 2 })
    const delay = { most: 0, window: 'renew' } as const
    await failures.add('ada', 120_000, delay)
    const { count, left } = await new RedisCounts(storage, 'login').read('ada')
    t.equal(count, 3)
    t.ok(left > 110_000)
  })
}
