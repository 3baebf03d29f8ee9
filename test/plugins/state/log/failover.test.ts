import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { RedisConfirmation } from '../../../../plugins/state/log/redis-ack.ts'
import type { RedisStorage } from '../../../../plugins/storage/storage.ts'
import { redisPair } from '../../../fixtures/redis-pair.ts'
import { testState, until } from '../../../fixtures/state.ts'
import { openTestStorage } from '../../../fixtures/storages.ts'

t.setTimeout(60_000)

/** Repeats it while a busy machine's replica is later than the deadline. */
async function confirmed(write: () => Promise<unknown>): Promise<void> {
  for (;;) {
    try {
      await write()
      return
    } catch (error) {
      if ((error as { code?: string }).code !== 'STATEFUL_STATE_NOT_REPLICATED') throw error
    }
  }
}

t.test('a promoted replica that has everything continues the history, in an epoch of its own', async (t) => {
  const servers = await redisPair(t)
  const { state } = await testState(t, { url: servers.url, pollInterval: 50 })
  await state.set('k', 1)
  const position = { epoch: state.epoch, revision: state.revision }
  await state.set('k', 2)
  await servers.replicated('k', '2')
  const resets: string[] = []
  state.onReset((reason) => resets.push(reason))
  await servers.failOver()
  while (state.epoch === position.epoch) await state.freshen().catch(() => delay(5))
  t.equal(state.get('k'), 2)
  t.same(resets, [], 'nobody has to start over')
  t.equal((await state.history(position))?.length, 1)
  await state.set('k', 3)
  t.equal(state.revision, 3)
  t.equal(state.stats().epochChanges, 1, 'and it shows')
  t.equal(state.describe().lastEpochCause, 'incarnation')
})

t.test('a failover to a replica that lags withdraws what it never got, and forks nothing', async (t) => {
  const servers = await redisPair(t)
  const { state: one } = await testState(t, { url: servers.url, pollInterval: 50 })
  const { state: two } = await testState(t, { url: servers.url, pollInterval: 50 })
  await one.set('k', 'kept')
  await servers.replicated('k', '"kept"')
  const kept = { epoch: one.epoch, revision: one.revision }
  servers.link.halfOpen()
  await one.set('k', 'lost')
  await one.set('new', 'lost')
  await two.freshen()
  const lost = { epoch: two.epoch, revision: two.revision }
  const heard: unknown[] = []
  two.on('change', ({ key, value, previous }) => heard.push([key, value, previous]))
  two.on('delete', ({ key, previous }) => heard.push([key, undefined, previous]))
  const watched = two.watch('k', { since: lost })
  const next = watched.next()
  await servers.failOver()
  await Promise.all([one, two].map((state) => until(state, () => state.get('k') === 'kept')))
  t.same(heard, [
    ['k', 'kept', 'lost'],
    ['new', undefined, 'lost'],
  ])
  t.match((await next).value, { type: 'reset', reason: 'epoch', position: { revision: kept.revision } })
  await watched.return?.()
  await one.set('k', 'after')
  await one.set('k', 'again')
  await two.freshen()
  t.equal(one.revision, lost.revision, 'the same number, in another epoch')
  t.equal(await two.history(lost), undefined, 'who has what was lost gets everything anew')
  t.equal((await two.history(kept))?.length, 2, 'who has only what was kept goes on')
  t.same(one.snapshot(), two.snapshot())
  t.same([one.stats().epochChanges, two.stats().epochChanges], [1, 1])
})

t.test('a failover to an empty replica is another history as well', async (t) => {
  const servers = await redisPair(t)
  const { state } = await testState(t, { url: servers.url, pollInterval: 50 })
  servers.link.halfOpen()
  await state.set('k', 1)
  const before = { epoch: state.epoch, revision: state.revision }
  await servers.replica.replicaof('NO', 'ONE')
  await servers.replica.flushall()
  await servers.failOver()
  await until(state, () => !state.has('k'))
  t.not(state.epoch, before.epoch)
  await state.set('k', 2)
  t.equal(state.revision, before.revision)
  t.equal(await state.history(before), undefined)
  t.equal(state.stats().epochChanges, 1)
})

