import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import t from 'tap'
import type { BorrowedSpace, Space, StateManager } from '../../../plugins/state/index.ts'
import { ManualClock } from '../../../plugins/support/manual-clock.ts'
import { onEveryState, testState } from '../../fixtures/state.ts'

const client = (userId: string, session = userId) => ({ userId, sessionHandle: session, address: '10.0.0.1' })
const IDLE = 60_000

/** What a client does with a space in one go. */
async function within<Result>(loan: BorrowedSpace, run: (space: Space) => Promise<Result> | Result): Promise<Result> {
  try {
    await loan.space.ready
    return await run(loan.space)
  } finally {
    loan.release()
  }
}

t.test('reading makes no space, on every storage', (t) =>
  onEveryState(t, async (t, state) => {
    for (let n = 0; n < 100; n++) {
      const seen = await state.readAs(client('mallory'), `junk${n}`, (space) => space.snapshot())
      t.match(seen, { revision: 0, state: {} })
    }
    t.equal(state.spaces().length, 1)
    const own = state.space('own')
    await own.set('k', 1)
    t.equal(own.get('k'), 1)
    await within(state.borrow('followed', client('mallory')), async (space) => t.equal(space.revision, 0))
    await state.readAs(client('grace'), 'other', (space) => t.equal(space.size, 0))
  }),
)

t.test('what clients have borrowed is closed when idle, and goes on where it was', (t) => {
  const clock = new ManualClock()
  return onEveryState(
    t,
    async (t, state) => {
      const epoch = await within(state.borrow('a', client('ada')), async (space) => {
        await space.set('k', 1)
        return space.epoch
      })
      t.equal(state.spaces().length, 2)
      await turn()
      clock.advance(IDLE)
      t.equal(state.spaces().length, 1)
      t.equal(state.stats().commits, 1, 'what was counted stays counted')
      await state.readAs(client('ada'), 'a', (space) => {
        t.equal(space.entry('k')?.value, 1)
        t.equal(space.epoch, epoch, 'a position from before continues')
      })
      await turn()
      const late = state.borrow('a', client('ada'))
      const written = late.space.set('late', 1)
      late.release()
      clock.advance(IDLE)
      t.equal(state.spaces().length, 2, 'what is written to stays')
      await written
      const loan = state.borrow('a', client('ada'))
      clock.advance(IDLE * 2)
      t.equal(state.spaces().length, 2, 'what is in use stays')
      const kept = state.space('a')
      loan.release()
      loan.release()
      clock.advance(IDLE * 2)
      t.equal(state.space('a'), kept, 'what the application has asked for stays')
      await kept.set('k', 2)
    },
    { clock, writeTimeout: 100 * IDLE },
  )
})

t.test('a key whose time came while its space was closed is not shown again', async (t) => {
  const clock = new ManualClock()
  const { state } = await testState(t, { clock })
  await within(state.borrow('a', client('ada')), (space) => space.set('code', 1, { ttl: 2 * IDLE }))
  await turn()
  clock.advance(IDLE)
  t.equal(state.spaces().length, 1)
  clock.advance(2 * IDLE)
  await state.readAs(client('ada'), 'a', (space) => t.equal(space.entry('code'), undefined))
})

t.test('a client at its bound hinders nobody; the application least', async (t) => {
  const clients = { spaces: 4, spacesPerUser: 2, spacesPerSession: 1 }
  const { state } = await testState(t, { clock: new ManualClock(), limits: { spaces: 3 }, clients })
  const first = state.borrow('m1', client('mallory', 's1'))
  t.throws(() => state.borrow('m2', client('mallory', 's1')), { code: 'STATEFUL_TOO_MANY_AT_ONCE', statusCode: 429 })
  t.equal(state.borrow('m1', client('mallory', 's1')).space, first.space, 'the same space again is not one more')
  state.borrow('m2', client('mallory', 's2'))
  t.throws(() => state.borrow('m3', client('mallory', 's3')), { code: 'STATEFUL_TOO_MANY_AT_ONCE' })
  state.borrow('g1', client('grace'))
  const last = state.borrow('a1', { address: '2001:db8::1' })
  t.throws(() => state.borrow('h1', client('heidi')), { code: 'STATEFUL_OVERLOADED', statusCode: 503 })
  await Promise.all([state.space('own1').ready, state.space('own2').ready])
  t.equal(state.space('m1'), first.space)
  t.equal(state.spaces().length, 7)
  await last.space.ready
  last.release()
  state.borrow('h1', client('heidi'))
  t.ok(!state.spaces().some(({ name }) => name === 'a1'), 'an idle one makes room')
})

