import t, { type Test } from 'tap'
import { Accounts } from '../../../plugins/accounts/accounts.ts'
import { LoginThrottle } from '../../../plugins/accounts/login-throttle.ts'
import { RedisAccountStore } from '../../../plugins/accounts/stores/redis.ts'
import { RedisTier } from '../../../plugins/cache/tier/redis.ts'
import { RedisJournal } from '../../../plugins/cache/write-behind/redis.ts'
import { RedisSessionStore } from '../../../plugins/session/stores/redis.ts'
import { openStateLog } from '../../../plugins/state/log/open.ts'
import { RedisBoard } from '../../../plugins/stats/stores/redis.ts'
import type { LmdbStorage, RedisStorage } from '../../../plugins/storage/index.ts'
import { CheckedDatabase } from '../../../plugins/storage/lmdb/checked-records.ts'
import { OwnConnection } from '../../../plugins/storage/redis/own-connection.ts'
import { evenWhenFull, notWhenFull, RedisScript } from '../../../plugins/storage/redis/script.ts'
import { systemClock } from '../../../plugins/support/clock.ts'
import { StorageFullError, StorageUnavailableError } from '../../../plugins/support/errors.ts'
import { RedisNodes } from '../../../plugins/sync/cluster/redis-nodes.ts'
import { RedisPresence } from '../../../plugins/sync/cluster/redis-presence.ts'
import { type RedisServer, startRedis } from '../../fixtures/redis-server.ts'
import { mountSmallDisk } from '../../fixtures/small-disk.ts'
import { openTestStorage, storageUrl } from '../../fixtures/storages.ts'

type Questions = Record<string, () => unknown>

async function onRedis(t: Test): Promise<{ redis: RedisServer; storage: RedisStorage }> {
  const redis = await startRedis(t)
  return { redis, storage: (await openTestStorage(t, redis.url)) as RedisStorage }
}

/** Each rejects with this class, whose message tells nothing of where the storage is, and keeps what the driver said. */
async function allReject(
  t: Test,
  questions: Questions,
  kind: typeof StorageFullError | typeof StorageUnavailableError,
  cause: RegExp,
): Promise<void> {
  for (const [name, ask] of Object.entries(questions)) {
    const error = await Promise.resolve()
      .then(ask)
      .then(
        () => undefined,
        (error: Error) => error,
      )
    t.ok(error instanceof kind, `${name}: ${error}`)
    t.match(`${error?.cause}`, cause, name)
    t.notMatch(error?.message, /127\.0\.0\.1|:\d{4}/, name)
  }
}

