import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { type Message, STAMP_LIFE, type Stamp } from '../../../plugins/cache/tier/contract.ts'
import { openTier } from '../../../plugins/cache/tier/open.ts'
import { encode } from '../../../plugins/cache/tier/record.ts'
import { RedisTier } from '../../../plugins/cache/tier/redis.ts'
import { RedisJournal } from '../../../plugins/cache/write-behind/redis.ts'
import { RedisSessionStore } from '../../../plugins/session/stores/redis.ts'
import { ownerOf } from '../../../plugins/session/token.ts'
import type { RedisStorage, RedisStorageOptions } from '../../../plugins/storage/index.ts'
import { MAX_ARGUMENTS } from '../../../plugins/storage/redis/client.ts'
import { MAX_KEYS, RedisScript } from '../../../plugins/storage/redis/script.ts'
import { systemClock } from '../../../plugins/support/clock.ts'
import { seededRandom } from '../../fixtures/random.ts'
import { monitor } from '../../fixtures/redis-monitor.ts'
import { testState } from '../../fixtures/state.ts'
import { openTestStorage, storageUrl } from '../../fixtures/storages.ts'
import { sessionOf } from '../../suites/session-store.ts'

const MANY = 10_000

/** A storage, and the most arguments that any request on it had; scripts' own commands are none. */
async function watched(
  t: Test,
): Promise<{ storage: RedisStorage; target: RedisStorageOptions; most: () => Promise<number> }> {
  const url = await storageUrl(t, 'redis')
  // The deadline of a command holds for what waits before it as well, and nothing here is about deadlines.
  const target: RedisStorageOptions = { url, redis: { commandTimeout: 60_000 } }
  const storage = (await openTestStorage(t, target)) as RedisStorage
  const admin = new Redis(url)
  t.teardown(() => admin.disconnect())
  const seen = await monitor(t, admin)
  let most = 0
  return {
    storage,
    target,
    async most() {
      for (const { args, byScript } of await seen()) if (!byScript) most = Math.max(most, args.length + 1)
      return most
    },
  }
}

const keys = Array.from({ length: MANY }, (_, n) => `key-${n}`)

t.test('arguments of a script beyond what a request takes arrive as they were', async (t) => {
  const { storage, most } = await watched(t)
  const echo = new RedisScript('#!lua\nreturn { KEYS[#KEYS], #KEYS, unpack(ARGV, 1, math.min(#ARGV, 7000)) }')
  const random = seededRandom(11)
  const texts = ['', ':', '3:abc', '\0', 'é\u2028', '12', 'x'.repeat(200)]
  for (const count of [0, 1, 3_990, 3_995, 3_996, 3_997, 5_000, 6_999]) {
    const args = Array.from({ length: count }, () => random.pick(texts))
    const names = Array.from({ length: random.integer(1, MAX_KEYS) }, (_, n) => `{a}${n}`)
    t.same(await echo.run(storage.client, names, args), [names.at(-1), names.length, ...args], `${count} arguments`)
  }
  t.equal(((await echo.run(storage.client, keys.slice(0, MAX_KEYS), ['a', 'b'])) as unknown[])[1], MAX_KEYS)
  const bytes = Buffer.from([0xff, 0x3a, 0])
  const length = new RedisScript('#!lua\nreturn #ARGV[4001]')
  t.equal(
    await length.run(
      storage.client,
      ['a'],
      Array.from({ length: 4_001 }, () => bytes),
    ),
    3,
  )
  t.ok((await most()) <= MAX_ARGUMENTS, `${await most()} arguments at most`)
  await t.rejects(echo.run(storage.client, keys), RangeError, 'more keys than that are refused before they are sent')
})

