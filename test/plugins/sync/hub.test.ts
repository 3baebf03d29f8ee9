import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { Json, Op } from '../../../openapi/schemas/state.ts'
import { ForbiddenError } from '../../../plugins/support/errors.ts'
import type { Connection } from '../../../plugins/sync/connection.ts'
import { SyncHub } from '../../../plugins/sync/hub.ts'
import type { Identity } from '../../../plugins/sync/identity.ts'
import { settingsOf } from '../../../plugins/sync/options.ts'
import type { SyncSettings } from '../../../plugins/sync/settings.ts'
import { ManualClock } from '../../fixtures/manual-clock.ts'
import { FakeTransport } from './fake-transport.ts'
import { MemorySpace } from './memory-space.ts'

const settings: SyncSettings = {
  ...settingsOf({}),
  heartbeatInterval: 1_000,
  highWaterMark: 1_000,
  slowDeadline: 5_000,
  closeTimeout: 100,
  maxPayload: 1_000_000,
  maxConnections: 10,
  maxSubscriptions: 4,
  maxQueuedMessages: 16,
  maxRefusals: 3,
  recentCommits: 100,
  recentCharacters: 100_000,
  clock: new ManualClock(),
}

async function setUp(t: Test, changed: Partial<SyncSettings> = {}) {
  const clock = new ManualClock()
  const spaces = new Map<string, MemorySpace>()
  const errors: unknown[] = []
  const space = (name = 'app') => {
    const known = spaces.get(name) ?? new MemorySpace(name)
    spaces.set(name, known)
    return known
  }
  const hub = new SyncHub({
    settings: { ...settings, clock, ...changed },
    space,
    onError: (error) => errors.push(error),
  })
  await hub.start()
  const peers: Connection[] = []
  t.teardown(async () => {
    const closed = hub.close()
    for (const connection of peers) hub.closed(connection, 1001)
    await closed
  })
  const connect = (identity: Partial<Identity> = {}) => {
    const transport = new FakeTransport()
    const connection = hub.connect(transport, { address: '127.0.0.1', authorize: async () => {}, ...identity })
    peers.push(connection)
    const send = async (message: object) => {
      connection.receive(JSON.stringify(message))
      await settle()
    }
    return { transport, connection, send }
  }
  const follow = async (filter: { key?: string; prefix?: string } = {}, identity: Partial<Identity> = {}) => {
    const peer = connect(identity)
    await peer.send({ type: 'subscribe', space: 'app', ...filter })
    return peer
  }
  return { clock, hub, space, connect, follow, errors }
}

/** Lets queued messages, flushes and what follows from them happen. */
async function settle() {
  for (let turns = 0; turns < 4; turns++) await turn()
}

const set = (key: string, value: Json): Op => ({ op: 'set', key, value })

t.test('a subscriber gets a full sync, then every change in one chain, one frame a tick', async (t) => {
  const { space, follow } = await setUp(t)
  space().set('a', 1)
  const { transport } = await follow()
  t.strictSame(transport.take(), [{ type: 'fullSync', space: 'app', epoch: '1:test', revision: 1, state: { a: 1 } }])

  space().set('a', 2)
  space().apply([set('b', 1), set('c', 1)])
  await settle()
  t.strictSame(transport.take(), [
    {
      type: 'stateChange',
      space: 'app',
      epoch: '1:test',
      changes: [
        { prev: 1, revision: 2, ops: [set('a', 2)] },
        { prev: 2, revision: 3, ops: [set('b', 1), set('c', 1)] },
      ],
    },
  ])
})

t.test('what is pending at the moment of a subscription is in its snapshot and not sent again', async (t) => {
  const { space, hub, follow, connect } = await setUp(t)
  const first = await follow()
  first.transport.take()
  const second = connect()
  const subscribed = hub.subscribe(second.connection, { space: 'app', filter: {} })
  space().set('a', 1)
  await subscribed
  await settle()
  t.match(second.transport.take(), [{ type: 'fullSync', revision: 1, state: { a: 1 } }])
  t.match(first.transport.take(), [{ type: 'stateChange', changes: [{ prev: 0, revision: 1 }] }])
})

t.test('all recipients share the bytes of a frame', async (t) => {
  const { space, follow } = await setUp(t)
  const peers = [await follow(), await follow(), await follow()]
  space().set('a', 1)
  await settle()
  const frames = new Set(peers.map(({ transport }) => transport.frames.at(-1)))
  t.equal(frames.size, 1)
})

