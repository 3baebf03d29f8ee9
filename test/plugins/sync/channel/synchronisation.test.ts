import t from 'tap'
import { set, settle, setUp } from '../hub-setup.ts'

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

t.test('an epoch that continues the history is continued, by all topics', async (t) => {
  const { space, follow } = await setUp(t)
  space().set('a', 1)
  space().set('b', 1)
  const whole = await follow()
  const part = await follow({ key: 'a' })
  whole.transport.take()
  part.transport.take()
  space().continueIn('2:test')
  space().set('b', 2)
  await settle()
  t.match(whole.transport.take(), [
    {
      type: 'stateChange',
      epoch: '2:test',
      since: { epoch: '1:test', revision: 2 },
      changes: [{ prev: 2, revision: 3 }],
    },
  ])
  t.strictSame(part.transport.take(), [])
  const late = await follow({ key: 'a' })
  t.match(late.transport.take(), [{ type: 'fullSync', epoch: '2:test', revision: 3 }])
  t.match(part.transport.take(), [
    { epoch: '2:test', since: { epoch: '1:test', revision: 2 }, changes: [{ prev: 2, revision: 3, ops: [] }] },
  ])
  space().set('a', 2)
  await settle()
  for (const peer of [part, late])
    t.match(peer.transport.take(), [{ epoch: '2:test', changes: [{ prev: 3, revision: 4 }] }])
})

t.test('what is followed key by key costs only the commits of those keys', async (t) => {
  const many = Number.MAX_SAFE_INTEGER
  const { space, connect } = await setUp(t, {
    maxSubscriptions: many,
    maxSubscriptionsPerUser: many,
    maxQueuedMessages: many,
    messageRate: many,
  })
  const { connection, transport } = connect()
  const follow = async (from: number, to: number) => {
    for (let key = from; key < to; key++) {
      connection.receive(JSON.stringify({ type: 'subscribe', space: 'app', key: `row:${key}` }))
    }
    while (connection.subscriptions.size < to) await settle()
    await settle()
    transport.take()
  }
  const fastest = async () => {
    const times: number[] = []
    for (let round = 0; round < 5; round++) {
      const before = performance.now()
      for (let commit = 0; commit < 200; commit++) space().set('row:7', commit)
      times.push(performance.now() - before)
      await settle()
      t.equal(transport.take().length, 1)
    }
    return Math.min(...times)
  }
  await follow(0, 10)
  const few = await fastest()
  await follow(10, 10_000)
  const withMany = await fastest()
  t.ok(withMany < few * 20, `${few.toFixed(2)} ms with 10 followed keys, ${withMany.toFixed(2)} ms with 10,000`)
})
