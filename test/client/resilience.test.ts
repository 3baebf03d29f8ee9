import t from 'tap'
import { createClient, type WebSocketLike } from '../../client/index.ts'

/** A server made of sentences: what the client says is recorded, what it hears is typed in. */
class Scripted implements WebSocketLike {
  static readonly all: Scripted[] = []
  readyState = 0
  onopen: ((event: never) => void) | null = null
  onmessage: ((event: never) => void) | null = null
  onclose: ((event: never) => void) | null = null
  onerror: ((event: never) => void) | null = null
  readonly sent: { type: string; [field: string]: unknown }[] = []

  constructor() {
    Scripted.all.push(this)
  }

  send(text: string): void {
    this.sent.push(JSON.parse(text))
  }

  close(): void {
    this.readyState = 3
  }

  open(): void {
    this.readyState = 1
    this.onopen?.({} as never)
    this.say({ type: 'hello', protocol: 1, node: 'n', clientId: 'me', heartbeat: 1_000 })
  }

  say(message: object): void {
    this.onmessage?.({ data: JSON.stringify(message) } as never)
  }

  lose(code: number): void {
    this.readyState = 3
    this.onclose?.({ code } as never)
  }
}

function setUp() {
  Scripted.all.length = 0
  const timers: { ms: number; run: () => void }[] = []
  const client = createClient({
    baseUrl: 'http://localhost:1/api/',
    WebSocket: Scripted,
    timing: {
      random: () => 0.5,
      after(ms, run) {
        const timer = { ms, run }
        timers.push(timer)
        return () => timers.splice(timers.indexOf(timer), 1)
      },
    },
  })
  const fire = (ms: number) => {
    const index = timers.findIndex((timer) => timer.ms === ms)
    const [timer] = index < 0 ? [] : timers.splice(index, 1)
    timer?.run()
    return timer !== undefined
  }
  const socket = () => Scripted.all.at(-1) as Scripted
  return { client, timers, fire, socket }
}

const fullSync = { type: 'fullSync', space: 'app', epoch: '1:a', revision: 5, state: { a: 1 } }

t.test('back-off doubles with full jitter, and a server that closes says when to come back', async (t) => {
  const { client, fire, socket } = setUp()
  const replica = client.replica()
  socket().lose(1006)
  t.equal(replica.status, 'offline')
  t.ok(fire(125), 'half of 250')
  socket().lose(1006)
  t.ok(fire(250), 'half of 500')
  socket().open()
  socket().say(fullSync)
  socket().say({ type: 'closing', retryAfter: 4_321 })
  socket().lose(1001)
  t.ok(fire(4_321))
  socket().open()
  t.match(socket().sent, [{ type: 'hello' }, { type: 'subscribe', since: { epoch: '1:a', revision: 5 } }])
  t.equal(Scripted.all.length, 4)
})

t.test('a gap, another epoch and an ack out of place are answered by a syncRequest, never applied', async (t) => {
  const { client, socket } = setUp()
  const replica = client.replica()
  socket().open()
  socket().say(fullSync)
  const change = (epoch: string, prev: number, value: number) => ({
    type: 'stateChange',
    space: 'app',
    epoch,
    changes: [{ prev, revision: prev + 1, ops: [{ op: 'set', key: 'a', value }] }],
  })
  socket().sent.length = 0
  socket().say(change('1:a', 6, 2))
  socket().say(change('2:b', 5, 3))
  socket().say({ type: 'ack', seq: 99, space: 'app', epoch: '1:a', prev: 8, revision: 9 })
  t.equal(replica.get('a'), 1)
  const request = { type: 'syncRequest', space: 'app', since: { epoch: '1:a', revision: 5 } }
  t.strictSame(socket().sent, [request, request, request])
  socket().say(change('1:a', 3, 4))
  t.equal(replica.get('a'), 1, 'what it has already is dropped')
  socket().say({ ...change('2:b', 5, 7), since: request.since })
  t.equal(replica.get('a'), 7, 'an answer may lead into another epoch')
  t.strictSame(replica.position, { epoch: '2:b', revision: 6 })
})

t.test('a silent connection is given up; a refused subscription is tried again', async (t) => {
  const { client, fire, socket } = setUp()
  const replica = client.replica()
  t.ok(fire(25_000), 'the first heartbeat, before the server has said how often')
  socket().open()
  socket().say(fullSync)
  t.ok(fire(1_000), 'and then as often as it said, at once')
  t.match(socket().sent.at(-1), { type: 'heartbeat' })
  t.ok(fire(1_000))
  t.equal(replica.status, 'offline')
  t.ok(fire(125))
  socket().open()
  socket().say({ type: 'error', code: 'STATEFUL_STORAGE_UNAVAILABLE', message: '', request: 'subscribe', retry: true })
  t.equal(replica.status, 'offline')
  t.ok(fire(250))
  t.equal(Scripted.all.length, 3)
})

