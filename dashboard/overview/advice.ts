import type { CacheNamespaces } from '../../openapi/schemas/cache.ts'
import type { Stats } from '../../openapi/schemas/stats.ts'
import { formatCount, formatMilliseconds, formatRate } from '../format.ts'
import type { LoaderTotal } from './loaders.tsx'

/** With fewer lookups a rate says nothing. */
const ENOUGH = 100
const MANY_MISSES = 0.5
const SLOW_LOAD = 500
const BUSY_LOOP = 0.9

/** What an experienced reader would say about the numbers, the gravest first. */
export function adviceOn(
  stats: Stats | undefined,
  namespaces: CacheNamespaces['namespaces'],
  loaders: readonly LoaderTotal[],
): string[] {
  const advice: string[] = []
  if (stats && stats.unavailable.length > 0) {
    advice.push(`The storage does not answer: there are no numbers of ${stats.unavailable.join(', ')}.`)
  }
  if (stats?.cache && !stats.cache.coherent) {
    advice.push('The first level of the cache is not proven current, so every lookup asks the second.')
  }
  const dead = stats?.cache?.writeBehind.dead ?? 0
  if (dead > 0)
    advice.push(`Writes that were refused for good: ${formatCount(dead)}. Look at the dead letters of the cache.`)
  if (stats && stats.process.eventLoop.utilization > BUSY_LOOP) {
    advice.push(
      `The event loop is ${formatRate(stats.process.eventLoop.utilization)} busy: requests wait for each other.`,
    )
  }
  for (const { name, lookups, missRate } of namespaces) {
    if (lookups >= ENOUGH && missRate > MANY_MISSES) {
      advice.push(
        `\`${name}\` misses ${formatRate(missRate)} of ${formatCount(lookups)} lookups: its entries end too early, or hardly any is asked for twice.`,
      )
    }
  }
  for (const { name, loads, time } of loaders) {
    const mean = time / loads
    if (mean > SLOW_LOAD) {
      advice.push(
        `Loads of \`${name}\` take ${formatMilliseconds(mean)}: allow stale values, or warm its hottest keys.`,
      )
    }
  }
  return advice
}
