import t from 'tap'
import { ManualClock } from '../../../plugins/support/manual-clock.ts'
import { SyncHub } from '../../../plugins/sync/hub.ts'
import { FakeTransport } from './fake-transport.ts'
import { settings, settle, setUp } from './hub-setup.ts'
import { MemorySpace } from './memory-space.ts'

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

t.test('hello agrees on a version and a client id', async (t) => {
  const { connect } = await setUp(t)
  const { transport, send, connection } = connect()
  await send({ type: 'hello', protocols: [9, 1], clientId: 'client-one' })
  t.match(transport.take(), [{ type: 'hello', protocol: 1, node: connection.id, heartbeat: 1_000 }])
  const other = connect()
  await other.send({ type: 'hello', protocols: [9] })
  t.match(other.transport.closedWith, { code: 4406 })
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

t.test('sessions are looked at again: ended, changed, and not to be verified for too long', async (t) => {
  const { follow, clock, hub } = await setUp(t, {
    heartbeatInterval: 10_000,
    verifyInterval: 20_000,
    verifyDeadline: 60_000,
  })
  const verdicts = { a: 'same', b: 'ended', c: 'changed' } as const
  const peers = Object.entries(verdicts).map(async ([, verdict]) => follow({}, { verify: async () => verdict }))
  const [same, ended, changed] = await Promise.all(peers)
  const unreachable = await follow({}, { verify: () => Promise.reject(new Error('no store')) })
  const advance = async (ms: number) => {
    for (let passed = 0; passed < ms; passed += 5_000) {
      clock.advance(5_000)
      for (const peer of [same, ended, changed, unreachable]) peer?.connection.seen()
      await settle()
    }
  }
  await advance(25_000)
  t.equal(same?.transport.closedWith, undefined)
  t.match(ended?.transport.take().at(-1), { type: 'revoked' })
  t.match(ended?.transport.closedWith, { code: 4401 })
  t.match(changed?.transport.closedWith, { code: 4403 })
  t.equal(unreachable.transport.closedWith, undefined)
  await advance(60_000)
  t.match(unreachable.transport.closedWith, { code: 1013 })

  let verified = 0
  await follow(
    {},
    {
      verify: async () => {
        verified++
        return 'same'
      },
    },
  )
  hub.verifyAll()
  await settle()
  t.equal(verified, 1, 'at once when news may have been lost')
})

t.test('closing tells each client its own time to come back', async (t) => {
  const random = [0.25, 0.75]
  const { connect, hub } = await setUp(t, { connectionRate: 1, random: () => random.shift() ?? 0 })
  const [one, two] = [connect(), connect()]
  const closed = hub.close()
  t.match(one.transport.take(), [{ type: 'closing', retryAfter: 500 }])
  t.match(two.transport.take(), [{ type: 'closing', retryAfter: 1_500 }])
  for (const { connection } of [one, two]) hub.closed(connection, 1001)
  await closed
})

t.test('a space that opens after the close is not listened to', async (t) => {
  let open = () => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  const space = new MemorySpace('app', opened)
  const hub = new SyncHub({ settings, instance: 'here', space: () => ({ space, release() {} }), onError() {} })
  const transport = new FakeTransport()
  const connection = hub.connect(transport, { address: '127.0.0.1', authorize: async () => {} })
  connection.receive(JSON.stringify({ type: 'subscribe', space: 'app' }))
  await settle()
  const closed = hub.close()
  hub.closed(connection, 1001)
  await closed
  open()
  await settle()
  t.equal(space.listeners, 0)
})
