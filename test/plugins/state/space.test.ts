import { Type } from '@sinclair/typebox'
import t from 'tap'
import type { Json } from '../../../openapi/schemas/state.ts'
import { testState, until } from '../../fixtures/state.ts'
import { onEveryStorage, storageUrl } from '../../fixtures/storages.ts'

t.test('row 3: reads, writes, update, delete and clear', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const { state } = await testState(t, { url: await storageUrl(t, kind) })
    await state.set('a', 1)
    await state.set('b', { c: [null] }, { by: 'somebody' })
    t.equal(state.get('a'), 1)
    t.same(state.get('b'), { c: [null] })
    t.equal(state.get('x'), undefined)
    t.same([state.has('a'), state.has('x')], [true, false])
    t.same([state.keys(), state.values(), state.size], [['a', 'b'], [1, { c: [null] }], 2])
    t.equal(await state.update('a', (n) => (n as number) + 1), 2)
    t.equal(await state.update('a', async (n) => (n as number) + 1), 3)
    t.equal(await state.update('a', () => undefined), 3, 'undefined leaves it')
    t.equal(await state.increment('n'), 1)
    t.equal(await state.increment('n', -2.5), -1.5)
    t.same(await state.append('list', 1), [1])
    t.same(await state.append('list', [2]), [1, [2]])
    t.same(await state.merge('b', { d: 1 }), { c: [null], d: 1 })
    t.equal(await state.delete('a'), true)
    t.equal(await state.delete('a'), false)
    t.equal(state.has('a'), false)
    t.equal(await state.read('n'), -1.5)
    await state.clear()
    t.equal(state.size, 0)
    t.equal(state.bytes, 0)
    await state.clear()
  }),
)

t.test('concurrent updates of one key all count, sync and async, on one instance', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const { state } = await testState(t, { url: await storageUrl(t, kind) })
    const add = (n: Json | undefined) => ((n as number | undefined) ?? 0) + 1
    await Promise.all([
      ...Array.from({ length: 50 }, () => state.update('n', add)),
      ...Array.from({ length: 10 }, () => state.update('n', async (n) => add(n))),
      ...Array.from({ length: 50 }, () => state.increment('n')),
    ])
    t.equal(state.get('n'), 110)
  }),
)

t.test('sets apply in the order of their calls, however long a middleware thinks', async (t) => {
  const { state } = await testState(t)
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
})

t.test('middleware is an onion that rewrites and refuses', async (t) => {
  const { state } = await testState(t)
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
})

t.test('what a middleware puts in is checked too, and one that calls next() twice fails', async (t) => {
  const { state } = await testState(t)
  state.use((ctx, next) => {
    if (ctx.key === 'date') ctx.value = new Date() as unknown as Json
    next()
    if (ctx.key === 'twice') next()
  })
  await t.rejects(state.set('date', 1), { code: 'STATEFUL_STATE_INVALID_VALUE' })
  await t.rejects(state.set('twice', 1), { message: /twice/ })
})

t.test('events and subscriptions', async (t) => {
  const { state } = await testState(t)
  const heard: unknown[] = []
  for (const name of ['change', 'delete', 'clear', 'restore'] as const)
    state.on(name, (event) => heard.push([name, event]))
  state.on('change:a', ({ value }) => heard.push(['change:a', value]))
  state.on('delete:a', ({ previous }) => heard.push(['delete:a', previous]))
  const stop = state.subscribe('a', ({ value, previous }) => heard.push(['a', value, previous]))
  state.subscribe('user:*', ({ key }) => heard.push(['user:*', key]))
  const { epoch } = state
  await state.set('a', 1, 'why')
  t.same(heard.splice(0), [
    ['change', { key: 'a', value: 1, previous: undefined, epoch, revision: 1, context: 'why' }],
    ['change:a', 1],
    ['a', 1, undefined],
  ])
  await state.set('user:1', 1)
  t.same(heard.splice(0).at(-1), ['user:*', 'user:1'])
  await state.delete('a')
  t.same(heard.splice(0).slice(1), [
    ['delete:a', 1],
    ['a', undefined, 1],
  ])
  stop()
  await state.set('a', 2)
  t.notOk(heard.splice(0).some((event) => (event as unknown[])[0] === 'a'))
  await state.clear('away')
  t.same(
    heard.splice(0).map((event) => (event as unknown[])[0]),
    ['delete', 'user:*', 'delete', 'delete:a', 'clear'],
  )
})

