import { setImmediate as turn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Type } from '@sinclair/typebox'
import fc from 'fast-check'
import t from 'tap'
import type { Commit } from '../../../openapi/schemas/state.ts'
import type { Space, StateManager } from '../../../plugins/state/index.ts'
import { StorageUnavailableError } from '../../../plugins/support/errors.ts'
import { ManualClock } from '../../../plugins/support/manual-clock.ts'
import { onEveryState, testState } from '../../fixtures/state.ts'
import { onEveryStorage, storageUrl } from '../../fixtures/storages.ts'

const client = (userId: string) => ({ userId, sessionHandle: userId, address: '10.0.0.1' })
const isOpen = (state: StateManager, name: string) => state.spaces().some((space) => space.name === name)

/** Uses so many others that this one is closed. */
async function crowdOut(state: StateManager, name: string): Promise<void> {
  for (let n = 0; isOpen(state, name); n++) await state.space(`other-${n}`).increment('n')
}

t.test('a space that nobody uses is closed for another, and goes on as if it had been open', (t) =>
  onEveryState(
    t,
    async (t, state) => {
      const room = state.space('room')
      const layers: string[] = []
      room.define('n', Type.Integer()).use((context, next) => {
        layers.push(context.key)
        return next()
      })
      const first = await room.commit([{ op: 'set', key: 'n', value: 1 }], { clientId: 'c', seq: 1 })
      await room.set('text', 'x', { ttl: '1h' })
      const before = { ...room.snapshot(), expires: room.entry('text')?.expiresAt }

      await crowdOut(state, 'room')
      t.equal(state.spaces().length, 3)
      t.throws(() => room.get('n'), { code: 'STATEFUL_STATE_NOT_READY', message: /await its `ready`/i })
      await room.ready
      t.same({ ...room.snapshot(), expires: room.entry('text')?.expiresAt }, before)
      t.equal(state.space('room'), room)

      for (const use of [
        async () => t.equal(await room.read('n'), 1),
        async () => t.equal((await room.history({ epoch: first.epoch, revision: 0 }))?.length, 2),
        async () => t.match(await room.oldest(), { epoch: first.epoch, revision: 0 }),
        async () => t.equal((await room.commit([...first.ops], { clientId: 'c', seq: 1 })).revision, 1),
        async () => t.rejects(room.set('n', 'text'), { code: 'STATEFUL_STATE_SCHEMA' }),
        async () => t.equal(await room.compareAndSet('n', 1, 2), true),
        async () => t.equal(await room.update('n', async (n) => (n as number) + 1), 3),
        async () => t.equal(await room.increment('n'), 4),
        async () => t.equal(await room.transaction((tx) => tx.get('n')), 4),
        async () => (await room.lease('l')).release(),
        async () => t.equal(await room.runOnce('once', () => 'done'), 'done'),
        async () => t.equal(await room.delete('text'), true),
        async () => {
          const watching = room.watch('n', { since: first })
          t.match((await watching.next()).value, { position: { revision: 3 } })
          await watching.return?.()
        },
        async () => room.clear(),
      ]) {
        await crowdOut(state, 'room')
        await use()
      }
      t.equal(room.size, 0)
      t.ok(layers.length > 8, 'the middleware has seen all of it')
      const all = state.stats().commits
      t.equal(room.describe().commits, room.revision)
      await crowdOut(state, 'room')
      t.ok(state.stats().commits >= all, 'what was counted stays counted')
      await state.readAs(client('ada'), 'room', (space) => t.equal(space, room, 'a client gets the same'))
    },
    { limits: { spaces: 3 } },
  ),
)

t.test('writes keep their order while a space is opened', (t) =>
  onEveryState(
    t,
    async (t, state) => {
      const room = state.space('room')
      const seen: unknown[] = []
      const written: Promise<Commit>[] = []
      for (let round = 0; round < 3; round++) {
        await room.ready
        await crowdOut(state, 'room')
        for (let n = 0; n < 60 && written.length < (round + 1) * 60; n++) {
          written.push(room.set('k', written.length))
          if (n % 6 === 5) await (n % 12 === 5 ? turn() : Promise.resolve())
        }
        await Promise.all(written)
      }
      for await (const event of room.watch('k', { since: { epoch: room.epoch, revision: 0 } })) {
        if (event.type === 'commit') for (const op of event.ops) seen.push(op.op === 'set' && op.value)
        if (seen.length === written.length) break
      }
      t.same(seen, [...written.keys()])
    },
    { limits: { spaces: 2 } },
  ),
)

