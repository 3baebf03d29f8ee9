import Fastify from 'fastify'
import t from 'tap'
import { Accounts, type Bootstrap } from '../../../plugins/accounts/accounts.ts'
import { accounts } from '../../../plugins/accounts/index.ts'
import { Passwords } from '../../../plugins/accounts/passwords.ts'
import { MemoryAccountStore } from '../../../plugins/accounts/stores/memory.ts'
import { RedisAccountStore } from '../../../plugins/accounts/stores/redis.ts'
import { storage } from '../../../plugins/storage/index.ts'
import { startRedis } from '../../fixtures/redis-server.ts'
import { onEveryStorage, openTestStorage, storageUrl } from '../../fixtures/storages.ts'

const limits = { concurrency: 2, queue: 100 }

t.test('a password opens its account only, whatever the case of the name', async (t) => {
  const engine = new Accounts(new MemoryAccountStore(), limits)
  const user = await engine.create({ username: 'Ada', password: 'correct horse', role: 'user', email: 'a@b.c' })
  t.match(user, { username: 'Ada', role: 'user', email: 'a@b.c', id: String })
  t.notOk('passwordHash' in user)
  t.same(await engine.verify('ada', 'correct horse'), user)
  t.equal(await engine.verify('ada', 'wrong horse'), undefined)
  t.equal(await engine.verify('nobody', 'correct horse'), undefined)
  t.same(await engine.findByUsername('ADA'), user)
  await t.rejects(engine.create({ username: 'ADA', password: 'x', role: 'user' }), { code: 'STATEFUL_USERNAME_TAKEN' })
})

t.test('an update changes the password and the name', async (t) => {
  const engine = new Accounts(new MemoryAccountStore(), limits)
  const { id } = await engine.create({ username: 'ada', password: 'first', role: 'user' })
  await engine.create({ username: 'grace', password: 'first', role: 'user' })
  t.match(await engine.update(id, { password: 'second', displayName: 'Ada' }), { id, displayName: 'Ada' })
  t.equal(await engine.verify('ada', 'first'), undefined)
  t.match(await engine.verify('ada', 'second'), { id })
  await t.rejects(engine.update(id, { username: 'Grace' }), { code: 'STATEFUL_USERNAME_TAKEN' })
  await t.rejects(engine.update('nobody', { role: 'user' }), { code: 'STATEFUL_NOT_FOUND' })
})

t.test('an unknown user takes as long as a wrong password', async (t) => {
  const engine = new Accounts(new MemoryAccountStore(), limits)
  await engine.create({ username: 'ada', password: 'secret', role: 'user' })
  await engine.verify('nobody', 'the first makes the hash that nothing matches')
  const took = async (username: string) => {
    const times: number[] = []
    for (let n = 0; n < 5; n++) {
      const start = performance.now()
      await engine.verify(username, 'wrong')
      times.push(performance.now() - start)
    }
    return Math.min(...times)
  }
  const [known, unknown] = [await took('ada'), await took('nobody')]
  t.ok(unknown > known / 3 && unknown < known * 3, `${known} ms and ${unknown} ms`)
})

t.test('only so many hashes run and wait', async (t) => {
  const passwords = new Passwords({ concurrency: 1, queue: 1 })
  const results = await Promise.allSettled(['a', 'b', 'c'].map((password) => passwords.hash(password)))
  t.same(
    results.map(({ status }) => status),
    ['fulfilled', 'fulfilled', 'rejected'],
  )
  t.match(results[2], { reason: { code: 'STATEFUL_OVERLOADED' } })
  t.match(await passwords.hash('d'), /^\$argon2id\$v=19\$m=19456,t=2,p=1\$/)
})

t.test('of instances that boot together one creates the administrator, once', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const url = await storageUrl(t, kind)
    const boot = async () => {
      const app = Fastify()
      await app.register(storage, { storage: url })
      await app.register(accounts)
      return app
    }
    // One process owns an LMDB folder, and memory is one process's.
    const apps = await Promise.all(kind === 'redis' ? [boot(), boot(), boot()] : [boot()])
    const passwords = apps.flatMap((app) => app.accounts.generatedPassword ?? [])
    t.equal(passwords.length, 1)
    t.ok((passwords[0] as string).length >= 24)
    t.equal(await apps[0]?.accounts.count(), 1)
    t.match(await apps[0]?.accounts.verify('admin', passwords[0] as string), { role: 'administrator' })
    await Promise.all(apps.map((app) => app.close()))
    if (kind === 'memory') return
    const again = await boot()
    t.equal(again.accounts.generatedPassword, undefined)
    t.match(await again.accounts.verify('admin', passwords[0] as string), { role: 'administrator' })
    await again.close()
  }),
)

t.test('a given password is used at the first boot and changes nothing later', async (t) => {
  const engine = new Accounts(new MemoryAccountStore(), limits)
  await engine.bootstrap({ password: 'first' })
  await engine.bootstrap({ password: 'second' })
  t.equal(engine.generatedPassword, undefined)
  t.ok(await engine.verify('admin', 'first'))
  t.notOk(await engine.verify('admin', 'second'))
})

