import t from 'tap'
import type { Hello } from '../../../openapi/messages/server.ts'
import { onEveryStorage, storageUrl } from '../../fixtures/storages.ts'
import { SyncPeer } from '../../fixtures/sync-peer.ts'
import { startServer } from './server.ts'

t.test('hello tells what a client keeps to', async (t) => {
  const { ws } = await startServer(t, 'memory:', { maxPayload: 5_000, maxQueuedMessages: 7, messageRate: 9 })
  const peer = await SyncPeer.connect(t, ws)
  peer.send({ type: 'hello', protocols: [1] })
  t.match(await peer.next(), { type: 'hello', limits: { payload: 5_000, queue: 7, rate: 9, subscriptions: 100 } })
})

t.test('every write is answered with its number, whatever is wrong with it', async (t) => {
  const { ws, app } = await startServer(t, 'memory:')
  const peer = await SyncPeer.connect(t, `${ws}?space=app`)
  await peer.next()
  const set = (key: unknown, value: unknown, more = {}) => ({ op: 'set', key, value, ...more })
  const wrong: { [name: string]: unknown } = {
    'an empty key': [set('', 1)],
    'a key of 513 bytes': [set('k'.repeat(513), 1)],
    'a key of control characters': [set('a\u0001', 1)],
    'no operation': [],
    '129 operations': Array.from({ length: 129 }, () => set('k', 1)),
    'no time to live': [set('k', 1, { ttl: 0 })],
    'an operation that there is none of': [{ op: 'push', key: 'k' }],
    'a key that is a number': [set(42, 1)],
    'no list': 'nonsense',
    'nothing at all': undefined,
    'a deletion with a value': [{ op: 'delete', key: 'k', value: 1 }],
    'a deletion with a time to live': [{ op: 'delete', key: 'k', ttl: 5 }],
    'an increment by another name': [{ op: 'increment', key: 'k', by: 2 }],
    'an increment by nothing': [{ op: 'increment', key: 'k', value: null }],
  }
  let seq = 0
  for (const [name, ops] of Object.entries(wrong)) {
    peer.send({ type: 'write', seq: ++seq, ops })
    t.match(await peer.next(), { type: 'reject', seq, outcome: 'refused', code: /^STATEFUL_/ }, name)
  }
  peer.send({ type: 'write', seq: ++seq, ops: [set('k', 1)] })
  t.match(await peer.next(), { type: 'ack', seq }, 'and the rest goes on')
  t.strictSame(app.state.snapshot().state, { k: 1 })
})

t.test(
  'a thousand writes at once: those that find no room are refused to be sent again, and nobody is thrown out',
  async (t) => {
    const { ws, app } = await startServer(t, 'memory:', { maxQueuedMessages: 32, messageRate: 100_000 })
    const peer = await SyncPeer.connect(t, `${ws}?space=app`)
    await peer.next()
    for (let seq = 1; seq <= 1_000; seq++) {
      peer.send({ type: 'write', seq, ops: [{ op: 'append', key: 'list', value: seq }] })
    }
    const answers = new Map<number, string>()
    while (answers.size < 1_000) {
      const answer = await peer.next()
      if (answer.type !== 'ack' && answer.type !== 'reject') continue
      answers.set(answer.seq ?? 0, answer.type)
      if (answer.type === 'reject') {
        t.match(answer, { code: 'STATEFUL_TOO_MANY_MESSAGES', outcome: 'refused', retry: true })
      }
    }
    const acknowledged = [...answers].filter(([, type]) => type === 'ack').length
    t.equal((app.state.get('list') as number[]).length, acknowledged)
  },
)

t.test('two pages under one client id are two clients; one page that comes back is one', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const { ws, app } = await startServer(t, await storageUrl(t, kind))
    const clientId = 'the-id-of-a-tab'
    const connect = async (page: string) => {
      const peer = await SyncPeer.connect(t, ws)
      peer.send({ type: 'hello', protocols: [1], clientId, page })
      const hello = (await peer.next()) as Hello
      const write = async (seq: number, more = {}) => {
        peer.send({ type: 'write', space: 'app', seq, ops: [{ op: 'increment', key: 'n' }], ...more })
        return peer.next()
      }
      return { peer, hello, write }
    }
    const first = await connect('page-number-one')
    const halfOpen = await connect('page-number-one')
    t.equal(halfOpen.hello.assigned, undefined, 'an earlier connection of the page is no other page')
    t.equal(halfOpen.hello.clientId, first.hello.clientId)
    t.match(await first.write(1), { type: 'ack', seq: 1 })
    t.match(await halfOpen.write(1), { type: 'ack', seq: 1, revision: 1 }, 'and its writes are applied once')

    const copy = await connect('page-number-two')
    t.type(copy.hello.assigned, 'string')
    t.not(copy.hello.clientId, first.hello.clientId)
    t.match(await copy.write(1), { type: 'ack', seq: 1, revision: 2 }, 'its writes are its own')
    t.match(
      await copy.write(1, { clientId }),
      { type: 'ack', seq: 1, clientId, revision: 1 },
      'what it may have sent under the old id is applied once',
    )
    t.equal(app.state.get('n'), 2)

    const [again] = [copy.hello.assigned]
    first.peer.socket.close()
    halfOpen.peer.socket.close()
    copy.peer.socket.close()
    await Promise.all([first.peer.closed, halfOpen.peer.closed, copy.peer.closed])
    t.equal((await connect('page-number-three')).hello.assigned, undefined, 'nobody lives under it any more')
    t.not(again, clientId)
  }),
)

