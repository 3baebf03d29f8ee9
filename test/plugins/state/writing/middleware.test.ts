import t from 'tap'
import type { Json } from '../../../../openapi/schemas/state.ts'
import { ManualClock } from '../../../../plugins/support/manual-clock.ts'
import { onEveryState, testState } from '../../../fixtures/state.ts'

t.test('sets apply in the order of their calls, however long a middleware thinks', (t) =>
  onEveryState(t, async (t, state) => {
    const gates = new Map<unknown, () => void>()
    state.use(async (ctx, next) => {
      if (ctx.value === 'slow') await new Promise<void>((resolve) => gates.set('slow', resolve))
      await next()
    })
    const order: unknown[] = []
    state.subscribe('*', ({ value }) => order.push(value))
    const before = state.set('k', 'before')
    const slow = state.set('k', 'slow')
    const fast = state.set('k', 'fast')
    await before
    t.equal(state.get('k'), 'before', 'what came earlier does not wait for it')
    gates.get('slow')?.()
    await Promise.all([slow, fast])
    t.same(order, ['before', 'slow', 'fast'])
    t.equal(state.get('k'), 'fast')
  }),
)

t.test('middleware is an onion that rewrites and refuses', (t) =>
  onEveryState(t, async (t, state) => {
    const trace: string[] = []
    state.use(async (ctx, next) => {
      trace.push(`outer ${ctx.value} was ${ctx.previous} because ${ctx.context}`)
      await next()
      trace.push(`outer sees ${state.get(ctx.key)}`)
    })
    state.use((ctx, next) => {
      if (ctx.key === 'silent') return
      if (ctx.value === 'bad') throw new TypeError('bad')
      if (ctx.op === 'set') ctx.value = `${ctx.value}!`
      next()
    })
    await state.set('k', 'a', 'x')
    await state.set('k', 'b', 'y')
    t.same(trace, ['outer a was undefined because x', 'outer sees a!', 'outer b was a! because y', 'outer sees b!'])
    await t.rejects(state.set('k', 'bad'), { message: 'bad' })
    await t.rejects(state.set('silent', 1), { code: 'STATEFUL_STATE_REFUSED' })
    t.equal(state.get('k'), 'b!')
    t.equal(state.has('silent'), false)
    t.equal(await state.update('k', (value) => `${value}?`), 'b!?!', 'update tells what was stored')
  }),
)

t.test('what a middleware puts in is checked too, and one that calls next() twice fails', (t) =>
  onEveryState(t, async (t, state) => {
    state.use((ctx, next) => {
      if (ctx.key === 'date') ctx.value = new Date() as unknown as Json
      next()
      if (ctx.key === 'twice') next()
    })
    await t.rejects(state.set('date', 1), { code: 'STATEFUL_STATE_INVALID_VALUE' })
    await t.rejects(state.set('twice', 1), { message: /twice/ })
  }),
)

t.test('every operation passes: refusing one refuses the whole commit, and a clear', (t) =>
  onEveryState(t, async (t, state) => {
    const passed: unknown[] = []
    state.use((ctx, next) => {
      passed.push([ctx.op, ctx.key, ctx.clientId])
      if (ctx.op === 'delete' && ctx.key === 'kept') return
      return next()
    })
    await state.set('kept', 1)
    await state.set('other', 1)
    passed.length = 0
    const ops = [
      { op: 'set' as const, key: 'other', value: 2 },
      { op: 'delete' as const, key: 'kept' },
    ]
    await t.rejects(state.commit(ops, { clientId: 'c', seq: 1 }), { code: 'STATEFUL_STATE_REFUSED' })
    t.same(passed, [
      ['set', 'other', 'c'],
      ['delete', 'kept', 'c'],
    ])
    await t.rejects(state.clear(), { code: 'STATEFUL_STATE_REFUSED' })
    await t.rejects(state.delete('kept'), { code: 'STATEFUL_STATE_REFUSED' })
    t.same(state.snapshot().state, { kept: 1, other: 1 })
    await state.commit(ops.slice(0, 1), { clientId: 'c', seq: 1 })
    t.equal(state.get('other'), 2, 'what was refused is not taken for done')
  }),
)

t.test('clearing more keys than a commit holds passes as well, and each layer hears of the outcome', (t) =>
  onEveryState(
    t,
    async (t, state) => {
      for (let n = 0; n < 6; n++) await state.set(`k${n}`, n)
      let kept: string | undefined = 'k5'
      let refused = 0
      const cleared: unknown[] = []
      state.use(async (ctx, next) => {
        if (ctx.key === kept) return
        await next().catch((error) => {
          refused++
          throw error
        })
        cleared.push([ctx.op, ctx.key, ctx.previous, ctx.context, state.size])
      })
      await t.rejects(state.clear('away'), { code: 'STATEFUL_STATE_REFUSED' })
      t.equal(state.size, 6)
      t.same([cleared, refused], [[], 5])
      kept = undefined
      await state.clear('away')
      t.equal(state.size, 0)
      t.same(
        cleared,
        [0, 1, 2, 3, 4, 5].map((n) => ['delete', `k${n}`, n, 'away', 0]),
      )
    },
    { limits: { opsPerCommit: 4 } },
  ),
)

t.test('an error after next() reaches the caller, and the write stays', (t) =>
  onEveryState(t, async (t, state) => {
    const outside: unknown[] = []
    state.use(async (_ctx, next) => {
      await next().catch((error) => {
        outside.push((error as Error).message)
        throw error
      })
    })
    state.use(async (_ctx, next) => {
      await next()
      throw new Error('too late')
    })
    await t.rejects(state.set('k', 1), { message: 'too late' })
    t.equal(state.get('k'), 1)
    t.same(outside, ['too late'])
  }),
)

t.test('a middleware that never ends holds up what comes after it until its deadline, and no longer', async (t) => {
  const clock = new ManualClock()
  const { state } = await testState(t, { clock, writeTimeout: 1_000 })
  let release = () => {}
  state.use(async (ctx, next) => {
    if (ctx.value === 'stuck') await new Promise<void>((resolve) => (release = resolve))
    await next()
  })
  const stuck = state.set('k', 'stuck')
  clock.advance(500)
  const next = state.set('k', 'next')
  await new Promise(setImmediate)
  t.equal(state.has('k'), false)
  clock.advance(500)
  await t.rejects(stuck, { code: 'STATEFUL_STATE_TIMEOUT' })
  await next
  release()
  await new Promise(setImmediate)
  t.equal(state.get('k'), 'next', 'what was given up is not done later')
})
