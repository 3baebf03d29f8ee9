import { createHash } from 'node:crypto'
import t, { type Test } from 'tap'
import { MemoryCounts } from '../../../plugins/storage/counts/memory.ts'
import { ManualClock } from '../../../plugins/support/manual-clock.ts'
import { MemoryTokenStore } from '../../../plugins/tokens/stores/memory.ts'
import { TokenThrottle } from '../../../plugins/tokens/token-throttle.ts'
import { Tokens } from '../../../plugins/tokens/tokens.ts'

const HOUR = 3_600_000

async function setUp(_t: Test, { most = 10, perAddress = 100 } = {}) {
  const clock = new ManualClock()
  const store = new MemoryTokenStore()
  const asked: string[] = []
  const touches: number[] = []
  const errors: unknown[] = []
  const watched = {
    find: (digest: string) => {
      asked.push(digest)
      return store.find(digest)
    },
    create: store.create.bind(store),
    list: () => store.list(),
    revoke: (id: string) => store.revoke(id),
    touch: (id: string, at: number) => {
      touches.push(at)
      return store.touch(id, at)
    },
  }
  const tokens = new Tokens({
    store: watched,
    throttle: new TokenThrottle(new MemoryCounts(clock), perAddress, 900_000),
    most,
    clock,
    onError: (error) => errors.push(error),
  })
  return { tokens, store, clock, asked, touches, errors }
}

const wrong = (n: number) => `fst_${`${n}`.padStart(43, 'w')}`

t.test('the secret is told once and kept as a digest', async (t) => {
  const { tokens, store } = await setUp(t)
  const made = await tokens.create({ name: 'metrics', scopes: ['stats:read', 'stats:read'], createdBy: 'ada' })
  t.match(made.token, /^fst_[\w-]{43}$/)
  t.same(made.scopes, ['stats:read'])
  const kept = JSON.stringify(await store.list())
  t.notMatch(kept, made.token.slice(4))
  t.match(kept, createHash('sha256').update(made.token).digest('base64url'))
  t.notMatch(JSON.stringify(await tokens.list()), /fst_|digest/)
  t.match(await tokens.open(made.token, '192.0.2.1'), { id: made.id, name: 'metrics', createdBy: 'ada' })
})

t.test('it opens until it is revoked or its time is up', async (t) => {
  const { tokens, clock } = await setUp(t)
  const lasting = await tokens.create({ name: 'lasting', scopes: ['state:read'] })
  const brief = await tokens.create({ name: 'brief', scopes: ['state:read'], lifetime: HOUR })
  const open = await tokens.open(brief.token, '::1')
  t.equal(await open.check(), 'same')
  await clock.advance(HOUR - 1)
  t.equal(tokens.isExpired(open), false)
  await tokens.open(brief.token, '::1')
  await clock.advance(1)
  t.equal(tokens.isExpired(open), true)
  t.equal(await open.check(), 'ended')
  await t.rejects(tokens.open(brief.token, '::1'), { code: 'STATEFUL_INVALID_TOKEN', statusCode: 401 })

  const heard: string[] = []
  tokens.onRevoked(({ id }) => heard.push(id))
  const opened = await tokens.open(lasting.token, '::1')
  t.equal(await tokens.revoke(lasting.id), true)
  t.same(heard, [lasting.id])
  t.equal(await opened.check(), 'ended')
  await t.rejects(tokens.open(lasting.token, '::1'), { code: 'STATEFUL_INVALID_TOKEN' })
  t.equal(await tokens.revoke(lasting.id), false)
  t.same(heard, [lasting.id], 'what was not there ends nothing')
})

t.test('there are no more than there may be', async (t) => {
  const { tokens } = await setUp(t, { most: 1 })
  const { id } = await tokens.create({ name: 'one', scopes: ['state:read'] })
  await t.rejects(tokens.create({ name: 'two', scopes: ['state:read'] }), { code: 'STATEFUL_TOO_MANY_TOKENS' })
  await tokens.revoke(id)
  await tokens.create({ name: 'two', scopes: ['state:read'] })
})

