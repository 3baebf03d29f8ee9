import t, { type Test } from 'tap'
import { LoginThrottle, type ThrottleOptions } from '../../../plugins/accounts/login-throttle.ts'
import { MemoryCounts } from '../../../plugins/storage/counts/memory.ts'
import { type Clock, systemClock } from '../../../plugins/support/clock.ts'
import { ManualClock } from '../../../plugins/support/manual-clock.ts'
import { onEveryStorage, openTestStorage, type StorageKind, storageUrl } from '../../fixtures/storages.ts'

async function guesser(t: Test, kind: StorageKind, options: ThrottleOptions, clock: Clock = systemClock) {
  const storage = await openTestStorage(t, await storageUrl(t, kind))
  const throttle = new LoginThrottle(storage, options, clock)
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
  const clock = new ManualClock()
  const { guess } = await guesser(t, 'memory', { delay: { after: 2, first: '1s', most: '6s', window: '1h' } }, clock)
  t.equal(await guess(), 'wrong')
  const waits: unknown[] = []
  for (let n = 0; n < 6; n++) {
    t.equal(await guess(), 'wrong')
    const wait = (await guess()) as number
    waits.push(wait)
    clock.advance(wait * 1_000 - 1)
    t.equal(await guess(), 1, 'not before')
    clock.advance(1)
  }
  t.same(waits, [1, 2, 4, 6, 6, 6])
  t.equal(await guess({}, true), 'in', 'a stranger is not locked out for good')
  clock.advance(3_600_000)
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
  const counts = new MemoryCounts(systemClock, 100)
  const madeUp = Array.from({ length: 1_000 }, (_, n) => `made up ${n}`)
  const counted = async (keys: string[]) =>
    (await Promise.all(keys.map((key) => counts.read(key)))).filter(({ count }) => count > 0).length
  for (const key of madeUp) {
    await counts.add(key, 60_000)
    await counts.add('under attack', 60_000)
  }
  t.equal(await counted([...madeUp, 'under attack']), 100)
  t.equal((await counts.read('under attack')).count, 1_000)
  const delayed = madeUp.map((key) => `delayed ${key}`)
  for (const key of delayed) await counts.add(key, 60_000, { most: 0, window: 'renew' })
  t.equal(await counted([...madeUp, 'under attack', ...delayed]), 100)
})

t.test('limits that cannot be stop the boot', async (t) => {
  const storage = await openTestStorage(t, 'memory:')
  for (const delay of [{ after: 0 }, { after: 1.5 }]) {
    t.throws(() => new LoginThrottle(storage, { delay }), { code: 'STATEFUL_INVALID_OPTION' })
  }
  t.throws(() => new LoginThrottle(storage, { delay: { first: 'soon' } }), { code: 'STATEFUL_INVALID_DURATION' })
})
