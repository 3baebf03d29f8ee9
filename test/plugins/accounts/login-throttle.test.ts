import { mock } from 'node:test'
import t, { type Test } from 'tap'
import { LoginThrottle, type ThrottleOptions } from '../../../plugins/accounts/login-throttle.ts'
import { BoundedLimiter } from '../../../plugins/storage/failures/bounded-limiter.ts'
import { onEveryStorage, openTestStorage, type StorageKind, storageUrl } from '../../fixtures/storages.ts'

async function guesser(t: Test, kind: StorageKind, options: ThrottleOptions) {
  const storage = await openTestStorage(t, await storageUrl(t, kind))
  const throttle = new LoginThrottle(storage, options)
  let addresses = 0
  /** What came of it: `wrong`, `in`, or for how many seconds to wait. */
  const guess = (by: { address?: string; device?: string; account?: string } = {}, right = false) =>
    throttle
      .attempt({ account: 'ada', address: `198.51.100.${addresses++}`, ...by }, async () => (right ? 'in' : undefined))
      .then(
        (user) => user ?? 'wrong',
        (error: { code?: string; retryAfter?: number }) => {
          t.equal(error.code, 'STATEFUL_TOO_MANY_ATTEMPTS')
          return error.retryAfter as number
        },
      )
  return { storage, throttle, guess }
}

t.test('from however many addresses: after a few failures each one delays the next', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const { guess } = await guesser(t, kind, { delay: { after: 3, first: '10s', most: '1m' } })
    for (let n = 0; n < 3; n++) t.equal(await guess(), 'wrong')
    const wait = Number(await guess())
    t.ok(wait > 8 && wait <= 10, `${wait} s`)
    t.equal(await guess({}, true), wait, 'a right password, too: it may be a guess')
    t.equal(await guess({ account: 'grace' }), 'wrong', 'another account')
    t.equal(await guess({ device: 'hers' }, true), 'in', 'the owner, on a device that is known')
    for (let n = 0; n < 20; n++) await guess()
    t.equal(await guess({ device: 'hers' }, true), 'in')
  }),
)

t.test('a delay doubles up to the longest, and ends', async (t) => {
  mock.timers.enable({ apis: ['Date', 'setTimeout'] })
  t.teardown(() => mock.timers.reset())
  const { guess } = await guesser(t, 'memory', { delay: { after: 2, first: '1s', most: '6s', window: '1h' } })
  t.equal(await guess(), 'wrong')
  const waits: unknown[] = []
  for (let n = 0; n < 6; n++) {
    t.equal(await guess(), 'wrong')
    const wait = (await guess()) as number
    waits.push(wait)
    mock.timers.tick(wait * 1_000 - 1)
    t.equal(await guess(), 1, 'not before')
    mock.timers.tick(1)
  }
  t.same(waits, [1, 2, 4, 6, 6, 6])
  t.equal(await guess({}, true), 'in', 'a stranger is not locked out for good')
  mock.timers.tick(3_600_000)
  t.equal(await guess(), 'wrong')
  t.equal(await guess({}, true), 'in', 'after the window it begins anew')
})

t.test('guesses of one moment are delayed like guesses one after the other', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const { guess } = await guesser(t, kind, { delay: { after: 3, first: '1m' } })
    const outcomes = await Promise.all(Array.from({ length: 12 }, () => guess()))
    t.equal(outcomes.filter((outcome) => outcome === 'wrong').length, 3)
  }),
)

t.test('a known device has a count of its own, and is a stranger when it is used up', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const { guess } = await guesser(t, kind, { perAccount: 3, delay: { after: 100 } })
    for (let n = 0; n < 3; n++) t.equal(await guess({ device: 'stolen', address: '192.0.2.1' }), 'wrong')
    t.equal(typeof (await guess({ device: 'stolen', address: '192.0.2.1' })), 'number')
    t.equal(await guess({ device: 'another', address: '192.0.2.1' }, true), 'in')
    t.equal(await guess({ device: 'stolen', address: '192.0.2.2' }, true), 'in', 'as any stranger')
    t.equal(await guess({ device: 'stolen', account: 'grace' }, true), 'in', 'known to one account')
  }),
)

t.test('addresses of one IPv6 site are one, and IPv4 in IPv6 is IPv4', (t) =>
  onEveryStorage(t, async (t, kind) => {
    const { guess } = await guesser(t, kind, { perAccount: 3, perAddress: 3 })
    for (let n = 0; n < 3; n++) t.equal(await guess({ address: `2001:db8:1:2:${n}::${n}` }), 'wrong')
    t.equal(typeof (await guess({ address: '2001:db8:1:2:ffff::1', account: 'grace' }, true)), 'number')
    t.equal(await guess({ address: '2001:db8:1:3::1' }, true), 'in')
    for (const address of ['192.0.2.9', '::ffff:192.0.2.9', '::ffff:c000:209'])
      t.equal(await guess({ address }), 'wrong')
    t.equal(typeof (await guess({ address: '192.0.2.9' }, true)), 'number')
  }),
)

t.test('a flood of made-up names leaves a bounded number of counts, and keeps the ones under attack', async (t) => {
  const limiter = new BoundedLimiter({ points: 10, duration: 60 }, 100)
  for (let n = 0; n < 1_000; n++) {
    await limiter.penalty(`made up ${n}`)
    await limiter.penalty('under attack')
  }
  t.equal(limiter.dump().storage.length, 100)
  t.equal((await limiter.get('under attack'))?.consumedPoints, 1_000)
  for (let n = 0; n < 1_000; n++) await limiter.set(`delayed ${n}`, 1, 60)
  t.equal(limiter.dump().storage.length, 100)
  for (const { key } of limiter.dump().storage) await limiter.delete(key)
})

t.test('limits that cannot be stop the boot', async (t) => {
  const storage = await openTestStorage(t, 'memory:')
  for (const delay of [{ after: 0 }, { after: 1.5 }]) {
    t.throws(() => new LoginThrottle(storage, { delay }), { code: 'STATEFUL_INVALID_OPTION' })
  }
  t.throws(() => new LoginThrottle(storage, { delay: { first: 'soon' } }), { code: 'STATEFUL_INVALID_DURATION' })
})