t.test('a follower of a key or a prefix has a chain of its own', async (t) => {
  const { space, follow } = await setUp(t)
  space().set('user:1', 'x')
  space().set('other', 0)
  const key = await follow({ key: 'user:1' })
  const prefix = await follow({ prefix: 'user:' })
  t.match(key.transport.take(), [{ type: 'fullSync', key: 'user:1', revision: 2, state: { 'user:1': 'x' } }])
  t.match(prefix.transport.take(), [{ type: 'fullSync', prefix: 'user:', revision: 2, state: { 'user:1': 'x' } }])

  space().set('other', 1)
  space().apply([set('user:2', 'y'), set('other', 2)])
  space().set('other', 3)
  space().set('user:1', 'z')
  await settle()
  t.match(key.transport.take(), [{ type: 'stateChange', key: 'user:1', changes: [{ prev: 2, revision: 6 }] }])
  t.strictSame(prefix.transport.take(), [
    {
      type: 'stateChange',
      space: 'app',
      prefix: 'user:',
      epoch: '1:test',
      changes: [
        { prev: 2, revision: 4, ops: [set('user:2', 'y')] },
        { prev: 4, revision: 6, ops: [set('user:1', 'z')] },
      ],
    },
  ])
})

t.test('a position that is known is continued; any other gets a full sync', async (t) => {
  const { space, follow, connect } = await setUp(t)
  await follow()
  for (let value = 1; value <= 5; value++) space().set('a', value)
  const resume = async (since: { epoch: string; revision: number }) => {
    const { transport, send } = connect()
    await send({ type: 'subscribe', space: 'app', since })
    return transport.take()
  }
  t.match(await resume({ epoch: '1:test', revision: 3 }), [
    {
      type: 'stateChange',
      since: { epoch: '1:test', revision: 3 },
      changes: [
        { prev: 3, revision: 4 },
        { prev: 4, revision: 5 },
      ],
    },
  ])
  t.match(await resume({ epoch: '1:test', revision: 5 }), [{ type: 'stateChange', changes: [] }], 'nothing was missed')
  t.match(await resume({ epoch: '1:test', revision: 6 }), [{ type: 'fullSync', revision: 5 }], 'from a lost future')
  t.match(await resume({ epoch: '0:gone', revision: 3 }), [{ type: 'fullSync', revision: 5 }], 'an unknown epoch')
})

t.test('a resume from the log joins what was committed while the log was read', async (t) => {
  const { space, connect } = await setUp(t)
  for (let value = 1; value <= 5; value++) space().set('a', value)
  space().beforeHistory = async () => {
    space().set('b', 1)
    await settle()
  }
  const { transport, send } = connect()
  await send({ type: 'subscribe', space: 'app', since: { epoch: '1:test', revision: 2 } })
  await settle()
  const [message, ...rest] = transport.take()
  t.strictSame(rest, [])
  t.match(message, { type: 'stateChange', changes: [{ prev: 2 }, { prev: 3 }, { prev: 4 }, { prev: 5, revision: 6 }] })
  space().set('b', 2)
  await settle()
  t.match(transport.take(), [{ changes: [{ prev: 6, revision: 7 }] }])
})

t.test('a resumed follower of a part is brought to the end of the chain of this instance', async (t) => {
  const { space, connect } = await setUp(t)
  space().set('a', 1)
  space().set('b', 1)
  space().set('b', 2)
  const { transport, send } = connect()
  await send({ type: 'subscribe', space: 'app', key: 'a', since: { epoch: '1:test', revision: 1 } })
  t.match(transport.take(), [{ type: 'stateChange', changes: [{ prev: 1, revision: 3, ops: [] }] }])
  space().set('a', 2)
  await settle()
  t.match(transport.take(), [{ changes: [{ prev: 3, revision: 4 }] }])
})

t.test('a resumed follower that is ahead of the chain of this instance moves the chain', async (t) => {
  const { space, connect, follow } = await setUp(t)
  space().set('a', 1)
  const here = await follow({ key: 'a' })
  space().set('b', 1)
  await settle()
  here.transport.take()
  const { transport, send } = connect()
  await send({ type: 'subscribe', space: 'app', key: 'a', since: { epoch: '1:test', revision: 2 } })
  t.match(here.transport.take(), [{ changes: [{ prev: 1, revision: 2, ops: [] }] }])
  t.match(transport.take(), [{ changes: [] }])
  space().set('a', 2)
  await settle()
  for (const peer of [here.transport, transport]) t.match(peer.take(), [{ changes: [{ prev: 2, revision: 3 }] }])
})

