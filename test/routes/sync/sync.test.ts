import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import type { FullSync, StateChange } from '../../../openapi/messages/server.ts'
import { onEveryStorage, storageUrl } from '../../fixtures/storages.ts'
import { SyncPeer } from '../../fixtures/sync-peer.ts'
import { startServer } from './server.ts'

t.test('a client that only listens gets a full sync and then every change', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const { app, ws } = await startServer(t, await storageUrl(t, kind))
    await app.state.set('a', 1)
    const peer = await SyncPeer.connect(t, `${ws}?space=app`)
    const { epoch, revision } = app.state.snapshot()
    t.strictSame(await peer.next(), { type: 'fullSync', space: 'app', epoch, revision, state: { a: 1 } })
    await app.state.set('b', { c: [1] })
    t.match(await peer.next(), {
      type: 'stateChange',
      space: 'app',
      epoch,
      changes: [{ prev: revision, revision: revision + 1, ops: [{ op: 'set', key: 'b', value: { c: [1] } }] }],
    })
  }),
)

t.test('a write reaches everybody but its writer, who gets the ack', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const { app, ws } = await startServer(t, await storageUrl(t, kind))
    const writer = await SyncPeer.connect(t, `${ws}?space=app`)
    const reader = await SyncPeer.connect(t, `${ws}?space=app`)
    await Promise.all([writer.next(), reader.next()])
    writer.send({ type: 'write', seq: 1, ops: [{ op: 'increment', key: 'n', value: 2 }] })
    const ack = await writer.next()
    t.match(ack, { type: 'ack', seq: 1, space: 'app', ops: undefined })
    t.match(await reader.next(), {
      type: 'stateChange',
      changes: [{ ops: [{ op: 'increment', key: 'n', value: 2 }], seq: 1 }],
    })
    t.equal(app.state.get('n'), 2)
    await app.state.set('end', true)
    const [next] = await writer.until(({ type }) => type === 'stateChange')
    t.match(next, { type: 'stateChange', changes: [{ prev: (ack as { revision: number }).revision }] })
  }),
)

t.test('a ttl beyond 100 years is refused, and the connection goes on', async (t) => {
  const { app, ws } = await startServer(t, 'memory:')
  const peer = await SyncPeer.connect(t, `${ws}?space=app`)
  await peer.next()
  for (const ttl of [3_153_600_000_001, 2 ** 53 - 1, 1e308]) {
    peer.send({ type: 'write', seq: 1, ops: [{ op: 'set', key: 'k', value: 1, ttl }] })
    t.match(await peer.next(), { code: /^STATEFUL_(STATE_INVALID_OPERATION|INVALID_MESSAGE)$/ }, `${ttl}`)
  }
  peer.send({ type: 'write', seq: 1, ops: [{ op: 'set', key: 'k', value: 1, ttl: 3_153_600_000_000 }] })
  t.match(await peer.next(), { type: 'ack' })
  t.equal(app.state.get('k'), 1)
})

t.test('two instances on one Redis serve one history', async (t) => {
  const target = await storageUrl(t, 'redis')
  const one = await startServer(t, target)
  const two = await startServer(t, target)
  const here = await SyncPeer.connect(t, `${one.ws}?space=app`)
  const there = await SyncPeer.connect(t, `${two.ws}?space=app`)
  await Promise.all([here.next(), there.next()])
  here.send({ type: 'write', seq: 1, ops: [{ op: 'set', key: 'from', value: 'one' }] })
  t.match(await here.next(), { type: 'ack', seq: 1 })
  const change = (await there.next()) as StateChange
  t.match(change, { changes: [{ ops: [{ op: 'set', key: 'from', value: 'one' }] }] })

  t.comment('a client moves to the other instance and continues')
  const { epoch, changes } = change
  await one.app.state.set('missed', 1)
  await two.app.state.freshen()
  const moved = await SyncPeer.connect(t, `${two.ws}?space=app&since=${epoch}.${changes[0]?.revision}`)
  t.match(await moved.next(), {
    type: 'stateChange',
    since: { epoch, revision: changes[0]?.revision },
    changes: [{ ops: [{ op: 'set', key: 'missed', value: 1 }] }],
  })
})

t.test('only a request for an upgrade gets one', async (t) => {
  const { app } = await startServer(t, 'memory:')
  const response = await app.inject('/sync')
  t.equal(response.statusCode, 426)
  t.match(response.json(), { code: 'STATEFUL_UPGRADE_REQUIRED' })
})

