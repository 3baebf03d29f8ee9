import fc from 'fast-check'
import t from 'tap'
import { TinyLfu } from '../../../../plugins/cache/policy/tiny-lfu.ts'
import { type Random, seededRandom } from '../../../fixtures/random.ts'

/** By how many hits an entry the cache may lie behind LRU, however long the trace is. */
const MOST_LOST = 5

/** One part of a trace; lengths are in fillings of the cache. */
interface Part {
  kind: 'loop' | 'to and fro' | 'popular' | 'scan' | 'recent'
  accesses: number
  keys: number
}

const parts = fc.array(
  fc.record({
    kind: fc.constantFrom('loop', 'to and fro', 'popular', 'scan', 'recent'),
    accesses: fc.double({ min: 1, max: 30, noNaN: true }),
    keys: fc.double({ min: 0.2, max: 2.7, noNaN: true }),
  }) as fc.Arbitrary<Part>,
  { minLength: 1, maxLength: 12 },
)

function* play({ kind, accesses, keys }: Part, entries: number, name: string, random: Random): Generator<string> {
  const span = Math.max(2, Math.floor(entries * keys))
  const stack: string[] = []
  for (let i = 0; i < entries * accesses; i++) {
    if (kind === 'loop') yield `${name}${i % span}`
    else if (kind === 'scan') yield `${name}new${i}`
    else if (kind === 'popular') yield `${name}${Math.floor(span * random.next() ** 3)}`
    else if (kind === 'to and fro') {
      const at = i % (2 * span - 2)
      yield `${name}${at < span ? at : 2 * span - 2 - at}`
    } else {
      const depth = Math.floor(-Math.log(1 - random.next()) * entries * 0.15)
      const [again] = depth < stack.length && random.chance(0.8) ? stack.splice(stack.length - 1 - depth, 1) : []
      const key = again ?? `${name}made${i}`
      stack.push(key)
      if (stack.length > entries) stack.shift()
      yield key
    }
  }
}

function lruHits(trace: readonly string[], entries: number): number {
  const held = new Set<string>()
  let hits = 0
  for (const key of trace) {
    if (held.delete(key)) hits++
    held.add(key)
    if (held.size > entries) held.delete(held.values().next().value as string)
  }
  return hits
}

function ourHits(trace: readonly string[], entries: number): number {
  const cache = new TinyLfu<true>({ maxEntries: entries, random: seededRandom(1).next })
  let hits = 0
  for (const key of trace) {
    if (cache.get(key)) hits++
    else cache.set(key, true, 1)
  }
  return hits
}

t.test('whatever comes after whatever, the loss against LRU is a few fillings of the cache', async (t) => {
  let gained = 0
  fc.assert(
    fc.property(
      parts,
      fc.constantFrom(32, 64, 256),
      fc.boolean(),
      fc.integer({ min: 1, max: 1e6 }),
      (parts, entries, shared, seed) => {
        const random = seededRandom(seed)
        // With the same keys in all parts, what was learnt in one is wrong in the next.
        const trace = parts.flatMap((part, index) => [...play(part, entries, shared ? 'k' : `k${index}.`, random)])
        const difference = ourHits(trace, entries) - lruHits(trace, entries)
        gained += difference / trace.length
        return difference >= -MOST_LOST * entries
      },
    ),
    { seed: 7, numRuns: Number(process.env['TRACES'] ?? 100) },
  )
  t.ok(gained > 0, 'and on the whole it is a gain')
})

t.test('useless turns become rarer: where scouts lead by turns, a longer trace costs no more', async (t) => {
  const entries = 256
  const random = seededRandom(1)
  const lost = (accesses: number) => {
    const toAndFro = { kind: 'to and fro', keys: 1.8 } as const
    const trace = [
      ...play({ ...toAndFro, accesses: 20 }, entries, 'k', random),
      ...play({ kind: 'scan', accesses: 16, keys: 1 }, entries, 's', random),
      ...play({ ...toAndFro, accesses }, entries, 'k', random),
    ]
    return (lruHits(trace, entries) - ourHits(trace, entries)) / entries
  }
  for (const accesses of [30, 100, 300]) t.ok(lost(accesses) < 3, `${lost(accesses).toFixed(2)} fillings`)
})
