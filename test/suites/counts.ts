/** What counts in fixed windows promise. */
import type { Test } from 'tap'
import type { Beyond, Counts } from '../../plugins/storage/counts/counts.ts'

const MINUTE = 60_000

/**
 * @param other another instance on the same storage
 * @param advance lets so many milliseconds go by
 */
export async function countsSuite(t: Test, counts: Counts, other: Counts, advance: (ms: number) => Promise<void>) {
  await t.test('counts and says what is left', async (t) => {
    t.strictSame(await counts.read('a'), { count: 0, left: 0 })
    const first = await counts.add('a', MINUTE)
    t.equal(first.count, 1)
    t.ok(first.left > MINUTE - 5_000 && first.left <= MINUTE, `${first.left}`)
    t.equal((await counts.add('a', MINUTE)).count, 2)
    const read = await counts.read('a')
    t.equal(read.count, 2)
    t.ok(read.left > 0 && read.left <= MINUTE)
    t.equal((await counts.add('b', MINUTE)).count, 1, 'another key is another count')
  })

  await t.test('none is lost among many at once', async (t) => {
    const all = await Promise.all(
      Array.from({ length: 200 }, (_, i) => (i % 2 ? counts : other).add('together', MINUTE)),
    )
    t.strictSame(
      all.map(({ count }) => count).sort((a, b) => a - b),
      Array.from({ length: 200 }, (_, i) => i + 1),
    )
  })

  await t.test('a window is fixed: it ends after the first', async (t) => {
    await counts.add('fixed', 60)
    await advance(30)
    t.equal((await counts.add('fixed', 60)).count, 2)
    await advance(40)
    t.strictSame(await counts.read('fixed'), { count: 0, left: 0 })
    t.equal((await counts.add('fixed', 60)).count, 1)
  })

  await t.test('beyond the most it is renewed, or doubled', async (t) => {
    const renew: Beyond = { most: 1, window: 'renew' }
    await counts.add('renew', MINUTE, renew)
    const renewed = await counts.add('renew', 2 * MINUTE, renew)
    t.ok(renewed.left > MINUTE && renewed.left <= 2 * MINUTE, `${renewed.left}`)
    const double: Beyond = { most: 2, window: 'double' }
    const lefts: number[] = []
    for (let i = 0; i < 5; i++) lefts.push(Math.round((await counts.add('double', MINUTE, double)).left / MINUTE))
    t.strictSame(lefts, [1, 1, 1, 2, 4])
    let last = 0
    for (let i = 0; i < 80; i++) last = (await counts.add('far', 24 * 60 * MINUTE, { most: 0, window: 'double' })).left
    t.ok(Number.isFinite(last) && last > 365 * 24 * 60 * MINUTE, 'as long as can be')
  })

  await t.test('any text is a key', async (t) => {
    for (const key of ['', ' ', '\0', '\ud800', '\udfff', 'x'.repeat(100_000), `${'x'.repeat(100_000)}y`, 'é:*?{}']) {
      t.equal((await counts.add(key, MINUTE)).count, 1, JSON.stringify(key.slice(0, 10)))
      t.equal((await counts.read(key)).count, 1)
    }
  })
}