t.test('who may not read is refused before the upgrade', async (t) => {
  const { ws, app } = await startServer(t, 'memory:', { authorize: (_, action) => action !== 'sync:read' })
  t.equal(await SyncPeer.refusal(`${ws}?space=app`), 401)
  t.equal((await app.inject('/sync/events')).statusCode, 401)
  t.equal((await app.inject('/sync/nodes')).statusCode, 200)
})

t.test('who may not write is told so, and may go on reading', async (t) => {
  const { ws, app } = await startServer(t, 'memory:', { authorize: (_, action) => action !== 'sync:write' })
  const peer = await SyncPeer.connect(t, `${ws}?space=app`)
  await peer.next()
  peer.send({ type: 'write', seq: 1, ops: [{ op: 'set', key: 'a', value: 1 }] })
  t.match(await peer.next(), { type: 'reject', seq: 1, code: 'STATEFUL_UNAUTHENTICATED', outcome: 'refused' })
  await app.state.set('a', 2)
  t.match(await peer.next(), { type: 'stateChange' })
})

t.test('foreign origins are refused: other hosts, null, suffixes; the own host and the allowed are not', async (t) => {
  const { ws, url } = await startServer(t, 'memory:', { allowedOrigins: ['https://app.example'] })
  const host = new URL(url).host
  for (const origin of [
    'https://evil.example',
    'null',
    `http://${host}.evil.example`,
    `http://evil${host}`,
    'https://app.example.evil.example',
    'http://app.example',
    'https://app.example:8443',
    'nonsense',
  ]) {
    t.equal(await SyncPeer.refusal(`${ws}?space=app`, { origin }), 403, origin)
  }
  for (const origin of [`http://${host}`, `https://${host}`, 'https://app.example', undefined]) {
    const peer = await SyncPeer.connect(t, `${ws}?space=app`, origin === undefined ? {} : { origin })
    t.match(await peer.next(), { type: 'fullSync' }, `${origin}`)
  }
})

t.test('frames that are no messages have documented ends', async (t) => {
  const { ws, app } = await startServer(t, 'memory:', { maxPayload: 1024 })
  const closeCode = async (send: (peer: SyncPeer) => void) => {
    const peer = await SyncPeer.connect(t, `${ws}?space=app`)
    send(peer)
    return (await peer.closed).code
  }
  t.equal(await closeCode((peer) => peer.send('x'.repeat(2_000))), 1009)
  t.equal(await closeCode((peer) => peer.send('not json')), 1007)
  t.equal(await closeCode((peer) => peer.socket.send(Buffer.from([1, 2]))), 1003)
  t.equal(await closeCode((peer) => peer.send({ type: 'hello', protocols: [99] })), 4406)
  const tooMany = (peer: SyncPeer) => {
    for (let sent = 0; sent < 50; sent++) peer.send({ type: 'nonsense' })
  }
  t.equal(await closeCode(tooMany), 1008)
  t.match(app.sync.stats().closes, { 1003: 1, 1007: 1, 1008: 1, 1009: 1, 4406: 1 })
  t.equal(app.sync.stats().connections, 0)
})

t.test('several topics over one connection: hello, subscribe, unsubscribe', async (t) => {
  const { ws, app } = await startServer(t, 'memory:')
  const peer = await SyncPeer.connect(t, ws)
  peer.send({ type: 'hello', protocols: [1], clientId: 'a-client-id' })
  peer.send({ type: 'subscribe', space: 'app', key: 'a' })
  peer.send({ type: 'subscribe', space: 'other', prefix: 'b:' })
  t.match(await peer.next(), { type: 'hello', protocol: 1 })
  t.match(await peer.next(), { type: 'fullSync', space: 'app', key: 'a' })
  t.match(await peer.next(), { type: 'fullSync', space: 'other', prefix: 'b:' })
  await app.state.space('other').set('b:1', 1)
  t.match(await peer.next(), { type: 'stateChange', space: 'other', prefix: 'b:' })
  peer.send({ type: 'unsubscribe', space: 'other', prefix: 'b:' })
  peer.send({ type: 'heartbeat' })
  peer.send({ type: 'syncRequest', space: 'other', prefix: 'b:' })
  t.match(await peer.next(), { type: 'error', code: 'STATEFUL_NOT_SUBSCRIBED' })
  t.match(app.sync.nodes(), [{ spaces: ['app'], subscriptions: 1, transport: 'websocket', address: '127.0.0.1' }])
})

