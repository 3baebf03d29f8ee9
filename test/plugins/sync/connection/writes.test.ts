import t from 'tap'
import { ForbiddenError } from '../../../../plugins/support/errors.ts'
import { set, settle, setUp } from '../hub-setup.ts'

t.test('what is pending at the moment of a subscription is in its snapshot and not sent again', async (t) => {
  const { space, hub, follow, connect } = await setUp(t)
  const first = await follow()
  first.transport.take()
  const second = connect()
  const subscribed = hub.channels.subscribe(second.connection, { space: 'app', filter: {} })
  space().set('a', 1)
  await subscribed
  await settle()
  t.match(second.transport.take(), [{ type: 'fullSync', revision: 1, state: { a: 1 } }])
  t.match(first.transport.take(), [{ type: 'stateChange', changes: [{ prev: 0, revision: 1 }] }])
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
