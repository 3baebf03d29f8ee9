import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import type { Space } from '../../../../plugins/state/index.ts'
import { recordKey, STATE_DATABASE, valueKey } from '../../../../plugins/state/log/lmdb-records.ts'
import { openStorage } from '../../../../plugins/storage/index.ts'
import { CheckedDatabase } from '../../../../plugins/storage/lmdb/checked-records.ts'
import { testApp } from '../../../fixtures/app.ts'
import { startRedis } from '../../../fixtures/redis-server.ts'
import { deaf, testState, until } from '../../../fixtures/state.ts'
import { storageUrl } from '../../../fixtures/storages.ts'

const base = 'fs:{state:app}:'
/** What an older version, a hand or a flipped bit may have left as a record of the log. */
const records: Record<string, string> = {
  'a seq that was Infinity':
    '{"e":"1:a","a":1,"o":[{"op":"set","key":"k","value":1}],"t":"x","c":"client","s":Infinity}',
  'a seq that is no number': '{"e":"1:a","a":1,"o":[{"op":"set","key":"k","value":1}],"t":"x","c":"client","s":"1"}',
  'a number beyond all doubles': '{"e":"1:a","a":1,"o":[{"op":"set","key":"k","value":[1e999]}],"t":"x"}',
  'no JSON': 'garbled',
  'nothing at all': '',
  'JSON of another kind': '[1]',
  'no operations': '{"e":"1:a","a":1,"t":"x"}',
  'an operation that is none': '{"e":"1:a","a":1,"o":[null],"t":"x"}',
  'two records in one line': '{"e":"1:a","a":1,"o":[],"t":"x"},{"e":"1:a","a":1,"o":[],"t":"x"}',
}

async function redisClient(t: Test) {
  const server = await startRedis(t)
  const client = new Redis(server.port)
  t.teardown(() => client.disconnect())
  return { url: server.url, client }
}

/** Replaces the record of one revision as nothing but a person or a fault would. */
async function overwriteRecord(client: Redis, revision: number, text: string): Promise<void> {
  const stream = (await client.xrange(`${base}log`, '-', '+')) as [string, [string, string]][]
  await client.del(`${base}log`)
  for (const [id, [field, lines]] of stream) {
    await client.xadd(`${base}log`, id, field, id === `${revision}-0` ? text : lines)
  }
}

async function overwriteLmdb(url: string, changes: Record<string, string>): Promise<void> {
  const storage = await openStorage(url)
  if (storage.kind !== 'lmdb') throw new TypeError('for LMDB only')
  const database = new CheckedDatabase<string, string>(storage, { name: STATE_DATABASE, encoding: 'text' })
  for (const [key, text] of Object.entries(changes)) await database.put(key, text)
  await storage.root.flushed
  await storage.close()
}

async function threeCommits(space: Space) {
  await space.set('a', 1)
  await space.set('b', 2)
  await space.set('c', 3)
}

/** Everything is there, the history from after the damage on, and it was told once. */
async function isWhole(t: Test, space: Space, errors: unknown[], what: string) {
  t.same(
    [...space.entries()].sort(),
    [
      ['a', 1],
      ['b', 2],
      ['c', 3],
    ],
    what,
  )
  t.equal(space.revision, 3)
  const told = errors.filter((error) => (error as Error).message.includes(`'${space.name}'`))
  t.match(told, [{ code: 'STATEFUL_STORAGE_CORRUPT', message: /history before revision 3/ }], 'told once')
  t.equal(space.describe().unreadable, 1)
  const { epoch } = space
  t.equal((await space.history({ epoch, revision: 2 }))?.length, 1, 'what came after it is still history')
  t.equal(await space.history({ epoch, revision: 0 }), undefined, 'whoever stands before it gets everything anew')
  t.equal((await space.set('d', 4)).revision, 4, 'and life goes on')
}

t.test('LMDB boots over commits that cannot be read, loudly', async (t) => {
  const url = await storageUrl(t, 'lmdb')
  const damages = Object.entries(records).map(([what, text], n) => ({ what, text, name: `space-${n}` }))
  const before = await testState(t, { url })
  for (const { name } of damages) await threeCommits(before.state.space(name))
  await before.close()
  await overwriteLmdb(url, Object.fromEntries(damages.map(({ name, text }) => [recordKey(name, 2), text])))
  const { state, errors } = await testState(t, { url })
  for (const { what, name } of damages) {
    const space = state.space(name)
    await space.ready
    await isWhole(t, space, errors, what)
  }
})