t.test('a space that is in use stays open, and others wait for it and are refused after a while', async (t) => {
  const clock = new ManualClock()
  const { state } = await testState(t, { clock, limits: { spaces: 3 }, writeTimeout: 300 })
  const [a, b] = [state.space('a'), state.space('b')]
  await Promise.all([a.set('n', 1), b.set('n', 1)])
  const stays = async (message: string) => {
    const refused = { code: 'STATEFUL_STATE_TOO_MANY_SPACES', statusCode: 503 }
    const calls = [state.space('c').set('n', 1), state.space('d').ready]
    const outcomes = Promise.all(calls.map((call) => t.rejects(call as Promise<unknown>, refused, message)))
    for (let waited = 0; waited <= 300; waited += 50) {
      await turn()
      clock.advance(50)
    }
    await turn()
    await outcomes
    t.ok(a.get('n') && b.get('n'), message)
  }
  const holdB = b.subscribe('*', () => {})
  for (const [what, listen] of Object.entries({
    change: () => a.on('change', () => {}),
    subscription: () => a.subscribe('n', () => {}),
    commits: () => a.onCommit(() => {}),
    resets: () => a.onReset(() => {}),
  })) {
    const end = listen()
    await stays(what)
    end()
  }
  const watching = a.watch('', { since: { epoch: a.epoch, revision: 0 } })
  await watching.next()
  await stays('a watch')
  await watching.return?.()

  const lease = await a.lease('leader', { ttl: '1m' })
  await stays('a lease')
  await lease.release()

  let goOn = () => {}
  const updated = a.update(
    'n',
    (n) =>
      new Promise((resolve) => {
        goOn = () => resolve((n as number) + 1)
      }),
  )
  await stays('a function that computes')
  goOn()
  t.equal(await updated, 2)

  const waits = state.space('e').set('n', 1)
  await turn()
  t.ok(a.observed === false && isOpen(state, 'a') === false, 'one that nobody uses any more')
  await waits
  holdB()
  await state.space('f').set('n', 1)
  t.equal(state.spaces().length, 3)
})

t.test('what was awaited can be read in the same turn, however many are used at the same time', (t) =>
  onEveryState(
    t,
    async (t, state) => {
      await Promise.all(Array.from({ length: 40 }, (_, n) => state.space(`s${n}`).set('n', n)))
      const read = async (n: number) => {
        const space = state.space(`s${n % 40}`)
        await space.ready
        return space.get('n') === n % 40
      }
      const all = await Promise.all(Array.from({ length: 400 }, (_, n) => read(n * 7)))
      t.equal(all.filter(Boolean).length, 400)
      t.equal(state.spaces().length, 3)
    },
    { limits: { spaces: 3 } },
  ),
)

t.test('visitors do not hold the places of the application', async (t) => {
  const { state } = await testState(t, { limits: { spaces: 3 }, clients: { spaces: 4, spacesPerUser: 2 } })
  const rooms = Array.from({ length: 6 }, (_, n) => state.space(`room-${n}`))
  const loans = []
  for (const [n, room] of rooms.entries()) {
    await room.set('n', n)
    loans.push(state.borrow(room.name, client(`user-${n >> 1}`)))
  }
  t.equal(state.spaces().length, 7)
  t.same(
    rooms.map((room) => room.get('n')),
    [0, 1, 2, 3, 4, 5],
    'all six are open: four of them for their visitors',
  )
  await t.rejects(
    Promise.race([state.space('more').set('n', 1), turn().then(() => Promise.reject(new Error('waits')))]),
    { message: 'waits' },
    'both are full',
  )
  t.throws(() => state.borrow('else', client('user-0')), { code: 'STATEFUL_TOO_MANY_AT_ONCE' }, 'they count for them')
  for (const loan of loans) loan.release()
  await state.space('more').ready
  await state.space('even-more').ready
  t.ok(state.spaces().length <= 7)
  state.borrow('else', client('user-0')).release()
})

