import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { replicaEvents, replicaHooks } from '../../client/adapters/index.ts'
import { type ClientOptions, createClient } from '../../client/index.ts'
import type { Replica } from '../../client/replica.ts'
import { onEveryStorage, storageUrl } from '../fixtures/storages.ts'
import { startServer, type TestServer } from '../routes/sync/server.ts'

function clientOf(t: Test, { url }: TestServer, options: Partial<ClientOptions> = {}) {
  const client = createClient({ baseUrl: url, WebSocket, timing: { random: () => 0, after: soon }, ...options })
  t.teardown(() => client.close())
  return client
}

/** Back-off without waiting, heartbeats without end. */
function soon(ms: number, run: () => void): () => void {
  const timer = setTimeout(run, Math.min(ms, 60_000))
  timer.unref()
  return () => clearTimeout(timer)
}

/** Resolves when the replica's state satisfies the predicate. */
async function when(replica: Replica, predicate: () => boolean): Promise<void> {
  if (predicate()) return
  await new Promise<void>((resolve) => {
    const end = replica.subscribe(() => {
      if (!predicate()) return
      end()
      resolve()
    })
  })
}

t.test('a replica follows, writes, and shows its own writes at once', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const server = await startServer(t, await storageUrl(t, kind))
    await server.app.state.set('a', 1)
    const replica = clientOf(t, server).replica()
    await replica.ready()
    t.strictSame(replica.snapshot(), { a: 1 })
    t.equal(replica.status, 'live')

    const written = replica.set('b', 2)
    t.equal(replica.get('b'), 2, 'before the server has it')
    t.equal(replica.pending, 1)
    const { revision } = await written
    t.equal(server.app.state.get('b'), 2)
    t.equal(revision, server.app.state.revision)
    t.strictSame(replica.position, { epoch: server.app.state.epoch, revision })
    t.equal(replica.pending, 0)

    await server.app.state.increment('a', 5)
    await when(replica, () => replica.get('a') === 6)
  }),
)

t.test('clients converge on what all of them write', async (t) => {
  const server = await startServer(t, 'memory:')
  const replicas = Array.from({ length: 4 }, () => clientOf(t, server).replica())
  await Promise.all(replicas.map((replica) => replica.ready()))
  await Promise.all(
    replicas.flatMap((replica, index) =>
      Array.from({ length: 25 }, () => [replica.increment('n'), replica.append('list', index)]).flat(),
    ),
  )
  const { state } = server.app.state.snapshot()
  t.equal(state['n'], 100)
  for (const replica of replicas) {
    await when(replica, () => replica.position?.revision === server.app.state.revision)
    t.strictSame(replica.snapshot(), state)
  }
})

t.test('a refused write is taken back', async (t) => {
  const server = await startServer(t, 'memory:')
  server.app.state.use((context, next) => {
    if (context.key === 'locked') throw Object.assign(new Error('It is locked.'), { statusCode: 422 })
    return next()
  })
  const replica = clientOf(t, server).replica()
  await replica.ready()
  const shown: unknown[] = []
  replica.subscribe('locked', (value) => shown.push(value))
  await t.rejects(replica.set('locked', 1), {
    name: 'WriteError',
    code: 'STATEFUL_UNPROCESSABLE_ENTITY',
    message: 'It is locked.',
    outcome: 'refused',
  })
  t.strictSame(shown, [1, undefined])
  t.notOk(replica.has('locked'))
  t.match(server.app.sync.stats(), { writes: 1, rejects: 1 }, 'and is not sent again')
})

t.test('a lost connection is resumed, and writes made meanwhile arrive once', async (t) => {
  const server = await startServer(t, 'memory:')
  const replica = clientOf(t, server).replica()
  await replica.ready()
  await replica.set('before', 1)
  const fullSyncs = server.app.sync.stats().fullSyncs
  server.app.sync.disconnect(server.app.sync.nodes()[0]?.id ?? '', 'test')
  await when(replica, () => replica.status === 'offline')
  const written = replica.increment('n', 3)
  t.equal(replica.get('n'), 3)
  await server.app.state.set('meanwhile', 1)
  await written
  t.strictSame(replica.snapshot(), { before: 1, n: 3, meanwhile: 1 })
  t.strictSame(server.app.state.get('n'), 3)
  t.match(server.app.sync.stats(), { resumes: 1, fullSyncs })
})

t.test('a replica of a part holds that part', async (t) => {
  const server = await startServer(t, 'memory:')
  await server.app.state.set('other', 1)
  const client = clientOf(t, server)
  const part = client.replica('app', { prefix: 'user:' })
  const whole = client.replica('app')
  await Promise.all([part.ready(), whole.ready()])
  await part.set('user:1', 'x')
  await part.set('elsewhere', 1)
  t.strictSame(part.snapshot(), { 'user:1': 'x' })
  await when(whole, () => whole.has('elsewhere'))
  t.strictSame(whole.snapshot(), { other: 1, 'user:1': 'x', elsewhere: 1 })
  t.equal(part.pending, 0)
})

t.test('snapshot is the same object until something changes, and subscribe says when', async (t) => {
  const server = await startServer(t, 'memory:')
  const replica = clientOf(t, server).replica()
  await replica.ready()
  const { snapshot, subscribe } = replica
  const before = snapshot()
  t.equal(snapshot(), before)
  let calls = 0
  const end = subscribe(() => calls++)
  const written = replica.set('a', 1)
  const shown = snapshot()
  t.not(shown, before)
  t.equal(calls, 1)
  await written
  t.equal(calls, 2, 'nothing is pending any more, which a page that says "saving" has to know')
  t.equal(snapshot(), shown)
  end()
  await replica.set('a', 2)
  t.equal(calls, 2)
})