t.test('a listener that throws or rejects is reported and disturbs nobody', async (t) => {
  const { state, errors } = await testState(t)
  const heard: unknown[] = []
  state.on('change', () => {
    throw new Error('sync')
  })
  state.subscribe('k', async () => {
    throw new Error('async')
  })
  state.onCommit(() => {
    throw new Error('commit')
  })
  state.subscribe('*', ({ value }) => heard.push(value))
  await state.set('k', 1)
  t.same(heard, [1])
  t.same(errors.map((error) => (error as Error).message).sort(), ['async', 'commit', 'sync'])
})

t.test('snapshot and restore: a new epoch, and each key that differs is told', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const { state } = await testState(t, { url: await storageUrl(t, kind) })
    await state.set('same', { a: 1 })
    await state.set('other', 1)
    const saved = state.snapshot()
    t.same(saved.state, { same: { a: 1 }, other: 1 })
    await state.set('other', 2)
    await state.set('new', 3)
    const heard: unknown[] = []
    const resets: string[] = []
    state.on('change', ({ key, value, previous }) => heard.push(['change', key, value, previous]))
    state.on('delete', ({ key, previous }) => heard.push(['delete', key, previous]))
    state.on('restore', ({ state, context }) => heard.push(['restore', state, context]))
    state.onReset((reason) => resets.push(reason))
    const { epoch, revision } = state
    await state.restore(saved, 'undo')
    t.same(state.snapshot().state, saved.state)
    t.not(state.epoch, epoch)
    t.equal(state.revision, revision + 1)
    t.same(heard, [
      ['change', 'other', 1, 2],
      ['delete', 'new', 3],
      ['restore', saved.state, 'undo'],
    ])
    t.same(resets, ['restore'])
    t.equal(await state.history({ epoch, revision }), undefined, 'the old history does not continue')
    await state.set('after', 1)
    t.equal(state.revision, revision + 2)
  }),
)

t.test('restore refuses all of what it cannot take', async (t) => {
  const { state } = await testState(t, { limits: { keys: 2, bytes: 100, valueBytes: 60 } })
  await state.set('a', 1)
  state.define('n:*', Type.Number())
  await t.rejects(state.restore({ state: { '': 1 } }), { code: 'STATEFUL_STATE_INVALID_KEY' })
  await t.rejects(state.restore({ state: { a: Number.NaN } }), { code: 'STATEFUL_STATE_INVALID_VALUE' })
  await t.rejects(state.restore({ state: { 'n:1': 'x' } }), { code: 'STATEFUL_STATE_SCHEMA' })
  await t.rejects(state.restore({ state: { a: 1, b: 1, c: 1 } }), { code: 'STATEFUL_STATE_LIMIT' })
  await t.rejects(state.restore({ state: { a: 'x'.repeat(61) } }), { code: 'STATEFUL_STATE_LIMIT' })
  await t.rejects(state.restore({ state: { a: 'x'.repeat(50), b: 'x'.repeat(50) } }), { code: 'STATEFUL_STATE_LIMIT' })
  t.same(state.snapshot().state, { a: 1 })
})

t.test('clearing more keys than a commit holds empties all of them at once', async (t) => {
  const { state } = await testState(t, { limits: { opsPerCommit: 4 } })
  const heard: string[] = []
  state.on('delete', ({ key }) => heard.push(key))
  state.on('clear', () => heard.push('clear'))
  for (let n = 0; n < 5; n++) await state.set(`k${n}`, n)
  await state.clear()
  t.equal(state.size, 0)
  t.same(heard, ['k0', 'k1', 'k2', 'k3', 'k4', 'clear'])
})