t.test('a listener opens its space and hears of everything from then on, also of other instances', async (t) => {
  const url = await storageUrl(t, 'redis')
  const { state } = await testState(t, { url, limits: { spaces: 2 } })
  const { state: other } = await testState(t, { url })
  const room = state.space('room')
  await room.ready
  await crowdOut(state, 'room')
  const heard: unknown[] = []
  const change = new Promise<void>((resolve) => {
    room.on('change', ({ key, value }) => {
      heard.push([key, value])
      resolve()
    })
  })
  await room.ready
  await other.space('room').set('k', 1)
  await change
  t.same(heard, [['k', 1]])
})

t.test('a space that could not be opened can be used again, and its listeners come back', async (t) => {
  let down = false
  const { state, errors } = await testState(t, {
    pollInterval: 10,
    wrap: (log) =>
      new Proxy(log, {
        get(target, name) {
          const member = Reflect.get(target, name)
          if (name === 'load' && down) return () => Promise.reject(new StorageUnavailableError('down'))
          return typeof member === 'function' ? member.bind(target) : member
        },
      }),
  })
  down = true
  const room = state.space('room')
  const heard = new Promise((resolve) => room.on('change:k', ({ value }) => resolve(value)))
  await t.rejects(room.set('k', 1), { code: 'STATEFUL_STORAGE_UNAVAILABLE' })
  await t.rejects(room.ready, { code: 'STATEFUL_STORAGE_UNAVAILABLE' })
  t.equal(state.spaces().length, 1)
  down = false
  await room.set('k', 2)
  t.equal(await heard, 2)
  t.equal(state.space('room'), room)
  t.same(errors, [])
})

t.test('a closed space that nobody refers to is forgotten, but never what it was told', async (t) => {
  setFlagsFromString('--expose_gc')
  const collect = runInNewContext('gc') as () => void
  const { state } = await testState(t, { limits: { spaces: 2 } })
  const seen = new WeakRef(state.space('plain'))
  await state.space('plain').set('n', 1)
  await state.space('strict').define('n', Type.Integer()).set('n', 1)
  await crowdOut(state, 'plain')
  await crowdOut(state, 'strict')
  for (let n = 0; seen.deref() && n < 50; n++) {
    await new Promise((resolve) => setTimeout(resolve, 1))
    collect()
  }
  t.equal(seen.deref(), undefined)
  t.equal(await state.space('plain').read('n'), 1)
  await t.rejects(state.space('strict').set('n', 'text'), { code: 'STATEFUL_STATE_SCHEMA' })
})

t.test('nothing opens any more when the application has ended', async (t) => {
  const { state, close } = await testState(t, { limits: { spaces: 2 } })
  const room = state.space('room')
  await room.set('n', 1)
  await crowdOut(state, 'room')
  await close()
  await t.rejects(room.set('n', 2), { code: 'STATEFUL_STATE_CLOSED' })
  await t.rejects(room.ready, { code: 'STATEFUL_STATE_CLOSED' })
  await t.rejects(state.space('new').read('n'), { code: 'STATEFUL_STATE_CLOSED' })
})

const SPACES = 200
const OPEN = 8
const use = fc.record({
  does: fc.constantFrom('increment', 'update', 'append', 'delete', 'read', 'peek', 'hear', 'visit', 'turn', 'settle'),
  space: fc.nat(SPACES - 1),
})