t.test('a use is recorded at most once a minute, whatever the clock does', async (t) => {
  const { tokens, clock, touches } = await setUp(t)
  const { token } = await tokens.create({ name: 'one', scopes: ['state:read'] })
  for (let i = 0; i < 5; i++) await tokens.open(token, '::1')
  t.equal(touches.length, 1)
  await clock.advance(59_999)
  await tokens.open(token, '::1')
  t.equal(touches.length, 1)
  await clock.advance(1)
  await tokens.open(token, '::1')
  t.equal(touches.length, 2)
  await tokens.close()
  t.match(await tokens.list(), [{ lastUsedAt: new Date(clock.now()) }])
})

t.test(
  'wrong ones are limited by network, those that come at one moment too, and cost the store nothing',
  async (t) => {
    const { tokens, asked } = await setUp(t, { perAddress: 5 })
    const outcomes = await Promise.allSettled(Array.from({ length: 40 }, (_, n) => tokens.open(wrong(n), '192.0.2.7')))
    const codes = outcomes.map((outcome) => outcome.status === 'rejected' && outcome.reason.code)
    t.equal(codes.filter((code) => code === 'STATEFUL_INVALID_TOKEN').length, 5)
    t.equal(codes.filter((code) => code === 'STATEFUL_TOO_MANY_ATTEMPTS').length, 35)
    t.equal(asked.length, 5)
    const refused = await tokens.open(wrong(99), '192.0.2.7').catch((error: unknown) => error)
    t.match(refused, { code: 'STATEFUL_TOO_MANY_ATTEMPTS', statusCode: 429 })
    t.ok((refused as { retryAfter: number }).retryAfter > 800)
    await t.rejects(tokens.open(wrong(1), '192.0.2.8'), { code: 'STATEFUL_INVALID_TOKEN' }, 'another address')
  },
)

t.test('a machine that was right before is not locked out by its neighbours, one that was never is', async (t) => {
  const { tokens } = await setUp(t, { perAddress: 2 })
  const known = await tokens.create({ name: 'known', scopes: ['state:read'] })
  const fresh = await tokens.create({ name: 'new', scopes: ['state:read'] })
  await tokens.open(known.token, '2001:db8::1')
  for (const n of [1, 2]) await t.rejects(tokens.open(wrong(n), '2001:db8::2'))
  await t.rejects(tokens.open(fresh.token, '2001:db8::3'), { code: 'STATEFUL_TOO_MANY_ATTEMPTS' }, 'one /64')
  await tokens.open(known.token, '2001:db8::1')
  await tokens.revoke(known.id)
  await t.rejects(tokens.open(known.token, '2001:db8::1'), { code: 'STATEFUL_INVALID_TOKEN' })
  await t.rejects(tokens.open(known.token, '2001:db8::1'), { code: 'STATEFUL_TOO_MANY_ATTEMPTS' }, 'no longer known')
})

t.test('right ones are never counted, and what cannot be one is not looked up', async (t) => {
  const { tokens, asked } = await setUp(t, { perAddress: 3 })
  for (let n = 0; n < 8; n++) {
    const { token } = await tokens.create({ name: `${n}`, scopes: ['state:read'] })
    await tokens.open(token, '::1')
  }
  t.equal(asked.length, 8)
  for (const odd of ['fst_', 'fst_short', `fst_${'x'.repeat(44)}`]) {
    await t.rejects(tokens.open(odd, '::1'), { code: 'STATEFUL_INVALID_TOKEN' })
  }
  t.equal(asked.length, 8)
})

t.test('a use that cannot be recorded is told, and refuses nobody', async (t) => {
  const { tokens, store, errors } = await setUp(t)
  store.touch = async () => {
    throw new Error('full')
  }
  const { token } = await tokens.create({ name: 'one', scopes: ['state:read'] })
  await tokens.open(token, '::1')
  await tokens.close()
  t.match(errors, [{ message: 'full' }])
})
