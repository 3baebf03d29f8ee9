import fc from 'fast-check'
import t from 'tap'
import { globMatcher } from '../../../plugins/cache/glob.ts'
import { storageKinds } from '../../fixtures/storages.ts'
import { freshCache } from './fixture.ts'

/** What a pattern means, without any care for speed: the table of which beginnings match which. */
function reference(pattern: string, all: string): boolean {
  const text = [...all]
  let row = Array.from({ length: text.length + 1 }, (_, length) => length === 0)
  for (const wanted of pattern) {
    const above = row
    row = []
    for (let length = 0; length <= text.length; length++) {
      if (wanted === '*') row.push((above[length] as boolean) || (row[length - 1] ?? false))
      else row.push(length > 0 && (above[length - 1] as boolean) && (wanted === '?' || wanted === text[length - 1]))
    }
  }
  return row[text.length] as boolean
}

const words = (letters: string, maxLength: number) =>
  fc.array(fc.constantFrom(...[...letters]), { maxLength }).map((parts) => parts.join(''))

t.test('it matches what the definition says', async (t) => {
  const agree = (pattern: string, text: string) => globMatcher(pattern)(text) === reference(pattern, text)
  fc.assert(fc.property(words('ab*?', 10), words('ab', 12), agree), { numRuns: 3_000 })
  // Parts that are longer than a machine word.
  fc.assert(fc.property(words('aaaaaaa?', 90), words('aaaaaaaaab', 200), (part, text) => agree(`*${part}b*`, text)))
  fc.assert(fc.property(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'grapheme' }), agree))
  fc.assert(fc.property(words('a🦊😀*?', 10), words('ab🦊😀🐱', 12), agree), { numRuns: 3_000 })
  t.ok(globMatcher('user:*')('user:1'))
  // What random patterns seldom are: parts of nothing but `?`, before one that stood in their characters.
  for (const text of ['bxx', 'xbx', 'xxb', 'xxxb']) {
    for (const pattern of ['*?*b*', '*??*b*', '*??*b', 'x*?*b*', '*?*?*b*'])
      t.ok(agree(pattern, text), `${pattern} ${text}`)
  }
})

t.test('a matcher keeps nothing from one text to the next', async (t) => {
  const matches = globMatcher('*a?b*')
  for (const [text, expected] of [
    ['xa', false],
    ['1b', false],
    ['xa1bx', true],
    ['b', false],
  ] as const) {
    t.equal(matches(text), expected, text)
  }
})

/** What makes matchers that step back slow, in a pattern of at most 512 characters. */
const hostile = [
  `${'*a'.repeat(255)}b`,
  `${'a*'.repeat(255)}b`,
  `*${'a'.repeat(255)}b`,
  `*${'a'.repeat(255)}b*`,
  `*b${'a'.repeat(255)}*`,
  `*${'a'.repeat(128)}b${'a'.repeat(128)}*`,
  `*${'a?'.repeat(127)}b*`,
  `*${'?a'.repeat(200)}b*`,
  `*${'a'.repeat(200)}?b*`,
  `${'*?'.repeat(255)}b`,
  `${'*a?'.repeat(170)}b`,
  `*?${'a'.repeat(250)}*?${'a'.repeat(250)}b`,
]

/** Milliseconds of processor time, the best of several: others run on the same processors. */
function fastest(run: () => void): number {
  let best = Number.POSITIVE_INFINITY
  for (let round = 0; round < 3; round++) {
    const before = process.cpuUsage()
    run()
    const { user, system } = process.cpuUsage(before)
    best = Math.min(best, (user + system) / 1_000)
  }
  return best
}

t.test('eight times the text takes eight times as long, not sixty-four', async (t) => {
  for (const pattern of hostile) {
    const matches = globMatcher(pattern)
    const work = (length: number) => {
      const texts = Array.from({ length: 20 }, () => 'a'.repeat(length))
      return fastest(() => texts.forEach(matches))
    }
    work(2_048)
    const [short, long] = [work(8_192), work(65_536)]
    t.ok(long < 24 * Math.max(short, 1), `${pattern.slice(0, 24)}: ${short.toFixed(1)} and ${long.toFixed(1)} ms`)
  }
})

const longKeys = Array.from({ length: 3_000 }, (_, n) => `${'a'.repeat(508)}${n.toString().padStart(4, '0')}`)

t.test('each hostile pattern over 3,000 keys of 512 characters', async (t) => {
  for (const pattern of hostile) {
    let matched = 0
    const spent = fastest(() => {
      matched = longKeys.filter(globMatcher(pattern)).length
    })
    t.equal(matched, 0)
    t.ok(spent < 200, `${pattern.slice(0, 24)}: ${spent.toFixed(1)} ms; alone it is below 50`)
  }
})

for (const kind of storageKinds) {
  t.test(`hostile patterns hold up nobody on ${kind}, and match what they should`, async (t) => {
    // What is measured is the processor, not how long Redis takes while others run.
    const cache = await freshCache(t, kind, { l2: { timeout: '30s' } })
    await cache.setMany(longKeys.map((key, n) => [key, n]))
    const before = process.cpuUsage()
    for (const pattern of hostile) t.equal(await cache.deleteMatching(pattern), 0, pattern.slice(0, 24))
    const { user, system } = process.cpuUsage(before)
    t.ok((user + system) / 1_000 / hostile.length < 400, 'several times what one takes when nobody else runs')
    t.equal(await cache.deleteMatching('a*?a?*00?'), 30)
    t.equal(await cache.get(longKeys[1] as string), undefined)
    t.equal(await cache.get(longKeys[10] as string), 10)
  })

  t.test(`what means something to Redis means itself on ${kind}`, async (t) => {
    const cache = await freshCache(t, kind)
    const keys = ['[ab]c', 'ac', 'a\\c', '^a-c', 'é1', 'e1']
    await cache.setMany(keys.map((key) => [key, 1]))
    for (const [pattern, count] of [
      ['[ab]*', 1],
      ['a\\*', 1],
      ['^a-?', 1],
      ['?1', 2],
    ] as const) {
      t.equal(await cache.deleteMatching(pattern), count, pattern)
    }
    t.equal(await cache.get('ac'), 1)
  })
}

for (const kind of storageKinds) {
  t.test(`characters are counted, not units, on ${kind}`, async (t) => {
    const cache = await freshCache(t, kind)
    const entries = ['k🦊', 'kab', 'ka', 'ké', 'k👨‍👩‍👧'].map((key): [string, number] => [key, 1])
    await cache.setMany(entries)
    t.equal(await cache.deleteMatching('k?'), 3)
    t.strictSame([...(await cache.getMany(entries.map(([key]) => key))).keys()], ['kab', 'k👨‍👩‍👧'])
    t.equal(await cache.deleteMatching('k?????'), 1, 'a family is five')
  })
}