t.test('an ended session forgets everything and waits for a login', async (t) => {
  const { client, timers, socket } = setUp()
  const replica = client.replica()
  socket().open()
  socket().say(fullSync)
  const written = replica.set('b', 1)
  socket().say({ type: 'revoked', reason: 'logout' })
  await t.rejects(written, { code: 'STATEFUL_UNAUTHENTICATED', outcome: 'unknown' })
  socket().lose(4401)
  t.strictSame(replica.snapshot(), {})
  t.equal(replica.status, 'unauthenticated')
  t.strictSame(timers, [])
  client.reconnect()
  socket().open()
  t.match(socket().sent, [{ type: 'hello' }, { type: 'subscribe', since: undefined }])
  client.close()
  t.equal(replica.status, 'closed')
})

t.test('the queue of an offline client is bounded', async (t) => {
  const { client } = setUp()
  const replica = client.replica()
  const outcomes = Array.from({ length: 1_001 }, () => replica.increment('n').catch((error) => error))
  t.match(await outcomes.at(-1), { code: 'STATEFUL_QUEUE_FULL' })
  t.equal(replica.get('n'), 1_000)
  replica.close()
})

t.test('a write that is to be sent again holds up those after it: they go in the order of their calls', async (t) => {
  const { client, fire, socket } = setUp()
  const replica = client.replica()
  socket().open()
  socket().say(fullSync)
  const written = [1, 2, 3].map((value) => replica.append('list', value))
  const sent = () => socket().sent.filter(({ type }) => type === 'write')
  const seqs = () => sent().map(({ seq }) => seq)
  t.strictSame(seqs(), [1, 2, 3])
  socket().sent.length = 0
  const reject = { type: 'reject', code: 'STATEFUL_TOO_MANY_MESSAGES', message: '', outcome: 'refused', retry: true }
  socket().say({ ...reject, seq: 2 })
  socket().say({ ...reject, seq: 3 })
  written.push(replica.append('list', 4))
  t.strictSame(seqs(), [], 'the first has no answer yet')
  socket().say({ type: 'ack', seq: 1, space: 'app', epoch: '1:a', prev: 5, revision: 6 })
  t.strictSame(seqs(), [], 'not at once')
  t.ok(fire(125))
  t.strictSame(seqs(), [2, 3, 4])
  for (const seq of [2, 3, 4]) {
    socket().say({ type: 'ack', seq, space: 'app', epoch: '1:a', prev: seq + 4, revision: seq + 5 })
  }
  t.strictSame(
    await Promise.all(written),
    [6, 7, 8, 9].map((revision) => ({ revision })),
  )
})

t.test('back-off is kept across connections that serve nobody for long', async (t) => {
  const { client, fire, socket } = setUp()
  client.replica()
  for (const wait of [125, 250, 500]) {
    socket().open()
    socket().say(fullSync)
    socket().lose(1013)
    t.ok(fire(wait), `${wait}`)
  }
  socket().open()
  socket().say(fullSync)
  t.ok(fire(5_000), 'it has served for a while')
  socket().lose(1013)
  t.ok(fire(125))
})

t.test('a page that the server gives another id numbers anew what was never sent', async (t) => {
  const { client, socket } = setUp()
  const replica = client.replica()
  replica.append('list', 1).catch(() => {})
  socket().readyState = 1
  socket().onopen?.({} as never)
  socket().say({ type: 'hello', protocol: 1, node: 'n', clientId: 'public', heartbeat: 1_000, assigned: 'another-id' })
  t.match(socket().sent.at(-1), { type: 'write', seq: 1, clientId: undefined })
  socket().lose(1006)
  client.reconnect()
  socket().open()
  t.match(socket().sent[0], { type: 'hello', clientId: 'another-id' }, 'and it keeps it')
})

t.test('what something on the way finds too large is given up, and nothing else', async (t) => {
  const { client, fire, socket } = setUp()
  const replica = client.replica()
  socket().open()
  socket().say(fullSync)
  const [large, small] = [replica.set('large', 'x'.repeat(1_000)), replica.set('small', 1)]
  socket().lose(1009)
  await t.rejects(large, { code: 'STATEFUL_WRITE_TOO_LARGE', outcome: 'refused' })
  t.ok(fire(125))
  socket().open()
  t.match(socket().sent.at(-1), { type: 'write', seq: 2 })
  t.equal(replica.pending, 1)
  small.catch(() => {})
})
