import { useMemo } from 'preact/hooks'
import type { CacheNamespaces } from '../../openapi/schemas/cache.ts'
import type { Stats, StatsHistory } from '../../openapi/schemas/stats.ts'
import { numberAt } from '../../plugins/stats/number-at.ts'
import { useAction, useMayAct } from '../action.ts'
import { get, send, withQuery } from '../api.ts'
import { useAsk } from '../ask.tsx'
import { Choice } from '../choice.tsx'
import type { ViewProps } from '../console.tsx'
import { formatBytes, formatCount, formatMilliseconds, formatPerSecond, formatRate } from '../format.ts'
import { Outcome, Problem } from '../outcome.tsx'
import { SOON, useReading } from '../reading.ts'
import { go } from '../route.ts'
import { adviceOn } from './advice.ts'
import { Chart, type Line } from './chart.tsx'
import { HealthStatus } from './health.tsx'
import { HotKeys, Loaders, loadersOf } from './loaders.tsx'
import { Instances, Section } from './numbers.tsx'
import { pointOf, totalOf, withGaps } from './points.ts'
import { Problems } from './problems.tsx'

const MINUTE = 60_000
const RANGES: readonly (readonly [key: string, text: string, ms: number])[] = [
  ['15m', '15 minutes', 15 * MINUTE],
  ['1h', 'hour', 60 * MINUTE],
  ['6h', '6 hours', 360 * MINUTE],
  ['24h', '24 hours', 1_440 * MINUTE],
]

const HIT_RATES: Line[] = [
  { name: 'l1', label: 'first level', color: '--first' },
  { name: 'l2', label: 'second level', color: '--second' },
  { name: 'miss', label: 'missed', color: '--bad' },
]
const REQUESTS: Line[] = [
  { name: 'requests', label: 'all', color: '--first' },
  { name: 'clientErrors', label: '4xx', color: '--third' },
  { name: 'serverErrors', label: '5xx', color: '--bad' },
]
const DURATIONS: Line[] = [
  { name: 'p50', label: 'p50', color: '--first' },
  { name: 'p95', label: 'p95', color: '--second' },
  { name: 'p99', label: 'p99', color: '--third' },
]
const LOOP: Line[] = [
  { name: 'loopP50', label: 'p50', color: '--first' },
  { name: 'loopP99', label: 'p99', color: '--third' },
]
const MEMORY: Line[] = [
  { name: 'rss', label: 'resident', color: '--first' },
  { name: 'heap', label: 'heap', color: '--second' },
]
const SESSIONS: Line[] = [
  { name: 'sessions', label: 'sessions', color: '--first' },
  { name: 'connections', label: 'connections', color: '--second' },
]
const LOADS: Line[] = [
  { name: 'loads', label: 'loads/s', color: '--first' },
  { name: 'loadFailures', label: 'failed/s', color: '--third' },
  { name: 'storeFailures', label: 'store failed/s', color: '--bad' },
]
const STORAGE: Line[] = [
  { name: 'storageP50', label: 'p50', color: '--first' },
  { name: 'storageP99', label: 'p99', color: '--third' },
]
const OUTAGES: Line[] = [
  { name: 'storageFailures', label: 'times unanswered', color: '--bad' },
  { name: 'openCircuits', label: 'open circuits', color: '--third' },
]
const WRITES: Line[] = [
  { name: 'pendingWrites', label: 'waiting', color: '--first' },
  { name: 'deadLetters', label: 'refused for good', color: '--bad' },
]

/** Steps of an axis: of what is counted, no fractions; of bytes, powers of two. */
const WHOLE = [1, 2, 5]
  .flatMap((digit) => Array.from({ length: 12 }, (_, power) => digit * 10 ** power))
  .sort((a, b) => a - b)
const BINARY = Array.from({ length: 44 }, (_, power) => 2 ** power)