t.test('a closed replica keeps nothing open', async (t) => {
  const server = await startServer(t, 'memory:')
  const client = clientOf(t, server)
  const replica = client.replica()
  await replica.ready()
  replica.close()
  await t.rejects(replica.set('a', 1), { code: 'STATEFUL_CLOSED' })
  t.not(client.replica(), replica)
})

t.test('a large state arrives in parts and is shown whole', async (t) => {
  const server = await startServer(t, 'memory:')
  for (let index = 0; index < 50; index++) await server.app.state.set(`key${index}`, 'x'.repeat(4_000))
  const replica = clientOf(t, server).replica()
  let shown = 0
  replica.subscribe(() => shown++)
  await replica.ready()
  t.equal(replica.keys().length, 50)
  t.equal(shown, 2, 'the state, and that it is live')
  await replica.set('key0', 1)
  t.strictSame(server.app.state.get('key0'), 1)
})

t.test('presence: who is there, with what they show', async (t) => {
  const server = await startServer(t, 'memory:')
  const [ada, bob] = [clientOf(t, server).presence(), clientOf(t, server).presence()]
  ada.update({ name: 'Ada' })
  const names = () => ada.members().map(({ data }) => (data as { name?: string } | undefined)?.name)
  const until = (predicate: () => boolean) =>
    new Promise<void>((resolve) => {
      const look = () => {
        if (!predicate()) return
        end()
        resolve()
      }
      const end = ada.subscribe(look)
      look()
    })
  await until(() => names().length === 2)
  bob.update({ name: 'Bob' })
  await until(() => names().includes('Bob'))
  t.strictSame(names().sort(), ['Ada', 'Bob'])
  bob.close()
  await until(() => names().length === 1)
})

t.test('unconfirmed writes survive a reload of the page and are applied once', async (t) => {
  const server = await startServer(t, 'memory:')
  const kept = new Map<string, string>()
  const storage = {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, text: string) => kept.set(key, text),
  }
  const first = clientOf(t, server, { storage })
  const replica = first.replica()
  await replica.ready()
  await replica.increment('n')
  const written = replica.increment('n', 10)
  // It is kept in the turn in which it was made; a page is not gone before.
  await Promise.resolve()
  const atTheReload = new Map(kept)
  await written
  first.close()
  await new Promise((resolve) => setImmediate(resolve))
  t.comment('the page was gone before it heard that its write had arrived')
  for (const [key, text] of atTheReload) kept.set(key, text)
  const second = clientOf(t, server, { storage }).replica()
  while (second.pending !== 1) await new Promise((resolve) => setImmediate(resolve))
  await second.ready()
  await second.increment('n', 100)
  t.equal(server.app.state.get('n'), 111)
})

t.test('a write whose outcome is unknown is sent again, and told as unknown in the end', async (t) => {
  const server = await startServer(t, 'memory:')
  let failures = 2
  server.app.state.use((_context, next) => {
    if (failures-- > 0) throw new Error('the store is away')
    return next()
  })
  const replica = clientOf(t, server).replica()
  await replica.ready()
  await replica.increment('n')
  t.equal(server.app.state.get('n'), 1)
  failures = Number.POSITIVE_INFINITY
  await t.rejects(replica.increment('n'), { code: 'STATEFUL_INTERNAL', outcome: 'unknown' })
  t.equal(replica.get('n'), 1, 'and it is not shown any more')
})

t.test('adapters: hooks of React or Preact, and plain events', async (t) => {
  const server = await startServer(t, 'memory:')
  const replica = clientOf(t, server).replica()
  await replica.ready()
  // Those of the real ones are in test/browser.
  const { useKey, useReplica, useStatus } = replicaHooks({
    useSyncExternalStore: (_subscribe, now) => now(),
    useState: (first) => [first, () => {}],
    useEffect: () => {},
  })
  const ending = new AbortController()
  const seen: unknown[] = []
  replicaEvents(replica, ending.signal).addEventListener('change', (event) => seen.push((event as CustomEvent).detail))
  await replica.set('a', 1)
  t.equal(useKey(replica, 'a'), 1)
  t.equal(useReplica(replica), replica.snapshot())
  t.equal(useStatus(replica), 'live')
  t.equal(useKey(undefined as typeof replica | undefined, 'a'), undefined)
  ending.abort()
  await replica.set('a', 2)
  t.strictSame(seen, [{ a: 1 }, { a: 1 }], 'shown, then confirmed')
})

t.test('without a WebSocket it says so', async (t) => {
  const original = Object.getOwnPropertyDescriptor(globalThis, 'WebSocket')
  t.teardown(() => original && Object.defineProperty(globalThis, 'WebSocket', original))
  Reflect.deleteProperty(globalThis, 'WebSocket')
  const replica = createClient({ baseUrl: 'http://localhost' }).replica()
  t.strictSame(replica.getServerSnapshot(), {}, 'a page can be rendered')
  t.equal(replica.getServerSnapshot(), replica.getServerSnapshot())
  t.throws(() => replica.subscribe(() => {}), /WebSocket/)
  t.throws(() => replica.ready(), /WebSocket/)
})