t.test('a page is told on the socket why it is refused, others by the status', async (t) => {
  const origin = 'https://app.example'
  const { ws, app } = await startServer(t, 'memory:', {
    allowedOrigins: [origin],
    authorize: (_, __, { space }) => space !== 'secret',
    maxConnections: 1,
  })
  const refusal = async (path: string) => {
    const peer = await SyncPeer.connect(t, `${ws}${path}`, { origin })
    return { ...(await peer.next()), close: (await peer.closed).code }
  }
  t.match(await refusal('?space=secret'), {
    type: 'error',
    code: 'STATEFUL_UNAUTHENTICATED',
    request: 'connect',
    close: 4401,
  })
  t.match(await refusal('?space=no+such'), { code: /^STATEFUL_/, request: 'connect', close: 1008 })
  t.equal(await SyncPeer.refusal(`${ws}?space=secret`), 401)
  const peer = await SyncPeer.connect(t, `${ws}?space=app`)
  await peer.next()
  t.match(await refusal('?space=app'), { code: 'STATEFUL_TOO_MANY_CONNECTIONS', retry: true, close: 1013 })
  t.equal(app.sync.stats().connections, 1)
  t.equal(
    await SyncPeer.refusal(`${ws}?space=app`, { origin: 'https://evil.example' }),
    403,
    'foreign pages are told nothing',
  )
})

t.test('an error names the subscription that it is about', async (t) => {
  const { ws } = await startServer(t, 'memory:', {
    authorize: (_, __, { space }) => space !== 'secret',
    maxSubscriptions: 1,
  })
  const peer = await SyncPeer.connect(t, ws)
  peer.send({ type: 'subscribe', space: 'secret', prefix: 'a:' })
  t.match(await peer.next(), { type: 'error', request: 'subscribe', space: 'secret', prefix: 'a:' })
  peer.send({ type: 'subscribe', space: 'app', key: 'a' })
  t.match(await peer.next(), { type: 'fullSync' })
  peer.send({ type: 'subscribe', space: 'app', key: 'b' })
  t.match(await peer.next(), { code: 'STATEFUL_TOO_MANY_SUBSCRIPTIONS', space: 'app', key: 'b', retry: true })
})

t.test('a token comes as a subprotocol or as a parameter, and is a bearer for the application', async (t) => {
  const { ws, url } = await startServer(t, 'memory:', {
    authorize: ({ headers, query }) =>
      headers.authorization === 'Bearer a.b-c' && (query as { tenant?: string }).tenant === 'x',
    parameters: ['tenant'],
  })
  const bearer = `bearer.${Buffer.from('a.b-c').toString('base64url')}`
  const { WebSocket } = await import('ws')
  const socket = new WebSocket(`${ws}?space=app&tenant=x`, ['stateful', bearer])
  t.teardown(() => socket.terminate())
  const [first] = await new Promise<[Buffer]>((resolve) => socket.once('message', (data) => resolve([data as Buffer])))
  t.match(JSON.parse(first.toString()), { type: 'fullSync' })
  t.equal(socket.protocol, 'stateful')
  t.equal(await SyncPeer.refusal(`${ws}?space=app&tenant=x`), 401)
  t.equal(await SyncPeer.refusal(`${ws}?space=app&tenant=x&access_token=wrong`), 401)
  const stream = await fetch(`${url}/sync/events?tenant=x&access_token=a.b-c`)
  t.equal(stream.status, 200)
  await stream.body?.cancel()
})

t.test('event streams: no-transform, HEAD ends, an empty Last-Event-ID is none', async (t) => {
  const { url, app } = await startServer(t, 'memory:')
  const head = await fetch(`${url}/sync/events`, { method: 'HEAD' })
  t.equal(head.status, 200)
  t.match(head.headers.get('content-type'), /event-stream/)
  t.equal(await head.text(), '')
  t.equal(app.sync.stats().accepted, 0)
  const stream = await fetch(`${url}/sync/events`, { headers: { 'last-event-id': '' } })
  t.equal(stream.status, 200)
  t.match(stream.headers.get('cache-control'), /no-transform/)
  await stream.body?.cancel()
})

t.test('who replaced the Host is told so', async (t) => {
  const { url } = await startServer(t, 'memory:')
  const answer = await fetch(`${url}/sync/events`, { headers: { origin: 'https://app.example' } })
  t.equal(answer.status, 403)
  t.match(((await answer.json()) as { detail: string }).detail, /https:\/\/app\.example.*Host.*127\.0\.0\.1.*nginx/s)
})

t.test('presence: who leaves is not seen, though it follows; who stays is, though it does not', async (t) => {
  const { ws, app } = await startServer(t, 'memory:')
  const peer = await SyncPeer.connect(t, `${ws}?space=app`)
  await peer.next()
  peer.send({ type: 'presence', space: 'app', data: { name: 'Ada' } })
  await peer.until(({ type }) => type === 'presence')
  peer.send({ type: 'unsubscribe', space: 'app' })
  peer.send({ type: 'heartbeat' })
  peer.send({ type: 'presence', space: 'other' })
  await peer.until((message) => message.type === 'presence' && message.space === 'other')
  t.match(app.sync.presence('app'), [{ data: { name: 'Ada' } }])
  peer.send({ type: 'presence', space: 'app', leave: true })
  peer.send({ type: 'subscribe', space: 'other', key: 'k' })
  await peer.until(({ type }) => type === 'fullSync')
  t.strictSame(app.sync.presence('app'), [])
})