t.test('a replaced replica means a full sync for everybody', async (t) => {
  const { space, follow } = await setUp(t)
  const { transport } = await follow()
  transport.take()
  space().restore('2:test', { z: 1 })
  t.match(transport.take(), [{ type: 'fullSync', epoch: '2:test', revision: 0, state: { z: 1 } }])
  space().set('z', 2)
  await settle()
  t.match(transport.take(), [{ type: 'stateChange', epoch: '2:test', changes: [{ prev: 0, revision: 1 }] }])
})

t.test('a writer gets acks in the place of its own changes', async (t) => {
  const { space, follow } = await setUp(t)
  const writer = await follow()
  const other = await follow()
  writer.transport.take()
  other.transport.take()
  space().before = (ops) => {
    space().before = (same) => same
    space().set('theirs', 1)
    return ops
  }
  await writer.send({ type: 'write', seq: 1, ops: [set('mine', 1)] })
  space().set('theirs', 2)
  await settle()
  t.match(writer.transport.take(), [
    { type: 'stateChange', changes: [{ prev: 0, revision: 1 }] },
    { type: 'ack', seq: 1, prev: 1, revision: 2, epoch: '1:test', space: 'app', ops: undefined },
    { type: 'stateChange', changes: [{ prev: 2, revision: 3 }] },
  ])
  const received = other.transport.take().flatMap((message) => (message.type === 'stateChange' ? message.changes : []))
  t.match(received, [{ revision: 1 }, { revision: 2, clientId: writer.connection.clientId, seq: 1 }, { revision: 3 }])
})

t.test('an ack holds what was committed when that is not what was sent', async (t) => {
  const { space, follow } = await setUp(t)
  const writer = await follow()
  writer.transport.take()
  space().before = (ops) => ops.map((op) => ({ ...op, value: 'rewritten' }))
  await writer.send({ type: 'write', seq: 1, ops: [set('a', 1)] })
  t.match(writer.transport.take(), [{ type: 'ack', seq: 1, ops: [set('a', 'rewritten')] }])
  space().before = (ops) => ops
  await writer.send({ type: 'stateChange', ops: [set('a', 2)] })
  const [ack] = writer.transport.take()
  t.match(ack, { type: 'ack', ops: [set('a', 2)] })
  t.notOk('seq' in (ack ?? {}))
})

t.test('a write that is sent again is acknowledged with its first revision and applied once', async (t) => {
  const { space, connect, follow } = await setUp(t)
  const identity = { clientId: 'client-one', userId: 'u1' }
  const first = await follow({}, identity)
  await first.send({ type: 'write', seq: 1, ops: [{ op: 'increment', key: 'n', value: 1 }] })
  first.connection.end(1001, 'gone')
  const again = connect(identity)
  await again.send({ type: 'write', seq: 1, space: 'app', ops: [{ op: 'increment', key: 'n', value: 1 }] })
  t.match(again.transport.take(), [{ type: 'ack', seq: 1, revision: 1 }])
  t.strictSame(space().snapshot().state, { n: 1 })

  const thief = connect({ clientId: 'client-one', userId: 'u2' })
  t.not(thief.connection.clientId, first.connection.clientId, "another user's client id is another client id")
})

t.test('a refused write is rejected; a failed one has an unknown outcome and no details', async (t) => {
  const { space, follow, errors } = await setUp(t)
  const peer = await follow(
    {},
    {
      authorize: async (action, { key }) => {
        if (action === 'sync:write' && key === 'locked') throw new ForbiddenError(action)
      },
    },
  )
  peer.transport.take()
  await peer.send({ type: 'write', seq: 1, ops: [set('open', 1), set('locked', 1)] })
  t.match(peer.transport.take(), [{ type: 'reject', seq: 1, code: 'STATEFUL_FORBIDDEN', outcome: 'refused' }])
  t.equal(space().snapshot().revision, 0)

  space().set('text', 'x')
  await settle()
  peer.transport.take()
  await peer.send({ type: 'write', seq: 2, ops: [{ op: 'increment', key: 'text' }] })
  t.match(peer.transport.take(), [{ type: 'reject', seq: 2, code: 'STATEFUL_STATE_TYPE_MISMATCH', outcome: 'refused' }])

  space().before = () => {
    throw new Error('redis://user:secret@host is down')
  }
  await peer.send({ type: 'write', seq: 3, ops: [set('a', 1)] })
  const [reject] = peer.transport.take()
  t.match(reject, { type: 'reject', seq: 3, code: 'STATEFUL_INTERNAL', outcome: 'unknown' })
  t.notMatch(JSON.stringify(reject), /secret/)
  t.equal(errors.length, 1)
})