t.test('a storage that has lost all accounts gets its administrator again, as last seen', async (t) => {
  const redis = await startRedis(t)
  const storage = await openTestStorage(t, redis.url)
  if (storage.kind !== 'redis') return
  const { client } = storage.client.servers
  let restored = 0
  const onRestored = () => {
    restored += 1
  }
  const boot = async () => {
    const engine = new Accounts(new RedisAccountStore(storage), { ...limits, onRestored })
    await engine.bootstrap()
    return engine
  }
  const first = await boot()
  const second = await boot()
  const generated = first.generatedPassword as string
  const admin = await first.findByUsername('admin')

  await client.flushall()
  const both = await Promise.all([first, second].map((engine) => engine.verify('admin', generated)))
  t.strictSame(both, [admin, admin], 'the generated password too, wherever it was generated')
  t.equal(restored, 1)

  await client.flushall()
  await second.create({ username: 'ada', password: 'correct horse', role: 'user' })
  t.same(await first.get(admin?.id as string), admin, 'also when another account is made first')

  await second.update(admin?.id as string, { password: 'changed' })
  await client.flushall()
  t.ok(await second.verify('admin', 'changed'))
  t.notOk(await first.verify('admin', generated))

  await second.create({ username: 'ada', password: 'correct horse', role: 'user' })
  await client.del(`fs:{accounts}:account:${admin?.id}`)
  await client.hdel('fs:{accounts}:names', 'admin')
  t.equal(await second.verify('admin', 'changed'), undefined, 'one that was removed by hand stays away')
})

t.test('who is no administrator any more does not come back, nor one that the boot did not ensure', async (t) => {
  const redis = await startRedis(t)
  const storage = await openTestStorage(t, redis.url)
  if (storage.kind !== 'redis') return
  const engine = new Accounts(new RedisAccountStore(storage), limits)
  await engine.create({ username: 'admin', password: 'first', role: 'administrator' })
  await engine.verify('admin', 'first')
  await storage.client.servers.client.flushall()
  t.equal(await engine.count(), 0)

  await engine.bootstrap({ password: 'first' })
  const former = (await engine.findByUsername('admin'))?.id as string
  // Another one has to be left.
  await engine.create({ username: 'second', password: 'second', role: 'administrator' })
  await engine.update(former, { role: 'user' })
  await storage.client.servers.client.flushall()
  t.equal(await engine.count(), 0)

  await engine.bootstrap({ password: 'first' })
  const third = await engine.create({ username: 'third', password: 'third', role: 'administrator' })
  await engine.delete((await engine.findByUsername('admin'))?.id as string)
  await storage.client.servers.client.flushall()
  t.equal(await engine.count(), 0, 'one that was deleted does not either')
  await engine.create({ ...third, password: 'third' })
  await engine.verify('third', 'third')
  await storage.client.servers.client.flushall()
  t.equal(await engine.count(), 1, 'but whoever administers it by now')
  t.match(await engine.verify('third', 'third'), { id: third.id })
})

t.test('what the password of the boot means is told', async (t) => {
  const store = new MemoryAccountStore()
  const boot = async (bootstrap: Bootstrap) => {
    const lines: string[] = []
    const app = Fastify({ logger: { stream: { write: (line: string) => void lines.push(line) } } })
    t.teardown(() => app.close())
    await app.register(storage, { storage: 'memory:' })
    await app.register(accounts, { store, bootstrap })
    const told = lines.map((line) => JSON.parse(line)).filter(({ plugin }) => plugin === 'accounts')
    t.notMatch(lines.join(''), /a password that nobody knows/)
    return told.map(({ msg, created }) => [created, msg])
  }
  const password = 'a password that nobody knows'
  t.match(await boot({ password }), [[true, /was created with the password .*ADMIN_PASSWORD/]])
  t.match(await boot({ password }), [[false, /is not used.*docs\/accounts\.md/]])
  t.same(await boot({}), [])
})

t.test("an application's own store that fails is a 503 with its cause; a wrong option stops the boot", async (t) => {
  const store = new MemoryAccountStore()
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(storage, { storage: 'memory:' })
  await app.register(accounts, { store, bootstrap: false })
  const { id } = await app.accounts.create({ username: 'ada', password: 'first', role: 'user' })
  t.match(await app.accounts.update(id, { displayName: 'Ada' }), { id, displayName: 'Ada' })
  t.match(await app.accounts.findByUsername('ada'), { id })
  t.equal(await app.accounts.count(), 1)
  const cause = new Error('gone')
  store.get = () => Promise.reject(cause)
  await t.rejects(app.accounts.get(id), { code: 'STATEFUL_STORAGE_UNAVAILABLE', cause })
  store.get = () => {
    throw cause
  }
  await t.rejects(app.accounts.get(id), { code: 'STATEFUL_STORAGE_UNAVAILABLE', cause }, 'also before it has a promise')
  store.create = () => Promise.reject(new Error('OOM command not allowed'))
  const second = { username: 'grace', password: 'first', role: 'user' } as const
  await t.rejects(app.accounts.create(second), { code: 'STATEFUL_STORAGE_FULL' })
  for (const wrong of [{ concurrency: 0 }, { queue: -1 }]) {
    const app = Fastify()
    await app.register(storage, { storage: 'memory:' })
    await t.rejects(async () => app.register(accounts, wrong), { code: 'STATEFUL_INVALID_OPTION' })
    await app.close()
  }
  const bare = Fastify()
  await t.rejects(async () => bare.register(accounts), { code: 'FST_ERR_PLUGIN_NOT_PRESENT_IN_INSTANCE' })
})
