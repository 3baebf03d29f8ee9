import t from 'tap'
import { ageOf, dateOf, directivesOf, judge, termsOf, wishesOf } from '../../../plugins/response-cache/freshness.ts'

const NOW = Date.UTC(2026, 0, 1)
const http = (seconds: number) => new Date(NOW + seconds * 1_000).toUTCString()
const byHeaders = { ttl: 'headers', stale: 0, staleIfError: 0 } as const
const freshFor = (headers: Record<string, string | string[]>, status = 200) =>
  termsOf(status, headers, NOW, byHeaders, false)?.freshFor

t.test('Cache-Control, in every form that it comes in', async (t) => {
  for (const [field, expected] of [
    ['max-age=60', { 'max-age': ['60'] }],
    ['MAX-AGE="60" , No-Store', { 'max-age': ['60'], 'no-store': [''] }],
    ['x="a, max-age=1, \\"b", max-age=60', { x: ['a, max-age=1, \\"b'], 'max-age': ['60'] }],
    ['max-age =60, private', { 'max-age': [''], private: [''] }],
    [',, public,', { public: [''] }],
    [['max-age=60', 'max-age=30'], { 'max-age': ['60', '30'] }],
    ['x="never closed, no-store', { x: [''], 'no-store': [''] }],
    ['', {}],
    [undefined, {}],
  ] as const) {
    t.strictSame(Object.fromEntries(directivesOf(field)), expected, `${field}`)
  }
})

t.test('dates in the three forms of HTTP, and in no other', async (t) => {
  const at = Date.UTC(1994, 10, 6, 8, 49, 37)
  t.equal(dateOf('Sun, 06 Nov 1994 08:49:37 GMT', NOW), at)
  t.equal(dateOf('Sunday, 06-Nov-94 08:49:37 GMT', NOW), at)
  t.equal(dateOf('Sun Nov  6 08:49:37 1994', NOW), at)
  t.equal(dateOf('Thursday, 18-Aug-50 02:01:18 GMT', NOW), Date.UTC(2050, 7, 18, 2, 1, 18))
  for (const wrong of [
    '0',
    '',
    '1994-11-06',
    'Sun, 06 Nov 1994 08:49:37 UTC',
    'Sun, 06 Xyz 1994 08:49:37 GMT',
    'anF',
  ]) {
    t.ok(Number.isNaN(dateOf(wrong, NOW)), wrong)
  }
})

t.test('the age of an answer', async (t) => {
  t.equal(ageOf({}, NOW), 0)
  t.equal(ageOf({ age: '30' }, NOW), 30_000)
  t.equal(ageOf({ date: http(-60), age: '30' }, NOW), 60_000, 'the larger one')
  t.equal(ageOf({ date: http(60) }, NOW), 0, 'a clock that is ahead')
  for (const age of ['-1', '1.0', 'x', '0, 7200', ['0', '0'], '', '1;a=b']) {
    t.ok(ageOf({ age }, NOW) > 2 ** 31 * 1_000, `${age}: nobody knows`)
  }
})

t.test('for how long an answer is fresh', async (t) => {
  t.equal(freshFor({ 'cache-control': 's-maxage=10, max-age=20', expires: http(30) }), 10_000)
  t.equal(freshFor({ 'cache-control': 'max-age=20', expires: http(30) }), 20_000)
  t.equal(freshFor({ expires: http(30) }), 30_000)
  t.equal(freshFor({ expires: http(30), date: http(10) }), 20_000, 'since it was made')
  t.equal(freshFor({ 'cache-control': 'max-age=99999999999' }), 2 ** 31 * 1_000)
  t.equal(freshFor({ 'last-modified': http(-1_000), date: http(0) }), 100_000, 'a tenth of its age')
  t.equal(freshFor({ 'last-modified': http(-1e8) }), 86_400_000, 'a day at most')
  for (const headers of [
    {},
    { expires: '0' },
    { 'cache-control': 'max-age=0', expires: http(30) },
    { 'cache-control': "max-age='60'" },
    { 'cache-control': 'max-age=-60' },
    { 'cache-control': 'max-age=60, max-age=30' },
    { 'cache-control': 'max-age =60' },
  ]) {
    t.equal(freshFor(headers), undefined, `${JSON.stringify(headers)} is not`)
    const terms = termsOf(200, { ...headers, etag: '"a"' } as Record<string, string>, NOW, byHeaders, false)
    t.equal(terms?.validate, true, 'unless its maker can be asked each time')
  }
  t.equal(freshFor({ 'last-modified': http(-1_000) }, 403), undefined)
  t.equal(freshFor({ 'last-modified': http(-1_000), 'cache-control': 'public' }, 599), 100_000)
  t.equal(freshFor({ 'cache-control': 'max-age=60' }, 206), undefined, 'a part is not kept')
})

t.test('who has said who he is: only what is for all', async (t) => {
  const terms = (field: string) => termsOf(200, { 'cache-control': field }, NOW, byHeaders, true)
  t.equal(terms('max-age=60'), undefined)
  for (const field of ['max-age=60, public', 's-maxage=60', 'max-age=60, must-revalidate']) t.ok(terms(field), field)
  const byRoute = { ttl: 60_000, stale: 0, staleIfError: 0 }
  t.ok(termsOf(200, {}, NOW, byRoute, true), 'or a route that says so')
})

t.test('what a client wishes', async (t) => {
  const none = wishesOf({})
  t.match(none, { noStore: false, validate: false, maxAge: Number.POSITIVE_INFINITY, minFresh: 0, maxStale: 0 })
  t.equal(wishesOf({ pragma: 'no-cache' }).validate, true)
  t.equal(wishesOf({ pragma: 'no-cache', 'cache-control': 'max-age=1' }).validate, false)
  t.equal(wishesOf({ 'cache-control': 'max-stale' }).maxStale, Number.POSITIVE_INFINITY)
  t.match(wishesOf({ 'cache-control': 'max-age=x, min-fresh=5' }), {
    maxAge: Number.POSITIVE_INFINITY,
    minFresh: 5_000,
  })
  const terms = termsOf(200, { 'cache-control': 'max-age=10, stale-while-revalidate=5' }, NOW, byHeaders, false)
  t.ok(terms)
  if (!terms) return
  const answer = { at: NOW, terms, failed: false }
  const after = (seconds: number, wishes = none) => judge(answer, wishes, NOW + seconds * 1_000)
  t.strictSame([after(9), after(12), after(16)], ['serve', 'renew', 'expired'])
  t.equal(after(16, wishesOf({ 'cache-control': 'max-stale=10' })), 'serve')
  t.equal(after(0.5, wishesOf({ 'cache-control': 'max-age=0' })), 'serve', 'of this second')
  t.equal(after(1, wishesOf({ 'cache-control': 'max-age=0' })), 'validate')
  t.equal(after(8, wishesOf({ 'cache-control': 'min-fresh=5' })), 'validate')
  t.equal(after(-5), 'serve', 'of an instance whose clock is ahead')
})
