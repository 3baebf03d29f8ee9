import t from 'tap'
import type { Json } from '../../../openapi/schemas/state.ts'
import { ManualClock } from '../../../plugins/support/manual-clock.ts'
import { onEveryState, testState, until } from '../../fixtures/state.ts'
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

t.test('values are frozen copies', (t) =>
  onEveryState(t, async (t, state) => {
    const mine = { list: [1] }
    await state.set('k', mine)
    mine.list.push(2)
    t.same(state.get('k'), { list: [1] })
    t.throws(() => (state.get('k') as { list: number[] }).list.push(3), TypeError)
    await state.append('list', { a: 1 })
    t.throws(() => {
      ;(state.get('list') as { a: number }[])[0] = { a: 2 }
    }, TypeError)
  }),
)

t.test('a key called __proto__ is a key', (t) =>
  onEveryState(t, async (t, state) => {
    await state.set('__proto__', { admin: true })
    await state.set('k', JSON.parse('{"__proto__":{"admin":true}}'))
    await state.merge('k', JSON.parse('{"__proto__":1}'))
    const snapshot = state.snapshot()
    t.equal(Object.getPrototypeOf(snapshot.state), Object.prototype)
    t.equal(JSON.stringify(snapshot.state), '{"__proto__":{"admin":true},"k":{"__proto__":1}}')
    t.equal(({} as { admin?: boolean }).admin, undefined)
    for (const key of ['constructor', 'toString', 'hasOwnProperty']) t.equal(state.get(key), undefined)
    await state.restore(snapshot)
    t.equal(JSON.stringify(state.snapshot().state), JSON.stringify(snapshot.state))
    t.equal(await state.delete('__proto__'), true)
    t.same(state.keys(), ['k'])
  }),
)

t.test('what is no key, no JSON or too large is refused by code', (t) =>
  onEveryState(
    t,
    async (t, state) => {
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
      for (const ttl of [0, -1, 0.5, Number.NaN, 3_153_600_000_001, Number.MAX_SAFE_INTEGER, 1e308, Infinity]) {
        await t.rejects(state.commit([{ ...op, ttl }]), { code: 'STATEFUL_STATE_INVALID_OPERATION' }, `${ttl}`)
        await t.rejects(state.set('k', 1, { ttl }), { code: 'STATEFUL_STATE_INVALID_OPERATION' }, `${ttl}`)
      }
      t.equal(state.size, 1)
    },
    { limits: { valueBytes: 64, keys: 2, bytes: 150, opsPerCommit: 2 } },
  ),
)

t.test('operations that do not fit the value are refused and change nothing', (t) =>
  onEveryState(t, async (t, state) => {
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
  }),
)

t.test('a commit applies whole, and sets of values are sets', (t) =>
  onEveryState(t, async (t, state) => {
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
  }),
)

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
  const third = state.space('third')
  t.equal(state.space('third'), third)
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

t.test('the limits are what they say, to the byte, on every storage', (t) =>
  onEveryState(t, async (t, manager) => {
    const state = manager.space('s'.repeat(64))
    await state.ready
    const key = 'é'.repeat(256)
    const value = 'x'.repeat(256 * 1024 - 2)
    await state.set(key, value)
    t.equal(state.get(key), value)
    t.equal(state.bytes, 512 + 256 * 1024)
    await t.rejects(state.set(`${key}a`, 1), { code: 'STATEFUL_STATE_INVALID_KEY', statusCode: 400 })
    await t.rejects(state.set('k', `${value}x`), { code: 'STATEFUL_STATE_LIMIT', statusCode: 413 })
    await t.rejects(state.append('k', `${value}`), { code: 'STATEFUL_STATE_LIMIT' }, 'the brackets count')
    const ops = Array.from({ length: 128 }, (_, n) => ({ op: 'set' as const, key: `k${n}`, value: n }))
    const { revision } = await state.commit(ops)
    t.equal(revision, 2, 'all of them in one revision')
    await t.rejects(state.commit([...ops, { op: 'delete', key: 'k0' }]), { code: 'STATEFUL_STATE_LIMIT' })
    t.equal(state.size, 129)
  }),
)

t.test('what a write is given beside its value', (t) => {
  const clock = new ManualClock()
  return onEveryState(
    t,
    async (t, state) => {
      const contexts: unknown[] = []
      state.use(async ({ context }, next) => {
        contexts.push(context)
        await next()
      })
      await state.set('a', 1, { ttl: '5m', context: 'why' })
      await state.set('b', 1, { by: 'ada' })
      await state.set('c', 1, 'why')
      t.same(contexts, ['why', { by: 'ada' }, 'why'])
      await state.update('d', () => 1, { ttl: '5m' })
      await state.increment('e', 1, { ttl: '5m' })
      await state.transaction((tx) => tx.set('f', 1, { ttl: 300_000 }))
      for (const key of ['a', 'd', 'e', 'f']) t.equal(state.entry(key)?.expiresAt, clock.now() + 300_000, key)
      await t.rejects(state.set('a', 1, { ttl: '5m', contxt: 1 }), { code: 'STATEFUL_INVALID_OPTION' })
      await t.rejects(state.set('a', 1, { ttl: 'soon' }), { code: 'STATEFUL_INVALID_DURATION' })
      await t.rejects(state.delete('a', { ttl: '5m' }), { code: 'STATEFUL_STATE_INVALID_OPERATION' })
    },
    { clock },
  )
})

t.test('a number that cannot hold the result exactly is refused, not kept as it was', (t) =>
  onEveryState(t, async (t, state) => {
    await state.set('n', Number.MAX_SAFE_INTEGER)
    await t.rejects(state.increment('n'), { code: 'STATEFUL_STATE_TYPE_MISMATCH' })
    await t.rejects(state.increment('n', 2 ** 60), { code: 'STATEFUL_STATE_TYPE_MISMATCH' })
    await state.set('large', 1e300)
    await t.rejects(state.increment('large'), { code: 'STATEFUL_STATE_TYPE_MISMATCH' })
    t.equal(await state.increment('n', -1), Number.MAX_SAFE_INTEGER - 1)
    t.equal(await state.increment('n', 0), Number.MAX_SAFE_INTEGER - 1)
  }),
)
