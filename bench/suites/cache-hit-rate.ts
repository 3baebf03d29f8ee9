import { existsSync, readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { LRUCache } from 'lru-cache'
import { TinyLfu } from '../../plugins/cache/policy/tiny-lfu.ts'
import type { Case, Suite } from '../harness.ts'
import { callsPerSecond } from '../tools/timing.ts'

/** Outside the repository: the traces belong to the papers that they come from. */
const TRACES = new URL('../../../shared/data/traces/', import.meta.url)

/** Points of hit rate that ours may lie below the better of LRU and Caffeine before it counts as a fault. */
const TOLERANCE = 1

const suite: Suite = {
  name: 'cache-hit-rate',
  description:
    'How often the first level has what is asked for, on traces of other people and at several sizes, in percent; the ' +
    'limit is the clairvoyant cache. Caffeine and the limit are recorded values (reference.csv). And what a hit ' +
    'costs: better hit rates must not make hits slow.',
  rounds: 1,
  cases: [
    // First: replaying makes and drops many caches, and V8 then reads private fields of lru-cache four times slower.
    hitSpeed('hits of a full cache, 10,000 entries, Zipf 0.9', 10_000, ranks(10_000, 0.9)),
    hitSpeed('hits of a full cache, 100,000 entries, Zipf 0.9', 100_000, ranks(100_000, 0.9)),
    hitSpeed('hits of a full cache, 10,000 entries, all equal', 10_000, ranks(10_000, 0)),
    peekSpeed(),
    ...hitRates(),
  ],
}

export default suite

function hitRates(): Case[] {
  const reference = new URL('reference.csv', TRACES)
  if (!existsSync(reference)) {
    throw new Error(
      `The suite 'cache-hit-rate' replays traces that are not part of this repository. Put reference.csv and ` +
        `<trace>.txt.gz (one key a line) into ${TRACES.pathname} and run it again.`,
    )
  }
  const traces = new Map<string, string[]>()
  return readFileSync(reference, 'utf8')
    .trim()
    .split('\n')
    .slice(1)
    .map((line): Case => {
      const [trace = '', ...columns] = line.split(',')
      const [entries = 0, lru = 0, caffeine = 0, optimal = 0] = columns.map(Number)
      const load = () => {
        const keys = traces.get(trace) ?? readTrace(trace)
        traces.set(trace, keys)
        return keys
      }
      const wanted = Math.max(lru, caffeine) - TOLERANCE
      const ours = (bounds: { maxEntries: number; maxBytes?: number }) => () => {
        const value = replay(load(), new TinyLfu<true>(bounds))
        return { value, faults: { 'below the better of LRU and Caffeine': Number(value < wanted) } }
      }
      return {
        name: `${trace}, ${entries} entries`,
        unit: '%',
        better: 'higher',
        contenders: [
          { name: 'fastify-stateful', role: 'ours', setup: () => ours({ maxEntries: entries }) },
          {
            name: 'fastify-stateful, bounded by bytes',
            role: 'peer',
            setup: () => ours({ maxEntries: 1_000_000, maxBytes: entries }),
          },
          {
            name: 'lru-cache',
            role: 'peer',
            packages: ['lru-cache'],
            setup: () => () => ({ value: replay(load(), new LRUCache<string, true>({ max: entries })) }),
          },
          { name: 'Caffeine 2.6.2 (recorded)', role: 'peer', setup: () => () => ({ value: caffeine }) },
          { name: 'clairvoyant (recorded)', role: 'limit', setup: () => () => ({ value: optimal }) },
        ],
      }
    })
}

function readTrace(name: string): string[] {
  const text = gunzipSync(readFileSync(new URL(`${name}.txt.gz`, TRACES))).toString()
  // Some traces mark their sections with lines that are no keys.
  return text.split('\n').filter((line) => /^\d/.test(line))
}

function replay(
  keys: string[],
  cache: { get(key: string): true | undefined; set(key: string, value: true, bytes?: number | object): unknown },
): number {
  const bytes = cache instanceof TinyLfu ? 1 : undefined
  let hits = 0
  for (const key of keys) {
    if (cache.get(key) !== undefined) hits++
    else cache.set(key, true, bytes)
  }
  return (100 * hits) / keys.length
}

/** What both caches have seen before: more than fits, and then all that is asked for, until it is there to stay. */
function warmUp(cache: TinyLfu<object>, keys: string[]): void {
  for (let index = 0; index < keys.length; index++) cache.set(`old:${index}`, { index }, 1)
  for (let use = 0; use < 8; use++) {
    for (const key of keys) if (cache.get(key) === undefined) cache.set(key, { key }, 1)
  }
}

function hitSpeed(name: string, entries: number, ranks: Uint32Array): Case {
  // Half as many keys as fit: all are hits, whatever the policy keeps of the rest.
  const keys = Array.from({ length: entries / 2 }, (_, index) => `user:${index}`)
  const asked = Array.from(ranks, (rank) => keys[rank >>> 1] as string)
  const mask = asked.length - 1
  const measure = (get: (key: string) => object | undefined, quick: boolean) => () => {
    const missing = keys.filter((key) => get(key) === undefined).length
    return {
      value: callsPerSecond((index) => get(asked[index & mask] as string), quick ? 20 : 300),
      faults: { missing },
    }
  }
  return {
    name,
    unit: 'gets/s',
    better: 'higher',
    rounds: 7,
    contenders: [
      {
        name: 'fastify-stateful',
        role: 'ours',
        setup({ quick }) {
          const cache = new TinyLfu<object>({ maxEntries: entries })
          warmUp(cache, keys)
          return measure((key) => cache.get(key), quick)
        },
      },
      {
        name: 'lru-cache',
        role: 'peer',
        packages: ['lru-cache'],
        setup({ quick }) {
          const cache = new LRUCache<string, object>({ max: entries })
          for (let index = 0; index < entries; index++) cache.set(`old:${index}`, { index })
          for (const key of keys) cache.set(key, { key })
          return measure((key) => cache.get(key), quick)
        },
      },
      {
        name: 'Map',
        role: 'limit',
        setup({ quick }) {
          const map = new Map<string, object>()
          for (let index = 0; index < entries / 2; index++) map.set(`old:${index}`, { index })
          for (const key of keys) map.set(key, { key })
          return measure((key) => map.get(key), quick)
        },
      },
    ],
  }
}

function peekSpeed(): Case {
  const speed = hitSpeed('peek of a full cache, 10,000 entries, Zipf 0.9', 10_000, ranks(10_000, 0.9))
  const keys = Array.from({ length: 5_000 }, (_, index) => `user:${index}`)
  const asked = Array.from(ranks(10_000, 0.9), (rank) => keys[rank >>> 1] as string)
  return {
    ...speed,
    unit: 'peeks/s',
    contenders: [
      {
        name: 'fastify-stateful',
        role: 'ours',
        setup({ quick }) {
          const cache = new TinyLfu<object>({ maxEntries: 10_000 })
          warmUp(cache, keys)
          return () => ({
            value: callsPerSecond((index) => cache.peek(asked[index & (asked.length - 1)] as string), quick ? 20 : 300),
            faults: { missing: keys.filter((key) => !cache.has(key)).length },
          })
        },
      },
      ...speed.contenders.filter(({ role }) => role === 'limit'),
    ],
  }
}

/** 2^17 ranks below `count`, the n-th in proportion to 1 / n^exponent, the same in every run. */
function ranks(count: number, exponent: number): Uint32Array {
  const cumulative = new Float64Array(count)
  let sum = 0
  for (let rank = 0; rank < count; rank++) {
    sum += 1 / (rank + 1) ** exponent
    cumulative[rank] = sum
  }
  let state = 1
  return Uint32Array.from({ length: 2 ** 17 }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    const wanted = (state / 2 ** 32) * sum
    let low = 0
    let high = count - 1
    while (low < high) {
      const middle = (low + high) >> 1
      if ((cumulative[middle] as number) < wanted) low = middle + 1
      else high = middle
    }
    return low
  })
}