t.test('a slow consumer costs its position only, and gets one conflated range when it drains', async (t) => {
  const { space, follow, hub } = await setUp(t)
  const slow = await follow()
  slow.transport.take()
  slow.transport.reading = false
  for (let value = 1; value <= 100; value++) {
    space().set('hot', `${value}`.padStart(50, '.'))
    await settle()
  }
  space().set('cold', 1)
  space().apply([{ op: 'delete', key: 'cold' }])
  await settle()
  t.ok(slow.transport.buffered < settings.highWaterMark + 200, `${slow.transport.buffered} bytes`)
  const seen = slow.transport.take().length
  t.equal(hub.stats().lagging, 1)
  t.equal(hub.nodes()[0]?.lag, 102 - seen)

  slow.transport.reading = true
  slow.transport.buffered = 0
  slow.connection.drained()
  await settle()
  t.match(slow.transport.take(), [
    {
      type: 'stateChange',
      changes: [
        { prev: seen, revision: 102, ops: [set('hot', '100'.padStart(50, '.')), { op: 'delete', key: 'cold' }] },
      ],
    },
  ])
  t.match(hub.stats(), { lagging: 0, conflations: 1 })
  space().set('hot', 'live')
  await settle()
  t.match(slow.transport.take(), [{ changes: [{ prev: 102, revision: 103 }] }])
})

t.test('the ack of a slow writer waits for the range that it belongs to', async (t) => {
  const { space, follow } = await setUp(t)
  const slow = await follow()
  slow.transport.take()
  slow.transport.buffered = 10_000
  await slow.send({ type: 'write', seq: 1, ops: [set('a', 1)] })
  space().set('a', 2)
  await settle()
  t.strictSame(slow.transport.take(), [])
  t.ok(slow.transport.paused, 'nothing more is read from who does not read')
  slow.transport.buffered = 0
  slow.connection.drained()
  await settle()
  t.match(slow.transport.take(), [
    { type: 'stateChange', changes: [{ prev: 0, revision: 2, ops: [set('a', 2)] }] },
    { type: 'ack', seq: 1, prev: 0, revision: 1 },
  ])
  t.notOk(slow.transport.paused)
})

t.test('who stays slow past the deadline is ended with 1013', async (t) => {
  const { space, follow, clock, hub } = await setUp(t)
  const slow = await follow()
  slow.transport.buffered = 10_000
  space().set('a', 1)
  await settle()
  for (let passed = 0; passed < 6; passed++) {
    clock.advance(1_000)
    slow.connection.seen()
  }
  t.match(slow.transport.closedWith, { code: 1013 })
  t.match(hub.stats(), { dropped: 1, closes: { 1013: 1 } })
})

t.test('silent nodes are dropped after two intervals; live ones are asked and told', async (t) => {
  const { follow, clock, hub } = await setUp(t)
  const silent = await follow()
  const alive = await follow()
  alive.transport.take()
  clock.advance(1_000)
  t.match(alive.transport.take(), [{ type: 'heartbeat' }])
  t.equal(alive.transport.pings, 1)
  await alive.send({ type: 'heartbeat' })
  t.match(alive.transport.take(), [{ type: 'heartbeat' }])
  clock.advance(1_000)
  t.match(silent.transport.closedWith, { code: 4408 })
  t.equal(alive.transport.closedWith, undefined)
  t.equal(hub.nodes().length, 1)
  clock.advance(settings.closeTimeout)
  t.ok(silent.transport.terminated, 'a peer that does not close is cut off')
})

t.test('a suspended process does not take everybody for silent', async (t) => {
  const { follow, hub } = await setUp(t, { clock: new LateClock() })
  const { transport } = await follow()
  ;(hub.settings.clock as LateClock).wakeAfter(60_000)
  t.equal(transport.closedWith, undefined)
})

class LateClock extends ManualClock {
  #skipped = 0
  #run = () => {}
  override monotonic() {
    return super.monotonic() + this.#skipped
  }
  override every(ms: number, run: () => void) {
    this.#run = run
    return super.every(ms, run)
  }
  /** As after SIGCONT: the clock has gone on, and timers fire before any socket is read. */
  wakeAfter(ms: number) {
    this.#skipped += ms
    this.#run()
  }
}