t.test('an invalid space is refused', async (t) => {
  const { ws } = await startServer(t, 'memory:')
  t.equal(await SyncPeer.refusal(`${ws}?space=${encodeURIComponent('../x')}`), 400)
  t.equal(await SyncPeer.refusal(`${ws}?since=yesterday`), 400)
  t.equal(await SyncPeer.refusal(`${ws}?nonsense=1`), 400)
})

t.test('a node can be seen and disconnected', async (t) => {
  const { ws, app } = await startServer(t, 'memory:')
  const peer = await SyncPeer.connect(t, `${ws}?space=app`)
  await peer.next()
  const { nodes } = (await app.inject('/sync/nodes')).json<{ nodes: { id: string }[] }>()
  t.equal(nodes.length, 1)
  t.match(app.sync.presence('app'), [{ node: nodes[0]?.id }])
  t.notOk(app.sync.disconnect('nobody', 'x'))
  t.ok(app.sync.disconnect(nodes[0]?.id ?? '', 'maintenance'))
  t.strictSame(await peer.closed, { code: 1001, reason: 'maintenance' })
  t.strictSame(app.sync.nodes(), [])
})

t.test('restoring gives every follower the new state', async (t) => {
  const { ws, app } = await startServer(t, 'memory:')
  await app.state.set('old', 1)
  const peer = await SyncPeer.connect(t, `${ws}?space=app`)
  const before = (await peer.next()) as FullSync
  await app.state.restore({ state: { fresh: 1 } })
  const after = (await peer.next()) as FullSync
  t.match(after, { type: 'fullSync', state: { fresh: 1 } })
  t.not(after.epoch, before.epoch)
})

t.test('server-sent events: the same messages, numbered, and continued by Last-Event-ID', async (t) => {
  const { url, app } = await startServer(t, 'memory:')
  const first = await openEvents(`${url}/sync/events?space=app`)
  const full = await first.next()
  t.match(full.message, { type: 'fullSync', state: {} })
  await app.state.set('a', 1)
  const change = await first.next()
  t.match(change.message, { type: 'stateChange', changes: [{ ops: [{ key: 'a' }] }] })
  t.equal(change.id, `${app.state.epoch}.${app.state.revision}`)
  t.match(app.sync.nodes(), [{ transport: 'event-stream' }])
  await first.cancel()
  await app.state.set('b', 1)
  const second = await openEvents(`${url}/sync/events`, { 'last-event-id': change.id ?? '' })
  t.match((await second.next()).message, { type: 'stateChange', changes: [{ ops: [{ key: 'b' }] }] })
  await app.close()
  t.match((await second.next()).message, { type: 'closing' })
  t.match((await second.next()).message, { type: 'error', code: 'STATEFUL_CLOSING' })
})

async function openEvents(url: string, headers: Record<string, string> = {}) {
  const response = await fetch(url, { headers })
  if (!response.body) throw new Error(`status ${response.status}`)
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  return {
    async next(): Promise<{ id: string | undefined; message: unknown }> {
      for (;;) {
        const end = text.indexOf('\n\n')
        if (end >= 0) {
          const event = text.slice(0, end)
          text = text.slice(end + 2)
          const id = /^id: (.*)$/m.exec(event)?.[1]
          return { id, message: JSON.parse(/^data: (.*)$/m.exec(event)?.[1] ?? 'null') }
        }
        const { value, done } = await reader.read()
        if (done) throw new Error('the stream ended')
        text += value
      }
    },
    cancel: () => reader.cancel(),
  }
}

t.test('closing takes seconds, not the half minute that a frozen client would', async (t) => {
  const { app, ws } = await startServer(t, 'memory:', { closeTimeout: 300 })
  const { port, hostname } = new URL(ws)
  const frozen = connect(Number(port), hostname)
  frozen.on('error', () => {})
  t.teardown(() => frozen.destroy())
  frozen.write(
    `GET /sync?space=app HTTP/1.1\r\nHost: ${hostname}:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${Buffer.alloc(16).toString('base64')}\r\n\r\n`,
  )
  await once(frozen, 'data')
  frozen.pause()
  const polite = await SyncPeer.connect(t, `${ws}?space=app`)
  const started = Date.now()
  await app.close()
  t.ok(Date.now() - started < 3_000, `${Date.now() - started} ms`)
  t.equal((await polite.closed).code, 1001)
})
