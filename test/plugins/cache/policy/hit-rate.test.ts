import t from 'tap'
import { TinyLfu } from '../../../../plugins/cache/policy/tiny-lfu.ts'
import { seededRandom } from '../../../fixtures/random.ts'
import {
  bursts,
  loop,
  phases,
  shiftingPopularity,
  type Workload,
  wanderingNeighbourhood,
  zipf,
  zipfWithScans,
} from '../../../fixtures/workloads.ts'

interface Measured {
  get(key: string): true | undefined
  set(key: string, value: true, bytes: number): void
}

function hitRate(cache: Measured, keys: string[], size = (_key: string) => 1): number {
  let hits = 0
  for (const key of keys) {
    if (cache.get(key) !== undefined) hits++
    else cache.set(key, true, size(key))
  }
  return (100 * hits) / keys.length
}

class Lru implements Measured {
  readonly #sizes = new Map<string, number>()
  readonly #maxEntries: number
  readonly #maxBytes: number
  #bytes = 0

  constructor(bounds: { maxEntries?: number; maxBytes?: number }) {
    this.#maxEntries = bounds.maxEntries ?? Number.POSITIVE_INFINITY
    this.#maxBytes = bounds.maxBytes ?? Number.POSITIVE_INFINITY
  }

  get(key: string): true | undefined {
    const bytes = this.#sizes.get(key)
    if (bytes === undefined) return undefined
    this.#sizes.delete(key)
    this.#sizes.set(key, bytes)
    return true
  }

  set(key: string, _value: true, bytes: number): void {
    this.#sizes.set(key, bytes)
    this.#bytes += bytes
    for (const [oldest, freed] of this.#sizes) {
      if (this.#sizes.size <= this.#maxEntries && this.#bytes <= this.#maxBytes) return
      this.#sizes.delete(oldest)
      this.#bytes -= freed
    }
  }
}

/** How many points of hit rate the policy must gain over LRU; never more than one below it. */
const workloads: { name: string; workload: Workload; gain: number }[] = [
  { name: 'Zipf 0.7', workload: zipf(0.7), gain: 6 },
  { name: 'Zipf 0.9', workload: zipf(0.9), gain: 6 },
  { name: 'Zipf 1.1', workload: zipf(1.1), gain: 3 },
  { name: 'Zipf with scans', workload: zipfWithScans, gain: 5 },
  { name: 'shifting popularity', workload: shiftingPopularity, gain: -1 },
  { name: 'a loop larger than the cache', workload: loop(1.2), gain: 60 },
  { name: 'a loop smaller than the cache', workload: loop(0.9), gain: 0 },
  { name: 'a wandering neighbourhood', workload: wanderingNeighbourhood, gain: -1 },
  { name: 'bursts', workload: bursts, gain: -1 },
  { name: 'phases', workload: phases, gain: -1 },
]

for (const { name, workload, gain } of workloads) {
  t.test(
    `hit rate of ${name}: ${gain < 0 ? 'at most a point under' : `${gain} points or more over`} LRU`,
    async (t) => {
      for (const entries of [64, 256, 1_024]) {
        const next = workload(entries, 7)
        const keys = Array.from({ length: entries * 100 }, next)
        const lru = hitRate(new Lru({ maxEntries: entries }), keys)
        const bounds = [{ maxEntries: entries }, { maxEntries: 1_000_000, maxBytes: entries }]
        for (const bound of bounds) {
          const ours = hitRate(new TinyLfu<true>({ ...bound, random: seededRandom(1).next }), keys)
          t.ok(ours >= lru + gain, `${entries}: ${ours.toFixed(2)} %, LRU ${lru.toFixed(2)} %`)
        }
      }
    },
  )
}

t.test('with entries of mixed sizes and a bound of bytes, too, it beats LRU where frequency tells', async (t) => {
  for (const [workload, gain] of [
    [zipf(0.9), 3],
    [wanderingNeighbourhood, -1],
  ] as const) {
    const entries = 512
    const keys = Array.from({ length: entries * 100 }, workload(entries, 7))
    // 1 to 64, most of them small, always the same for a key.
    const size = (key: string) => 2 ** Math.floor((Number.parseInt(key.slice(1), 10) * 0.618) % 7)
    const maxBytes = entries * 18
    const lru = hitRate(new Lru({ maxBytes }), keys, size)
    const ours = hitRate(
      new TinyLfu<true>({ maxEntries: 1_000_000, maxBytes, random: seededRandom(1).next }),
      keys,
      size,
    )
    t.ok(ours >= lru + gain, `${ours.toFixed(2)} %, LRU ${lru.toFixed(2)} %`)
  }
})

t.test('the window goes to the end that the workload asks for, and back', async (t) => {
  const entries = 256
  const cache = new TinyLfu<true>({ maxEntries: entries, random: seededRandom(1).next })
  const frequent = zipf(0.9)(entries, 1)
  const recent = wanderingNeighbourhood(entries, 2)
  const run = (next: () => string) => {
    const keys = Array.from({ length: entries * 60 }, next)
    hitRate(cache, keys)
    return cache.inspect().windowShare
  }
  t.ok(run(frequent) < 0.1)
  t.equal(run(recent), 1)
  t.ok(run(frequent) < 0.1)
})

t.test('tuning rests while nothing is evicted and wakes when something is', async (t) => {
  const cache = new TinyLfu<true>({ maxEntries: 64, random: seededRandom(1).next })
  const recent = wanderingNeighbourhood(64, 2)
  hitRate(cache, Array.from({ length: 64 * 60 }, recent))
  t.equal(cache.inspect().windowShare, 1)
  const [kept] = cache.keys()
  for (let i = 0; i < 10_000; i++) cache.get(kept as string)
  hitRate(cache, Array.from({ length: 64 * 100 }, zipf(0.9)(64, 1)))
  t.ok(cache.inspect().windowShare < 0.1)
})

t.test('an attacker who repeats keys cannot keep the cache for ever', async (t) => {
  const cache = new TinyLfu<true>({ maxEntries: 100, random: seededRandom(1).next })
  const attack = Array.from({ length: 100 }, (_, index) => `attack${index}`)
  for (let round = 0; round < 50; round++) hitRate(cache, attack)
  const users = Array.from({ length: 100 * 100 }, zipf(0.9)(100, 1))
  hitRate(cache, users)
  t.ok(attack.filter((key) => cache.has(key)).length < 10)
})