t.test('200 spaces in 8 places behave like 200 that are always open', (t) =>
  onEveryStorage(t, async (t, kind) => {
    t.setTimeout(120_000)
    await fc.assert(
      fc.asyncProperty(fc.array(use, { minLength: 100, maxLength: 400 }), async (uses) => {
        const url = await storageUrl(t, kind)
        const { state, close, errors } = await testState(t, { url, limits: { spaces: OPEN }, clients: { spaces: 4 } })
        const model = new Map<string, { n: number; list: number[] }>()
        const held = new Map<string, Space>()
        const heard = new Map<string, { written: number; told: number; end(): void }>()
        const underWay = new Map<string, Promise<unknown>[]>()
        const settled = async () => {
          await Promise.all([...underWay.values()].flat())
          underWay.clear()
        }
        let steps = 0
        for (const { does, space: number } of uses) {
          const name = `room-${number}`
          // Some are held by the application for ever, others are asked for anew each time.
          const room = held.get(name) ?? state.space(name)
          if (number % 2) held.set(name, room)
          const known = model.get(name) ?? { n: 0, list: [] }
          model.set(name, known)
          const listener = heard.get(name)
          const pending = underWay.get(name) ?? []
          underWay.set(name, pending)
          if (does === 'increment') pending.push(expect(room.increment('n'), ++known.n))
          if (does === 'update')
            pending.push(
              expect(
                room.update('n', (n) => ((n as number | undefined) ?? 0) + 1),
                ++known.n,
              ),
            )
          if (does === 'append') {
            known.list.push(steps)
            pending.push(expect(room.append('list', steps), [...known.list]))
          }
          if (does === 'delete') {
            known.n = 0
            pending.push(room.delete('n'))
          }
          if (listener && (does === 'increment' || does === 'update' || does === 'append')) listener.written++
          if (does === 'read' && pending.length === 0) pending.push(contains(room.read('list'), [...known.list]))
          if (does === 'peek' && pending.length === 0) peek(room, known)
          if (does === 'hear' && !listener && heard.size < 3) {
            await settled()
            const hearing = { written: 0, told: 0, end: () => {} }
            hearing.end = room.on('change', () => void hearing.told++)
            heard.set(name, hearing)
          }
          if (does === 'visit') pending.push(state.readAs(client(`u${number % 7}`), name, () => {}).catch(tooMany))
          if (does === 'turn') await turn()
          if (does === 'settle' || ++steps % 64 === 0) await settled()
          const open = state.spaces().length
          if (open > OPEN + 4) throw new Error(`${open} spaces are open`)
        }
        await settled()
        for (const [name, { written, told, end }] of heard) {
          if (written !== told) throw new Error(`${told} of ${written} changes of ${name} were told`)
          end()
        }
        for (const [name, known] of model) {
          const room = state.space(name)
          await room.ready
          peek(room, known)
          if (room.size !== (known.n > 0 ? 1 : 0) + (known.list.length > 0 ? 1 : 0)) throw new Error('another size')
        }
        await close()
        if (errors.length > 0) throw errors[0]
      }),
      { seed: 13, numRuns: kind === 'memory' ? 40 : 5 },
    )
  }),
)

async function expect(result: Promise<unknown>, wanted: unknown): Promise<void> {
  const found = await result
  if (JSON.stringify(found) !== JSON.stringify(wanted))
    throw new Error(`${JSON.stringify(found)}, not ${JSON.stringify(wanted)}`)
}

/** What was written after the call may be there too. */
async function contains(list: Promise<unknown>, known: number[]): Promise<void> {
  const found = ((await list) ?? []) as number[]
  if (known.some((n, index) => found[index] !== n)) throw new Error(`${found} does not begin with ${known}`)
}

type Known = { n: number; list: readonly number[] }
const listOf = ({ list }: Known) => (list.length > 0 ? [...list] : undefined)

/** What it shows synchronously is true, or it says that it shows nothing. */
function peek(room: Space, known: Known): void {
  try {
    const shown = JSON.stringify([room.get('n') ?? 0, room.get('list')])
    const wanted = JSON.stringify([known.n, listOf(known)])
    if (shown !== wanted) throw new Error(`${shown}, not ${wanted}`)
  } catch (error) {
    if ((error as { code?: string }).code !== 'STATEFUL_STATE_NOT_READY') throw error
  }
}

function tooMany(error: { code?: string }): void {
  if (error.code !== 'STATEFUL_TOO_MANY_AT_ONCE' && error.code !== 'STATEFUL_OVERLOADED') throw error
}
