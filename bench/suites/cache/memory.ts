import { LRUCache } from 'lru-cache'
import type { Case, Contender } from '../../harness.ts'
import { openOurs, openRedis } from './contenders.ts'

const ENTRIES = 100_000
const TTL = 300_000

/** Heap and buffers, after garbage collection. */
function used(): number {
  globalThis.gc?.()
  globalThis.gc?.()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

/** Keys and values exist before: what is measured is what the container adds to them. */
function overhead(fill: (entries: [string, object][]) => unknown, empty: () => unknown = () => {}): Contender['setup'] {
  return async ({ quick }) => {
    const count = quick ? 1_000 : ENTRIES
    const entries = Array.from({ length: count }, (_, i): [string, object] => [`user:${i}`, { id: i }])
    // Strings that were put together lie flat from their first use as a key.
    new Map(entries).clear()
    // The first time brings what is no part of an entry: compiled code, the buffers of a driver.
    await fill(entries)
    await empty()
    const before = used()
    const container = await fill(entries)
    const value = (used() - before) / count
    return () => ({ value: container === undefined ? Number.NaN : value, faults: { missing: 0 } })
  }
}

export const memory: Case = {
  name: 'memory of an entry beside its key and value',
  unit: 'bytes',
  better: 'lower',
  rounds: 1,
  contenders: [
    { name: 'Map', role: 'limit', setup: overhead((entries) => new Map(entries)) },
    {
      name: 'fastify-stateful, first level',
      role: 'ours',
      async setup(context) {
        // On Redis, so that the second level is elsewhere.
        const cache = await openOurs(context, await openRedis(context), { l1: { maxEntries: ENTRIES } })
        const fill = async (entries: [string, object][]) => {
          for (let start = 0; start < entries.length; start += 500) {
            await cache.setMany(entries.slice(start, start + 500), { ttl: TTL })
          }
          return cache
        }
        return overhead(fill, () => cache.clear())(context)
      },
    },
    {
      name: 'lru-cache with ttl',
      role: 'peer',
      packages: ['lru-cache'],
      setup: overhead((entries) => {
        const cache = new LRUCache<string, object>({ max: ENTRIES, ttl: TTL })
        for (const [key, value] of entries) cache.set(key, value)
        return cache
      }),
    },
  ],
}
