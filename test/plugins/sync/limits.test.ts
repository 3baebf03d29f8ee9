import t from 'tap'
import { set, settings, settle, setUp } from './hub-setup.ts'

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
    { type: 'reject', seq: 17, code: 'STATEFUL_TOO_MANY_MESSAGES', outcome: 'refused', retry: true },
  ])
  release()
  await settle()
  t.equal(first.transport.take().filter(({ type }) => type === 'ack').length, 16)
})

t.test(
  'a large full sync comes in parts, as fast as the peer reads, and what was committed meanwhile after it',
  async (t) => {
    const { space, connect, hub } = await setUp(t, { chunkCharacters: 500 })
    for (let index = 0; index < 40; index++) space().set(`key${index}`, 'x'.repeat(90))
    const slow = connect()
    slow.transport.reading = false
    await slow.send({ type: 'subscribe', space: 'app' })
    t.ok(slow.transport.buffered < settings.highWaterMark + 700, `${slow.transport.buffered} bytes`)
    t.equal(hub.stats().subscriptions, 1)
    space().set('key0', 'changed meanwhile')
    const messages = []
    slow.transport.reading = true
    slow.transport.buffered = 0
    slow.connection.drained()
    await settle()
    messages.push(...slow.transport.take())
    const parts = messages.flatMap((message) => (message.type === 'fullSync' ? [message] : []))
    t.ok(parts.length > 5)
    t.strictSame(
      parts.map(({ part, more, revision }) => [part, more, revision]),
      parts.map((_, index) => [index, index < parts.length - 1 ? true : undefined, 40]),
    )
    t.equal(Object.keys(Object.assign({}, ...parts.map(({ state }) => state))).length, 40)
    t.match(messages.at(-1), {
      type: 'stateChange',
      since: { revision: 40 },
      changes: [{ prev: 40, revision: 41, ops: [set('key0', 'changed meanwhile')] }],
    })
    t.match(hub.stats(), { fullSyncs: 1, resumes: 0 })
  },
)

t.test('a log subscription is never conflated: it ends with the position to come back with', async (t) => {
  const { space, connect } = await setUp(t)
  const slow = connect()
  await slow.send({ type: 'subscribe', space: 'app', mode: 'log' })
  for (let value = 1; value <= 3; value++) {
    space().set('a', value)
    await settle()
  }
  slow.transport.buffered = 10_000
  space().set('a', 4)
  await settle()
  t.match(slow.transport.closedWith, { code: 1013, reason: '1:test.3' })
  for (let value = 5; value <= 600; value++) space().set('a', value)
  const again = connect()
  await again.send({ type: 'subscribe', space: 'app', mode: 'log', since: { epoch: '1:test', revision: 3 } })
  const [message] = again.transport.take()
  t.equal(message?.type === 'stateChange' && message.changes.length, 597, 'each revision, however many')
})

t.test('who sends too fast is not read from for a while, alone or with all connections of the user', async (t) => {
  const { connect, clock, hub } = await setUp(t, { messageRate: 10, userMessageRate: 15 })
  const flood = async (peer: ReturnType<typeof connect>, messages: number) => {
    for (let sent = 0; sent < messages; sent++) await peer.send({ type: 'heartbeat' })
  }
  const alone = connect()
  await flood(alone, 20)
  t.notOk(alone.transport.paused, 'a burst is fine')
  await flood(alone, 5)
  t.ok(alone.transport.paused)
  clock.advance(400)
  t.ok(alone.transport.paused, 'what it sent on credit is waited for')
  clock.advance(200)
  t.notOk(alone.transport.paused)
  t.equal(hub.stats().throttled, 1)
  const [one, two] = [connect({ userId: 'u' }), connect({ userId: 'u' })]
  await flood(one, 20)
  await flood(two, 11)
  t.notOk(one.transport.paused)
  t.ok(two.transport.paused)
})

t.test('admission: by user, by address, by second', async (t) => {
  const limits = { maxConnectionsPerUser: 2, maxConnectionsPerAddress: 3, maxConnections: 100, connectionRate: 5 }
  const { connect, hub, clock } = await setUp(t, limits)
  const first = connect({ userId: 'u', address: 'a' })
  connect({ userId: 'u', address: 'b' })
  t.throws(() => hub.admit({ userId: 'u', address: 'c' }), { code: 'STATEFUL_TOO_MANY_CONNECTIONS' })
  hub.closed(first.connection, 1000)
  hub.admit({ userId: 'u', address: 'c' })
  for (let count = 0; count < 3; count++) connect({ address: 'd' })
  t.throws(() => hub.admit({ address: 'd' }), { code: 'STATEFUL_TOO_MANY_CONNECTIONS' })
  for (let count = 0; count < 4; count++) hub.admit({ address: 'e' })
  t.throws(() => hub.admit({ address: 'e' }), { code: 'STATEFUL_OVERLOADED', statusCode: 503 })
  clock.advance(1_000)
  hub.admit({ address: 'e' })
  t.equal(hub.stats().refused, 3)
})

