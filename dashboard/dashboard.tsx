import { useCallback, useEffect, useState } from 'preact/hooks'
import type { Stats } from '../openapi/schemas/stats.ts'
import { getStats, logout, RequestError, resetStats, type Scope } from './api.ts'
import { Chart, type Line } from './chart.tsx'
import { formatBytes, formatCount, formatMilliseconds, formatPerSecond, formatRate } from './format.ts'
import { LoginForm } from './login-form.tsx'
import { Instances, Section } from './numbers.tsx'
import { numberAt, type Point, pointOf, remember } from './series.ts'

const INTERVALS = [2, 5, 15, 60]
const SPANS = [5, 15, 60]

const HIT_RATES: Line[] = [
  { name: 'l1', label: 'L1', color: '--first' },
  { name: 'l2', label: 'L2', color: '--second' },
  { name: 'miss', label: 'missed', color: '--bad' },
]
const REQUESTS: Line[] = [
  { name: 'requests', label: 'all', color: '--first' },
  { name: 'errors', label: '5xx', color: '--bad' },
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
const SESSIONS: Line[] = [{ name: 'sessions', label: 'sessions', color: '--first' }]
const SYNC: Line[] = [
  { name: 'connections', label: 'connections', color: '--first' },
  { name: 'frames', label: 'frames/s', color: '--second' },
]
const REVISION: Line[] = [{ name: 'revision', label: 'revision', color: '--first' }]

/** Steps of an axis: of what is counted, no fractions; of bytes, powers of two. */
const WHOLE = [1, 2, 5]
  .flatMap((digit) => Array.from({ length: 12 }, (_, power) => digit * 10 ** power))
  .sort((a, b) => a - b)
const BINARY = Array.from({ length: 44 }, (_, power) => 2 ** power)

interface Readings {
  stats: Stats | undefined
  points: Point[]
}

const NOTHING: Readings = { stats: undefined, points: [] }

export function Dashboard() {
  const [scope, setScope] = useState<Scope>('instance')
  const [interval, setInterval] = useState(INTERVALS[0] ?? 2)
  const [span, setSpan] = useState(SPANS[0] ?? 5)
  const [readings, setReadings] = useState<Readings>(NOTHING)
  const [refusal, setRefusal] = useState<RequestError>()
  const theme = useTheme()

  const read = useCallback(async () => {
    try {
      const stats = await getStats(scope)
      setReadings(({ stats: previous, points }) => ({
        stats,
        points: remember(points, pointOf(previous, stats), Math.max(...SPANS) * 60),
      }))
      setRefusal(undefined)
    } catch (error) {
      setRefusal(error instanceof RequestError ? error : new RequestError(0, String(error)))
    }
  }, [scope])

  const denied = refusal?.status === 401 || refusal?.status === 403
  usePolling(read, interval * 1000, !denied)

  if (denied) return <LoginForm reason={refusal.status === 403 ? refusal.message : ''} onLogin={read} />

  const { stats, points } = readings
  const since = (points.at(-1)?.at ?? 0) - span * 60
  const shown = points.filter(({ at }) => at >= since)
  const chart = { points: shown, theme }

  return (
    <main>
      <header>
        <h1>fastify-stateful</h1>
        <Status stats={stats} refusal={refusal} />
        <Choice
          label="Show"
          value={scope}
          options={[
            ['instance', 'this instance'],
            ['cluster', 'all instances'],
          ]}
          onChoose={(value) => {
            setScope(value as Scope)
            setReadings(NOTHING)
          }}
        />
        <Choice
          label="of the last"
          value={`${span}`}
          options={SPANS.map((minutes) => [`${minutes}`, `${minutes} min`])}
          onChoose={(value) => setSpan(Number(value))}
        />
        <Choice
          label="every"
          value={`${interval}`}
          options={INTERVALS.map((seconds) => [`${seconds}`, `${seconds} s`])}
          onChoose={(value) => setInterval(Number(value))}
        />
        <button
          type="button"
          onClick={async () => {
            if (!confirm('Set the counters of the answering instance back to 0?')) return
            await resetStats().catch(setRefusal)
            await read()
          }}
        >
          Reset
        </button>
        <button
          type="button"
          onClick={async () => {
            await logout().catch(setRefusal)
            setReadings(NOTHING)
            await read()
          }}
        >
          Log out
        </button>
      </header>

      <Tiles stats={stats} />

      <div class="charts">
        {stats?.cache && <Chart {...chart} title="Cache lookups" lines={HIT_RATES} format={formatRate} top={1} />}
        <Chart {...chart} title="Requests" lines={REQUESTS} format={formatPerSecond} />
        <Chart {...chart} title="Request duration" lines={DURATIONS} format={formatMilliseconds} />
        <Chart {...chart} title="Event-loop delay" lines={LOOP} format={formatMilliseconds} />
        {stats?.sessions && <Chart {...chart} title="Sessions" lines={SESSIONS} format={formatCount} steps={WHOLE} />}
        {stats?.sync && <Chart {...chart} title="Synchronisation" lines={SYNC} format={formatCount} steps={WHOLE} />}
        {stats?.state && (
          <Chart {...chart} title="State revision" lines={REVISION} format={formatCount} steps={WHOLE} />
        )}
        <Chart {...chart} title="Memory" lines={MEMORY} format={formatBytes} steps={BINARY} />
      </div>

      {stats?.instances && <Instances instances={stats.instances} />}
      <h2>All numbers</h2>
      <Section title="Cache" numbers={stats?.cache} />
      <Section title="Sessions" numbers={stats?.sessions} />
      <Section title="State" numbers={stats?.state} />
      <Section title="Synchronisation" numbers={stats?.sync} />
      <Section title="Process" numbers={stats?.process} />
    </main>
  )
}

function Status({ stats, refusal }: { stats: Stats | undefined; refusal: RequestError | undefined }) {
  const missing = stats?.unavailable.join(', ')
  let text = 'Waiting for the first answer…'
  if (refusal) text = refusal.message
  else if (missing) text = `No answer from the storage of: ${missing}`
  else if (stats) text = `As of ${new Date(stats.at).toLocaleTimeString()}`
  return (
    <p class={refusal || missing ? 'status error' : 'status'} role={refusal ? 'alert' : undefined}>
      {text}
    </p>
  )
}

function Tiles({ stats }: { stats: Stats | undefined }) {
  const tiles: [string, string | null][] = [
    ['L1 hit rate', stats?.cache ? formatRate(numberAt(stats, 'cache.l1HitRate')) : null],
    ['L2 hit rate', stats?.cache ? formatRate(numberAt(stats, 'cache.l2HitRate')) : null],
    ['Miss rate', stats?.cache ? formatRate(numberAt(stats, 'cache.missRate')) : null],
    ['Sessions', stats?.sessions ? formatCount(numberAt(stats, 'sessions.total')) : null],
    ['Connections', stats?.sync ? formatCount(numberAt(stats, 'sync.connections')) : null],
    ['Revision', stats?.state ? formatCount(numberAt(stats, 'state.revision')) : null],
    ['Requests', formatCount(numberAt(stats, 'process.requests.total'))],
    ['p99', formatMilliseconds(numberAt(stats, 'process.requests.duration.p99'))],
    ['Memory', formatBytes(numberAt(stats, 'process.memory.rss'))],
  ]
  return (
    <dl class="tiles">
      {tiles.map(([label, value]) =>
        value === null ? null : (
          <div key={label}>
            <dt>{label}</dt>
            <dd>{value}</dd>
          </div>
        ),
      )}
    </dl>
  )
}

interface ChoiceProps {
  label: string
  value: string
  options: string[][]
  onChoose: (value: string) => void
}

function Choice({ label, value, options, onChoose }: ChoiceProps) {
  return (
    <label class="choice">
      {label}
      <select value={value} onChange={(event) => onChoose(event.currentTarget.value)}>
        {options.map(([key, text]) => (
          <option key={key} value={key}>
            {text}
          </option>
        ))}
      </select>
    </label>
  )
}

/** Asks again `ms` after each answer, so that a slow server is not asked faster than it answers; rests while hidden. */
function usePolling(read: () => Promise<void>, ms: number, active: boolean): void {
  useEffect(() => {
    if (!active) return
    let timer: number | undefined
    let ended = false
    const next = async () => {
      if (!document.hidden) await read()
      if (!ended) timer = window.setTimeout(next, ms)
    }
    const wake = () => {
      if (document.hidden) return
      window.clearTimeout(timer)
      void next()
    }
    void next()
    document.addEventListener('visibilitychange', wake)
    return () => {
      ended = true
      window.clearTimeout(timer)
      document.removeEventListener('visibilitychange', wake)
    }
  }, [read, ms, active])
}

function useTheme(): string {
  const [dark, setDark] = useState(() => matchMedia('(prefers-color-scheme: dark)').matches)
  useEffect(() => {
    const query = matchMedia('(prefers-color-scheme: dark)')
    const follow = () => setDark(query.matches)
    query.addEventListener('change', follow)
    return () => query.removeEventListener('change', follow)
  }, [])
  return dark ? 'dark' : 'light'
}