t.test('Redis boots over commits that cannot be read, loudly', async (t) => {
  const { url, client } = await redisClient(t)
  for (const [what, text] of Object.entries(records)) {
    await client.flushall()
    const { state, close } = await testState(t, { url })
    await threeCommits(state)
    await close()
    await overwriteRecord(client, 2, text)
    const after = await testState(t, { url })
    await isWhole(t, after.state, after.errors, what)
    await after.close()
  }
})

t.test('a key that cannot be read is set aside for all, and its text is kept', async (t) => {
  t.test('lmdb', async (t) => {
    const url = await storageUrl(t, 'lmdb')
    const first = await testState(t, { url })
    await threeCommits(first.state)
    const { epoch } = first.state
    const other = first.state.space('other')
    await threeCommits(other)
    await first.close()
    await overwriteLmdb(url, { [valueKey('app', 'b')]: '2 - {"half":', [recordKey('app', 1)]: 'garbled' })
    const { state, errors, close } = await testState(t, { url })
    t.same([...state.keys()].sort(), ['a', 'c'])
    t.match(errors, [{ message: /the key 'b' is set aside/ }])
    t.equal(await state.history({ epoch, revision: 1 }), undefined)
    const sound = state.space('other')
    await sound.ready
    t.same([sound.size, sound.describe().unreadable], [3, 0], 'another space has lost nothing')
    await state.set('b', 'new')
    await close()
    const again = await testState(t, { url })
    t.equal(again.state.get('b'), 'new')
    t.same(again.errors, [], 'the next boot is an ordinary one')
  })
  t.test('redis', async (t) => {
    const { url, client } = await redisClient(t)
    const { state: one } = await testState(t, { url, pollInterval: 20 })
    await threeCommits(one)
    await client.hset(`${base}values`, 'b', '2 - {"half":', 'odd', 'x')
    const { state: two, errors } = await testState(t, { url })
    t.same([...two.keys()].sort(), ['a', 'c'])
    t.match(errors, [{ message: /the key 'b' is set aside in 'fs:\{state:app\}:damaged'/ }])
    t.equal(two.stats().unreadable, 2)
    await until(one, () => one.epoch === two.epoch)
    t.same(one.snapshot(), two.snapshot(), 'also for those that had read it when it was sound')
    t.equal(two.describe().lastEpochCause, 'damage')
    t.equal(two.entry('a')?.revision, 1, 'the others keep their revisions')
    t.same(await client.hgetall(`${base}damaged`), { b: '2 - {"half":', odd: 'x' })
    await one.set('b', 'new')
    t.equal(await two.read('b'), 'new')
  })
})

t.test(
  'an instance that meets a commit which it cannot apply reads the space whole instead of going deaf',
  async (t) => {
    const { url, client } = await redisClient(t)
    const { state: writer } = await testState(t, { url })
    // It hears nothing and seldom looks, so that it meets the damage in the log and not a message before it.
    const { state, errors } = await testState(t, { url, wrap: deaf, pollInterval: 1_000 })
    const inapplicable = '{"e":"1:a","a":1,"o":[{"op":"append","key":"a","value":1}],"t":"x"}'
    for (const [n, text] of [...Object.values(records), inapplicable].entries()) {
      await writer.set('a', n)
      await state.freshen()
      await writer.set('b', n)
      await overwriteRecord(client, writer.revision, text)
      await writer.set('c', n)
      await state.freshen()
      t.equal(state.get('c'), n, text)
      t.same(state.snapshot(), writer.snapshot())
    }
    t.equal(state.fault, undefined)
    t.ok(state.stats().unreadable > 0)
    t.ok(errors.length > 0)
  },
)

