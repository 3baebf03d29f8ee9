import t from 'tap'
import { Presence } from '../../../client/presence.ts'
import { Replica, type ReplicaLink } from '../../../client/replica.ts'
import { SessionEngine } from '../../../plugins/session/engine.ts'
import { Sessions } from '../../../plugins/session/sessions.ts'
import type { SessionStore } from '../../../plugins/session/stores/contract.ts'
import { MemorySessionStore } from '../../../plugins/session/stores/memory.ts'
import { Listeners, ListenersByName } from '../../../plugins/support/listeners.ts'

t.test('one that throws or rejects is reported, and all others hear', async (t) => {
  const reported: unknown[] = []
  const heard: string[] = []
  const listeners = new Listeners<string>((error) => reported.push(error))
  listeners.add((event) => heard.push(`first ${event}`))
  listeners.add(() => {
    throw 'thrown'
  })
  listeners.add(async () => {
    throw 'rejected'
  })
  const end = listeners.add((event) => heard.push(`last ${event}`))
  listeners.tell('a')
  end()
  end()
  listeners.tell('b')
  await new Promise(setImmediate)
  t.strictSame(heard, ['first a', 'last a', 'first b'])
  t.strictSame(reported, ['thrown', 'thrown', 'rejected', 'rejected'])
  t.equal(listeners.size, 3)
  listeners.clear()
  t.equal(listeners.size, 0)
})

t.test('who is added or ended by another listener', async (t) => {
  const heard: string[] = []
  const listeners = new Listeners<void>((error) => t.error(error))
  const late = () => void heard.push('late')
  const ended = () => void heard.push('ended')
  listeners.add(() => {
    heard.push('first')
    listeners.add(late)
    listeners.delete(ended)
  })
  listeners.tell()
  t.strictSame(heard, ['first'], 'of this event the new one does not hear')
  listeners.delete(late)
  listeners.add(ended)
  listeners.tell()
  t.strictSame(heard, ['first', 'first', 'ended'], 'who was there when it happened hears of it')
})

t.test('by name, and a name goes with its last listener', async (t) => {
  const heard: string[] = []
  const byName = new ListenersByName<number>((error) => t.error(error))
  const ends = [
    byName.add('a', (n) => heard.push(`a${n}`)),
    byName.add('a', (n) => heard.push(`A${n}`)),
    byName.add('b', (n) => heard.push(`b${n}`)),
  ]
  byName.tell('a', 1)
  byName.tell('c', 2)
  t.strictSame(heard, ['a1', 'A1'])
  t.strictSame([...byName.names()], ['a', 'b'])
  for (const end of ends) end()
  for (const end of ends) end()
  t.equal(byName.size, 0)
  byName.add('a', () => {})
  byName.clear()
  t.equal(byName.size, 0)
})

t.test('sessions: neither an event nor what may have been missed stops at one listener', async (t) => {
  const failed: unknown[] = []
  let missed = () => {}
  const store: SessionStore = new MemorySessionStore()
  store.bus = () => ({
    publish: async () => {},
    async listen(_onEvent, onMissed) {
      missed = onMissed
    },
    close: async () => {},
  })
  const engine = new SessionEngine({
    ...{ idle: 60_000, absolute: 60_000, touch: 1_000 },
    store,
    onError: (error) => failed.push(error),
  })
  const sessions = new Sessions(engine)
  t.teardown(() => engine.close())
  await engine.start(60_000)
  const heard: string[] = []
  sessions.on('created', async () => {
    throw 'rejected'
  })
  sessions.on('created', () => heard.push('created'))
  sessions.onMissed(() => {
    throw 'thrown'
  })
  sessions.onMissed(() => heard.push('missed'))
  await sessions.create('ada', {})
  missed()
  await new Promise(setImmediate)
  t.strictSame(heard, ['created', 'missed'])
  t.same(failed.sort(), ['rejected', 'thrown'])
})

t.test('client: replica and presence', async (t) => {
  const reported: unknown[] = []
  const { reportError } = globalThis as { reportError?: unknown }
  t.teardown(() => Object.assign(globalThis, { reportError }))
  Object.assign(globalThis, { reportError: (error: unknown) => reported.push(error) })
  const heard: string[] = []
  const fail = () => {
    throw 'thrown'
  }
  const link: ReplicaLink = {
    publicId: undefined,
    clientId: 'me',
    initial: () => undefined,
    write: (origin, ops, outcome) =>
      origin.add({ clientId: 'me', seq: 1, space: 'app', ops, origin, ...outcome } as Parameters<typeof origin.add>[0]),
    release: () => true,
    ...{ send() {}, wanted() {}, changed() {} },
  }
  const replica = new Replica(link, 'app', {}, [])
  replica.subscribe('k', fail)
  replica.subscribe('k', (value) => heard.push(`k=${value}`))
  replica.subscribe(fail)
  replica.subscribe(() => heard.push('any'))
  replica.set('k', 1).catch(() => {})
  t.equal(replica.pending, 1, 'nor does the write fail')
  t.strictSame(heard, ['k=1', 'any'])
  const presence = new Presence({ wanted() {}, send() {}, release() {} }, 'app')
  presence.subscribe(fail)
  presence.subscribe(() => heard.push('presence'))
  presence.receive({ members: [] })
  t.strictSame(heard, ['k=1', 'any', 'presence'])
  t.equal(reported.length, 3)
})