t.test('values are frozen copies', async (t) => {
  const { state } = await testState(t)
  const mine = { list: [1] }
  await state.set('k', mine)
  mine.list.push(2)
  t.same(state.get('k'), { list: [1] })
  t.throws(() => (state.get('k') as { list: number[] }).list.push(3), TypeError)
  await state.append('list', { a: 1 })
  t.throws(() => {
    ;(state.get('list') as { a: number }[])[0] = { a: 2 }
  }, TypeError)
})

t.test('a key called __proto__ is a key', async (t) => {
  const { state } = await testState(t)
  await state.set('__proto__', { admin: true })
  await state.set('k', JSON.parse('{"__proto__":{"admin":true}}'))
  await state.merge('k', JSON.parse('{"__proto__":1}'))
  const snapshot = state.snapshot()
  t.equal(Object.getPrototypeOf(snapshot.state), Object.prototype)
  t.equal(JSON.stringify(snapshot.state), '{"__proto__":{"admin":true},"k":{"__proto__":1}}')
  t.equal(({} as { admin?: boolean }).admin, undefined)
})

t.test('what is no key, no JSON or too large is refused by code', async (t) => {
  const { state } = await testState(t, { limits: { valueBytes: 64, keys: 2, bytes: 150, opsPerCommit: 2 } })
  const circular: { self?: unknown } = {}
  circular.self = circular
  for (const key of ['', 'x'.repeat(513), 'é'.repeat(257), 'a\u0000', '\ud800']) {
    await t.rejects(state.commit([{ op: 'set', key, value: 1 }]), { code: 'STATEFUL_STATE_INVALID_KEY' })
  }
  for (const value of [
    undefined,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    1n,
    () => 1,
    new Date(),
    new Map(),
    circular,
    '\udc00',
  ]) {
    await t.rejects(state.commit([{ op: 'set', key: 'k', value: value as Json }]), {
      code: 'STATEFUL_STATE_INVALID_VALUE',
    })
  }
  await t.rejects(state.set('k', 'x'.repeat(63)), { code: 'STATEFUL_STATE_LIMIT', statusCode: 413 })
  await state.set('a', 'x'.repeat(60))
  await state.set('b', 'x'.repeat(60))
  await t.rejects(state.set('c', 1), { message: /2 keys/ })
  await state.delete('b')
  await t.rejects(state.commit([]), { code: 'STATEFUL_STATE_INVALID_OPERATION' })
  const op = { op: 'set' as const, key: 'k', value: 1 }
  await t.rejects(state.commit([op, op, op]), { code: 'STATEFUL_STATE_LIMIT' })
  await t.rejects(state.commit([op], { clientId: 'c' }), { code: 'STATEFUL_STATE_INVALID_OPERATION' })
  await t.rejects(state.commit([{ ...op, ttl: 0 }]), { code: 'STATEFUL_STATE_INVALID_OPERATION' })
  t.equal(state.size, 1)
})

t.test('operations that do not fit the value are refused and change nothing', async (t) => {
  const { state } = await testState(t)
  await state.set('text', 'x')
  for (const op of ['merge', 'increment', 'append', 'setAdd', 'setRemove'] as const) {
    const value = op === 'merge' ? {} : 1
    await t.rejects(
      state.commit([
        { op: 'set', key: 'other', value: 1 },
        { op, key: 'text', value },
      ]),
      {
        code: 'STATEFUL_STATE_TYPE_MISMATCH',
        statusCode: 422,
      },
    )
  }
  await state.set('n', Number.MAX_VALUE)
  await t.rejects(state.increment('n', Number.MAX_VALUE), { code: 'STATEFUL_STATE_TYPE_MISMATCH' })
  t.equal(state.has('other'), false)
})