t.test('ten thousand entries, tags and keys of the cache', async (t) => {
  const { storage, most } = await watched(t)
  const tier = await openTier(storage, systemClock, { maxEntries: 1, maxBytes: 1 })
  t.teardown(() => tier.close())
  const heard: Message[] = []
  await tier.subscribe('a', (message) => heard.push(message))
  const { seq } = await tier.head('a')
  const names = keys.map((key) => `t:${key}`)
  // Nothing keeps them yet: they are the same again for as long as a stamp lives that nobody needs.
  let began = 0
  let values: readonly string[] = []
  let again: readonly string[] = []
  for (let turns = 0; turns < 20 && (turns === 0 || performance.now() - began >= STAMP_LIFE); turns++) {
    began = performance.now()
    values = (await tier.stamps('a', names)).values
    again = (await tier.stamps('a', names)).values
  }
  t.equal(new Set(values).size > 0 && values.length, MANY)
  t.same(again, values)

  const stamped = (n: number): Stamp[] => [[names[n] as string, values[n] as string]]
  const data = (n: number) => encode({ freshUntil: 0, deadAt: 0, cost: 0, stamps: n < 500 ? stamped(n) : [], value: n })
  const entries = keys.map((key, n) => ({ key, data: data(n), ttl: 60_000 }))
  const put = await tier.put('a', entries, [])
  t.ok(put && put.first !== undefined && put.first < put.seq, 'several mutations')
  const found = await tier.get('a', [...keys, 'none'])
  t.equal(found.filter((one) => one !== undefined).length, MANY)
  t.same(found[9_999], Buffer.from(entries[9_999]?.data ?? []))

  t.equal((await tier.expire('a', keys)).removed, MANY)
  await tier.invalidate('a', { names: names.slice(0, 100) })
  t.not((await tier.stamps('a', names)).values[0], values[0])
  const removed = await tier.invalidate('a', { keys, names })
  t.equal(removed.removed, MANY - 500, 'entries whose tags fall are not there')
  t.equal(found.length - 1, (await tier.get('a', keys)).filter((one) => one === undefined).length)
  t.same((await tier.head('a')).seq, removed.seq)
  for (let waited = 0; heard.length < removed.seq - seq && waited < 200; waited++) await tier.head('a')
  t.same(
    heard.map((message) => message.seq),
    Array.from({ length: removed.seq - seq }, (_, n) => seq + 1 + n),
    'each is told, without a gap',
  )
  t.equal(new Set(heard.flatMap((message) => message.keys ?? [])).size, MANY)
  await tier.put('a', entries, [])
  t.equal((await tier.invalidate('a', { pattern: 'key-*' })).removed, MANY)
  t.ok((await most()) <= MAX_ARGUMENTS, `${await most()} arguments at most`)
})

t.test('a commit of thousands of operations, and a restore', async (t) => {
  const { target: url, most } = await watched(t)
  const { state } = await testState(t, { url, limits: { opsPerCommit: MANY, keys: 50_000 } })
  await state.commit(keys.map((key, value) => ({ op: 'set', key, value })))
  await state.commit(keys.slice(1).map((key) => ({ op: 'delete', key })))
  t.same(state.snapshot().state, { 'key-0': 0 })
  await state.restore({ state: Object.fromEntries(keys.map((key) => [key, key])) })
  const { state: other } = await testState(t, { url })
  t.same(other.snapshot(), state.snapshot())
  await state.clear()
  t.equal(state.size, 0)
  t.ok((await most()) <= MAX_ARGUMENTS, `${await most()} arguments at most`)
})

t.test('thousands of sessions of one user', async (t) => {
  const { storage, most } = await watched(t)
  const store = new RedisSessionStore(storage)
  const now = Date.now()
  const times = { created: now, expires: now + 60_000, ends: now + 60_000 }
  const login = (limit?: { sessions: number; action: 'evict' }) => {
    const session = sessionOf('ada', { ...times, seen: now })
    return store.create(session, { now, login: true, ...(limit ? { limit } : {}) }).then((outcome) => ({
      id: session.id,
      outcome,
    }))
  }
  const logins = async (count: number) =>
    (await Promise.all(Array.from({ length: count }, () => login()))).map(({ id }) => id)
  await logins(4_500)
  const { outcome, id } = await login({ sessions: 10, action: 'evict' })
  t.equal(outcome.outcome === 'created' && outcome.evicted.length, 4_491, 'a limit that was lowered')
  t.equal((await store.list(ownerOf('ada'), now)).length, 10)
  const ids = await logins(4_500)
  // One that logs in meanwhile is ended as well, or was not there yet.
  const [ended] = await Promise.all([store.revokeOwner(ownerOf('ada'), now, id), logins(20)])
  t.ok(ids.every((one) => ended.includes(one)) && !ended.includes(id))
  t.equal(await store.load(ids[0] as string, now), 'ended')
  t.equal(typeof (await store.load(id, now)), 'object', 'the one that is kept')
  t.ok((await most()) <= MAX_ARGUMENTS, `${await most()} arguments at most`)
})

t.test('thousands of writes of a journal', async (t) => {
  const { storage, most } = await watched(t)
  const journal = new RedisJournal(storage, new RedisTier(storage, systemClock))
  const write = { namespace: 'a', data: Buffer.from('data'), ttl: 1_000, stamps: [] }
  const some = keys.slice(0, 100)
  await Promise.all(some.map((key) => journal.append('w', { ...write, key }, MANY)))
  t.equal((await journal.pending('a', keys)).filter(Boolean).length, some.length)
  const entries = (await journal.read('w', 1, MANY)) ?? []
  t.equal(entries.length, some.length)
  // Of most of them nothing is there any more.
  const many = [...entries, ...keys.slice(100).map((key) => ({ id: '0', namespace: 'a', key, data: write.data }))]
  const letters = many.filter((_, n) => n % 2 === 0).map((entry) => ({ ...entry, reason: 'refused', at: 1 }))
  t.equal((await journal.bury('w', 1, letters))?.length, 50)
  t.ok(await journal.remove('w', 1, many))
  t.same(await journal.size('w'), { pending: 0, dead: 50 })
  t.ok((await most()) <= MAX_ARGUMENTS, `${await most()} arguments at most`)
})