t.test('anonymous clients count by their network', async (t) => {
  const { state } = await testState(t, { clients: { spacesPerUser: 1 } })
  state.borrow('a', { address: '2001:db8:0:1::1' })
  t.throws(() => state.borrow('b', { address: '2001:db8:0:1:ffff::2' }), { code: 'STATEFUL_TOO_MANY_AT_ONCE' })
  state.borrow('b', { address: '2001:db8:0:2::1' })
  state.borrow('c', { address: '::ffff:10.0.0.1' })
  state.borrow('d', { address: '::ffff:10.0.0.2' })
})

const step = fc.record({
  does: fc.constantFrom('read', 'write', 'borrow', 'release', 'own', 'idle', 'turn'),
  name: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'),
  user: fc.constantFrom('u1', 'u2', 'u3'),
})

t.test('whatever clients do in whatever order: nothing is lost, the application has its spaces, few are open', (t) =>
  fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const clock = new ManualClock()
      const bounds = { spaces: 3, spacesPerUser: 2, spacesPerSession: 2 }
      // The clock leaps while writes are under way, which is no reason to give them up.
      const patient = { clock, writeTimeout: 100 * IDLE }
      const { state, close, errors } = await testState(t, { ...patient, limits: { spaces: 4 }, clients: bounds })
      const model = new Map<string, number>()
      const own = new Map<string, { space: Space; heard: number[] }>()
      const loans: BorrowedSpace[] = []
      const underWay: Promise<void>[] = []
      const refused = (error: { code?: string }) => {
        if (error.code !== 'STATEFUL_TOO_MANY_AT_ONCE' && error.code !== 'STATEFUL_OVERLOADED') throw error
      }
      for (const { does, name, user } of steps) await play(state, does, name, user)
      await Promise.all(underWay)
      for (const loan of loans) loan.release()
      await turn()
      clock.advance(IDLE)
      if (state.spaces().length !== own.size + 1) throw new Error(`${state.spaces().length} spaces stay open`)
      for (const [name, written] of model) {
        const found = await state.readAs(client('reader'), name, (space) => space.entry('n')?.value)
        if (found !== written) throw new Error(`space ${name} holds ${found}, not ${written}`)
      }
      await close()
      if (errors.length > 0) throw errors[0]

      async function play(state: StateManager, does: string, name: string, user: string): Promise<void> {
        if (does === 'idle') clock.advance(IDLE)
        if (does === 'turn') await turn()
        if (does === 'release') loans.shift()?.release()
        if (does === 'own' && (own.has(name) || own.size < 3)) {
          const space = state.space(name)
          const known = own.get(name)
          if (known && known.space !== space) throw new Error(`the application's space ${name} is another one`)
          if (!known) {
            const heard: number[] = []
            own.set(name, { space, heard })
            space.ready.then(() => space.on('change', ({ value }) => heard.push(value as number)))
          }
        }
        try {
          if (does === 'borrow') loans.push(state.borrow(name, client(user)))
          if (does === 'write') {
            const loan = state.borrow(name, client(user))
            model.set(name, (model.get(name) ?? 0) + 1)
            underWay.push(within(loan, (space) => space.increment('n').then(() => {})))
          }
        } catch (error) {
          refused(error as { code?: string })
        }
        const look = (space: { snapshot(): unknown }) => void space.snapshot()
        if (does === 'read') underWay.push(state.readAs(client(user), name, look).catch(refused))
        const others = state.spaces().length - 1 - own.size
        if (others > bounds.spaces) throw new Error(`${others} spaces of clients are open`)
      }
    }),
    { seed: 10, numRuns: 60 },
  ),
)