/** What every service asks of Redis. */
async function services(storage: RedisStorage): Promise<{ reading: Questions; writing: Questions }> {
  const accounts = new Accounts(new RedisAccountStore(storage), { concurrency: 1, queue: 1 })
  const throttle = new LoginThrottle(storage, {})
  const sessions = new RedisSessionStore(storage)
  const tier = new RedisTier(storage, systemClock)
  const journal = new RedisJournal(storage, tier)
  const log = openStateLog(storage, 'space', { commits: 10, bytes: 2 ** 25 })
  const confirmed = openStateLog(
    storage,
    'other',
    { commits: 10, bytes: 2 ** 25 },
    { ack: { replicas: 1 }, ackTimeout: 10 },
  )
  const board = new RedisBoard(storage, 1_000)
  const presence = new RedisPresence(storage, 1_000)
  const nodes = new RedisNodes(storage, { nodes: () => [], disconnect: () => false }, systemClock)
  const base = await log.load()
  const [stamp] = (await tier.stamps('n', ['t'])).values
  const entries = new Map([['k', { value: 1, json: '1', revision: base.revision + 1, bytes: 1 }]])
  const key = 'k'
  return {
    writing: {
      'an account': () => accounts.create({ username: 'grace', password: 'the password of grace', role: 'user' }),
      'a failed login': () => throttle.attempt({ account: 'a', address: '192.0.2.1' }, async () => undefined),
      'an entry of the cache': () =>
        tier.put('n', [{ key, data: Buffer.from('x'), ttl: 1_000 }], [['t', stamp as string]]),
      'a write behind': () =>
        journal.append('w', { namespace: 'n', key, data: Buffer.from('x'), ttl: 1_000, stamps: [] }, 10),
      'a snapshot of state': () => log.replace(base, { cause: 'restore', tx: 'tx', entries }),
    },
    reading: {
      'who may log in': () => accounts.findByUsername('ada'),
      'an account by its id': () => accounts.get('ada'),
      'how often it failed': () => throttle.attempt({ account: 'a', address: '192.0.2.1' }, async () => 1),
      'a session': () => sessions.load('a'.repeat(43), 0),
      'the end of a session': () => sessions.revoke('a'.repeat(43), 0),
      'the sessions of a user': () => sessions.list('ada', 0),
      'an entry of the cache': () => tier.get('n', [key]),
      'stamps of the cache': () => tier.stamps('n', ['t']),
      'an invalidation': () => tier.invalidate('n', { keys: [key] }),
      'a pattern': () => tier.invalidate('n', { pattern: 'k*' }),
      'the bus of the cache': () => tier.subscribe('n', () => {}),
      'the journal': () => journal.read('w', 1, 10),
      'its size': () => journal.size('w'),
      'its owner': () => journal.own('w', { by: 'me', ms: 1_000, token: 0 }),
      state: () => log.load(),
      'what followed in it': () => log.since(base),
      'whether there is any': () => log.exists(),
      'where it stands': () => log.head?.(),
      'its hints': () => log.watch(() => {}),
      'its copies': () => confirmed.confirm?.(base),
      statistics: () => board.others(),
      'their withdrawal': () => board.withdraw(),
      presence: () => presence.exchange('space', [], true),
      'its announcement': () => presence.announce('space'),
      'the nodes of others': () => nodes.nodes(),
    },
  }
}

t.test('a Redis that is gone is told by one class, in each service', async (t) => {
  const { redis, storage } = await onRedis(t)
  const { reading, writing } = await services(storage)
  await redis.kill()
  const gone = /clos|ECONN|writeable|Redis at|ended/i
  await allReject(t, { ...reading, ping: () => storage.ping() }, StorageUnavailableError, gone)
  await allReject(t, writing, StorageUnavailableError, gone)
})

t.test('each command of the client, a script, the channels and a connection of its own say so', async (t) => {
  const { redis, storage } = await onRedis(t)
  const { client, channels } = storage
  await redis.kill()
  const many = Array.from({ length: 5_000 }, (_, n) => `k${n}`)
  const own = new OwnConnection(client, 'k', 10)
  t.teardown(() => own.close())
  const script = new RedisScript("return redis.call('GET', KEYS[1])")
  const commands: Questions = {
    get: () => client.get('k'),
    getrange: () => client.getrange('k', 0, 1),
    mget: () => client.mget(['k']),
    'mget of many': () => client.mget(many),
    unlink: () => client.unlink(many),
    exists: () => client.exists('k'),
    hget: () => client.hget('k', 'f'),
    hgetall: () => client.hgetall('k'),
    hlen: () => client.hlen('k'),
    hset: () => client.hset('k', ['f', 'v']),
    hdel: () => client.hdel('k', ['f']),
    zrangebyscore: () => client.zrangebyscore('k', 0, 1),
    zcard: () => client.zcard('k'),
    zlowest: () => client.zlowest('k'),
    hmget: () => client.hmget('k', ['f']),
    xrange: () => client.xrange('k', 1),
    xlen: () => client.xlen('k'),
    zscan: () => client.zscan('k', '', 1).next(),
    scan: () => client.scan('k').next(),
    info: () => client.info('server'),
    evictionPolicy: () => client.evictionPolicy('k'),
    script: () => script.run(client, ['k']),
    'a script of many': () => script.gather(client, [['k'], ['l']]),
    publish: () => channels.publish('c', 'm'),
    subscribe: () => channels.subscribe('c', () => {}),
    'a connection of its own': () => own.run([['GET', 'k']]),
  }
  const silent = ['constructor', 'isCluster', 'tellsRun', 'generation', 'received', 'onChange']
  const untested = Object.getOwnPropertyNames(Object.getPrototypeOf(client)).filter(
    (name) => !(name in commands) && !silent.includes(name),
  )
  // Both belong to the room of the storage.
  t.same(untested, ['call', 'togetherIn'])
  await allReject(t, commands, StorageUnavailableError, /clos|ECONN|writeable|Redis at/i)
})

