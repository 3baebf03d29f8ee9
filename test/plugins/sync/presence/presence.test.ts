import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { PresenceMember, PresenceMessage } from '../../../../openapi/messages/server.ts'
import { ManualClock } from '../../../../plugins/support/manual-clock.ts'
import { RedisPresence } from '../../../../plugins/sync/cluster/redis-presence.ts'
import { SyncHub } from '../../../../plugins/sync/hub.ts'
import { settingsOf } from '../../../../plugins/sync/options.ts'
import type { PresenceExchange } from '../../../../plugins/sync/presence/presence.ts'
import { openTestStorage, storageUrl } from '../../../fixtures/storages.ts'
import { FakeTransport } from '../fake-transport.ts'
import { MemorySpace } from '../memory-space.ts'

async function instance(t: Test, exchange?: PresenceExchange) {
  const clock = new ManualClock()
  const space = new MemorySpace()
  const errors: unknown[] = []
  const settings = settingsOf({ clock, heartbeatInterval: '1h', highWaterMark: 1_000, closeTimeout: 20 })
  const hub = new SyncHub({
    settings,
    instance: 'here',
    space: () => ({ space, release() {} }),
    onError: (error) => errors.push(error),
    ...(exchange ? { presence: exchange } : {}),
  })
  await hub.start()
  t.teardown(() => hub.close())
  const connect = (userId: string) => {
    const transport = new FakeTransport()
    const connection = hub.connect(transport, { userId, address: '::1', authorize: async () => {} })
    t.teardown(() => hub.closed(connection, 1000))
    const send = async (message: object) => {
      connection.receive(JSON.stringify(message))
      await settle()
    }
    return { transport, connection, send }
  }
  const gather = async () => {
    clock.advance(50)
    await settle()
  }
  return { clock, hub, connect, gather, errors }
}

async function settle() {
  for (let turns = 0; turns < 4; turns++) await turn()
}

const users = (members: PresenceMember[] = []) => members.map(({ userId }) => userId).sort()
const presences = (transport: FakeTransport) =>
  transport.take().filter((message): message is PresenceMessage => message.type === 'presence')

t.test('who asks is told who is there, then who came, changed and left', async (t) => {
  const { connect, gather, hub } = await instance(t)
  const quiet = connect('quiet')
  await quiet.send({ type: 'subscribe', space: 'app' })
  const ada = connect('ada')
  await ada.send({ type: 'presence', space: 'app', data: { name: 'Ada' } })
  const [first] = presences(ada.transport)
  t.strictSame(users(first?.members), ['ada', 'quiet'], 'a follower is present without asking')
  t.match(first?.members, [{ userId: 'quiet' }, { userId: 'ada', data: { name: 'Ada' } }])
  await gather()
  presences(ada.transport)

  const bob = connect('bob')
  await bob.send({ type: 'presence', space: 'app' })
  await gather()
  t.match(presences(ada.transport), [{ joined: [{ userId: 'bob', node: bob.connection.id }], left: [] }])
  await bob.send({ type: 'presence', space: 'app', data: 'busy' })
  await gather()
  t.match(presences(ada.transport), [{ joined: [{ userId: 'bob', data: 'busy' }] }])
  hub.closed(bob.connection, 1006)
  await quiet.send({ type: 'unsubscribe', space: 'app' })
  await gather()
  const [gone] = presences(ada.transport)
  t.strictSame(gone?.left?.sort(), [bob.connection.id, quiet.connection.id].sort())
  t.strictSame(users(hub.members('app')), ['ada'])
  t.strictSame(presences(quiet.transport), [], 'who did not ask is not told')
})

t.test('who comes and goes within a moment is one message; nobody is none', async (t) => {
  const { connect, gather, hub } = await instance(t)
  const ada = connect('ada')
  await ada.send({ type: 'presence', space: 'app' })
  await gather()
  presences(ada.transport)
  const bob = connect('bob')
  await bob.send({ type: 'subscribe', space: 'app' })
  hub.closed(bob.connection, 1006)
  await gather()
  t.strictSame(presences(ada.transport), [])
})

t.test('data has a limit; a slow watcher gets the whole list when it can', async (t) => {
  const { connect, gather } = await instance(t)
  const ada = connect('ada')
  await ada.send({ type: 'presence', space: 'app', data: 'x'.repeat(2_000) })
  t.match(ada.transport.take(), [{ type: 'error', code: 'STATEFUL_PRESENCE_TOO_LARGE', request: 'presence' }])
  await ada.send({ type: 'presence', space: 'app' })
  await gather()
  presences(ada.transport)
  ada.transport.buffered = 100_000
  for (const user of ['bob', 'eve']) {
    await connect(user).send({ type: 'subscribe', space: 'app' })
    await gather()
  }
  t.strictSame(presences(ada.transport), [])
  ada.transport.buffered = 0
  ada.connection.drained()
  const [message] = presences(ada.transport)
  t.strictSame(users(message?.members), ['ada', 'bob', 'eve'])
})

t.test('over Redis all instances see all members, and a dead instance takes its own with it', async (t) => {
  const url = await storageUrl(t, 'redis')
  const open = async (lifetime: number) => {
    const storage = await openTestStorage(t, url)
    if (storage.kind !== 'redis') throw new Error('not Redis')
    return instance(t, new RedisPresence(storage, lifetime))
  }
  const [here, there] = await Promise.all([open(60_000), open(400)])
  const ada = here.connect('ada')
  await ada.send({ type: 'presence', space: 'app' })
  const bob = there.connect('bob')
  await bob.send({ type: 'subscribe', space: 'app' })
  /** Moves both clocks until the members are these; what comes through Redis takes real time. */
  const until = async (expected: string[]) => {
    for (let attempt = 0; attempt < 200; attempt++) {
      here.clock.advance(3_000)
      if (expected.length > 1) there.clock.advance(3_000)
      await new Promise((resolve) => setTimeout(resolve, 10))
      if (`${users(here.hub.members('app'))}` === `${expected}`) return
    }
    t.strictSame(users(here.hub.members('app')), expected)
  }
  await until(['ada', 'bob'])
  t.match(
    presences(ada.transport).flatMap(({ members = [], joined = [] }) => users([...members, ...joined])),
    /bob/,
  )
  t.comment('the other instance stops without a word: its clock does not go on')
  await until(['ada'])
  t.ok(presences(ada.transport).some(({ left }) => left?.includes(bob.connection.id)))
  t.strictSame([...here.errors, ...there.errors], [])
})