t.test('messages that are not understood are answered, and too many end the connection', async (t) => {
  const { connect, hub } = await setUp(t)
  const { transport, send, connection } = connect()
  await send({ type: 'nonsense' })
  await send({ type: 'write', seq: 0, ops: [] })
  t.match(transport.take(), [
    { type: 'error', code: 'STATEFUL_INVALID_MESSAGE' },
    { type: 'error', code: 'STATEFUL_INVALID_MESSAGE', request: 'write' },
  ])
  connection.receive('{"type":"write","seq":1,"ops":[{"op":"set","key":"a","value":{"__proto__":{"x":1}}}]}')
  t.match(transport.take(), [{ code: 'STATEFUL_INVALID_MESSAGE', message: /__proto__/ }])
  await send({ type: 'syncRequest', space: 'app' })
  t.match(transport.take(), [{ code: 'STATEFUL_NOT_SUBSCRIBED' }])
  t.match(transport.closedWith, { code: 1008 })
  t.equal(hub.stats().invalidMessages, 3)

  const other = connect()
  other.connection.receive('{"type":')
  t.match(other.transport.closedWith, { code: 1007 })
})

t.test('hello agrees on a version and a client id', async (t) => {
  const { connect } = await setUp(t)
  const { transport, send, connection } = connect()
  await send({ type: 'hello', protocols: [9, 1], clientId: 'client-one' })
  t.match(transport.take(), [
    { type: 'hello', protocol: 1, node: connection.id, heartbeat: 1_000, maxPayload: 1_000_000 },
  ])
  const other = connect()
  await other.send({ type: 'hello', protocols: [9] })
  t.match(other.transport.closedWith, { code: 4406 })
})

t.test('limits: connections, subscriptions, messages under way', async (t) => {
  const { connect, hub, space } = await setUp(t, { maxConnections: 2 })
  const first = connect()
  connect()
  t.throws(() => hub.admit({ address: '::1' }), { code: 'STATEFUL_TOO_MANY_CONNECTIONS' })
  for (const key of ['a', 'b', 'c', 'd', 'e']) await first.send({ type: 'subscribe', space: 'app', key })
  t.match(first.transport.take().at(-1), { type: 'error', code: 'STATEFUL_TOO_MANY_SUBSCRIPTIONS' })
  t.equal(hub.stats().subscriptions, 4)

  let release = () => {}
  const held = new Promise<void>((resolve) => {
    release = resolve
  })
  space().before = async (ops) => {
    await held
    return ops
  }
  for (let seq = 1; seq <= 17; seq++) {
    first.connection.receive(JSON.stringify({ type: 'write', seq, ops: [set('a', seq)] }))
  }
  await settle()
  t.match(first.transport.take(), [
    { type: 'reject', seq: 17, code: 'STATEFUL_TOO_MANY_MESSAGES' },
    { type: 'error', code: 'STATEFUL_TOO_MANY_MESSAGES' },
  ])
  release()
  await settle()
  t.equal(first.transport.take().filter(({ type }) => type === 'ack').length, 16)
})

t.test('a revoked session is told and its connections end with 4401', async (t) => {
  const { follow, hub } = await setUp(t)
  const revoked = await follow({}, { sessionHandle: 'h1' })
  const other = await follow({}, { sessionHandle: 'h2' })
  revoked.transport.take()
  hub.revoke('h1', 'logged out')
  t.match(revoked.transport.take(), [{ type: 'revoked', reason: 'logged out' }])
  t.match(revoked.transport.closedWith, { code: 4401 })
  t.equal(other.transport.closedWith, undefined)
})

t.test('nothing is kept of a space that nobody follows any more', async (t) => {
  const { follow, hub, space } = await setUp(t)
  const peer = await follow({ key: 'a' })
  t.equal(space().listeners, 2)
  await peer.send({ type: 'unsubscribe', space: 'app', key: 'a' })
  t.equal(space().listeners, 0)
  t.match(hub.stats(), { spaces: 0, topics: 0, subscriptions: 0, connections: 1 })
  t.strictSame(hub.members('app'), [])
})

t.test('closing says goodbye and does not wait for who does not answer', async (t) => {
  const { follow, hub } = await setUp(t)
  const frozen = await follow()
  const polite = await follow()
  const closed = hub.close()
  t.match(polite.transport.closedWith, { code: 1001 })
  hub.closed(polite.connection, 1001)
  await closed
  t.ok(frozen.transport.terminated)
  t.throws(() => hub.admit({ address: '::1' }), { code: 'STATEFUL_OVERLOADED' })
})