t.test('a commit applies whole, and sets of values are sets', async (t) => {
  const { state } = await testState(t)
  const seen: unknown[] = []
  state.onCommit(() => seen.push(state.snapshot().state))
  await state.commit([
    { op: 'set', key: 'a', value: 1 },
    { op: 'setAdd', key: 's', value: { x: 1, y: 2 } },
    { op: 'setAdd', key: 's', value: { y: 2, x: 1 } },
    { op: 'increment', key: 'a' },
  ])
  await state.commit([
    { op: 'setRemove', key: 's', value: { y: 2, x: 1 } },
    { op: 'setRemove', key: 'none', value: 1 },
  ])
  t.same(seen, [
    { a: 2, s: [{ x: 1, y: 2 }] },
    { a: 2, s: [] },
  ])
})

t.test('a schema is checked on the result, by key and by prefix', async (t) => {
  const { state } = await testState(t)
  state.define('user:*', Type.Object({ name: Type.String(), age: Type.Optional(Type.Number()) }))
  state.define('n', Type.Integer({ maximum: 2 }))
  await state.set('user:1', { name: 'a' })
  await state.merge('user:1', { age: 1 })
  await t.rejects(state.merge('user:1', { age: 'x' }), { code: 'STATEFUL_STATE_SCHEMA', message: /user:1.*age/ })
  await state.increment('n', 2)
  await t.rejects(state.increment('n'), { code: 'STATEFUL_STATE_SCHEMA' })
  await t.rejects(
    state.update('n', () => 'x'),
    { code: 'STATEFUL_STATE_SCHEMA' },
  )
  t.equal(state.get('n'), 2)
})

t.test('compareAndSet sets only at the revision that it names', async (t) => {
  const { state } = await testState(t)
  t.equal(await state.compareAndSet('k', 0, 'new'), true)
  t.equal(await state.compareAndSet('k', 0, 'again'), false)
  const revision = state.entry('k')?.revision ?? -1
  const outcomes = await Promise.all([1, 2, 3].map((n) => state.compareAndSet('k', revision, n)))
  t.same(outcomes, [true, false, false])
  t.equal(state.get('k'), 1)
})

t.test('a transaction moves between keys and is repeated, not lost', async (t) => {
  const { state } = await testState(t)
  await state.set('from', 100)
  await state.set('to', 0)
  const move = () =>
    state.transaction((tx) => {
      tx.set('from', (tx.get('from') as number) - 1)
      tx.increment('to')
      return tx.get('to')
    })
  const moveSlowly = () =>
    state.transaction(async (tx) => {
      const from = tx.get('from') as number
      await null
      tx.set('from', from - 1)
      tx.increment('to')
      return tx.get('to')
    })
  const results = await Promise.all(Array.from({ length: 20 }, (_, n) => (n % 2 ? move() : moveSlowly())))
  t.same([state.get('from'), state.get('to')], [80, 20])
  t.equal(new Set(results).size, 20, 'each run that counted saw another value')
  await t.rejects(
    state.transaction((tx) => {
      tx.set('from', 0)
      throw new Error('no')
    }),
    { message: 'no' },
  )
  t.equal(state.get('from'), 80)
})

t.test('a client write has its effect once', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const { state } = await testState(t, { url: await storageUrl(t, kind) })
    const ops = [{ op: 'increment' as const, key: 'n' }]
    const write = () => state.commit(ops, { clientId: 'c', seq: 1 })
    const [first, second] = await Promise.all([write(), write()])
    t.same(await write(), first)
    t.same(second, first)
    t.equal(state.get('n'), 1)
    await state.commit(ops, { clientId: 'c', seq: 2 })
    await state.commit(ops, { clientId: 'd', seq: 1 })
    t.equal(state.get('n'), 3)
  }),
)

t.test('history continues a position or says that it does not', async (t) => {
  const { state } = await testState(t, { history: 4 })
  const { epoch } = state
  const commits = []
  for (let n = 1; n <= 4; n++) commits.push(await state.set('k', n))
  t.same(await state.history({ epoch, revision: 1 }), commits.slice(1))
  t.same(await state.history({ epoch, revision: 4 }), [])
  t.equal(await state.history({ epoch, revision: 5 }), undefined)
  t.equal(await state.history({ epoch: '1:other', revision: 1 }), undefined)
  for (let n = 5; n <= 12; n++) await state.set('k', n)
  t.equal(await state.history({ epoch, revision: 1 }), undefined, 'trimmed')
})