t.test('what is published and cannot be applied is read from the log', async (t) => {
  const { url, client } = await redisClient(t)
  const { state } = await testState(t, { url, pollInterval: 1_000 })
  const { state: writer } = await testState(t, { url })
  await writer.set('a', 'text')
  await state.freshen()
  const { epoch, revision } = state
  const lie = '{"e":"1:a","a":1,"o":[{"op":"increment","key":"a","value":1}],"t":"x"}'
  const looks = state.stats().catchUps
  for (const text of [lie, ...Object.values(records)]) {
    await client.publish(`${base}head`, `${epoch} ${revision} ${revision + 1} ${text}`)
    await client.publish(`${base}head`, text)
  }
  await writer.set('a', 'more')
  await until(state, () => state.get('a') === 'more')
  t.ok(state.stats().catchUps > looks)
  t.equal(state.revision, revision + 1)
})

t.test('epochs that cannot be read make those who stand in them begin anew, and nobody else', async (t) => {
  const { url, client } = await redisClient(t)
  const { state, close } = await testState(t, { url })
  await state.set('a', 1)
  await state.restore({ state: { a: 2 } })
  await state.set('a', 3)
  const position = { epoch: state.epoch, revision: state.revision - 1 }
  await close()
  for (const text of ['{"epoch":', 'null', '{}', '{"epoch":"1:x","first":1e999}']) {
    await client.lset(`${base}epochs`, 0, text)
    const { state, close } = await testState(t, { url })
    t.equal(state.get('a'), 3, text)
    t.equal((await state.history(position))?.length, 1)
    await close()
  }
  await client.lset(`${base}epochs`, -1, 'garbled')
  const { state: again } = await testState(t, { url })
  t.equal(again.get('a'), 3)
  const resyncs = again.stats().resyncs
  await again.set('a', 4)
  await again.freshen()
  t.equal(again.stats().resyncs, resyncs, 'the present epoch goes on')
})

t.test('a head that cannot be read refuses the boot, and the error names the cure', async (t) => {
  const damages: [string, (client: Redis) => Promise<unknown>][] = [
    ['a revision that is none', (client) => client.hset(`${base}meta`, 'revision', 'many')],
    ['a floor that is none', (client) => client.hset(`${base}meta`, 'floor', '1e999')],
    ['an epoch that is none', (client) => client.hset(`${base}meta`, 'epoch', 'x')],
    ['an epoch that is none, of another server', (client) => client.hset(`${base}meta`, 'epoch', 'x', 'run', 'y')],
    ['a head of another type', (client) => client.multi().del(`${base}meta`).set(`${base}meta`, 'x').exec()],
    ['a log of another type', (client) => client.multi().del(`${base}log`).set(`${base}log`, 'x').exec()],
  ]
  const { url, client } = await redisClient(t)
  for (const [what, damage] of damages) {
    await client.flushall()
    const { state, close } = await testState(t, { url })
    await threeCommits(state)
    await close()
    await damage(client)
    await t.rejects(
      testState(t, { url }),
      { code: 'STATEFUL_STORAGE_CORRUPT', message: /space 'app'.*fs:\{state:app\}:.*(delete|put back)/i },
      what,
    )
  }
  await client.flushall()
  await testState(t, { url })
})

t.test('an instance that cannot follow any more says that it is not ready, until it can', async (t) => {
  const { url, client } = await redisClient(t)
  const app = await testApp(t, { storage: url })
  await app.state.set('a', 1)
  const ready = () => app.inject('/health/ready')
  t.equal((await ready()).statusCode, 200)
  const { revision, epoch } = (await client.hgetall(`${base}meta`)) as { revision: string; epoch: string }
  await client.hset(`${base}meta`, 'epoch', 'x')
  await t.rejects(app.state.freshen(), { code: 'STATEFUL_STORAGE_CORRUPT' })
  t.equal(await client.hget(`${base}meta`, 'epoch'), 'x', 'what cannot be read is not written over')
  await client.hset(`${base}meta`, 'epoch', epoch, 'revision', 'many')
  await t.rejects(app.state.freshen(), { code: 'STATEFUL_STORAGE_CORRUPT' })
  const answer = await ready()
  t.equal(answer.statusCode, 503)
  t.notMatch(answer.body, /fs:/, 'without internals')
  await client.hset(`${base}meta`, 'revision', revision)
  await app.state.freshen()
  t.equal((await ready()).statusCode, 200)
})
