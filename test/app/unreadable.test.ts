import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { openStorage } from '../../plugins/storage/index.ts'
import { CheckedDatabase } from '../../plugins/storage/lmdb/checked-records.ts'
import { ADMIN_PASSWORD, loggedIn, testApp } from '../fixtures/app.ts'
import { startRedis } from '../fixtures/redis-server.ts'
import { storageUrl } from '../fixtures/storages.ts'

/** What a flipped bit, a hand or another version may have left under a key of ours. */
const garbage = [
  '',
  'x',
  '[]',
  'null',
  '{"a":',
  '1e999',
  '\u0000\u0001',
  'Infinity 1 1 1 1 1 o\n{}\n',
  '9999999999999 1 1',
]

async function onRedis(t: Test) {
  const server = await startRedis(t)
  const client = new Redis(server.port)
  t.teardown(() => client.disconnect())
  return { url: server.url, client }
}

t.test('a session that cannot be read is none: its bearer can log in, and the others are not touched', async (t) => {
  const { url, client } = await onRedis(t)
  const app = await testApp(t, { storage: url })
  const other = await loggedIn(app)
  const handle = (await other({ method: 'GET', url: '/sessions' })).json().current
  const whole = (text: string) => text.replace(/\n.*$/s, '')
  for (const damage of [
    ...garbage.map((text) => () => text),
    (record: string) => record.slice(0, -1),
    (record: string) => record.slice(0, -20),
    (record: string) => `${whole(record)}\n{"user":\n`,
    (record: string) => `${whole(record)}\n\n"user"\n{"id":"admin","role":1e999}\n`,
    (record: string) => `${whole(record)}\n\n"user"\n{"id":\n`,
  ]) {
    const session = await loggedIn(app)
    const { current } = (await session({ method: 'GET', url: '/sessions' })).json()
    const key = `fs:session:s:{${current.slice(0, 2)}}:${current}`
    const text = damage((await client.get(key)) as string)
    await client.set(key, text, 'KEEPTTL')
    const answer = await session({ method: 'GET', url: '/profile' })
    t.equal(answer.statusCode, 401, JSON.stringify(text).slice(0, 60))
    const login = { username: 'admin', password: ADMIN_PASSWORD }
    t.equal((await session({ method: 'POST', url: '/login', payload: login })).statusCode, 200)
  }
  const list = await other({ method: 'GET', url: '/sessions' })
  t.equal(list.statusCode, 200)
  t.ok(list.json().sessions.some((one: { handle: string }) => one.handle === handle))
  t.ok((await app.sessions.stats()).unreadable > 0, 'and it is counted')
  t.ok((await app.sessions.revokeUser((await app.accounts.findByUsername('admin'))?.id ?? '')) > 0)
})

t.test(
  'on LMDB neither a session, an account, an entry nor a write-behind that cannot be read holds up the rest',
  async (t) => {
    const url = await storageUrl(t, 'lmdb')
    const before = await testApp(t, { storage: url })
    before.cache.writeBehind('default', () => Promise.reject(new Error('not now')))
    const [bad, good] = [await before.sessions.create('ada'), await before.sessions.create('ada')]
    const grace = await before.accounts.create({ username: 'grace', password: ADMIN_PASSWORD, role: 'user' })
    for (const key of ['a', 'b', 'c']) await before.cache.set(key, key)
    await before.cache.setWithDelayedPersist('first', 1)
    await before.cache.setWithDelayedPersist('second', 2)
    await before.cache.namespace('hot-keys').set('default', 5)
    await before.close()

    const storage = await openStorage(url)
    if (storage.kind !== 'lmdb') throw new TypeError('for LMDB only')
    // With the checksums of what is sound, so that the boot keeps them.
    const raw = (name: string) => new CheckedDatabase<Buffer, string | string[]>(storage, { name, encoding: 'binary' })
    await raw('sessions').put(bad.id, Buffer.from([0xc1, 0xff]))
    await raw('accounts').put(grace.id, Buffer.from([0xc1]))
    await raw('cache').put(['default', 'a'], Buffer.from('short'))
    await raw('cache').put(['default', 'b'], Buffer.alloc(120, 0xff))
    const [first] = raw('cache-journal').getKeys({ limit: 1 })
    await raw('cache-journal').put(first as string[], Buffer.from([0xc1]))
    await raw('cache-journal').put(['default', 'no number'], Buffer.from('x'))
    await storage.close()

    const handed: unknown[] = []
    const app = await testApp(t, { storage: url, cache: { writeBehind: { attempts: 1, delay: 1 } } })
    t.equal(await app.sessions.get(bad.id), undefined)
    t.equal((await app.sessions.get(good.id))?.userId, 'ada')
    t.equal((await app.sessions.list('ada')).length, 1)
    t.equal(await app.sessions.revokeUser('ada'), 1)
    t.ok((await app.sessions.stats()).unreadable > 0)
    t.same(await app.cache.getMany(['a', 'b', 'c']), new Map([['c', 'c']]))
    t.equal(await app.cache.deleteMatching('*b'), 0)
    t.equal(await app.cache.delete(['a', 'c']), 1)
    app.cache.writeBehind('default', (writes) => handed.push(...writes))
    await app.cache.writers.flush()
    t.match(handed, [{ key: 'second', value: 2 }])
    t.equal((await app.cache.writers.deadLetters('default')).length, 2)
    const response = await (await loggedIn(app))({ method: 'GET', url: '/cache/writers/default/dead-letters' })
    t.equal(response.statusCode, 200)
    const login = { username: 'grace', password: ADMIN_PASSWORD }
    t.equal(
      (await app.inject({ method: 'POST', url: '/login', payload: login })).json().code,
      'STATEFUL_STORAGE_CORRUPT',
    )
    await t.rejects(app.accounts.get(grace.id), {
      code: 'STATEFUL_STORAGE_CORRUPT',
      message: /create the account again/,
    })
  },
)