t.test('watch continues from a position without gap or repetition', async (t) => {
  const { state } = await testState(t)
  await state.set('a:1', 1)
  const since = { epoch: state.epoch, revision: state.revision }
  await state.set('a:1', 2)
  await state.set('b:1', 3)
  const stop = new AbortController()
  const seen: Json[] = []
  const watching = (async () => {
    for await (const event of state.watch('a:', { since, signal: stop.signal })) {
      if (event.type === 'commit') seen.push(event.ops[0]?.value as Json)
      if (seen.length === 3) stop.abort()
    }
  })()
  await state.set('a:1', 4)
  await state.set('a:2', 5)
  await watching
  t.same(seen, [2, 4, 5])
})

t.test('spaces are separate, bounded and checked by name', async (t) => {
  const { state } = await testState(t, { limits: { spaces: 3 } })
  const flags = state.space('flags')
  t.throws(() => flags.get('x'), { code: 'STATEFUL_STATE_NOT_READY' })
  const early = flags.set('x', 1)
  await flags.ready
  await early
  t.equal(flags.get('x'), 1)
  t.equal(state.has('x'), false)
  t.equal(state.space('flags'), flags)
  t.equal(state.space('app'), state)
  t.throws(() => state.space('a/b'), { code: 'STATEFUL_STATE_INVALID_SPACE' })
  state.space('third')
  t.throws(() => state.space('fourth'), { code: 'STATEFUL_STATE_TOO_MANY_SPACES' })
  t.same(
    state.spaces().map(({ name }) => name),
    ['app', 'flags', 'third'],
  )
  t.match(state.stats(), { spaces: 3, keys: 1, commits: 1 })
})

t.test('two instances on one Redis', async (t) => {
  const url = await storageUrl(t, 'redis')
  const { state: one } = await testState(t, { url })
  const { state: two } = await testState(t, { url })
  const heard: unknown[] = []
  two.on('change', ({ key, value }) => heard.push([key, value]))
  await one.set('a', 1)
  await until(two, () => two.get('a') === 1)
  t.same(heard, [['a', 1]])
  await two.set('b', 2)
  t.equal(await one.read('b'), 2, 'read sees what another instance was told is done')
  const updates = [one, two].flatMap((state) =>
    Array.from({ length: 25 }, (_, n) =>
      n % 2 ? state.update('n', (n) => ((n as number) ?? 0) + 1) : state.increment('n'),
    ),
  )
  await Promise.all(updates)
  await Promise.all([one.freshen(), two.freshen()])
  t.equal(one.get('n'), 50)
  t.same(one.snapshot(), two.snapshot())
  await one.restore({ state: { r: 1 } })
  await until(two, () => two.get('r') === 1)
  t.same(one.snapshot(), two.snapshot())
})

for (const kind of ['lmdb', 'redis'] as const) {
  t.test(`a restart on ${kind} finds everything, and a position from before continues`, async (t) => {
    const url = await storageUrl(t, kind)
    const first = await testState(t, { url })
    await first.state.set('a', 1)
    const position = { epoch: first.state.epoch, revision: first.state.revision }
    await first.state.commit([{ op: 'set', key: 'b', value: 2 }], { clientId: 'c', seq: 1 })
    await first.state.space('other').set('x', 1)
    await first.close()
    const { state } = await testState(t, { url })
    t.same(state.snapshot().state, { a: 1, b: 2 })
    t.equal(state.revision, 2)
    t.equal((await state.history(position))?.length, 1)
    await state.commit([{ op: 'set', key: 'b', value: 3 }], { clientId: 'c', seq: 1 })
    t.equal(state.get('b'), 2, 'a repeated client write is still known')
    const other = state.space('other')
    await other.ready
    t.equal(other.get('x'), 1)
  })
}
