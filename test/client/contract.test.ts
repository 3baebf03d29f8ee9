import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { type ClientOptions, createClient, type ReplicaError } from '../../client/index.ts'
import { startFaultProxy } from '../fixtures/fault-proxy.ts'
import { startServer, type TestServer } from '../routes/sync/server.ts'

function clientOf(t: Test, { url }: Pick<TestServer, 'url'>, options: Partial<ClientOptions> = {}) {
  const client = createClient({ baseUrl: url, WebSocket, ...options })
  t.teardown(() => client.close())
  return client
}

/** Resolves when it holds. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve))
}

t.test('what the server would refuse is refused at the call, and nothing of it is shown', async (t) => {
  const server = await startServer(t, 'memory:')
  const replica = clientOf(t, server).replica()
  await replica.ready()
  const cycle: { [name: string]: unknown } = {}
  cycle['self'] = cycle
  const values: { [name: string]: unknown } = {
    NaN: Number.NaN,
    Infinity: [Number.POSITIVE_INFINITY],
    bigint: { n: 1n },
    Date: new Date(0),
    Map: new Map(),
    cycle,
    undefined,
    'a hole': [undefined],
    function: () => {},
    'a class': new (class Thing {})(),
    'half a pair': '\ud800',
  }
  for (const [name, value] of Object.entries(values)) {
    const written = replica.commit([{ op: 'set', key: 'k', value: value as never }])
    t.equal(replica.pending, 0, `${name} is not shown`)
    await t.rejects(written, { name: 'WriteError', code: 'STATEFUL_STATE_INVALID_VALUE', outcome: 'refused' }, name)
  }
  for (const key of ['', 'k'.repeat(513), 'é'.repeat(257), 'a\u0001', 42 as never]) {
    await t.rejects(replica.set(key, 1), { code: 'STATEFUL_STATE_INVALID_KEY' })
  }
  await t.rejects(replica.commit([]), { code: 'STATEFUL_STATE_INVALID_OPERATION' })
  await t.rejects(replica.set('k', 1, { ttl: 0 }), { code: 'STATEFUL_STATE_INVALID_OPERATION' })
  await t.rejects(replica.set('k', 1, { context: 1 } as object), { code: 'STATEFUL_STATE_INVALID_OPERATION' })
  for (const stray of [{ value: 1 }, { ttl: 5 }, { context: 1 }] as object[]) {
    await t.rejects(replica.commit([{ op: 'delete', key: 'k', ...stray }]), {
      code: 'STATEFUL_STATE_INVALID_OPERATION',
    })
  }
  t.match(server.app.sync.stats(), { writes: 0, invalidMessages: 0 })

  const value: { list: number[]; zero: number; gone?: string | undefined } = { list: [1], zero: -0, gone: undefined }
  const written = replica.set('k', value)
  value.list.push(2)
  t.strictSame(replica.get('k'), { list: [1], zero: 0 }, 'what is shown is what the server will have')
  await written
  t.strictSame(server.app.state.get('k'), { list: [1], zero: 0 })
})

t.test('a write that is too large is refused, and the rest goes on', async (t) => {
  const server = await startServer(t, 'memory:', { maxPayload: 2_000 })
  const replica = clientOf(t, server).replica()
  const early = replica.set('early', 'x'.repeat(3_000))
  const small = replica.set('small', 1)
  await t.rejects(early, { code: 'STATEFUL_WRITE_TOO_LARGE', outcome: 'refused' }, 'as soon as the limit is known')
  await small
  await t.rejects(replica.set('late', 'é'.repeat(1_000)), { code: 'STATEFUL_WRITE_TOO_LARGE' }, 'bytes count')
  t.strictSame(replica.snapshot(), { small: 1 })
  t.equal(server.app.sync.stats().accepted, 1, 'on one connection')
})

t.test(
  'a thousand writes in one tick, also while offline, through two replicas: all arrive, in their order',
  async (t) => {
    const server = await startServer(t, 'memory:', { messageRate: 2_000, userMessageRate: 2_000 })
    const proxy = await startFaultProxy(t, { target: { port: Number(new URL(server.url).port) } })
    const client = clientOf(t, { url: `http://${proxy.host}:${proxy.port}` })
    const replicas = [client.replica('app', { prefix: 'list' }), client.replica('app', { key: 'other' })]
    await Promise.all(replicas.map((replica) => replica.ready()))
    const write = (from: number) =>
      Array.from({ length: 1_000 }, (_, index) => replicas[index % 2]?.append('list', from + index))
    await Promise.all(write(0))
    proxy.cut()
    await until(() => replicas[0]?.status === 'offline')
    const written = write(1_000)
    await t.rejects(replicas[0]?.append('list', 'one more') as Promise<unknown>, { code: 'STATEFUL_QUEUE_FULL' })
    client.reconnect()
    await Promise.all(written)
    t.strictSame(
      server.app.state.get('list'),
      Array.from({ length: 2_000 }, (_, index) => index),
    )
    t.equal(server.app.sync.stats().rejects, 0, 'none was refused on the way')
  },
)

t.test('refusals are told apart, and nothing is tried in vain', async (t) => {
  const server = await startServer(t, 'memory:', {
    authorize: ({ headers }, _, { space }) => headers['x-role'] === 'reader' && space !== 'secret',
    maxSubscriptions: 2,
    before: async (app) => {
      app.decorateRequest('session', null as never)
      app.addHook('onRequest', async (request) => {
        Object.assign(request, { session: request.headers['x-role'] ? { user: { id: 'u1' } } : {} })
      })
    },
  })
  const headers = { 'x-role': 'reader' }
  const client = clientOf(t, server, { headers })
  const refusalOf = (replica: { ready(): Promise<void> }) =>
    replica.ready().then(
      () => undefined,
      (error: ReplicaError) => error,
    )
  const [open, secret, nameless] = ['open', 'secret', 'no such/space'].map((name) => client.replica(name))
  t.match(await refusalOf(secret as never), { name: 'ReplicaError', status: 'forbidden', code: 'STATEFUL_FORBIDDEN' })
  t.match(await refusalOf(nameless as never), { status: 'invalid', code: 'STATEFUL_STATE_INVALID_SPACE' })
  await open?.ready()
  t.strictSame([open?.status, secret?.status, nameless?.status], ['live', 'forbidden', 'invalid'])

  t.comment('one more than a connection may have')
  const second = client.replica('second')
  await second.ready()
  const third = client.replica('third')
  t.match(await refusalOf(third), { status: 'limited', code: 'STATEFUL_TOO_MANY_SUBSCRIPTIONS' })
  t.equal(open?.status, 'live')
  second.close()
  await until(() => third.status === 'live')
  t.match(server.app.sync.stats(), { accepted: 1, invalidMessages: 0 })

  t.comment('nobody')
  const stranger = clientOf(t, server, { headers: { origin: server.url } })
  t.match(await refusalOf(stranger.replica('open')), { status: 'unauthenticated' })
})

t.test('a connection that died unnoticed is replaced when the page wakes', async (t) => {
  const server = await startServer(t, 'memory:')
  const proxy = await startFaultProxy(t, { target: { port: Number(new URL(server.url).port) } })
  const window = new EventTarget()
  const methods = { addEventListener: window.addEventListener, removeEventListener: window.removeEventListener }
  for (const [name, method] of Object.entries(methods)) Object.assign(globalThis, { [name]: method.bind(window) })
  t.teardown(() => {
    for (const name of Object.keys(methods)) Reflect.deleteProperty(globalThis, name)
  })
  const replica = clientOf(t, { url: `http://${proxy.host}:${proxy.port}` }).replica()
  await replica.ready()
  proxy.halfOpen()
  await server.app.state.set('missed', 1)
  window.dispatchEvent(new Event('online'))
  await until(() => replica.status === 'offline')
  proxy.heal()
  await until(() => replica.get('missed') === 1)
})

t.test('holders are counted: the last one ends it, and who comes back at once finds what was there', async (t) => {
  const server = await startServer(t, 'memory:')
  const client = clientOf(t, server)
  const [one, two] = [client.replica(), client.replica()]
  t.equal(one, two)
  const presence = client.presence()
  await one.ready()
  await until(() => presence.members().length === 1)
  one.close()
  await two.set('k', 1)
  t.equal(two.status, 'live', 'somebody else holds it')

  t.comment('what a component does that is mounted, unmounted and mounted again')
  two.close()
  presence.close()
  const [again, seen] = [client.replica(), client.presence()]
  t.strictSame(again.snapshot(), { k: 1 })
  t.equal(again.status, 'live')
  t.equal(seen.members().length, 1)
  await server.app.state.set('k', 2)
  await until(() => again.get('k') === 2)
  t.match(server.app.sync.stats(), { fullSyncs: 1, accepted: 1 })

  t.comment('closed, while it follows still')
  seen.close()
  await until(() => server.app.sync.presence('app').length === 0)
  t.equal(again.status, 'live')
  const written = again.set('last', 1)
  again.close()
  await written
  t.equal(server.app.state.get('last'), 1, 'a write outlives what it was made through')
  await until(() => server.app.sync.stats().connections === 0)
})

t.test('another user gets nothing of the one before', async (t) => {
  let user = 'ada'
  const server = await startServer(t, 'memory:', {
    before: async (app) => {
      app.decorateRequest('session', null as never)
      app.addHook('onRequest', async (request) => Object.assign(request, { session: { user: { id: user } } }))
    },
  })
  await server.app.state.set('k', 1)
  const client = clientOf(t, server, { timing: { random: () => 0, after: later } })
  const replica = client.replica()
  await replica.ready()
  for (const { id } of server.app.sync.nodes()) server.app.sync.disconnect(id, 'test')
  await until(() => replica.status === 'offline')
  user = 'bob'
  await t.rejects(replica.set('k', 'of ada'), { code: 'STATEFUL_UNAUTHENTICATED', outcome: 'unknown' })
  await until(() => replica.status === 'live')
  t.strictSame(server.app.state.get('k'), 1)
})

function later(ms: number, run: () => void): () => void {
  const timer = setTimeout(run, ms)
  return () => clearTimeout(timer)
}

t.test('a page that is rendered on a server opens nothing, and goes on from what it came with', async (t) => {
  const server = await startServer(t, 'memory:')
  await server.app.state.set('k', 1)
  const initial = { app: server.app.state.snapshot() }
  const opened: string[] = []
  class Counted extends WebSocket {
    constructor(url: string) {
      opened.push(url)
      super(url)
    }
  }
  Object.assign(globalThis, { WebSocket: Counted })
  t.teardown(() => Reflect.deleteProperty(globalThis, 'WebSocket'))
  const rendered = createClient({ baseUrl: server.url, initial }).replica()
  t.strictSame(rendered.getServerSnapshot(), { k: 1 })
  t.strictSame(rendered.snapshot(), { k: 1 })
  t.strictSame(opened, [])
  const end = rendered.subscribe(() => {})
  t.equal(opened.length, 1, 'somebody wants to know')
  end()
  rendered.close()
  const page = clientOf(t, server, { initial }).replica()
  t.strictSame(page.snapshot(), { k: 1 })
  await until(() => page.status === 'live')
  t.match(server.app.sync.stats(), { fullSyncs: 0 })
})

t.test('a token is asked for at each connection and request; the platform may have no randomUUID', async (t) => {
  const { randomUUID } = crypto
  Object.assign(crypto, { randomUUID: undefined })
  t.teardown(() => Object.assign(crypto, { randomUUID }))
  let token = 'one'
  const seen: unknown[] = []
  const server = await startServer(t, 'memory:', {
    authorize: ({ headers, query }) => {
      seen.push([headers.authorization, (query as { tenant?: string }).tenant])
      return headers.authorization === `Bearer ${token}`
    },
    parameters: ['tenant'],
  })
  const client = clientOf(t, server, { token: async () => token, query: () => ({ tenant: `of ${token}` }) })
  const replica = client.replica()
  await replica.ready()
  t.strictSame(seen.at(-1), ['Bearer one', 'of one'])
  token = 'two'
  client.reconnect()
  await until(() => replica.status === 'live' && seen.length > 1)
  t.strictSame(seen.at(-1), ['Bearer two', 'of two'])
  const { response } = await client.api.GET('/sync/nodes')
  t.equal(response.status, 200)
})

interface Note {
  text: string
  tags: string[]
}

t.test('keys have the types of the application', async (t) => {
  const server = await startServer(t, 'memory:')
  const client = createClient<
    { '/things': { get: { responses: { 200: { content: { 'application/json': string[] } } } } } },
    { board: { title: string; likes: number; people: string[]; [note: `note:${string}`]: Note } }
  >({ baseUrl: server.url, WebSocket })
  t.teardown(() => client.close())
  const board = client.replica('board')
  const note: Note = { text: 'x', tags: [] }
  await board.set('note:1', note)
  await board.merge('note:1', { text: 'y' })
  await board.increment('likes')
  const text: string | undefined = board.get('note:1')?.text
  const likes: number | undefined = board.snapshot().likes
  t.strictSame([text, likes], ['y', 1])
  // @ts-expect-error another type
  await board.set('title', 1)
  // @ts-expect-error no such key
  board.get('nonsense')
  await board.append('people', 'ada')
  await board.commit([
    { op: 'setAdd', key: 'people', value: 'grace' },
    { op: 'set', key: 'note:2', value: note },
    { op: 'delete', key: 'title' },
  ])
  await board.delete('note:2')
  const heard: (string | undefined)[] = []
  board.subscribe('people', (people) => heard.push(...(people ?? [])))
  board.subscribe('note:1', (changed) => heard.push(changed?.text))
  const misfit = { code: 'STATEFUL_STATE_TYPE_MISMATCH' }
  // @ts-expect-error no number
  await t.rejects(board.increment('people'), misfit)
  // @ts-expect-error no list
  await t.rejects(board.append('likes', 1), misfit)
  // @ts-expect-error another element
  await board.append('people', 1)
  // @ts-expect-error no object
  await t.rejects(board.merge('likes', {}), misfit)
  // @ts-expect-error a list is none
  await t.rejects(board.merge('people', {}), misfit)
  // @ts-expect-error no such field
  await board.merge('note:1', { author: 'ada' })
  // @ts-expect-error no such key
  await board.delete('nonsense')
  // @ts-expect-error no such key
  board.has('nonsense')
  // @ts-expect-error no such key
  await board.increment('nonsense')
  // @ts-expect-error another type
  await board.commit([{ op: 'set', key: 'likes', value: 'many' }])
  // @ts-expect-error no such key
  await board.commit([{ op: 'delete', key: 'nonsense' }])
  t.ok(heard.includes('ada'))
  const other = client.replica('other')
  await other.set('any', note)
  await other.merge('fields', note)
  await other.append('list', note)
  await other.increment('count')
  await other.commit([{ op: 'set', key: 'any', value: { text: 'x' } }])
  // @ts-expect-error no JSON
  await t.rejects(other.set('any', new Date(0)))
  // @ts-expect-error no such path
  await client.api.GET('/nonsense').catch(() => {})
  const { data } = await client.api.GET('/things')
  const things: string[] | undefined = data
  t.equal(things, undefined)
})