t.test('on Redis entries, heads, messages and lists that cannot be read are misses, and can be deleted', async (t) => {
  const { url, client } = await onRedis(t)
  const app = await testApp(t, { storage: url, cache: { l2: { timeout: '30s' } } })
  const base = 'fs:cache:{default}:'
  for (const [n, text] of garbage.entries()) {
    await client.set(`${base}v:bad-${n}`, text)
    await client.set(`${base}v:padded-${n}`, text.padEnd(200, '\u0001'))
  }
  await client.rpush(`${base}v:list`, 'x')
  await app.cache.set('good', 1)
  const keys = garbage.flatMap((_, n) => [`bad-${n}`, `padded-${n}`])
  t.same(await app.cache.getMany([...keys, 'list', 'good']), new Map([['good', 1]]))
  t.equal(await app.cache.delete([...keys.slice(2), 'list']), 0, 'what is there for nobody is not counted')
  t.equal(await app.cache.expire(['bad-0']), 1)
  t.equal(await app.cache.getOrSet('bad-0', () => 'loaded'), 'loaded')
  t.equal(await app.cache.delete('good'), 1)
  for (const text of [
    ...garbage,
    '{"epoch":"x","seq":1e999}',
    '{"epoch":"x","seq":1,"keys":5}',
    '{"epoch":"x","seq":1,"names":[1]}',
    '{"epoch":"x","seq":1,"pattern":{}}',
  ]) {
    for (const channel of [`${base}bus`, 'fs:session:revoked', 'fs:sync-nodes', 'fs:presence']) {
      await client.publish(channel, text)
    }
  }
  for (const field of ['seq', 'named']) {
    await client.hset(`${base}h`, field, '1e999')
    await app.cache.set('after', field)
    t.equal(await app.cache.get('after'), field)
  }
  await client.multi().del(`${base}h`).set(`${base}h`, 'x').exec()
  await app.cache.clear()
  await app.cache.set('after', 'head')
  t.equal(await app.cache.get('after'), 'head')
})

t.test('a list of hot keys that is none does not end the boot', async (t) => {
  const { url } = await onRedis(t)
  for (const value of [5, 'text', { length: 3 }, [1, null, 'good']]) {
    const app = await testApp(t, { storage: url })
    await app.cache.set('good', 1)
    await app.cache.namespace('hot-keys').set('default', value)
    await app.close()
    const again = await testApp(t, { storage: url })
    t.equal(await again.cache.get('good'), 1, JSON.stringify(value))
    await again.close()
  }
})

t.test('what other instances left unreadable is left out', async (t) => {
  const { url, client } = await onRedis(t)
  const app = await testApp(t, { storage: url })
  const admin = await loggedIn(app)
  for (const [n, text] of [...garbage, '{}', '{"instance":"x"}'].entries()) {
    await client.hset('fs:{stats}:instances', `other-${n}`, text)
  }
  const stats = await admin({ method: 'GET', url: '/stats?scope=cluster' })
  t.equal(stats.statusCode, 200)
  t.equal(stats.json().instances.length, 1)
  for (const text of garbage) await client.publish('fs:sync-nodes', text)
  t.equal((await admin({ method: 'GET', url: '/sync/nodes?scope=cluster' })).statusCode, 200)
})

t.test('an account of Redis that is not whole lets nobody in, and says what to do', async (t) => {
  const { url, client } = await onRedis(t)
  const app = await testApp(t, { storage: url })
  const { id } = await app.accounts.create({ username: 'grace', password: ADMIN_PASSWORD, role: 'user' })
  for (const field of ['passwordHash', 'role', 'username', 'id']) {
    const key = `fs:{accounts}:account:${id}`
    const kept = (await client.hget(key, field)) as string
    await client.hset(key, field, '')
    await t.rejects(app.accounts.verify('grace', ADMIN_PASSWORD), { code: 'STATEFUL_STORAGE_CORRUPT' }, field)
    await client.hset(key, field, kept)
  }
  t.match(await app.accounts.verify('grace', ADMIN_PASSWORD), { id })
})
