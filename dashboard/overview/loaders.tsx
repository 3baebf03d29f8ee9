import type { CacheNamespaces } from '../../openapi/schemas/cache.ts'
import type { HistoryPoint } from '../../openapi/schemas/stats.ts'
import { formatCount, formatMilliseconds } from '../format.ts'
import { hashOf } from '../route.ts'
import { Table } from '../table.tsx'

const MAX_ROWS = 10

export interface LoaderTotal {
  name: string
  loads: number
  time: number
  worst: number
}

/** The loaders of the range, those that took most time first. */
export function loadersOf(points: readonly HistoryPoint[]): LoaderTotal[] {
  const totals = new Map<string, LoaderTotal>()
  for (const { loaders = {} } of points) {
    for (const [name, { loads, time, worst }] of Object.entries(loaders)) {
      const so = totals.get(name) ?? { name, loads: 0, time: 0, worst: 0 }
      totals.set(name, { name, loads: so.loads + loads, time: so.time + time, worst: Math.max(so.worst, worst) })
    }
  }
  return [...totals.values()].sort((one, other) => other.time - one.time)
}

export function Loaders({ loaders }: { loaders: readonly LoaderTotal[] }) {
  return (
    <Table
      caption="Slow loaders"
      columns={['Keys', 'Loads', 'Mean', 'Worst', 'Together']}
      empty="Nothing was loaded in this range."
      rows={loaders.slice(0, MAX_ROWS).map(({ name, loads, time, worst }) => ({
        key: name,
        cells: [
          <code key="name">{name}</code>,
          formatCount(loads),
          formatMilliseconds(time / loads),
          formatMilliseconds(worst),
          formatMilliseconds(time),
        ],
      }))}
    />
  )
}

/** The keys that are asked for most, of the instance that answers. */
export function HotKeys({ namespaces }: { namespaces: CacheNamespaces['namespaces'] }) {
  const rows = namespaces.flatMap(({ name, hottest }) => hottest.map((key, place) => ({ name, key, place })))
  return (
    <Table
      caption="Hot keys now"
      columns={['Key', 'Namespace', 'Place there']}
      empty="The first level holds nothing."
      rows={rows
        .sort((one, other) => one.place - other.place)
        .slice(0, MAX_ROWS)
        .map(({ name, key, place }) => ({
          key: `${name}/${key}`,
          cells: [
            <a key="key" href={hashOf('cache', { namespace: name, key })}>
              {key}
            </a>,
            name,
            formatCount(place + 1),
          ],
        }))}
    />
  )
}