t.test('what replicas had to confirm survives the failover to one of them', async (t) => {
  const servers = await redisPair(t)
  const { state } = await testState(t, { url: servers.url, ack: { replicas: 1 }, pollInterval: 50 })
  t.equal(state.describe().durability, 'replicas(1)')
  const acknowledged = new Set<number>()
  const write = (n: number) => state.set(`k${n}`, n).then(() => acknowledged.add(n))
  for (let n = 0; n < 20; n++) await confirmed(() => write(n))
  const { epoch } = state
  const writing = Promise.allSettled(Array.from({ length: 100 }, (_, n) => delay(n / 5).then(() => write(100 + n))))
  await delay(15)
  await servers.failOver()
  while (state.epoch === epoch) await state.freshen().catch(() => delay(5))
  const missing = [...acknowledged].filter((n) => state.get(`k${n}`) !== n)
  t.same(missing, [], `${acknowledged.size} were acknowledged`)
  // Nobody replicates any more, so nothing is acknowledged either; its outcome is told nevertheless.
  await t.rejects(state.set('alone', 1), { code: 'STATEFUL_STATE_NOT_REPLICATED' })
  t.equal(state.get('alone'), 1)
  await state.close()
  await writing
})

t.test('what another server says of its copies confirms nothing', async (t) => {
  const servers = await redisPair(t)
  const { state } = await testState(t, { url: servers.url })
  await state.set('k', 1)
  const { epoch, revision } = state
  const storage = (await openTestStorage(t, servers.url)) as RedisStorage
  const confirmation = new RedisConfirmation(storage.client, 'fs:{state:app}:meta', { replicas: 1 }, 200)
  t.teardown(() => confirmation.close())
  await confirmed(() => confirmation.confirm({ epoch, revision }))
  const unavailable = { code: 'STATEFUL_STORAGE_UNAVAILABLE' }
  await t.rejects(confirmation.confirm({ epoch, revision: revision + 1 }), unavailable, 'it has less')
  await t.rejects(confirmation.confirm({ epoch: '1:other', revision }), unavailable, 'it has another history')
  await state.close()
  await servers.failOver()
  // Nobody has asked the promoted one before: its log still tells the former epoch, and would confirm 0 of 1.
  await t.rejects(confirmation.confirm({ epoch, revision }), unavailable)
  await t.rejects(confirmation.confirm({ epoch, revision }), { ...unavailable, message: /changed/ })
})

t.test('a write that too few replicas confirm says so, also when its own answer was lost', async (t) => {
  const servers = await redisPair(t)
  const { state } = await testState(t, { url: servers.url, ack: { replicas: 1 } })
  await confirmed(() => state.set('k', 1))
  t.match(await servers.replica.hget('fs:{state:app}:values', 'k'), / 1$/, 'the replica has it')
  servers.link.halfOpen()
  const unconfirmed = state.set('k', 2)
  let answered = false
  unconfirmed.catch(() => {
    answered = true
  })
  const other = state.space('other')
  await other.ready
  t.equal(answered, false, 'others go on while it waits for its replicas')
  await t.rejects(unconfirmed, { code: 'STATEFUL_STATE_NOT_REPLICATED', statusCode: 503, message: /0 of 1/ })
  t.equal(state.get('k'), 2, 'it is made nevertheless, and seen')
  servers.front.dropReplies()
  await t.rejects(state.set('k', 3), { code: 'STATEFUL_STATE_NOT_REPLICATED' })
  t.equal(state.get('k'), 3)
  servers.front.dropReplies()
  await t.rejects(state.restore({ state: { k: 4 } }), { code: 'STATEFUL_STATE_NOT_REPLICATED' })
  servers.link.heal()
  await servers.replicated('k', '4')
  await confirmed(() => state.set('k', 5))
  t.equal((await servers.replica.hget('fs:{state:app}:values', 'k'))?.endsWith(' 5'), true)
})