t.test('one user at its bounds hinders nobody: connections, subscriptions, presences', async (t) => {
  const bounds = {
    maxConnectionsPerSession: 1,
    maxAnonymousPerAddress: 1,
    maxSubscriptionsPerUser: 2,
    maxPresencesPerUser: 1,
  }
  const { connect, hub, borrowed } = await setUp(t, bounds)
  const mallory = { userId: 'mallory', address: '10.0.0.1', sessionHandle: 's' }
  const first = connect(mallory)
  t.throws(() => hub.admit(mallory), { code: 'STATEFUL_TOO_MANY_CONNECTIONS' })
  hub.admit({ ...mallory, sessionHandle: 'other' })
  connect({ address: '2001:db8::1' })
  t.throws(() => hub.admit({ address: '2001:db8::2' }), { code: 'STATEFUL_TOO_MANY_CONNECTIONS' })

  const second = connect({ ...mallory, sessionHandle: 'other' })
  await first.send({ type: 'subscribe', space: 'app', key: 'a' })
  await second.send({ type: 'subscribe', space: 'app', key: 'a' })
  second.transport.take()
  await second.send({ type: 'subscribe', space: 'elsewhere' })
  t.match(second.transport.take(), [{ type: 'error', code: 'STATEFUL_TOO_MANY_AT_ONCE', retry: true }])
  t.equal(borrowed.size, 2, 'each subscription holds its space, and a refused one none')
  await second.send({ type: 'subscribe', space: 'app', key: 'a' })
  t.match(second.transport.take(), [{ type: 'fullSync' }], 'the same again is not one more')
  await second.send({ type: 'subscribe', space: 'app', key: 'a', mode: 'log' })
  const grace = connect({ userId: 'grace' })
  await grace.send({ type: 'subscribe', space: 'app' })
  t.match(grace.transport.take(), [{ type: 'fullSync' }])

  await first.send({ type: 'unsubscribe', space: 'app', key: 'a' })
  second.transport.take()
  await second.send({ type: 'subscribe', space: 'elsewhere' })
  t.match(second.transport.take(), [{ type: 'fullSync' }], 'what is given back can be taken')

  await first.send({ type: 'presence', space: 'p1' })
  first.transport.take()
  await first.send({ type: 'presence', space: 'p1', data: { again: true } })
  await first.send({ type: 'presence', space: 'p2' })
  t.match(first.transport.take(), [{ type: 'error', code: 'STATEFUL_TOO_MANY_AT_ONCE' }])
  hub.disconnect(first.connection.id, 'bye')
  await second.send({ type: 'presence', space: 'p2' })
  t.match(second.transport.take().at(-1), { type: 'presence', space: 'p2' })
  hub.disconnect(second.connection.id, 'bye')
  t.equal(borrowed.size, 1, 'who is gone has given back everything')
})

t.test('full syncs are made as far as somebody reads, and the different ones are bounded', async (t) => {
  const { space, connect } = await setUp(t, { chunkCharacters: 500, fullSyncBytes: 9_000, maxConnections: 100 })
  for (let index = 0; index < 40; index++) space().set(`key${index}`, 'x'.repeat(90))
  const stalled = async (userId: string) => {
    const peer = connect({ userId })
    peer.transport.reading = false
    await peer.send({ type: 'subscribe', space: 'app' })
    return peer
  }
  const first = await stalled('u0')
  const second = await stalled('u1')
  t.ok(first.transport.frames.length < 5, `${first.transport.frames.length} frames`)
  t.equal(first.transport.frames[0], second.transport.frames[0], 'the same bytes for all')
  space().set('key0', 'y')
  await stalled('u2')
  space().set('key0', 'z')
  const last = connect({ userId: 'grace' })
  await last.send({ type: 'subscribe', space: 'app' })
  const messages = last.transport.take()
  const end = messages.at(-1)
  t.match(end, { type: 'stateChange', changes: [{ ops: [set('key0', 'z')] }] }, 'an older one, and what came after it')
  t.equal(last.transport.closedWith, undefined)

  for (const peer of [first, second]) {
    peer.transport.reading = true
    peer.transport.buffered = 0
    peer.connection.drained()
    await settle()
    t.match(peer.transport.take().at(-1), { type: 'stateChange' }, 'who was slow ends where the others are')
  }
})