/** How the application does: now, and in the range that was chosen. */
export function Overview({ parameters: { range = '1h', instance = '' }, theme }: ViewProps) {
  const span = RANGES.find(([key]) => key === range)?.[2] ?? 60 * MINUTE
  const stats = useReading(() => get<Stats>('stats?scope=cluster'), [], SOON)
  const history = useReading(
    () => get<StatsHistory>(withQuery('stats/history', { from: Date.now() - span, instance })),
    [span, instance],
    5_000,
  )
  const namespaces = useReading(() => get<CacheNamespaces>('cache/namespaces'), [], 5_000)
  const points = useMemo(
    () => (history.value ? withGaps(history.value.points, history.value.interval) : []),
    [history.value],
  )
  const chart = { points, theme, span: span / 1_000 }
  const instances = [...new Set([...(history.value?.instances ?? []), instance])].filter(Boolean)
  const loaders = useMemo(() => loadersOf(history.value?.points ?? []), [history.value])
  const advice = adviceOn(stats.value, namespaces.value?.namespaces ?? [], loaders)

  return (
    <>
      <div class="bar">
        <Choice
          label="Show the last"
          value={range}
          options={RANGES.map(([key, text]) => [key, text])}
          onChoose={(chosen) => go('overview', { range: chosen, instance })}
        />
        <Choice
          label="of"
          value={instance}
          options={[['', 'all instances'], ...instances.map((id) => [id, id.slice(0, 8)] as const)]}
          onChoose={(chosen) => go('overview', { range, instance: chosen })}
        />
      </div>
      <HealthStatus stats={stats.value} />
      <Problem text={history.problem ?? stats.problem} />
      {advice.length > 0 && (
        <ul class="advice" aria-label="Advice">
          {advice.map((text) => (
            <li key={text}>{text}</li>
          ))}
        </ul>
      )}
      <Tiles stats={stats.value} history={history.value} />
      <div class="charts">
        <Chart {...chart} title="Requests" lines={REQUESTS} format={formatPerSecond} />
        <Chart {...chart} title="Request duration" lines={DURATIONS} format={formatMilliseconds} />
        <Chart {...chart} title="Cache lookups" lines={HIT_RATES} format={formatRate} top={1} />
        <Chart {...chart} title="Loads" lines={LOADS} format={formatPerSecond} />
        <Chart {...chart} title="Sessions and connections" lines={SESSIONS} format={formatCount} steps={WHOLE} />
        <Chart {...chart} title="Write-behind" lines={WRITES} format={formatCount} steps={WHOLE} />
        <Chart {...chart} title="Storage latency" lines={STORAGE} format={formatMilliseconds} />
        <Chart {...chart} title="Storage outages" lines={OUTAGES} format={formatCount} steps={WHOLE} />
        <Chart {...chart} title="Event-loop delay" lines={LOOP} format={formatMilliseconds} />
        <Chart {...chart} title="Memory" lines={MEMORY} format={formatBytes} steps={BINARY} />
      </div>
      <Problems points={history.value?.points ?? []} />
      <div class="halves">
        <Loaders loaders={loaders} />
        <HotKeys namespaces={namespaces.value?.namespaces ?? []} />
      </div>
      {stats.value?.instances && <Instances instances={stats.value.instances} />}
      <h2>All numbers</h2>
      <Section title="Storage" numbers={stats.value?.storage} />
      <Section title="Cache" numbers={stats.value?.cache} />
      <Section title="Sessions" numbers={stats.value?.sessions} />
      <Section title="State" numbers={stats.value?.state} />
      <Section title="Synchronisation" numbers={stats.value?.sync} />
      <Section title="Process" numbers={stats.value?.process} />
      <Reset onReset={stats.again} />
    </>
  )
}

function Reset({ onReset }: { onReset: () => Promise<void> }) {
  const mayAct = useMayAct('stats:reset')
  const ask = useAsk()
  const { run, busy, outcome } = useAction(onReset)
  if (!mayAct) return null
  return (
    <div class="bar">
      <button
        type="button"
        class="danger"
        disabled={busy}
        onClick={() =>
          run(async () => {
            const text = 'Those of the instance that answers go back to 0. The history stays.'
            if ((await ask({ title: 'Reset the counters?', text, action: 'Reset' })) === undefined) return undefined
            await send('POST', 'stats/reset')
            return 'The counters are 0.'
          })
        }
      >
        Reset counters
      </button>
      <Outcome outcome={outcome} />
    </div>
  )
}

/** The first ones are about the range, the others about now. */
function Tiles({ stats, history }: { stats: Stats | undefined; history: StatsHistory | undefined }) {
  const total = totalOf(history?.points ?? [])
  const { l1, l2, miss } = pointOf(total)
  // Memory and LMDB are never away: there is nothing to break.
  const breaker = numberAt(stats, 'cache.breaker.open')
  const tiles: [string, string][] = [
    ['First-level hits', formatRate(l1)],
    ['Second-level hits', formatRate(l2)],
    ['Misses', formatRate(miss)],
    ['Requests', formatCount(total.requests)],
    ['Errors (5xx)', formatCount(total.serverErrors)],
    ['Storage failures', formatCount(total.storageFailures)],
    ...(breaker === undefined
      ? []
      : [
          ['Breaker now', breaker === 0 ? 'closed' : 'open'] as [string, string],
          ['Breaker opened', formatCount(total.outages)] as [string, string],
        ]),
    ['Instances now', formatCount(stats?.instances?.length)],
    ['Sessions now', formatCount(numberAt(stats, 'sessions.total'))],
    ['Connections now', formatCount(numberAt(stats, 'sync.connections'))],
    ['Memory now', formatBytes(numberAt(stats, 'process.memory.rss'))],
  ]
  return (
    <dl class="tiles">
      {tiles.map(([label, value]) => (
        <div key={label}>
          <dt>{label}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  )
}
