import type { Stats } from '../../openapi/schemas/stats.ts'
import { numberAt } from '../../plugins/stats/number-at.ts'
import {
  formatBytes,
  formatCount,
  formatDuration,
  formatField,
  formatMilliseconds,
  formatRate,
  UNKNOWN,
  words,
} from '../format.ts'
import { Table } from '../table.tsx'

/** All that a section tells, so that a new number is visible without a change here. */
export function Section({ title, numbers }: { title: string; numbers: object | undefined }) {
  if (!numbers) return null
  return (
    <details class="section">
      <summary>{title}</summary>
      <Numbers numbers={numbers} />
    </details>
  )
}

function Numbers({ numbers }: { numbers: object }) {
  const entries = Object.entries(numbers)
  const nested = entries.filter(
    ([, value]) => value instanceof Object && !Array.isArray(value) && Object.keys(value).length > 0,
  )
  const plain = entries.filter(([, value]) => typeof value !== 'object' && value !== undefined)
  return (
    <>
      <dl>
        {plain.map(([field, value]) => (
          <div key={field}>
            <dt>{words(field)}</dt>
            <dd>{formatField(field, value)}</dd>
          </div>
        ))}
      </dl>
      {nested.map(([field, value]) => (
        <section key={field} class="nested">
          <h4>{words(field)}</h4>
          <Numbers numbers={value as object} />
        </section>
      ))}
    </>
  )
}

/** The instances side by side, in the scope `cluster`. */
export function Instances({ instances }: { instances: NonNullable<Stats['instances']> }) {
  const columns: [string, string, (value: number | undefined) => string][] = [
    ['Heard', 'age', (age) => (age === undefined ? UNKNOWN : `${formatDuration(age / 1_000)} ago`)],
    ['Up', 'process.uptime', formatDuration],
    ['Requests', 'process.requests.total', formatCount],
    ['p99', 'process.requests.duration.p99', formatMilliseconds],
    ['Loop p99', 'process.eventLoop.p99', formatMilliseconds],
    ['Memory', 'process.memory.rss', formatBytes],
    ['L1 hit rate', 'cache.l1HitRate', formatRate],
    ['Revision', 'state.revision', formatCount],
    ['Connections', 'sync.connections', formatCount],
  ]
  return (
    <Table
      caption="Instances"
      columns={['Instance', 'Version', 'Health', ...columns.map(([label]) => label)]}
      empty="None has told its numbers."
      rows={instances.map((instance) => ({
        key: instance.instance,
        cells: [
          instance.instance.slice(0, 8),
          instance.version ?? UNKNOWN,
          instance.health?.reasons.join(' ') || (instance.health?.status ?? UNKNOWN),
          ...columns.map(([, path, format]) => format(numberAt(instance, path))),
        ],
      }))}
    />
  )
}