t.test('a Redis that is full is told by another one', async (t) => {
  const { storage } = await onRedis(t)
  const { reading, writing } = await services(storage)
  const { client } = storage
  await client.servers.client.config('SET', 'maxmemory', '1mb')
  await allReject(t, writing, StorageFullError, /OOM/)
  const set = "return redis.call('SET', KEYS[1], ARGV[1])"
  const others: Questions = {
    hset: () => client.hset('k', ['f', 'v']),
    script: () => new RedisScript(set).run(client, ['k'], ['v']),
    'a script that is refused as a whole': () => new RedisScript(notWhenFull(set)).run(client, ['k'], ['v']),
  }
  await allReject(t, others, StorageFullError, /OOM/)
  t.equal(await new RedisScript(evenWhenFull(set)).run(client, ['k'], ['v']), 'OK')
  await reading['state']?.()
})

t.test('what Redis says of the content of a key, and a mistake of ours, reach the store as they are', async (t) => {
  const { storage } = await onRedis(t)
  const { client } = storage
  await client.servers.client.set('text', 'value')
  const script = new RedisScript("return redis.call('HGET', KEYS[1], ARGV[1])")
  for (const refused of [client.hget('text', 'secret'), script.run(client, ['text'], ['secret'])]) {
    const error = await refused.catch((error: unknown) => error)
    t.match(error, { message: /^WRONGTYPE/, name: 'ReplyError' })
    t.notMatch(JSON.stringify(error), /secret/, 'without the arguments')
  }
  const broken = new RedisScript('return KEYS[1] + {}')
  await t.rejects(broken.run(client, ['k']), { message: /^ERR .*@user_script/, name: 'ReplyError' })
  const keys = Array.from({ length: 4_000 }, (_, n) => `k${n}`)
  await t.rejects(script.run(client, keys), RangeError)
})

t.test('LMDB says the same: of a read that it fails, and of a database that finds no room', async (t) => {
  const storage = (await openTestStorage(t, await storageUrl(t, 'lmdb'))) as LmdbStorage
  const records = new CheckedDatabase<string, string>(storage, { name: 'records', encoding: 'text' })
  await storage.commits.write(() => records.put('k', 'v'))
  await t.rejects(async () => records.get('k'.repeat(5_000)), RangeError, 'a mistake stays one')
  const thrown = new TypeError('a mistake')
  await t.rejects(
    storage.commits.write(() => Promise.reject(thrown)),
    thrown,
  )
  await storage.close()
  const reads: Questions = {
    get: () => records.get('k'),
    find: () => records.find('k'),
    has: () => records.has('k'),
    getKeys: () => [...records.getKeys()],
    getRange: () => [...records.getRange()],
    findRange: () => [...records.findRange()],
    'another database': () => new CheckedDatabase(storage, { name: 'others' }),
  }
  await allReject(t, reads, StorageUnavailableError, /closed/)
})

t.test('a new database on a full disk', async (t) => {
  const disk = mountSmallDisk(t, 16)
  if (!disk) return t.comment('mounting a small disk takes root on Linux')
  const storage = (await openTestStorage(t, `lmdb:${disk.folder}/data`)) as LmdbStorage
  new CheckedDatabase(storage, { name: 'known' })
  await disk.fill()
  t.throws(() => new CheckedDatabase(storage, { name: 'records' }), { code: 'STATEFUL_STORAGE_FULL', cause: undefined })
  t.strictSame([...storage.root.getKeys()], ['databases', 'known'], 'LMDB was not asked: that may end the process')
  t.ok(new CheckedDatabase(storage, { name: 'known' }), 'what is there needs no room')
})
