import t from 'tap'
import type { SyncTraced } from '../../../../openapi/schemas/sync.ts'
import { TRACE_RATE } from '../../../../plugins/sync/trace/traces.ts'
import { set, settle, setUp } from '../hub-setup.ts'

const shown = (events: SyncTraced[]) => events.splice(0).map(({ direction, message }) => `${direction} ${message.type}`)

t.test('of a connection what it sends and gets, of a space each message once', async (t) => {
  const { hub, space, follow } = await setUp(t)
  const [one, two] = [await follow(), await follow()]
  t.equal(hub.traces.active, false)
  const [ofOne, ofSpace, ofOther] = [[], [], []] as SyncTraced[][]
  const ends = [
    hub.traces.watch({ node: one.connection.id }, (event) => ofOne?.push(event)),
    hub.traces.watch({ space: 'app' }, (event) => ofSpace?.push(event)),
    hub.traces.watch({ space: 'other' }, (event) => ofOther?.push(event)),
  ]
  t.equal(hub.traces.active, true)
  await space().commit([set('k', 'secret')], {})
  await settle()
  await two.send({ type: 'write', seq: 1, ops: [set('k', 2)] })
  await one.send({ type: 'heartbeat' })
  one.connection.receive('{"type":"write"}')
  await settle()
  t.match(ofOne?.[0], {
    ...{ type: 'traced', instance: 'here', node: one.connection.id, direction: 'sent', missed: 0 },
    message: { type: 'stateChange', space: 'app', changes: [{ ops: [{ op: 'set', key: 'k', value: { bytes: 8 } }] }] },
  })
  t.notMatch(JSON.stringify(ofOne), /secret/)
  t.same(shown(ofOne ?? []), ['sent stateChange', 'sent stateChange', 'received invalid', 'sent error'])
  t.same(shown(ofSpace ?? []), ['sent stateChange', 'received write', 'sent stateChange', 'sent ack'])
  t.same(ofOther, [])
  for (const end of ends) end()
  t.equal(hub.traces.active, false)
  await space().commit([set('k', 3)], {})
  await settle()
  t.same(ofOne, [])
})

t.test('no more than so many a second, and how many were missed', async (t) => {
  const { hub, clock, follow } = await setUp(t, { messageRate: 10_000, maxQueuedMessages: 10_000 })
  const peer = await follow()
  const events: SyncTraced[] = []
  hub.traces.watch({ node: peer.connection.id }, (event) => events.push(event))
  for (let i = 0; i < 100; i++) peer.connection.receive(JSON.stringify({ type: 'hello', protocols: [1] }))
  await settle()
  t.equal(events.length, TRACE_RATE)
  clock.advance(1_000)
  await peer.send({ type: 'hello', protocols: [1] })
  t.ok((events[TRACE_RATE]?.missed ?? 0) >= 80, `${events[TRACE_RATE]?.missed}`)
})

t.test('who shows a trace is not shown, and there is an end to how many look', async (t) => {
  const { hub, space, follow } = await setUp(t)
  const viewer = await follow()
  viewer.connection.observes = true
  const events: SyncTraced[] = []
  hub.traces.watch({ node: viewer.connection.id }, (event) => events.push(event))
  hub.traces.watch({ space: 'app' }, (event) => events.push(event))
  await space().commit([set('k', 1)], {})
  await viewer.send({ type: 'unsubscribe', space: 'none' })
  t.same(events, [])
  t.throws(
    () => {
      for (let i = 0; i < 20; i++) hub.traces.watch({ space: 'app' }, () => {})
    },
    { code: 'STATEFUL_TOO_MANY_AT_ONCE' },
  )
})

t.test('a large message tells its type and its space', async (t) => {
  const { hub, space, connect } = await setUp(t)
  await space().commit([set('k', 'x'.repeat(100_000))], {})
  const peer = connect()
  const events: SyncTraced[] = []
  hub.traces.watch({ space: 'app' }, (event) => events.push(event))
  await peer.send({ type: 'subscribe', space: 'app' })
  const sent = events.filter(({ bytes }) => bytes > 64 * 1024)
  t.ok(sent.length > 0)
  t.ok(JSON.stringify(events).length < 2_000)
  t.ok(sent.every(({ message }) => message.type === 'fullSync' && (message as { space?: string }).space === 'app'))
})

t.test('the bytes of each connection are counted in both directions', async (t) => {
  const { hub, follow } = await setUp(t)
  const peer = await follow()
  const [node] = hub.nodes()
  const sent = peer.transport.frames.reduce((sum, { bytes }) => sum + bytes, 0)
  const asked = Buffer.byteLength(JSON.stringify({ type: 'subscribe', space: 'app' }))
  t.match(node, { sentBytes: sent, receivedBytes: asked })
  t.match(hub.stats(), { bytes: sent, receivedBytes: asked })
})
